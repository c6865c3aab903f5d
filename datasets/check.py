"""Comparison of a data set in the data root with its record."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from bench.core.errors import UserError
from bench.core.progress import Report, silent
from bench.core.types import BadLine
from datasets.columns import Columns
from datasets.parquet import Row, read_rows
from datasets.raster import Stroke
from datasets.sources import Pieces, Source
from datasets.unipen import parse_strokes, read_pieces, read_strokes, read_table

State = Literal["right", "differs", "missing"]


@dataclass(frozen=True)
class PiecesVerdict:
    """The outcome for isolated words or characters, which only training reads.

    state: "right" when they are the recorded ones, in any order.
    count, sha256: of all; 0 and "" when the file could not be read to its end.
    reason: "" when right. The remedy is that of the set.
    """

    name: str
    state: State
    count: int = 0
    sha256: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """The outcome for a set.

    state: "right" when it is the recorded content, line by line; its pieces do not count.
    lines: lines by split. alphabet: every character of the texts, sorted.
    unreadable: lines without a readable image or strokes.
    sha256: of the content; "" when a file could not be read to its end.
    reason, remedy: the fault and the command that fixes it; "" when right.
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
        return self.state == "right" and all(part.state == "right" for part in self.pieces)


def check(source: Source, root: Path | None, report: Report = silent) -> Verdict:
    """Compare a whole set, its words and characters included, with its record."""
    verdict = check_lines(source, root, report)
    return replace(verdict, pieces=tuple(check_pieces(p, root, report) for p in source.pieces))


def check_lines(source: Source, root: Path | None, report: Report = silent) -> Verdict:
    """Compare the lines of a set with their record."""
    remedy = f"python -m bench data get {source.name}"
    if root is None:
        return Verdict(source.name, "missing", reason="there is no data root", remedy=remedy)
    absent = [file for file in source.files if not (root / file).is_file()]
    if absent:
        reason = f"{root} has no {' and no '.join(absent)}"
        return Verdict(source.name, "missing", reason=reason, remedy=remedy)
    lines: Counter[str] = Counter()
    characters: set[str] = set()
    unreadable: list[BadLine] = []
    digest = hashlib.sha256()
    try:
        for name, writer, split, text, content in _contents(source, root):
            report("checking", lines.total(), sum(source.lines.values()))
            lines[split] += 1
            characters.update(text)
            digest.update("\x1f".join((name, writer, split, text, "")).encode())
            try:
                digest.update(content())
            except ValueError as error:
                unreadable.append(BadLine(name, str(error)))
            digest.update(b"\x1e")
    except UserError as error:
        return Verdict(source.name, "differs", reason=str(error), remedy=remedy)
    same = digest.hexdigest() == source.sha256
    return Verdict(
        name=source.name,
        state="right" if same else "differs",
        lines=dict(lines),
        alphabet="".join(sorted(characters)),
        unreadable=tuple(unreadable),
        sha256=digest.hexdigest(),
        reason="" if same else _difference(source, lines, unreadable),
        remedy="" if same else remedy,
    )


_Content = tuple[str, str, str, str, Callable[[], bytes]]


def _contents(source: Source, root: Path) -> Iterator[_Content]:
    """Name, writer, split, text, and strokes or image size of each line.

    Sizes replace images because JPEG decoders differ in a few pixels.
    """
    paths = [root / file for file in source.files]
    if source.kind == "images":
        for scanned in read_rows(paths[0], Columns(id="id", writer="writer", split="split")):
            size = partial(_size, scanned)
            yield scanned.id, scanned.writer, scanned.split, scanned.text, size
        return
    for row, record in zip_longest(read_table(paths[0]), read_strokes(paths[1])):
        if row is None:
            raise UserError(f"{paths[1]} has more lines than {paths[0]}")
        ink = partial(_line_ink, row, record)
        yield row["file"], row["writer"], row["split"], row["text"], ink


def _line_ink(row: Mapping[str, str], record: bytes | None) -> bytes:
    return _ink(parse_strokes(row, record))


def _size(row: Row) -> bytes:
    return repr(row.decoded().shape).encode()


def _difference(source: Source, lines: Mapping[str, int], unreadable: Sequence[BadLine]) -> str:
    if dict(lines) != dict(source.lines):
        return f"it has {_by_split(lines)}, and should have {_by_split(source.lines)}"
    if unreadable:
        return f"{len(unreadable)} lines cannot be read, the first is {unreadable[0].id}"
    return "it has as many lines as it should, but not the same ones"


def _by_split(lines: Mapping[str, int]) -> str:
    return ", ".join(f"{lines[split]} {split}" for split in sorted(lines)) or "no lines"


def check_pieces(pieces: Pieces, root: Path | None, report: Report = silent) -> PiecesVerdict:
    """Compare isolated words or characters with their record."""
    path = root / pieces.file if root else None
    if path is None or not path.is_file():
        return PiecesVerdict(pieces.name, "missing", reason=f"{pieces.file} is not here")
    digests: list[bytes] = []
    try:
        for piece in read_pieces(path):
            report(f"checking {pieces.name}", len(digests), pieces.count)
            head = f"{piece.writer}\x1f{piece.text}\x1f".encode()
            digests.append(hashlib.sha256(head + _ink(piece.strokes())).digest())
    except UserError as error:
        return PiecesVerdict(pieces.name, "differs", reason=str(error))
    except ValueError as error:
        reason = f"line {len(digests) + 1} of {path} cannot be read: {error}"
        return PiecesVerdict(pieces.name, "differs", reason=reason)
    sha256, count = hashlib.sha256(b"".join(sorted(digests))).hexdigest(), len(digests)
    if sha256 == pieces.sha256:
        return PiecesVerdict(pieces.name, "right", count, sha256)
    reason = f"it has as many {pieces.name} as it should, but not the same ones"
    if count != pieces.count:
        reason = f"it has {count} {pieces.name}, and should have {pieces.count}"
    return PiecesVerdict(pieces.name, "differs", count, sha256, reason)


def _ink(strokes: Iterable[Stroke]) -> bytes:
    """The points of all strokes (device units are integers, exact in float32)."""
    return b"".join(b"%d:" % len(stroke) + stroke.astype("<f4").tobytes() for stroke in strokes)
