"""How much of a test set a language model has seen: the check against a leak of test text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

GRAM = 8  # words: as many in a row are hardly ever the same by chance


@dataclass(frozen=True)
class Overlap:
    """Test lines, and runs of `GRAM` words within them, that stand in a model's text.

    Words are compared as they stand; where the text breaks its lines does not matter.
    grams: distinct runs of `GRAM` words within a line; shorter lines have none.
    """

    lines: int
    lines_seen: int
    grams: int
    grams_seen: int

    @property
    def line_share(self) -> float | None:
        """Share of the lines that were seen; None without lines."""
        return self.lines_seen / self.lines if self.lines else None

    @property
    def gram_share(self) -> float | None:
        """Share of the runs of words that were seen; None without any."""
        return self.grams_seen / self.grams if self.grams else None


def overlap(lines: Iterable[str], text: Iterable[str]) -> Overlap:
    """Look for the lines of a test set in the text of a language model.

    Args:
        lines: references of the test set; blank ones are left out.
        text: lines or paragraphs of the model's text, in order.
    """
    tested = [words for line in lines if (words := line.split())]
    stream = [word for line in text for word in line.split()]
    everything = f" {' '.join(stream)} "
    grams = {gram for words in tested for gram in _runs(words)}
    return Overlap(
        lines=len(tested),
        lines_seen=sum(f" {' '.join(words)} " in everything for words in tested),
        grams=len(grams),
        grams_seen=len(grams.intersection(_runs(stream))),
    )


def _runs(words: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(GRAM)), strict=False)
