"""The contract of a corrector: what a decoder read, and the encoding behind it, to other texts."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import Unavailable
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders.base import Decoder

REFUSED = "refused: "  # how the verdict on an answer begins that was not taken


@dataclass(frozen=True, eq=False)
class Read:
    """What a decoder read of a batch.

    lines: one `Decoded` a line.
    decoder: which said so; it is open.
    """

    encoded: Encoded
    lines: Sequence[Decoded]
    decoder: Decoder


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
class Corrector(ABC):
    """A corrector is its options, like a decoder: a frozen dataclass; see `decoders.base`.

    free: it may write what the decoder could never write.
    tunes: options that are tuned on a val split, with the values to try, rising; None stands for
        the tuned value, and for that of `untuned` where nobody has tuned.
    once: asking again gives what was answered before, so that there is one round to measure.
    """

    free: ClassVar[bool] = True
    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {}
    untuned: ClassVar[Mapping[str, float]] = {}
    once: ClassVar[bool] = False

    _values: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def wanted(self) -> int:
        """How many alternatives of each line it has a use for."""
        return 1

    def missing(self, encoder: EncoderInfo, decoder: Decoder) -> Unavailable | None:
        """Why it cannot correct what this decoder reads; None when it can."""
        return None

    def open(self, encoder: EncoderInfo, decoder: Decoder) -> None:
        """Make what `correct` needs, outside of the measured time.

        Raises:
            UserError: an option, a file or a server that it names cannot be used.
        """

    @abstractmethod
    def correct(self, read: Read) -> list[Correction]:
        """One `Correction` a line, in order."""

    def weigh(self, values: Mapping[str, float]) -> None:
        """Correct with these values of options of `tunes` from now on."""
        self._values.update(values)

    def close(self) -> None:
        """Give back what `open` made."""

    def extras(self) -> Mapping[str, Any]:
        """What belongs into the row besides the options; `lm` and `lm_sha256` name its model.

        Callable after `open`.
        """
        return {}

    def spent(self) -> Mapping[str, float]:
        """What it has cost since it was opened, by kind ("requests", "tokens", ...)."""
        return {}

    def recalled_s(self) -> float:
        """Seconds that answers took once which `correct` had from its memory; told once."""
        return 0.0


def options(thing: Any) -> dict[str, Any]:
    """The options of a decoder or corrector with their values."""
    return {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing) if f.init}


def alternatives(line: Decoded) -> list[tuple[str, float]]:
    """The texts that a decoder tells of a line, the best first; each once."""
    found = dict(line.nbest or ((line.text, line.score if line.score is not None else 0.0),))
    return list(found.items())


Scores = NDArray[np.float64]
