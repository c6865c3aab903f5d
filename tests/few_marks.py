"""A few lines of marks, over and over: what a small decoder learns by heart in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.types import Line, LineSet
from datasets.base import fingerprint
from tests.marks import Marks, drawn

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
