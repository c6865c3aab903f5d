"""Isolated words and characters as pen strokes: one JSON object a line, compressed.

`{"w": writer, "t": text, "s": [[x0, y0, x1, y1, ...], ...]}` in device units, y growing downwards,
with the left edge and the top of the ink at 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import UserError
from datasets.unipen import read_strokes


@dataclass(frozen=True, eq=False)
class Piece:
    """A word or a character. flat: coordinates of a stroke each, x and y in turn."""

    writer: str
    text: str
    flat: list[list[float]]

    def strokes(self) -> list[NDArray[np.float32]]:
        """The strokes, (N, 2) each, y growing downwards.

        Raises:
            ValueError: they are not lists of points.
        """
        strokes = [np.array(stroke, np.float32).reshape(-1, 2) for stroke in self.flat]
        if not strokes or not all(len(s) and np.isfinite(s).all() for s in strokes):
            raise ValueError("its strokes are not lists of points")
        return strokes


def read_pieces(path: Path) -> Iterator[Piece]:
    """The pieces of a file; their coordinates are not looked at.

    Raises:
        UserError: the file is damaged or a line of it is no piece.
    """
    for number, record in enumerate(read_strokes(path), 1):
        try:
            found: Any = json.loads(record)
            piece = Piece(found["w"], found["t"], found["s"])
            if not (isinstance(piece.writer, str) and isinstance(piece.text, str)):
                raise TypeError("a writer or a text is no string")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"line {number} of {path} is no isolated word or character") from error
        yield piece
