"""The embedded data set `lines`: corpus text in rendered handwriting, exact character boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.core.types import Line, LineSet
from datasets.handwriting import write
from datasets.levels import LevelSet, line_texts
from datasets.raster import draw_strokes, on_paper
from datasets.seeds import stream

# Writers of the splits never meet: "test-17" is no writer of train.
_WRITERS = {"train": 200, "val": 40, "test": 60}


@dataclass(frozen=True)
class RenderedLines(LevelSet):
    """Lines in 300 hands (200 train, 40 val, 60 test), spread over the documents of a split."""

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Render the first `limit` lines of a split."""
        self.check_split(split)
        count = self.size if limit is None else min(limit, self.size)
        return self.gathered(
            self.at_level("lines"),
            split,
            (self._line(split, number, text) for number, text in self._texts(split, count)),
            total=count,
            source="Kaidoku corpus, rendered from Hershey's stroke fonts",
            licence="as the project",
            references="corpus",
        )

    def _texts(self, split: str, count: int) -> list[tuple[int, str]]:
        texts = line_texts(split, self.level)
        order = stream("kaidoku-order-1", split).permutation(len(texts))
        return [(int(i), texts[i]) for i in order[:count]]

    def _line(self, split: str, number: int, text: str) -> Line:
        chosen = stream("kaidoku-writer-1", split, number).integers(_WRITERS[split])
        writer = f"{split}-{int(chosen):03d}"
        line = f"{self.level}-{split}-{number:05d}"
        writing = write(text, writer, line)
        coverage = draw_strokes(writing.strokes, writing.shape, writing.widths)
        return Line(
            id=line,
            image=on_paper(coverage, writer, line),
            text=text,
            writer=writer,
            split=split,
            boxes=np.ascontiguousarray(writing.boxes),
            box_source="renderer",
        )
