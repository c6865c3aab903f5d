"""The data set `unipen`: real pen strokes on a screen or tablet, drawn as lines 64 px high.

It has two files in the data root, or embedded ones of val and test: `unipen_lines.tsv`, a
tab-separated table without quoting, and `unipen_lines.strokes.jsonl.gz`, one JSON object per line
in the same order, whose `strokes` are lists of [x, y] points in device units, y growing upwards.
Isolated words and characters are JSON objects too: `{"w": writer, "t": text, "s": [[x0,
y0, x1, y1, ...], ...]}` with y growing downwards and the left edge and the top of the ink at 0.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import Unavailable, UserError
from bench.core.registry import did_you_mean
from bench.core.types import BadLine, Line, LineSet
from datasets.base import Dataset, make_line
from datasets.raster import Stroke, draw_strokes, fit_strokes
from datasets.sources import SOURCES, folder_with

TABLE, STROKES = SOURCES["unipen"].files
COLUMNS = ("file", "writer", "split", "width", "height", "quality", "text")

HEIGHT, MARGIN, PEN = 64, 6, 2.0  # pixels; those of the widths in the table

_LONGEST = 1 << 24  # bytes of a line: a hostile file may unpack to one without end
_REMEDY = "get it anew: python -m bench data get unipen"
_SUBSETS = {
    "bb+lex": ("bba", "bbb", "bbc", "bbd", "lex"),
    "bb": ("bba", "bbb", "bbc", "bbd"),
    "lex": ("lex",),
    "all": ("aga", "apa", "app", "art", "bba", "bbb", "bbc", "bbd", "dar", "hpb", "lex", "phi"),
}


@dataclass(frozen=True)
class Unipen(Dataset):
    """UNIPEN train_r01_v07: 5,528 English lines in 88 hands; splits by writer.

    subset: "bb+lex"; its parts "bb" (unique news sentences of about 117 characters) and "lex"
        (about 25 characters, half of the longer ones in train as well: `check leak`); or "all",
        where most writers copied the same prompts, so that many test texts are in train.
    """

    subset: str = "bb+lex"

    def missing(self) -> Unavailable | None:
        """None: val and test are embedded."""
        return None

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Draw the first `limit` lines of a split."""
        if self.subset not in _SUBSETS:
            hint = did_you_mean(self.subset, _SUBSETS)
            raise UserError(f"unipen has no subset {self.subset!r}{hint}")
        self.check_split(split)
        root = folder_with("unipen", split)
        chosen = [
            index
            for index, row in enumerate(read_index(root / TABLE))
            if row["split"] == split and row["file"].partition("_")[0] in _SUBSETS[self.subset]
        ]
        source = SOURCES["unipen"]
        return self.gathered(
            "unipen" if self.subset == "bb+lex" else f"unipen-{self.subset}",
            split,
            self._lines(root, frozenset(chosen[:limit])),
            source=f"{source.url} @ {source.commit[:12]}",
            licence=source.licence,
            references="unipen",
            total=len(chosen[:limit]),
        )

    def _lines(self, root: Path, chosen: frozenset[int]) -> Iterator[Line | BadLine]:
        """Draw the chosen rows of the table; only their strokes are parsed."""
        last = max(chosen, default=-1)
        table, strokes = read_index(root / TABLE), read_strokes(root / STROKES)
        for index, (row, record) in enumerate(zip_longest(table, strokes)):
            if index > last:
                return
            if index in chosen and row is not None:
                yield _line(row, record)


def read_index(path: Path) -> Iterator[dict[str, str]]:
    """The rows of `unipen_lines.tsv` by column.

    Raises:
        UserError: it has other columns or fields.
    """
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        head = file.readline().rstrip("\n").split("\t")
        if tuple(head) != COLUMNS:
            raise UserError(
                f"{path} has the columns {', '.join(head)}, not {', '.join(COLUMNS)}; {_REMEDY}"
            )
        for number, row in enumerate(file, 2):
            fields = row.rstrip("\n").split("\t")
            if len(fields) != len(COLUMNS):
                raise UserError(
                    f"line {number} of {path} has {len(fields)} fields, not {len(COLUMNS)}; "
                    f"{_REMEDY}"
                )
            yield dict(zip(COLUMNS, fields, strict=True))


def read_strokes(path: Path) -> Iterator[bytes]:
    """The lines of `unipen_lines.strokes.jsonl.gz`, unparsed, since parsing is slow."""
    try:
        with gzip.open(path, "rb") as file:
            yield from iter(lambda: file.readline(_LONGEST), b"")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}); {_REMEDY}") from error


def parse_strokes(row: Mapping[str, str], record: bytes | None) -> list[Stroke]:
    """The strokes of a row of the table, (N, 2) each, y growing upwards.

    Raises:
        ValueError: the record is of another row, or has no strokes.
    """
    if record is None:
        raise ValueError("the file of strokes ends before it")
    values: Any = json.loads(record)
    if not isinstance(values, dict) or values.get("file") != row["file"]:
        raise ValueError("the table and the file of strokes do not go together")
    return _points(values.get("strokes") or [], ())


@dataclass(frozen=True, eq=False)
class Piece:
    """An isolated word or character. flat: x and y of a stroke in turn."""

    writer: str
    text: str
    flat: list[list[float]]

    def strokes(self) -> list[Stroke]:
        """The strokes, (N, 2) each, y growing downwards."""
        return _points(self.flat, (-1, 2))


def read_pieces(path: Path) -> Iterator[Piece]:
    """Read the pieces of a file, their strokes unchecked.

    Raises:
        UserError: the file is damaged, or a line of it is invalid.
    """
    for number, record in enumerate(read_strokes(path), 1):
        try:
            values: Any = json.loads(record)
            piece = Piece(values["w"], values["t"], values["s"])
            if not (isinstance(piece.writer, str) and isinstance(piece.text, str)):
                raise TypeError("a writer or a text is no string")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"line {number} of {path} is no isolated word or character") from error
        yield piece


def _points(lists: Any, shape: tuple[int, ...]) -> list[Stroke]:
    """Convert lists of numbers to strokes, optionally reshaped."""
    try:
        strokes = [np.array(stroke, np.float32) for stroke in lists]
        strokes = [stroke.reshape(shape or stroke.shape) for stroke in strokes]
    except (TypeError, ValueError) as error:
        raise ValueError(f"its strokes are not lists of points ({error})") from error
    if not strokes or any(s.ndim != 2 or s.shape[1] != 2 or not len(s) for s in strokes):
        raise ValueError("its strokes are not lists of points")
    if not all(np.isfinite(stroke).all() for stroke in strokes):
        raise ValueError("a point of its strokes is not finite")
    return strokes


def _line(row: Mapping[str, str], record: bytes | None) -> Line | BadLine:
    return make_line(
        row["file"].removesuffix(".png"),
        row["text"],
        lambda: draw(parse_strokes(row, record)),
        writer=row["writer"],
        split=row["split"],
    )


def draw(strokes: list[Stroke]) -> NDArray[np.uint8]:
    """Strokes with y growing upwards to black ink on white paper, (64, W)."""
    flipped = [stroke * np.array([1, -1], np.float32) for stroke in strokes]
    placed, shape = fit_strokes(flipped, HEIGHT, MARGIN)
    paper: NDArray[np.float32] = 255 * (1 - draw_strokes(placed, shape, PEN))
    return np.rint(paper).astype(np.uint8)
