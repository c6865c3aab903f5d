"""The architectures of TrOCR with random weights, and the lengths that they emit."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from transformers import VisionEncoderDecoderModel

from bench.core.errors import UserError
from bench.core.types import Image, Runtime
from datasets import DATASETS
from decoders.ar.beam import AutoregressiveSpec
from models import ENCODERS
from models.trocr import TrOCRSpec
from models.trocr_shapes import SHAPES, build
from models.trocr_untrained import tokens_of
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
    width = SHAPES[shape].width
    classifier = SHAPES[shape].special_tokens * (width + 1) * 1000  # that of the authors' code
    assert round((count(model) - pooler + classifier) / 1e6) == paper


@pytest.mark.parametrize("shape", SHAPES)
def test_the_size_of_the_file_is_that_of_its_numbers(shape: str) -> None:
    model = on_meta(shape)
    size = 4 * (count(model) - count(model.encoder.pooler)) / 1e6
    assert SHAPES[shape].file_mb == pytest.approx(size, abs=0.06)


@pytest.fixture(scope="module")
def tiny() -> Any:
    return build("tiny", 0)


@torch.inference_mode()
def test_a_built_model_runs(tiny: Any) -> None:
    shape = SHAPES["tiny"]
    states = tiny.encoder(torch.zeros(1, 3, 384, 384)).last_hidden_state
    assert states.shape == (1, shape.special_tokens + 24 * 24, shape.width)
    logits = tiny.decoder(torch.tensor([[2, 5]]), encoder_hidden_states=states).logits
    assert logits.shape == (1, 2, shape.vocabulary)
    assert logits.isfinite().all() and logits.std() > 0
    assert not tiny.training
    assert tiny.decoder.output_projection.weight is tiny.decoder.model.decoder.embed_tokens.weight


def test_weights_are_the_seeds_and_the_same_everywhere(tiny: Any) -> None:
    """The hash is of the numbers on the machine where this test was written."""
    digest = hashlib.sha256()
    for name, parameter in sorted(tiny.named_parameters()):
        digest.update(name.encode() + parameter.detach().numpy().tobytes())
    assert digest.hexdigest()[:16] == "2a5320c60ddb62ab"
    again, other = build("tiny", 0), build("tiny", 1)
    for (name, mine), same, differs in zip(
        tiny.named_parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(mine, same), name
        assert name.endswith("bias") or "norm" in name or not torch.equal(mine, differs), name


def test_random_weights_have_the_spread_of_an_initialisation(tiny: Any) -> None:
    for name, parameter in tiny.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name.split(".")[-2]:
            assert (parameter == 1).all(), name
        elif parameter.numel() > 1000:
            assert float(parameter.detach().std()) == pytest.approx(0.02, rel=0.1), name


def test_a_shape_that_is_not_there() -> None:
    with pytest.raises(UserError, match="did you mean base"):
        build("bass", 0)


@pytest.fixture(scope="module")
def lines() -> list[Image]:
    return [line.image for line in DATASETS.create("lines").load("test").lines]


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
    assert np.mean(tokens) == pytest.approx(mean, rel=0.02)
    assert np.std(tokens) > 3, "as the lengths of texts do, they differ"
    assert np.corrcoef(tokens, [aspect(image) for image in lines])[0, 1] > 0.99


def test_lengths_stay_within_what_a_decoder_can_do() -> None:
    assert tokens_of(0.01, SHAPES["base"]) == 2
    assert tokens_of(10_000, SHAPES["base"]) == SHAPES["base"].positions


@pytest.mark.parametrize("beam", [1, 5])
def test_every_line_has_the_length_of_its_width(
    untrained: Any, lines: list[Image], beam: int
) -> None:
    images = [lines[place] for place in (0, 40, 80)]
    encoded = untrained.encode(untrained.prepare(images))
    found = AutoregressiveSpec(beam=beam).open(info()).decode(encoded)
    wanted = [tokens_of(aspect(image), SHAPES["tiny"]) for image in images]
    assert len(set(wanted)) > 1
    assert [line.tokens for line in found] == wanted
    assert not any(line.truncated for line in found)
    (alone,) = (
        AutoregressiveSpec(beam=beam)
        .open(info())
        .decode(untrained.encode(untrained.prepare(images[1:2])))
    )
    assert alone.tokens == wanted[1]


def test_pixels_are_prepared_as_the_authors_do(untrained: Any, lines: list[Image]) -> None:
    pixels, _ = untrained.prepare(lines[:1])
    small = Picture.fromarray(lines[0]).resize((384, 384), Picture.Resampling.BICUBIC)
    expected = torch.from_numpy(np.asarray(small) / 255.0 * 2 - 1).float()
    assert pixels.shape == (1, 3, 384, 384)
    for channel in pixels[0]:
        torch.testing.assert_close(channel, expected, rtol=0, atol=1e-5)


def test_what_is_said_of_it(untrained: Any) -> None:
    info = untrained.info
    assert info.weights == "untrained" and not info.trained and info.has_ar
    assert info.origin == "" and info.trained_on == ""
    assert set(info.parameters) == {"encoder", "pooler", "ar"}
    runs = sum(p.numel() for p in untrained.module().parameters())
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
