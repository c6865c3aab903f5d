"""Whether a data set in the data root is what it should be."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.progress import Report, silent
from bench.core.types import BadLine
from datasets.images import decode
from datasets.parquet import Columns, read_rows
from datasets.pieces import Piece, read_pieces
from datasets.sources import Pieces, Source
from datasets.unipen import parse_strokes, read_strokes, read_table

State = Literal["right", "differs", "missing"]

_READING = "checking"


@dataclass(frozen=True)
class PiecesVerdict:
    """What was found of a set's isolated words or characters, which only training reads.

    state: "right" when they are the recorded ones, in whatever order.
    count, sha256: of all; 0 and "" where the file could not be read to its end.
    reason: what is wrong; "" when nothing is. The remedy is that of the set.
    """

    name: str
    state: State
    count: int = 0
    sha256: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """What was found of a set.

    state: "right" when it is the recorded content, line by line, whatever its pieces are.
    lines: lines by split. alphabet: every character of the texts, sorted.
    unreadable: lines without an image or strokes that can be read.
    sha256: of the content; "" where a file could not be read to its end.
    reason, remedy: what is wrong and the command that mends it; "" when nothing is.
    pieces: of its isolated words and characters.
    """

    name: str
    state: State
    lines: Mapping[str, int] = field(default_factory=dict)
    alphabet: str = ""
    unreadable: tuple[BadLine, ...] = ()
    sha256: str = ""
    reason: str = ""
    remedy: str = ""
    pieces: tuple[PiecesVerdict, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the set is right, and its pieces too."""
        return self.state == "right" and all(found.state == "right" for found in self.pieces)


def check(source: Source, root: Path | None, report: Report = silent) -> Verdict:
    """Read a set from end to end, with its words and characters, and compare it with its record."""
    found = check_lines(source, root, report)
    return replace(found, pieces=tuple(check_pieces(p, root, report) for p in source.pieces))


def check_lines(source: Source, root: Path | None, report: Report = silent) -> Verdict:
    """Compare the lines of a set with their record."""
    remedy = f"python -m bench data get {source.name}"
    if root is None:
        return Verdict(source.name, "missing", reason="there is no data root", remedy=remedy)
    absent = [file for file in source.files if not (root / file).is_file()]
    if absent:
        reason = f"{root} has no {' and no '.join(absent)}"
        return Verdict(source.name, "missing", reason=reason, remedy=remedy)
    tally = _Tally()
    try:
        if source.kind == "strokes":
            _tally_strokes(source, root, tally, report)
        else:
            _tally_images(source, root, tally, report)
    except UserError as error:
        return Verdict(source.name, "differs", reason=str(error), remedy=remedy)
    same = tally.sha256 == source.sha256
    return Verdict(
        name=source.name,
        state="right" if same else "differs",
        lines=dict(tally.lines),
        alphabet="".join(sorted(tally.characters)),
        unreadable=tuple(tally.unreadable),
        sha256=tally.sha256,
        reason="" if same else _difference(source, tally),
        remedy="" if same else remedy,
    )


def check_pieces(pieces: Pieces, root: Path | None, report: Report = silent) -> PiecesVerdict:
    """Compare isolated words or characters with their record."""
    path = root / pieces.file if root else None
    if path is None or not path.is_file():
        return PiecesVerdict(pieces.name, "missing", reason=f"{pieces.file} is not here")
    digests: list[bytes] = []
    try:
        for piece in read_pieces(path):
            report(f"{_READING} {pieces.name}", len(digests), pieces.count)
            digests.append(_digest(piece))
    except UserError as error:
        return PiecesVerdict(pieces.name, "differs", reason=str(error))
    except (TypeError, ValueError) as error:
        reason = f"line {len(digests) + 1} of {path} cannot be read: {error}"
        return PiecesVerdict(pieces.name, "differs", reason=reason)
    sha256 = hashlib.sha256(b"".join(sorted(digests))).hexdigest()
    same, count = sha256 == pieces.sha256, len(digests)
    reason = "" if same else _miscount(count, pieces)
    return PiecesVerdict(pieces.name, "right" if same else "differs", count, sha256, reason)


def _digest(piece: Piece) -> bytes:
    head = f"{piece.writer}\x1f{piece.text}\x1f".encode()
    return hashlib.sha256(head + _ink(piece.strokes())).digest()


def _ink(strokes: Iterable[NDArray[np.float32]]) -> bytes:
    """Every point of every stroke (device units are integers that float32 holds)."""
    return b"".join(b"%d:" % len(stroke) + stroke.astype("<f4").tobytes() for stroke in strokes)


def _miscount(count: int, pieces: Pieces) -> str:
    if count != pieces.count:
        return f"it has {count} {pieces.name}, and should have {pieces.count}"
    return f"it has as many {pieces.name} as it should, but not the same ones"


class _Tally:
    """What accumulates over the lines of a set."""

    def __init__(self) -> None:
        self.lines: Counter[str] = Counter()
        self.characters: set[str] = set()
        self.unreadable: list[BadLine] = []
        self._digest = hashlib.sha256()

    def add(self, name: str, writer: str, split: str, text: str, content: bytes) -> None:
        """Count a line; `content` stands for its strokes or for the size of its image."""
        self.lines[split] += 1
        self.characters.update(text)
        self._digest.update("\x1f".join((name, writer, split, text, "")).encode())
        self._digest.update(content + b"\x1e")

    @property
    def count(self) -> int:
        """All lines."""
        return sum(self.lines.values())

    @property
    def sha256(self) -> str:
        """Hash over names, writers, splits, texts and contents, in order."""
        return self._digest.hexdigest()


def _tally_strokes(source: Source, root: Path, tally: _Tally, report: Report) -> None:
    table, strokes = (root / file for file in source.files)
    for row, record in zip_longest(read_table(table), read_strokes(strokes)):
        if row is None:
            raise UserError(f"{strokes} has more lines than {table}")
        report(_READING, tally.count, sum(source.lines.values()))
        content = b""
        try:
            content = _ink(parse_strokes(row, record))
        except (TypeError, ValueError) as error:
            tally.unreadable.append(BadLine(row["file"], str(error)))
        tally.add(row["file"], row["writer"], row["split"], row["text"], content)


def _tally_images(source: Source, root: Path, tally: _Tally, report: Report) -> None:
    """Images by their sizes: the pixels of a JPEG differ a little from decoder to decoder."""
    for row in read_rows(root / source.files[0], Columns()):
        report(_READING, tally.count, sum(source.lines.values()))
        content = b""
        try:
            content = repr(decode(row.image or b"").shape).encode()
        except ValueError as error:
            tally.unreadable.append(BadLine(row.id, str(error)))
        tally.add(row.id, row.writer, row.split, row.text or "", content)


def _difference(source: Source, tally: _Tally) -> str:
    if dict(tally.lines) != dict(source.lines):
        return f"it has {_by_split(tally.lines)}, and should have {_by_split(source.lines)}"
    if tally.unreadable:
        first = tally.unreadable[0]
        return f"{len(tally.unreadable)} lines cannot be read, the first is {first.id}"
    return "it has as many lines as it should, but not the same ones"


def _by_split(lines: Mapping[str, int]) -> str:
    return ", ".join(f"{lines[split]} {split}" for split in sorted(lines)) or "no lines"
