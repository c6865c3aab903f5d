"""Systems on a clock that only they move, for tests of the speed table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import torch

from bench.analysis.speed.job import REFERENCE
from bench.core.registry import Entry, Registry
from bench.core.types import ARModel, Decoded, Encoded, EncoderInfo, Image, Needs, Runtime
from bench.pipeline.plan import Registries
from decoders.base import Decoder, DecoderSpec
from models.base import Encoder, EncoderSpec
from tests.harness_doubles import FakeMeter, registries

HERE = __name__
METER = FakeMeter()  # of the test that runs; tests put a new one here
RAISES: list[BaseException] = []  # raised by the next decoder that is asked for it
READ: list[int] = []  # batch sizes that decoders saw

EOS = 2
PREPARE_S, ENCODE_S, TEXT_S = 100.0, 1.0, 1000.0  # a line


@dataclass(frozen=True)
class Clockwork(EncoderSpec):
    """Reads the ids 7, 8, 9 and EOS out of every line."""

    name: ClassVar[str] = "clockwork"
    weights: str = "0123456789abcdef"

    def missing(self) -> None:
        return None

    def open(self, runtime: Runtime) -> Encoder:
        return ClockworkEncoder(self.weights)


class ClockworkEncoder(Encoder):
    def __init__(self, weights: str) -> None:
        self.info = EncoderInfo("clockwork", weights, {"encoder": 3, "ar": 4}, (), has_ar=True)

    def prepare(self, images: Sequence[Image]) -> torch.Tensor:
        METER.work(PREPARE_S * len(images))
        return torch.zeros(len(images), 1)

    def encode(self, batch: torch.Tensor) -> Encoded:
        METER.work(0.0, device_s=ENCODE_S * len(batch))
        head = ARModel(None, None, _text, start_id=EOS, eos_id=EOS, pad_id=1, max_new_tokens=9)
        states = batch[:, None, :]
        return Encoded(states, torch.ones(states.shape[:2], dtype=torch.bool), ar=head)

    def module(self) -> Any:
        return SimpleNamespace()


def _text(ids: list[int]) -> str:
    METER.work(TEXT_S)
    return "".join(map(chr, (i + 90 for i in ids if i != EOS)))


@dataclass(frozen=True)
class SearchSpec(DecoderSpec):
    """Takes `line_s` for each line, and `first_s` once.

    on_call: what it does then ("raise" what `RAISES` holds).
    """

    needs: ClassVar[Needs] = "states"
    line_s: float = 1.0
    first_s: float = 0.0
    on_call: str = ""

    def open(self, encoder: EncoderInfo) -> Decoder:
        return Search(self)


class Search(Decoder):
    spec: SearchSpec
    warm = False

    def decode(self, encoded: Encoded) -> list[Decoded]:
        if self.spec.on_call == "raise" and RAISES:
            raise RAISES.pop()
        lines = len(encoded.states)
        READ.append(lines)
        METER.work(self.spec.line_s * lines + (0.0 if self.warm else self.spec.first_s))
        self.warm = True
        assert encoded.ar is not None
        return [Decoded(encoded.ar.detokenize([7, 8, 9, EOS]), tokens=4) for _ in range(lines)]


def clockwork(**more: Entry) -> Registries:
    """Registries with `Clockwork`, trained and not, the reference and a decoder twice as fast."""
    base = registries()
    encoders = {
        "trocr-small": Entry(f"{HERE}:Clockwork", "", {}),
        "trocr-large": Entry(f"{HERE}:Clockwork", "", {"weights": "untrained"}),
    }
    decoders = {
        REFERENCE: Entry(f"{HERE}:SearchSpec", "", {"line_s": 3.0}),
        "ar-greedy": Entry(f"{HERE}:SearchSpec", "", {"line_s": 1.0}),
    }
    return Registries(
        Registry("encoder", encoders),
        Registry("decoder", {**decoders, **more}),
        base.datasets,
        base.damages,
    )
