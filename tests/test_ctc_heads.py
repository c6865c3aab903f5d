"""CTC heads: shapes, gradients, files, and a TrOCR with a head as an encoder of the registry."""

import dataclasses
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from transformers import AutoImageProcessor, DeiTConfig, ViTConfig

from bench.core.errors import Unavailable, UserError
from bench.core.files import content_hash
from bench.core.types import Runtime
from bench.training.augment import augment_image
from decoders import DECODERS
from models import ENCODERS
from models.alphabet import ALPHABET
from models.heads import HEADS
from models.heads.base import Grid, Head, PatchGrid, Reader, SubFrames
from models.heads.files import HeadNotes, load_head, save_head
from models.images import Pictures
from models.trocr_shapes import SHAPES
from tests.marks import Marks
from tests.tiny_trocr import lines, save_checkpoint, tiny_model

V = len(ALPHABET)
SMALL: dict[str, dict[str, Any]] = {
    "grid-subcol": {"per_column": 4, "width": 16, "hidden": 16, "layers": 2},
    "grid-linear": {"per_column": 4},
    "wide": {"height": 16, "width": 64, "features": 16, "hidden": 16},
    "query": {"count": 12, "width": 16, "heads": 2},
}
T = {"grid-subcol": 16, "grid-linear": 16, "wide": 16, "query": 12}


def head_for(name: str, encoder: Any, seed: int = 0) -> Head:
    torch.manual_seed(seed)
    config = HEADS.create(name, SMALL[name])
    return Head(config, Grid.of(encoder, config.image()), V).eval()


def pixels(head: Head, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, *head.geometry.image, generator=torch.Generator().manual_seed(0))


def notes(name: str, encoder_hash: str, **changes: Any) -> HeadNotes:
    made = HeadNotes(
        head=name, options=SMALL[name], encoder="tiny", encoder_hash=encoder_hash, unfrozen=False,
        data="marks", data_hash="0" * 64, alphabet=ALPHABET, steps=7, val_cer=0.25,
        val_data="marks", decoder="ctc-greedy", seed=0,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


@pytest.fixture(scope="module", params=["base", "small"])
def folder(request, tmp_path_factory) -> Path:
    """A checkpoint with one special token, and one with two."""
    made = tmp_path_factory.mktemp("trocr") / f"tiny-{request.param}"
    save_checkpoint(made, request.param)
    return made


# ---- the heads themselves ----


@pytest.mark.parametrize("kind", ["base", "small"])
@pytest.mark.parametrize("name", HEADS.names())
def test_a_head_gives_its_frames_and_every_parameter_learns(name, kind):
    encoder = tiny_model(kind, 100).encoder
    encoder.pooler = None
    reader = Reader(encoder, head_for(name, encoder.config)).train()
    logits = reader(pixels(reader.head))
    assert logits.shape == (2, T[name], V) == (2, reader.head.length, V)
    logits.logsumexp(-1).square().sum().backward()
    idle = [n for n, p in reader.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not [n for n in idle if "mask_token" not in n]


@pytest.mark.parametrize("name", HEADS.names())
@pytest.mark.parametrize("shape", ["small", "tiny"])
def test_the_default_heads_fit_trocr(name, shape):
    config, vision = HEADS.create(name), SHAPES[shape].config().encoder
    grid = Grid.of(vision, config.image())
    assert grid.rows * grid.columns == 576
    states = torch.zeros(1, 576 + SHAPES[shape].special_tokens, grid.width)
    with torch.inference_mode():
        logits = Head(config, grid, V)(states)
    assert logits.shape == (1, 160 if name == "query" else 192, V)


def test_patches_are_laid_out_in_reading_order_without_special_tokens():
    grid = Grid((16, 24), 2, 3, 1)
    for special in (1, 2):
        states = torch.arange(6.0 + special)[None, :, None]
        laid = PatchGrid(grid)(states)[0, ..., 0] - special
        assert laid.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="too few"):
        PatchGrid(grid)(torch.zeros(1, 5, 1))


def test_sub_frames_of_a_column_differ_and_stand_in_its_place():
    torch.manual_seed(0)
    frames = SubFrames(5, 3, 4)
    columns = torch.randn(1, 2, 5)
    out = frames(columns)
    assert out.shape == (1, 6, 4)
    assert len({tuple(row) for row in out[0].tolist()}) == 6
    other = columns.clone()
    other[0, 1] += 1
    changed = (frames(other) != out).any(-1)[0].tolist()
    assert changed == [False] * 3 + [True] * 3


def test_a_wide_image_interpolates_the_positions_and_the_own_size_does_not():
    encoder = tiny_model("base", 100).encoder
    wide = Reader(encoder, head_for("wide", encoder.config))
    square = Reader(encoder, head_for("grid-linear", encoder.config))
    assert (wide.resized, square.resized) == (True, False)
    assert wide.states(pixels(wide.head)).shape == square.states(pixels(square.head)).shape


@pytest.mark.parametrize(
    ("config", "image", "said"),
    [
        (ViTConfig(image_size=32, patch_size=8), (20, 64), "no whole number of patches"),
        (DeiTConfig(image_size=30, patch_size=8), None, "no whole number of patches"),
    ],
)
def test_an_image_of_broken_patches_is_refused(config, image, said):
    with pytest.raises(UserError, match=said):
        Grid.of(config, image)


# ---- pictures ----


@pytest.mark.parametrize("size", [None, (16, 64)])
def test_pictures_are_what_the_image_processor_makes(folder, size):
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    images = lines(6)
    wanted = {"size": {"height": size[0], "width": size[1]}} if size else {}
    grey = [Picture.fromarray(image).convert("RGB") for image in images]
    theirs = processor(grey, return_tensors="pt", **wanted)["pixel_values"]
    pictures = Pictures.of(processor, size)
    ours = pictures.pixels(pictures.squeeze(images))
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) < 1e-6


