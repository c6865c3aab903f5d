"""The encoder `mini`, its network, and its weights file."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.core.errors import Unavailable, UserError
from bench.core.types import Runtime
from bench.training.export import export
from models.alphabet import ALPHABET, encode, frames_needed
from models.images import WIDEST, darkness, to_height
from models.mini import WEIGHTS, MiniSpec
from models.mini_ar import MiniAR, load_tokenizer
from models.mini_net import MiniNet


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mini.safetensors"
    export(path, MiniNet().state_dict(), MiniAR(512).state_dict(), {"trained_on": "nothing"})
    return path


@pytest.fixture(scope="module")
def encoder(weights):
    return MiniSpec(weights=str(weights)).open(Runtime())


def _images(rng, *shapes):
    return [rng.integers(0, 255, shape, dtype=np.uint8) for shape in shapes]


def test_size_and_parameter_budget(weights, encoder):
    assert sum(encoder.info.parameters.values()) <= 6_000_000
    assert weights.stat().st_size <= 16 * 2**20
    counted = sum(p.numel() for p in encoder.module().parameters())
    assert counted == sum(encoder.info.parameters.values())


def test_shapes_and_log_probs(encoder):
    rng = np.random.default_rng(0)
    encoded = encoder.encode(encoder.prepare(_images(rng, (64, 200), (32, 333), (128, 90))))
    batch, steps, width = encoded.states.shape
    assert (batch, width) == (3, 512)
    assert encoded.log_probs.shape == (3, steps, len(ALPHABET))
    assert encoded.frames.tolist() == [50, 167, 12]
    assert encoded.state_mask.sum(1).tolist() == encoded.frames.tolist()
    assert torch.allclose(encoded.log_probs.exp().sum(-1), torch.ones(3, steps), atol=1e-4)
    assert encoded.alphabet[0] == "" and len(encoded.alphabet) == 96


def test_a_line_reads_the_same_alone_and_in_a_batch(encoder):
    rng = np.random.default_rng(1)
    images = _images(rng, (64, 700), (64, 41), (50, 300))
    together = encoder.encode(encoder.prepare(images))
    for index, image in enumerate(images):
        alone = encoder.encode(encoder.prepare([image]))
        frames = int(alone.frames[0])
        assert frames == int(together.frames[index])
        difference = alone.log_probs[0, :frames] - together.log_probs[index, :frames]
        assert difference.abs().max() < 1e-3


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (900, 3), (40, 20_000), (64, 64)])
def test_any_size_of_image(encoder, shape):
    encoded = encoder.encode(encoder.prepare([np.full(shape, 200, np.uint8)]))
    assert torch.isfinite(encoded.log_probs).all()
    assert 1 <= int(encoded.frames[0]) <= WIDEST / 4


def test_darkness_ignores_brightness_and_leaves_blank_paper_blank():
    rng = np.random.default_rng(2)
    image = np.full((64, 200), 230, np.uint8)
    image[20:40, 50:150:7] = 40
    dim = (image * 0.6 + 20).astype(np.uint8)
    assert np.abs(darkness(image) - darkness(dim)).mean() < 0.05
    blank = np.clip(rng.normal(220, 2, (64, 200)), 0, 255).astype(np.uint8)
    assert np.abs(darkness(blank)).mean() < 0.15
    assert to_height(np.zeros((10, 30), np.uint8)).shape == (64, 192)


def test_low_precision_stays_near(weights, encoder):
    image = _images(np.random.default_rng(3), (64, 256))
    exact = encoder.encode(encoder.prepare(image)).log_probs
    low = MiniSpec(weights=str(weights)).open(Runtime(dtype="bfloat16"))
    near = low.encode(low.prepare(image)).log_probs
    assert near is not None and near.dtype == torch.float32
    assert (exact - near).abs().mean() < 0.1
    with pytest.raises(UserError, match="dtype"):
        MiniSpec(weights=str(weights)).open(Runtime(dtype="float8"))


def test_weights_that_are_missing_damaged_or_do_not_fit(weights, tmp_path):
    gone = MiniSpec(weights=str(tmp_path / "no.safetensors"))
    assert isinstance(gone.missing(), Unavailable)
    with pytest.raises(Unavailable, match="bench train"):
        gone.open(Runtime())
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match="safetensors"):
        MiniSpec(weights=str(torn)).open(Runtime())
    tensors = load_file(weights)
    tensors["net.ctc.weight"] = torch.zeros(7, 512)
    save_file(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(UserError, match=r"ctc\.weight"):
        MiniSpec(weights=str(tmp_path / "odd.safetensors")).open(Runtime())


def test_without_an_ar_head_the_encoder_says_so(tmp_path):
    path = tmp_path / "ctc.safetensors"
    export(path, MiniNet().state_dict(), None, {})
    encoder = MiniSpec(weights=str(path)).open(Runtime())
    assert not encoder.info.has_ar
    assert "ar" not in encoder.info.parameters


def test_alphabet_round_trip_and_frames():
    assert encode("Ab~") == [ALPHABET.index(c) for c in "Ab~"]
    assert encode("é") is None
    assert frames_needed([1, 1, 2, 3, 3, 3]) == 6 + 3


def test_tokenizer_writes_any_text():
    tokenizer = load_tokenizer()
    assert tokenizer.get_vocab_size() == 1000
    for text in ("The quick brown fox, 27!", "naïve \u3042 \\ |"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="the shipped weights are not here")
def test_shipped_weights_read_the_embedded_set():
    from bench.core.metrics import score_line
    from bench.training.validate import ctc_scores
    from datasets import DATASETS

    encoder = MiniSpec().open(Runtime())
    lines = DATASETS.create("lines").load("test", 24).lines
    assert score_line("a", "a").edits == 0
    assert ctc_scores(encoder.net, {"lines": lines})["lines"].cer < 0.10
