"""The encoders with shipped weights: network, weights files, batches."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.core.errors import Unavailable, UserError
from bench.core.tensors import SUMS, read_tensors
from bench.core.types import Runtime
from bench.training.files import export
from models.alphabet import ALPHABET, encode, frames_needed
from models.images import WIDEST, darkness, to_height
from models.mini_ar import MiniAR, detokenize, tokenize
from models.ppocr_net import PPOCRConfig, PPOCRNet
from models.shipped import WEIGHTS, MiniSpec, PPOCRSpec, TornSpec

FIXTURE = "tests/fixtures/ppocr_posteriors.npz"
SPECS: dict[str, Any] = {"mini": MiniSpec, "ppocr": PPOCRSpec}  # with an AR head and without
NAMES, WIDTH = tuple(SPECS), 120


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, Path]:
    """Random ones of mini, the shipped ones of ppocr."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mini.safetensors"
    export(path, PPOCRNet().state_dict(), MiniAR(WIDTH).state_dict(), {"trained_on": "nothing"})
    return {"mini": path, "ppocr": PPOCRSpec().path}


@pytest.fixture(scope="module")
def encoders(weights):
    return {name: SPECS[name](weights=str(weights[name])).open(Runtime()) for name in NAMES}


def images(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, shape, dtype=np.uint8) for shape in shapes]


def test_sizes(weights, encoders):
    assert encoders["mini"].info.parameters["ar"] == 1_890_241
    assert weights["mini"].stat().st_size <= 16 * 2**20
    assert sum(encoders["ppocr"].info.parameters.values()) == 3_013_392
    assert "PP-OCRv6" in encoders["ppocr"].info.trained_on and encoders["ppocr"].info.trained
    for encoder in encoders.values():
        counted = sum(p.numel() for p in encoder.module().parameters())
        facts = encoder.info
        shared = facts.parameters["ctc"] if facts.has_ar else 0  # the AR head counts with its copy
        assert counted - shared == sum(facts.parameters.values()) <= 6_000_000


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_log_probs(encoders, name):
    encoder = encoders[name]
    encoded = encoder.encode(encoder.prepare(images(0, (64, 200), (32, 333), (128, 90))))
    batch, steps, width = encoded.states.shape
    assert (batch, width) == (3, WIDTH)
    assert encoded.log_probs.shape == (3, steps, len(ALPHABET))
    assert encoded.frames.tolist() == [44, 146, 10] == encoded.state_mask.sum(1).tolist()
    assert torch.allclose(encoded.log_probs.exp().sum(-1), torch.ones(3, steps), atol=1e-4)
    assert encoded.alphabet[0] == "" and len(encoded.alphabet) == 96


@pytest.mark.parametrize("name", NAMES)
def test_a_line_reads_the_same_alone_and_in_a_batch(encoders, name):
    encoder = encoders[name]
    widths = np.random.default_rng(4).integers(40, 600, 9)
    lines = images(1, (50, 300), *((64, int(width)) for width in widths))
    together = encoder.encode(encoder.prepare(lines))
    assert together.log_probs.shape[:2] == together.state_mask.shape
    for index, image in enumerate(lines):
        alone = encoder.encode(encoder.prepare([image]))
        frames = int(alone.frames[0])
        assert frames == int(together.frames[index])
        difference = alone.log_probs[0, :frames].exp() - together.log_probs[index, :frames].exp()
        assert difference.abs().max() < 1e-3


@pytest.mark.parametrize(("grad", "pool"), [(True, 1), (False, 2)])
def test_ppocr_masks_in_training_too(encoders, grad, pool):
    encoder = encoders["ppocr"]
    lines = images(1, (64, 700), (64, 41), (50, 300), (64, 303))
    batch, widths = encoder.prepare(lines)
    net = PPOCRNet(PPOCRConfig(pool=pool))
    net.load_state_dict(encoder.net.state_dict())
    with torch.set_grad_enabled(grad):
        _, together = net.eval()(batch, widths)
        for index, image in enumerate(lines):
            alone, width = encoder.prepare([image])
            frames = int(net.config.frames(width)[0])
            assert frames == int(net.config.frames(widths)[index])
            difference = net(alone, width)[1][0, :frames] - together[index, :frames]
            assert difference.abs().max() < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_any_size_of_image(encoders, name):
    encoder = encoders[name]
    for shape in ((1, 1), (900, 3), (40, 20_000)):
        encoded = encoder.encode(encoder.prepare([np.full(shape, 200, np.uint8)]))
        assert torch.isfinite(encoded.log_probs).all()
        assert 1 <= int(encoded.frames[0]) <= WIDEST / 4


def test_darkness_ignores_brightness_and_leaves_blank_paper_blank():
    image = np.full((64, 200), 230, np.uint8)
    image[20:40, 50:150:7] = 40
    dim = (image * 0.6 + 20).astype(np.uint8)
    assert np.abs(darkness(image) - darkness(dim)).mean() < 0.05
    paper = np.random.default_rng(2).normal(220, 2, (64, 200))
    assert np.abs(darkness(np.clip(paper, 0, 255).astype(np.uint8))).mean() < 0.15
    assert to_height(np.zeros((10, 30), np.uint8)).shape == (64, 192)


