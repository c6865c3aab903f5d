"""The architectures of TrOCR with random weights, and the lengths that they emit."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from transformers import VisionEncoderDecoderModel

from bench.core.errors import UserError
from bench.core.types import Image, Runtime
from datasets import DATASETS
from decoders.ar.specs import AutoregressiveSpec
from models import ENCODERS
from models.trocr import TrOCRSpec
from models.trocr_model import tokens_of
from models.trocr_shapes import SHAPES, build
from tests.ctc_doubles import info


def count(module: Any) -> int:
    """Parameters, tied ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(shape: str) -> Any:
    """The model without its numbers."""
    with torch.device("meta"):
        return VisionEncoderDecoderModel(config=SHAPES[shape].config())


@pytest.mark.parametrize(
    ("shape", "paper", "without_pooler", "encoder", "decoder"),
    [
        ("small", 62, 61.45, 21.81, 39.64),
        ("base", 334, 333.33, 86.06, 247.27),
        ("large", 558, 557.18, 303.62, 253.56),
    ],
)
def test_parameters_are_those_of_the_paper(
    shape: str, paper: int, without_pooler: float, encoder: float, decoder: float
) -> None:
    """Millions as the speed table prints them, and what the files on the Hub hold."""
    model = on_meta(shape)
    pooler = count(model.encoder.pooler)
    assert round(count(model) / 1e6) == paper
    assert (count(model) - pooler) / 1e6 == pytest.approx(without_pooler, abs=0.006)
    assert (count(model.encoder) - pooler) / 1e6 == pytest.approx(encoder, abs=0.006)
    assert count(model.decoder) / 1e6 == pytest.approx(decoder, abs=0.006)


def test_weights_are_the_seeds_and_the_same_everywhere() -> None:
    """The hash is of the numbers on the machine where this test was written."""
    digest = hashlib.sha256()
    for name, parameter in sorted(build("tiny", 0).named_parameters()):
        digest.update(name.encode() + parameter.detach().numpy().tobytes())
    assert digest.hexdigest()[:16] == "2a5320c60ddb62ab"


@pytest.fixture(scope="module")
def lines() -> list[Image]:
    return [line.image for line in DATASETS.create("lines").load("test", 300).lines]


@pytest.fixture(scope="module")
def untrained() -> Any:
    return TrOCRSpec("nobody/has-this", shape="tiny", untrained=True).open(Runtime())


def aspect(image: Image) -> float:
    return image.shape[1] / image.shape[0]


@pytest.mark.parametrize(("shape", "mean"), [("small", 10.66), ("base", 10.96), ("large", 10.97)])
def test_lines_emit_as_many_tokens_as_in_the_paper(
    shape: str, mean: float, lines: list[Image]
) -> None:
    tokens = [tokens_of(aspect(image), SHAPES[shape]) for image in lines]
    assert np.mean(tokens) == pytest.approx(mean, rel=0.04)
    assert np.std(tokens) > 3, "as the lengths of texts do, they differ"
    assert np.corrcoef(tokens, [aspect(image) for image in lines])[0, 1] > 0.99


def test_lengths_stay_within_what_a_decoder_can_do() -> None:
    assert tokens_of(0.01, SHAPES["base"]) == 2
    assert tokens_of(10_000, SHAPES["base"]) == SHAPES["base"].positions


def test_every_line_has_the_length_of_its_width(untrained: Any, lines: list[Image]) -> None:
    images = [lines[place] for place in (0, 40, 80)]
    encoded = untrained.encode(untrained.prepare(images))
    found = AutoregressiveSpec(beam=2).open(info()).decode(encoded)
    expected = [tokens_of(aspect(image), SHAPES["tiny"]) for image in images]
    assert len(set(expected)) > 1
    assert [line.tokens for line in found] == expected
    assert not any(line.truncated for line in found)
    assert not untrained.info.trained and untrained.info.has_ar
    runs = sum(p.numel() for p in untrained.module().parameters())
    assert runs == untrained.info.parameters["encoder"] + untrained.info.parameters["ar"]


def test_every_registered_one_can_run_untrained() -> None:
    for name in (name for name in ENCODERS.names() if name.startswith("trocr-")):
        spec = ENCODERS.create(name, {"untrained": True})
        assert spec.missing() is None and spec.shape in SHAPES


def test_an_unknown_architecture_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"-o me/mine\.shape="):
        TrOCRSpec("me/mine", untrained=True)
    with pytest.raises(UserError, match="did you mean base"):
        TrOCRSpec("me/mine", shape="basse")