def test_augmentation_keeps_the_paper_and_the_ink():
    image = Marks().load("train", 1).lines[0].image
    rng = np.random.default_rng(0)
    assert (augment_image(image, rng, 0.0) == image).all()
    for size in ((32, 64), (300, 700), (1, 1), (3, 2000)):
        page = np.full(size, 230, np.uint8)
        page[size[0] // 3 : size[0] // 2 + 1, : size[1] // 2 + 1] = 30
        varied = augment_image(page, rng, 1.0)
        assert varied.dtype == np.uint8 and varied.shape[0] == min(size[0], 128)


# ---- files ----


@pytest.mark.parametrize("name", HEADS.names())
def test_a_head_comes_back_from_its_file_as_it_was(tmp_path, name):
    encoder = tiny_model("small", 100).encoder
    head = head_for(name, encoder.config)
    path = tmp_path / "head.safetensors"
    written = notes(name, "abc")
    save_head(path, head.state_dict(), written)
    back, read = load_head(path, encoder.config, "abc")
    assert read == written
    states = Reader(encoder, head).states(pixels(head))
    assert torch.equal(back(states), head(states))
    card = path.with_suffix(".md").read_text()
    assert f"`{name}`" in card and "`abc`" in card and "25.00 %" in card and "ctc-greedy" in card


def test_a_head_of_another_encoder_is_refused(tmp_path):
    config = tiny_model("base", 100).encoder.config
    path = tmp_path / "head.safetensors"
    save_head(path, head_for("grid-linear", config).state_dict(), notes("grid-linear", "theirs"))
    with pytest.raises(UserError, match=r"was trained on the weights theirs .* cannot read those"):
        load_head(path, config, "ours")


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_text(path: Path) -> None:
    path.write_text("no tensors")


def damage_lacking(path: Path) -> None:
    encoder = tiny_model("base", 100).encoder
    state = head_for("grid-linear", encoder.config).state_dict()
    state.pop("columns.row")
    save_head(path, state, notes("grid-linear", "abc"))


def damage_kind(path: Path) -> None:
    encoder = tiny_model("base", 100).encoder
    state = head_for("grid-linear", encoder.config).state_dict()
    save_head(path, state, dataclasses.replace(notes("grid-linear", "abc"), head="grid-lienar"))


def damage_foreign(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_cut, "no readable safetensors file"),
        (damage_text, "no readable safetensors file"),
        (damage_lacking, "is damaged .*columns.row"),
        (damage_kind, "did you mean grid-linear"),
        (damage_foreign, "no CTC head of this program"),
    ],
)
def test_a_damaged_head_is_one_sentence(tmp_path, damage, said):
    encoder = tiny_model("base", 100).encoder
    path = tmp_path / "head.safetensors"
    save_head(
        path, head_for("grid-linear", encoder.config).state_dict(), notes("grid-linear", "abc")
    )
    damage(path)
    with pytest.raises(UserError, match=said):
        load_head(path, encoder.config, "abc")


