"""The architectures of TrOCR and their random weights."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch
from transformers import VisionEncoderDecoderModel

from bench.core.errors import UserError
from models.trocr_shapes import SHAPES, build


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
