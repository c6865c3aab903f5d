"""A gate before a corrector: only lines that the decoder is unsure of, and only small changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from rapidfuzz.distance import Levenshtein

from bench.core.errors import UserError
from decoders.correctors.base import REFUSED, SURE, Correction, Corrector, Read
from decoders.correctors.confidence import confidences

_TOO_FAR = f"{REFUSED}changes more than the gate allows"


@dataclass(frozen=True)
class Gated(Corrector):
    """Correct only where the decoder is unsure, and only as much as `edits` allows.

    Language models mend bad lines and spoil good ones (Zhang et al. 2024; Crosilla et al. 2025),
    so lines that are probably right never reach the corrector.

    threshold: lines with a confidence from here on are left alone; 0 leaves all alone, above 1
        none. The confidence is the geometric mean of the probabilities of what was read: of the
        emitting frames of the best CTC path, or of the tokens of an autoregressive decoder.
        None is the value tuned for the encoder, see `decoders/tuned.json`.
    edits: most character edits of a correction, as a share of the length of the line.
    """

    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "threshold": (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 1.01),
    }
    untuned: ClassVar[Mapping[str, float]] = {"threshold": 0.85}

    threshold: float | None = None
    edits: float = 0.25
    _inner: Corrector | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.threshold is not None and self.threshold < 0:
            raise UserError(f"threshold is a confidence, 0 or more, not {self.threshold}")
        if not 0 <= self.edits <= 1:
            raise UserError(f"edits is a share of the line, 0 to 1, not {self.edits}")

    def around(self, inner: Corrector) -> Gated:
        """This gate before a corrector."""
        gate = dataclasses.replace(self)
        object.__setattr__(gate, "_inner", inner)
        return gate

    def correct(self, read: Read) -> list[Correction]:
        """Of lines that are sure the decoder's text, of the others the correction if it is near."""
        assert self._inner is not None  # `stage` makes no gate without one
        unsure = np.flatnonzero(confidences(read) < self._values["threshold"]).tolist()
        found = [Correction(x.text, SURE, x.score) for x in read.lines]
        if unsure:
            answers = self._inner.correct(read.part(unsure))
            for place, answer in zip(unsure, answers, strict=True):
                found[place] = self._allowed(read.lines[place].text, answer)
        return found

    def _allowed(self, text: str, answer: Correction) -> Correction:
        if Levenshtein.distance(text, answer.text) > self.edits * max(len(text), 1):
            return Correction(text, _TOO_FAR)
        return answer