# ---- a TrOCR with a head ----


def headed(folder: Path, name: str, **changes: Any) -> Any:
    """The checkpoint opened with a new head of this kind, through the registry."""
    config = json.loads((folder / "config.json").read_text())["encoder"]
    vision = (DeiTConfig if config["model_type"] == "deit" else ViTConfig)(**config)
    path = folder.parent / f"{folder.name}-{name}.safetensors"
    made = notes(name, content_hash(folder / "model.safetensors"), **changes)
    save_head(path, head_for(name, vision).state_dict(), made)
    return ENCODERS.create(str(folder), {"head": str(path)}).open(Runtime())


@pytest.mark.parametrize("name", HEADS.names())
def test_an_encoding_carries_both_heads_where_both_fit(folder, name):
    plain = ENCODERS.create(str(folder)).open(Runtime())
    encoder = headed(folder, name)
    images = lines(3)
    encoded = encoder.encode(encoder.prepare(images))
    assert encoded.log_probs.shape == (3, T[name], V)
    assert encoded.frames.tolist() == [T[name]] * 3
    assert encoded.alphabet == encoder.info.alphabet == ALPHABET
    torch.testing.assert_close(encoded.log_probs.exp().sum(-1), torch.ones(3, T[name]))
    assert (encoded.ar is None) == (name == "wide") == (not encoder.info.has_ar)
    info = encoder.info
    head = encoder.module().head
    assert info.parameters["ctc"] == sum(p.numel() for p in head.parameters())
    assert info.weights not in ("untrained", plain.info.weights)
    assert f"head {name}" in info.origin and "marks (train)" in info.trained_on
    if name != "wide":
        assert torch.equal(encoded.states, plain.encode(plain.prepare(images)).states)


def test_an_encoder_that_was_trained_along_leaves_its_ar_decoder_behind(folder):
    encoder = headed(folder, "grid-linear", unfrozen=True)
    assert not encoder.info.has_ar and encoder.encode(encoder.prepare(lines(1))).ar is None
    absent = DECODERS.create("ar-greedy").missing(encoder.info)
    assert isinstance(absent, Unavailable)


def test_what_cannot_be_opened_says_so(folder, tmp_path):
    spec = ENCODERS.create(str(folder), {"head": str(tmp_path / "none.safetensors")})
    absent = spec.missing()
    assert absent and "no head" in absent.reason and "train ctc" in absent.remedy
    with pytest.raises(UserError, match="untrained weights have no head"):
        ENCODERS.create("trocr-base", {"untrained": True, "head": "x.safetensors"})


CTC = [name for name in DECODERS.names() if DECODERS.create(name).needs == "log_probs"]


@pytest.mark.parametrize("name", CTC)
def test_ctc_decoders_keep_their_contract_on_a_head(tmp_path, name):
    save_checkpoint(tmp_path / "tiny-base", "base")
    encoder = headed(tmp_path / "tiny-base", "grid-subcol")
    images = lines(4)
    decoder = DECODERS.create(name)
    assert decoder.missing(encoder.info) is None
    decoder = decoder.open(encoder.info)
    try:
        encoded = encoder.encode(encoder.prepare(images))
        results = decoder.decode(encoded)
        backwards = decoder.decode(encoder.encode(encoder.prepare(images[::-1])))
    finally:
        decoder.close()
    assert [r.text for r in results] == [r.text for r in backwards][::-1]
    for result in results:
        assert set(result.text) <= set(ALPHABET) and 0 <= result.tokens <= T["grid-subcol"]
        scores = [score for _, score in result.nbest]
        assert all(a >= b for a, b in pairwise(scores))
        assert result.score is None or not math.isnan(result.score)
