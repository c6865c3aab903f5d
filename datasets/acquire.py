"""Public data sets: compare one with its record, or fetch, rebuild, verify and install it.

Unfinished work is in `.fetch/` of the data root, and a finished download is reused after an
interruption. A set is installed in the data root only if its content is the recorded one. Isolated
words and characters, which only training reads, are verified separately and do not hold up lines.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from bench.core.errors import UserError
from bench.core.progress import Report, silent
from datasets.parquet import read_rows
from datasets.raster import Stroke
from datasets.rebuild import page_lines, unipen
from datasets.rebuild.git import GitTree, Tree, fetch_commit
from datasets.sources import Pieces, PublicSource, Selection, load_selection
from datasets.table import Columns
from datasets.unipen import parse_strokes, read_index, read_pieces, read_strokes

Builder = Callable[[Tree, Selection, Path, Report], list[str]]

BUILDERS: dict[str, Builder] = {
    "unipen": unipen.build_lines,
    "hooker": partial(page_lines.build, page_lines.HOOKER),
    "copiste": partial(page_lines.build, page_lines.COPISTE),
}

_WORK = ".fetch"


@dataclass(frozen=True)
class Audit:
    """The outcome for a set, or for its isolated words or characters.

    state: "right" when it is the recorded content: lines in order, words and characters in any.
    lines: lines by split. alphabet: every character of the texts, sorted.
    count, sha256: of all lines, words or characters; 0 and "" when a file could not be read to its
        end.
    reason, remedy: the fault and the command that fixes it; "" when right.
    pieces: of a set's isolated words and characters, which do not count for its own state.
    """

    name: str
    state: Literal["right", "differs", "missing"]
    lines: Mapping[str, int] = field(default_factory=dict)
    alphabet: str = ""
    count: int = 0
    sha256: str = ""
    reason: str = ""
    remedy: str = ""
    pieces: tuple[Audit, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the set is right, and its pieces too."""
        return self.state == "right" and all(part.state == "right" for part in self.pieces)


def get(source: PublicSource, root: Path, url: str | None = None, report: Report = silent) -> Audit:
    """Install a set in a data root, made if need be; correct files are kept.

    `url` replaces the source's own address, for the same pinned commit.

    Raises:
        Unavailable: git is not installed.
        UserError: the source is unreachable, or the rebuilt set differs from the record.
        OSError: the data root is not writable.
    """
    here = check(source, root, report)
    if here.whole:
        return here
    work = root / _WORK / source.name
    built = work / "built"
    shutil.rmtree(built, ignore_errors=True)
    built.mkdir(parents=True)
    repository = work / f"{source.commit}.git"
    fetch_commit(url or source.url, source.commit, repository, report)
    with GitTree(repository, source.commit) as tree:
        lines = here
        if here.state != "right":
            missing = BUILDERS[source.name](tree, load_selection(source.name), built, report)
            lines = _check_lines(source, built, report)
            if lines.state != "right":
                count = f"; {len(missing)} lines are not in the source, the first is "
                absent = count + missing[0] if missing else ""
                raise UserError(
                    f"{source.name} rebuilt from {source.commit[:12]} is not the recorded set: "
                    f"{lines.reason}{absent}; it was left in {built}, and nothing was put in place"
                )
            for file in source.files:
                (built / file).replace(root / file)
        pieces = []
        for recorded, piece in zip(source.pieces, here.pieces, strict=True):
            if piece.state != "right":
                unipen.build_pieces(tree, recorded, built, report)
                piece = check_pieces(recorded, built, report)
                if piece.state == "right":
                    (built / recorded.file).replace(root / recorded.file)
            pieces.append(piece)
    if wrong := [piece for piece in pieces if piece.state != "right"]:
        raise UserError(
            f"the lines of {source.name} are in place, but not its "
            f"{' and '.join(piece.name for piece in wrong)}, which only training reads: those "
            f"rebuilt from {source.commit[:12]} are not the recorded ones "
            f"({'; '.join(piece.reason for piece in wrong)}) and were left in {built}"
        )
    shutil.rmtree(work)
    with suppress(OSError):  # another set is being fetched
        work.parent.rmdir()
    return replace(lines, pieces=tuple(pieces))