@pytest.mark.parametrize("name", NAMES)
def test_low_precision_stays_near(weights, encoders, name):
    image = images(3, (64, 256))
    exact = encoders[name].encode(encoders[name].prepare(image)).log_probs
    low = SPECS[name](weights=str(weights[name])).open(Runtime(dtype="bfloat16"))
    near = low.encode(low.prepare(image)).log_probs
    assert near is not None and near.dtype == torch.float32
    assert (exact.exp() - near.exp()).abs().mean() < 0.01
    with pytest.raises(UserError, match="dtype"):
        SPECS[name](weights=str(weights[name])).open(Runtime(dtype="float8"))


@pytest.mark.parametrize(("name", "remedy"), [("mini", "bench train"), ("ppocr", "convert_ppocr")])
def test_weights_that_are_missing_damaged_or_do_not_fit(weights, tmp_path, name, remedy):
    def opened(file):
        return SPECS[name](weights=str(tmp_path / file)).open(Runtime())

    with pytest.raises(Unavailable, match=remedy):
        opened("no.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(weights[name].read_bytes()[:5000])
    with pytest.raises(UserError, match="safetensors"):
        opened("torn.safetensors")
    tensors = load_file(weights[name])
    tensors["net.ctc.weight"] = torch.zeros(7, WIDTH)
    save_file(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(UserError, match=r"ctc\.weight"):
        opened("odd.safetensors")


def test_a_flipped_byte_of_shipped_weights_is_found(tmp_path):
    for name in ("mini.safetensors", SUMS):
        shutil.copy(WEIGHTS / name, tmp_path)
    path = tmp_path / "mini.safetensors"
    read_tensors(path)
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="is not the file that was shipped; run git checkout"):
        MiniSpec(weights=str(path)).open(Runtime())


def test_every_shipped_file_has_its_sum():
    names = [line.split()[1] for line in (WEIGHTS / SUMS).read_text().splitlines()]
    assert names == sorted(path.name for path in WEIGHTS.glob("*.safetensors"))


def test_without_an_ar_head_the_encoder_says_so(tmp_path):
    path = tmp_path / "ctc.safetensors"
    export(path, PPOCRNet().state_dict(), None, {})
    encoder = MiniSpec(weights=str(path)).open(Runtime())
    assert not encoder.info.has_ar and "ar" not in encoder.info.parameters
    heads = MiniSpec(weights=str(path)).heads()
    assert heads is not None and (heads.alphabet, heads.has_ar) == (encoder.info.alphabet, False)
    heads = MiniSpec().heads()
    assert heads is not None and heads.has_ar


def test_alphabet_and_tokenizer_round_trip():
    assert encode("Ab~") == [ALPHABET.index(c) for c in "Ab~"]
    assert encode("é") is None
    assert frames_needed([1, 1, 2, 3, 3, 3]) == 6 + 3
    text = "The quick brown fox, 27! \\ |~"
    assert detokenize(tokenize(text)) == text
    assert detokenize(tokenize("naïve")) == "nave"


def test_ppocr_reads_as_onnx_runtime_does(encoders):
    """The fixture holds ONNX Runtime's own posteriors, cut to ASCII and renormalised."""
    stored = np.load(FIXTURE)
    makers = PPOCRNet(PPOCRConfig(pool=2))
    makers.load_state_dict(encoders["ppocr"].net.state_dict())
    with torch.inference_mode():
        lines = torch.from_numpy(stored["images"].astype(np.float32))
        ours = makers.eval()(lines[:, None])[1].softmax(-1).numpy()
    assert len(ours) == 20 and ours.shape == stored["posteriors"].shape
    # Weights in half precision: the network itself differs by 3e-5.
    assert np.abs(ours - stored["posteriors"]).max() < 0.02
    assert (ours.argmax(-1) == stored["posteriors"].argmax(-1)).all()


@pytest.mark.skipif(not MiniSpec().path.is_file(), reason="the shipped weights are not here")
def test_shipped_mini_reads_real_ink():
    from bench.training.validate import LineReader
    from datasets import DATASETS

    encoder = MiniSpec().open(Runtime())
    lines = DATASETS.create("ink").load("val", 24).lines
    batches = [encoder.encode(encoder.prepare([line.image for line in lines]))]
    score = LineReader("ctc-greedy").score(batches, [line.text for line in lines])
    assert score.edits < 0.10 * score.characters


def test_the_torn_weights_say_that_they_have_seen_damage():
    info = TornSpec().open(Runtime()).info
    assert info.trained and not info.has_ar
    assert "50% of the lines damaged" in info.trained_on
    assert "damaged" not in MiniSpec().open(Runtime()).info.trained_on


def test_another_ar_head_leaves_what_ctc_decoders_depend_on(tmp_path, weights, encoders):
    torch.manual_seed(1)
    net = {
        k.removeprefix("net."): v for k, v in load_file(weights["mini"]).items() if k[:4] == "net."
    }
    path = tmp_path / "mini.safetensors"
    export(path, net, MiniAR(WIDTH).state_dict(), {"trained_on": "nothing"})
    before, after = encoders["mini"].info, MiniSpec(weights=str(path)).open(Runtime()).info
    assert after.weights_for("log_probs") == before.weights_for("log_probs") == before.weights
    for needs in ("states", "both"):
        assert after.weights_for(needs) != before.weights_for(needs)
