"""How well lines were read while training goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.core.metrics import count_edits


@dataclass(frozen=True)
class ReadScore:
    """How lines were read.

    edits, characters: summed over the lines.
    reference, text: the last line as an example.
    """

    edits: int
    characters: int
    reference: str
    text: str

    @property
    def cer(self) -> float:
        """Micro CER, a fraction."""
        return micro_cer([self])


def scored(pairs: Iterable[tuple[str, str]]) -> ReadScore:
    """The score of at least one (reference, text)."""
    pairs = list(pairs)
    return ReadScore(*count_edits(pairs), *pairs[-1])


def micro_cer(scores: Iterable[ReadScore]) -> float:
    """Over all lines of several sets, a fraction."""
    scores = list(scores)
    edits = sum(score.edits for score in scores)
    return edits / max(1, sum(score.characters for score in scores))
