"""CTC heads: shapes, gradients, files, and a TrOCR with a head as an encoder of the registry."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import save_file
from transformers import AutoImageProcessor, DeiTConfig, ViTConfig

from bench.core.errors import UserError
from bench.core.files import content_hash
from bench.core.types import Runtime
from models import ENCODERS
from models.alphabet import ALPHABET
from models.heads import HEADS
from models.heads.base import Grid, Head, HeadedViT, PatchGrid
from models.heads.files import HeadNotes, load_head, save_head
from models.images import Pictures
from models.trocr_shapes import SHAPES
from tests.tiny_trocr import lines, save_checkpoint, tiny_model

V = len(ALPHABET)
SMALL: dict[str, dict[str, Any]] = {
    "grid-subcol": {"per_column": 4, "width": 16, "hidden": 16, "layers": 2},
    "grid-linear": {"per_column": 4},
    "wide": {"height": 16, "width": 64, "features": 16, "hidden": 16},
}
T = {"grid-subcol": 16, "grid-linear": 16, "wide": 16}


def head_for(name: str, encoder: Any, seed: int = 0) -> Head:
    torch.manual_seed(seed)
    config = HEADS.create(name, SMALL[name])
    return Head(config, Grid.of(encoder, config.image()), V).eval()


def pixels(head: Head, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, *head.geometry.image, generator=torch.Generator().manual_seed(0))


def notes(name: str, encoder_hash: str) -> HeadNotes:
    return HeadNotes(
        head=name, options=SMALL[name], encoder="tiny", encoder_hash=encoder_hash, unfrozen=False,
        data="marks", data_hash="0" * 64, alphabet=ALPHABET, steps=7, val_cer=0.25,
        val_data="marks", decoder="ctc-greedy", seed=0,
    )  # fmt: skip


@pytest.fixture(scope="module", params=["base", "small"])
def folder(request, tmp_path_factory) -> Path:
    """A checkpoint with one special token, and one with two."""
    made = tmp_path_factory.mktemp("trocr") / f"tiny-{request.param}"
    save_checkpoint(made, request.param)
    return made


# ---- the heads themselves ----


@pytest.mark.parametrize("name", HEADS.names())
def test_a_head_gives_its_frames_and_every_parameter_learns(name):
    encoder = tiny_model("base", 100).encoder
    encoder.pooler = None
    reader = HeadedViT(encoder, head_for(name, encoder.config)).train()
    logits = reader(pixels(reader.head))
    assert logits.shape == (2, T[name], V) == (2, reader.head.length, V)
    logits.logsumexp(-1).square().sum().backward()
    idle = [n for n, p in reader.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not [n for n in idle if "mask_token" not in n]


@pytest.mark.parametrize("name", HEADS.names())
def test_the_default_heads_fit_trocr(name):
    config, vision = HEADS.create(name), SHAPES["small"].config().encoder
    grid = Grid.of(vision, config.image())
    assert grid.rows * grid.columns == 576
    states = torch.zeros(1, 576 + 2, grid.width)
    with torch.inference_mode():
        logits = Head(config, grid, V)(states)
    assert logits.shape == (1, 192, V)


def test_patches_are_laid_out_in_reading_order_without_special_tokens():
    grid = Grid((16, 24), 2, 3, 1)
    for special in (1, 2):
        states = torch.arange(6.0 + special)[None, :, None]
        laid = PatchGrid(grid)(states)[0, ..., 0] - special
        assert laid.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="too few"):
        PatchGrid(grid)(torch.zeros(1, 5, 1))


def test_an_image_of_broken_patches_is_refused():
    with pytest.raises(UserError, match="no whole number of patches"):
        Grid.of(ViTConfig(image_size=32, patch_size=8), (20, 64))


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


# ---- files ----


@pytest.fixture
def stored(tmp_path):
    """A head for the tiny encoder with the hash "abc", its encoder's configuration and its file."""
    encoder, path = tiny_model("base", 100).encoder, tmp_path / "head.safetensors"
    head = head_for("grid-linear", encoder.config)
    save_head(path, head.state_dict(), notes("grid-linear", "abc"))
    return head, encoder.config, path


def test_a_head_comes_back_from_its_file_as_it_was(stored):
    head, config, path = stored
    back, read = load_head(path, config, "abc")
    assert read == notes("grid-linear", "abc")
    states = torch.randn(2, 17, config.hidden_size)
    assert torch.equal(back(states), head(states))
    card = path.with_suffix(".md").read_text()
    assert "`grid-linear`" in card and "`abc`" in card and "25.00 %" in card


def cut_off(path: Path, state: Any) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def one_missing(path: Path, state: Any) -> None:
    state.pop("columns.row")
    save_head(path, state, notes("grid-linear", "abc"))


def misspelt(path: Path, state: Any) -> None:
    save_head(path, state, dataclasses.replace(notes("grid-linear", "abc"), head="grid-lienar"))


def no_head(path: Path, state: Any) -> None:
    save_file({"weight": torch.zeros(2)}, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut_off, "no readable safetensors file"),
        (one_missing, "is damaged .*columns.row"),
        (misspelt, "did you mean grid-linear"),
        (no_head, "no CTC head of this program"),
    ],
)
def test_a_damaged_head_is_one_sentence(stored, damage, said):
    head, config, path = stored
    damage(path, head.state_dict())
    with pytest.raises(UserError, match=said):
        load_head(path, config, "abc")


# ---- a TrOCR with a head ----


def headed(folder: Path, name: str) -> Any:
    """The checkpoint opened with a new head of this kind, through the registry."""
    config = json.loads((folder / "config.json").read_text())["encoder"]
    vision = (DeiTConfig if config["model_type"] == "deit" else ViTConfig)(**config)
    path = folder.parent / f"{folder.name}-{name}.safetensors"
    made = notes(name, content_hash(folder / "model.safetensors"))
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


def test_what_cannot_be_opened_says_so(folder, tmp_path):
    spec = ENCODERS.create(str(folder), {"head": str(tmp_path / "none.safetensors")})
    absent = spec.missing()
    assert absent and "no head" in absent.reason and "train ctc" in absent.remedy
    with pytest.raises(UserError, match="untrained weights have no head"):
        ENCODERS.create("trocr-base", {"untrained": True, "head": "x.safetensors"})
