"""A data set that a small network reads in seconds: letters are bars at their own heights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.core.errors import Unavailable
from bench.core.types import Image, Line, LineSet
from datasets.base import Dataset, fingerprint

LETTERS = "abcd"


def drawn(text: str) -> Image:
    """Each letter is 8 px wide with a bar at its height; a space is paper."""
    image = np.full((32, 8 * len(text)), 230, np.uint8)
    for place, letter in enumerate(text):
        if letter in LETTERS:
            row = 8 * LETTERS.index(letter)
            image[row : row + 8, 8 * place + 2 : 8 * place + 7] = 30
    return image


@dataclass(frozen=True)
class Marks(Dataset):
    """Texts of 1 to 4 letters, different in each split; the first three train lines are odd.

    odd: whether the train split begins with a text of a foreign character, a text that is too
        long for 16 frames, and a text without an odd thing.
    """

    size: int = 40
    odd: bool = False

    def missing(self) -> Unavailable | None:
        return None

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        rng = np.random.default_rng(self.splits.index(split))
        texts = ["".join(rng.choice(list(LETTERS), rng.integers(1, 5))) for _ in range(self.size)]
        if self.odd and split == "train":
            texts[:3] = ["aé", "aabbaabbaabb", "ab"]
        lines = tuple(
            Line(f"{split}-{i}", drawn(text), text, "w", split) for i, text in enumerate(texts)
        )[:limit]
        return LineSet("marks", split, lines, (), fingerprint(lines), "drawn", "none", "made")


TEXTS = ("ab", "ca", "d", "bdc")


@dataclass(frozen=True)
class FewMarks(Marks):
    """Train: `TEXTS` again and again. Val and test: texts of Marks."""

    size: int = 80
    texts: tuple[str, ...] = TEXTS

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        if split != "train":
            return Marks(self.size).load(split, limit)
        texts = [self.texts[i % len(self.texts)] for i in range(self.size)][:limit]
        lines = tuple(Line(f"train-{i}", drawn(t), t, "w", split) for i, t in enumerate(texts))
        return LineSet("few", split, lines, (), fingerprint(lines), "drawn", "none", "made")
