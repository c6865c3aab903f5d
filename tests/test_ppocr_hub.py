"""PP-OCRv6's small recogniser in its makers' layout: a folder, and a Hub on this machine."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PPOCRV6SmallRecConfig, PPOCRV6SmallRecForTextRecognition

from bench.core.errors import UserError
from bench.core.hub import MAIN
from bench.core.progress import silent
from bench.core.types import Runtime
from models.alphabet import ALPHABET
from models.download import download
from models.ppocr_net import PPOCRConfig, PPOCRNet
from models.shipped import PPOCRSpec
from models.trocr import TrOCRSpec
from tests.fake_hub import serve

REPO = "PaddlePaddle/PP-OCRv6_small_rec_safetensors"
SYMBOLS = ["blank", "中", *string.printable[:94], "é", " "]


def published(folder: Path, symbols: list[str] = SYMBOLS, **config: Any) -> Any:
    """Random weights, norms' statistics too, as the makers publish theirs."""
    torch.manual_seed(0)
    model: Any = PPOCRV6SmallRecForTextRecognition(
        PPOCRV6SmallRecConfig(head_out_channels=len(SYMBOLS), **config)
    )
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and "num_batches" not in name:
            tensor.copy_(torch.rand_like(tensor) + 0.5 if "var" in name else tensor + 0.02)
    model.save_pretrained(folder)
    stated = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 48, "width": 320}}
    stated["character_list"] = symbols
    (folder / "preprocessor_config.json").write_text(json.dumps(stated))
    return model.eval()


def test_a_folder_reads_as_transformers_does(tmp_path):
    model = published(tmp_path)
    encoder: Any = PPOCRSpec(weights=str(tmp_path)).open(Runtime())
    makers = PPOCRNet(PPOCRConfig(pool=2))
    makers.load_state_dict(encoder.net.state_dict())
    grey = torch.rand(2, 1, 48, 160)
    with torch.inference_mode():
        theirs = model(grey.expand(-1, 3, -1, -1) * 2 - 1).last_hidden_state
        ours = makers.eval()(1 - grey)[1].softmax(-1)
    own = theirs[..., [0, *(SYMBOLS.index(symbol, 1) for symbol in ALPHABET[1:])]]
    assert torch.allclose(ours, own / own.sum(-1, keepdim=True), atol=1e-5)
    assert ours.std(-1).min() > 1e-4  # not the same for all symbols
    encoded = encoder.encode(encoder.prepare([np.full((60, 300), 200, np.uint8)]))
    assert encoded.alphabet == ALPHABET and encoded.frames.tolist() == [70]
    assert encoder.info.trained and not encoder.info.has_ar


def test_the_makers_are_fetched_and_read_by_their_id(tmp_path, monkeypatch):
    published(tmp_path / "repo")
    spec = PPOCRSpec(weights=REPO)
    with serve(tmp_path / "cache", monkeypatch) as server:
        commit = server.push(REPO, tmp_path / "repo")
        missing = spec.missing()
        assert missing and f"data get --encoder {REPO}" in missing.remedy
        download(REPO, MAIN, silent)
        fetched = [r for r in server.requests if r.startswith("GET /Paddle")]
        assert len(fetched) == 3
        assert spec.missing() is None
        info = spec.open(Runtime()).info
    assert info.origin == f"{REPO}@{commit}" and "name no data sets" in info.trained_on


def test_a_trocr_points_to_the_encoder_that_reads_it(tmp_path):
    published(tmp_path)
    with pytest.raises(UserError, match="read it with -o ppocr"):
        TrOCRSpec(repo=str(tmp_path)).open(Runtime())


def other_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "pp_ocrv6_tiny_rec"}))


def not_finite(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["head.head.bias"][3] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def cut_off(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def lacking(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["head.encoder.norm.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def other_pixels(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({"character_list": SYMBOLS}))


def no_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def without_letters(folder: Path) -> None:
    published(folder, SYMBOLS[:20])


def wider(folder: Path) -> None:
    published(folder, hidden_size=128)


def more_symbols(folder: Path) -> None:
    published(folder, [SYMBOLS[0], *["x"] * 30, *SYMBOLS[1:]])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (other_type, "says model_type pp_ocrv6_tiny_rec, not pp_ocrv6_small_rec"),
        (not_finite, "not finite"),
        (cut_off, "cannot be used"),
        (lacking, "they lack head.encoder.norm.weight"),
        (other_pixels, "does not put black at -1 and white at 1"),
        (no_processor, "the image processor"),
        (without_letters, "lacks 77 symbols of printable ASCII"),
        (wider, "another shape"),
        (more_symbols, "fewer symbols than it lists"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(
    tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    published(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=words) as refused:
        PPOCRSpec(weights=str(tmp_path)).open(Runtime())
    assert "\n" not in str(refused.value)
