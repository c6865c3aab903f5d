"""TrOCR's architecture with random weights: what it emits, and what is said of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from bench.core.errors import UserError
from bench.core.types import Image, Runtime
from datasets import DATASETS
from decoders.ar.beam import AutoregressiveSpec
from models import ENCODERS
from models.trocr import TrOCRSpec
from models.trocr_shapes import SHAPES
from models.trocr_untrained import tokens_of
from tests.ctc_doubles import info


@pytest.fixture(scope="module")
def lines() -> list[Image]:
    return [line.image for line in DATASETS.create("lines").load("test").lines]


@pytest.fixture(scope="module")
def tiny() -> Any:
    return TrOCRSpec("nobody/has-this", shape="tiny", untrained=True).open(Runtime())


def aspect(image: Image) -> float:
    return image.shape[1] / image.shape[0]


@pytest.mark.parametrize(("shape", "mean"), [("small", 10.66), ("base", 10.96), ("large", 10.97)])
def test_lines_emit_as_many_tokens_as_in_the_paper(
    shape: str, mean: float, lines: list[Image]
) -> None:
    tokens = [tokens_of(aspect(image), SHAPES[shape]) for image in lines]
    assert np.mean(tokens) == pytest.approx(mean, rel=0.02)
    assert np.std(tokens) > 3, "as the lengths of texts do, they differ"
    assert np.corrcoef(tokens, [aspect(image) for image in lines])[0, 1] > 0.99


def test_lengths_stay_within_what_a_decoder_can_do() -> None:
    assert tokens_of(0.01, SHAPES["base"]) == 2
    assert tokens_of(10_000, SHAPES["base"]) == SHAPES["base"].positions


@pytest.mark.parametrize("beam", [1, 5])
def test_every_line_has_the_length_of_its_width(tiny: Any, lines: list[Image], beam: int) -> None:
    images = [lines[place] for place in (0, 40, 80)]
    encoded = tiny.encode(tiny.prepare(images))
    found = AutoregressiveSpec(beam=beam).open(info()).decode(encoded)
    wanted = [tokens_of(aspect(image), SHAPES["tiny"]) for image in images]
    assert len(set(wanted)) > 1
    assert [line.tokens for line in found] == wanted
    assert not any(line.truncated for line in found)
    (alone,) = (
        AutoregressiveSpec(beam=beam).open(info()).decode(tiny.encode(tiny.prepare(images[1:2])))
    )
    assert alone.tokens == wanted[1]


def test_pixels_are_prepared_as_the_authors_do(tiny: Any, lines: list[Image]) -> None:
    pixels, _ = tiny.prepare(lines[:1])
    small = Picture.fromarray(lines[0]).resize((384, 384), Picture.Resampling.BICUBIC)
    expected = torch.from_numpy(np.asarray(small) / 255.0 * 2 - 1).float()
    assert pixels.shape == (1, 3, 384, 384)
    for channel in pixels[0]:
        torch.testing.assert_close(channel, expected, rtol=0, atol=1e-5)


def test_what_is_said_of_it(tiny: Any) -> None:
    info = tiny.info
    assert info.weights == "untrained" and not info.trained and info.has_ar
    assert info.origin == "" and info.trained_on == ""
    assert set(info.parameters) == {"encoder", "pooler", "ar"}
    runs = sum(p.numel() for p in tiny.module().parameters())
    assert runs == info.parameters["encoder"] + info.parameters["ar"]


@pytest.mark.parametrize("name", [n for n in ENCODERS.names() if n.startswith("trocr-")])
def test_every_registered_one_can_run_untrained(name: str) -> None:
    spec = ENCODERS.create(name, {"untrained": True})
    assert spec.missing() is None
    assert spec.shape in SHAPES


def test_an_unknown_architecture_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"-o me/mine\.shape="):
        TrOCRSpec("me/mine", untrained=True)
    with pytest.raises(UserError, match="did you mean base"):
        TrOCRSpec("me/mine", shape="basse")