def check(source: PublicSource, root: Path | None, report: Report = silent) -> Audit:
    """Compare a whole set, its words and characters included, with its record."""
    lines = _check_lines(source, root, report)
    return replace(lines, pieces=tuple(check_pieces(p, root, report) for p in source.pieces))


def _check_lines(source: PublicSource, root: Path | None, report: Report) -> Audit:
    audit = Audit(source.name, "missing", remedy=f"python -m bench data get {source.name}")
    if root is None:
        return replace(audit, reason="there is no data root")
    absent = [file for file in source.files if not (root / file).is_file()]
    if absent:
        return replace(audit, reason=f"{root} has no {' and no '.join(absent)}")
    lines: Counter[str] = Counter()
    characters: set[str] = set()
    unreadable = []
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
                unreadable.append(f"{name}: {error}")
            digest.update(b"\x1e")
    except UserError as error:
        return replace(audit, state="differs", reason=str(error))
    audit = replace(
        audit,
        lines=dict(lines),
        count=lines.total(),
        alphabet="".join(sorted(characters)),
        sha256=digest.hexdigest(),
    )
    if audit.sha256 == source.sha256:
        return replace(audit, state="right", remedy="")
    reason = "it has as many lines as it should, but not the same ones"
    if audit.lines != dict(source.lines):
        reason = f"it has {_by_split(lines)}, and should have {_by_split(source.lines)}"
    elif unreadable:
        reason = f"{len(unreadable)} lines cannot be read, the first is {unreadable[0]}"
    return replace(audit, state="differs", reason=reason)


_Content = tuple[str, str, str, str, Callable[[], bytes]]


def _contents(source: PublicSource, root: Path) -> Iterator[_Content]:
    """Name, writer, split, text, and strokes or image size of each line.

    Sizes replace images because JPEG decoders differ in a few pixels.
    """
    paths = [root / file for file in source.files]
    if source.kind == "images":
        for row in read_rows(paths[0], Columns(id="id", writer="writer", split="split")):
            size = partial(lambda row: repr(row.decoded().shape).encode(), row)
            yield row.id, row.writer, row.split, row.text, size
        return
    for line, record in zip_longest(read_index(paths[0]), read_strokes(paths[1])):
        if line is None:
            raise UserError(f"{paths[1]} has more lines than {paths[0]}")
        ink = partial(lambda line, record: _ink(parse_strokes(line, record)), line, record)
        yield line["file"], line["writer"], line["split"], line["text"], ink


def _by_split(lines: Mapping[str, int]) -> str:
    return ", ".join(f"{lines[split]} {split}" for split in sorted(lines)) or "no lines"


def check_pieces(pieces: Pieces, root: Path | None, report: Report = silent) -> Audit:
    """Compare isolated words or characters with their record."""
    audit = Audit(pieces.name, "differs")
    path = root / pieces.file if root else None
    if path is None or not path.is_file():
        return replace(audit, state="missing", reason=f"{pieces.file} is not here")
    digests: list[bytes] = []
    try:
        for piece in read_pieces(path):
            report(f"checking {pieces.name}", len(digests), pieces.count)
            head = f"{piece.writer}\x1f{piece.text}\x1f".encode()
            digests.append(hashlib.sha256(head + _ink(piece.strokes())).digest())
    except UserError as error:
        return replace(audit, reason=str(error))
    except ValueError as error:
        reason = f"line {len(digests) + 1} of {path} cannot be read: {error}"
        return replace(audit, reason=reason)
    sha256 = hashlib.sha256(b"".join(sorted(digests))).hexdigest()
    audit = replace(audit, count=len(digests), sha256=sha256)
    if sha256 == pieces.sha256:
        return replace(audit, state="right")
    reason = f"it has as many {pieces.name} as it should, but not the same ones"
    if audit.count != pieces.count:
        reason = f"it has {audit.count} {pieces.name}, and should have {pieces.count}"
    return replace(audit, reason=reason)


def _ink(strokes: Iterable[Stroke]) -> bytes:
    """The points of all strokes (device units are integers, exact in float32)."""
    return b"".join(b"%d:" % len(stroke) + stroke.astype("<f4").tobytes() for stroke in strokes)
