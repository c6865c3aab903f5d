"""The contract of a corrector: what a decoder read, and the encoding behind it, to other texts."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import Unavailable
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders.base import Decoder, DecoderSpec, Stage

REFUSED = "refused: "  # how the verdict on an answer begins that was not taken


@dataclass(frozen=True)
class Correction:
    """What becomes of one line.

    verdict: why the text is as the decoder read it, where that was decided by rule: `REFUSED` and
        the reason; "" for the corrector's own text, changed or not.
    score: of the text, where the corrector has one (natural log, higher is better).
    nbest: (text, score) best first, where it has put alternatives in order.
    """

    text: str
    verdict: str = ""
    score: float | None = None
    nbest: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class CorrectorSpec(ABC):
    """A registered corrector; its fields are its options, like those of a `DecoderSpec`.

    free: it may write what the decoder could never write.
    tunes: as of a decoder; untuned: the values where nobody has tuned.
    """

    free: ClassVar[bool] = True
    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {}
    untuned: ClassVar[Mapping[str, float]] = {}

    def wanted(self) -> int:
        """How many alternatives of each line it has a use for."""
        return 1

    def missing(self, encoder: EncoderInfo, decoder: DecoderSpec) -> Unavailable | None:
        """Why it cannot correct what this decoder reads; None when it can."""
        return None

    @abstractmethod
    def open(self, encoder: EncoderInfo, decoder: Decoder) -> Corrector:
        """Make what it needs, outside of the measured time.

        Raises:
            UserError: an option, a file or a server that it names cannot be used.
        """


class Corrector(Stage):
    """An open corrector behind an open decoder.

    values: the weights in force, by option. Its `extras` name its model: `lm` and `lm_sha256`.
    """

    kind = "corrector"
    spec: Any

    def __init__(self, spec: CorrectorSpec, decoder: Decoder) -> None:
        self.spec, self.decoder = spec, decoder
        self.values: dict[str, float] = {}

    @abstractmethod
    def correct(self, encoded: Encoded, lines: Sequence[Decoded]) -> list[Correction]:
        """One `Correction` a line, in order."""

    def run(self, encoded: Encoded, lines: Sequence[Decoded]) -> list[Decoded]:
        """The lines corrected; each keeps what the decoder read, and its tokens."""
        found = self.correct(encoded, lines) if lines else []
        return [_corrected(line, one) for line, one in zip(lines, found, strict=True)]

    def reweight(self, values: Mapping[str, float]) -> None:
        """Correct with these values of options of `tunes` from now on."""
        self.values.update(values)


def _corrected(line: Decoded, found: Correction) -> Decoded:
    return dataclasses.replace(
        line,
        text=found.text,
        score=found.score,
        nbest=found.nbest,
        uncorrected=line.text,
        verdict=found.verdict,
    )


def alternatives(line: Decoded) -> list[tuple[str, float]]:
    """The texts that a decoder tells of a line, the best first; each once."""
    found = dict(line.nbest or ((line.text, line.score if line.score is not None else 0.0),))
    return list(found.items())


Scores = NDArray[np.float64]
