"""Run folders: their place, the newest one, and the one that a selection resumes.

`run.json` in a run folder holds the selection, its hash, and the time at which the run ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench import ROOT
from bench.core.errors import UserError
from bench.core.files import read_bytes, write_atomically
from bench.core.hashing import digest, plain
from bench.core.locks import LockedError, locked
from bench.core.records import dump, load
from bench.core.stopwatch import now_utc
from bench.pipeline.plan import Selection
from bench.pipeline.store import LOCK, RunStore

RUNS = ROOT / "results" / "runs"
REFERENCE = ROOT / "results" / "reference"
CHECKS = ROOT / "results" / "checks"  # output of other commands

_RECORD = "run.json"
_OWN = (_RECORD, "rows.jsonl", "env.json", LOCK)  # of which a run folder has at least one

Kind = Literal["run", "speed"]  # the command that measured


@dataclass(frozen=True)
class Run:
    """The content of `run.json`.

    kind: of its command.
    selection: its hash; asked: its content; cells: how many it plans.
    number: counts the runs of `RUNS`, because a clock may be put back; 0 in older ones.
    starts: of this run, the first one included; 0 in older ones.
    """

    began: str
    kind: Kind = "run"
    selection: str = ""
    asked: dict[str, Any] = field(default_factory=dict)
    cells: int = 0
    ended: str | None = None
    number: int = 0
    starts: int = 0


def folder(name: str, under: Path | None = None) -> Path:
    """Resolve a run folder: a name under `RUNS`, or a path when it has a slash."""
    return Path(name).expanduser() if "/" in name else (under or RUNS) / name


def newest(passed_over: Callable[[Path], None] = lambda path: None) -> Path:
    """Return the run folder with rows that was begun last, speed tables left out.

    `passed_over` is called with every later folder, which has no row (a run that failed at once).
    """
    later: list[Path] = []
    for path in _newest_first():
        if (record := _record(path)) and record.kind == "speed":
            continue  # its few lines would replace the tables of a run
        if _has_rows(path):
            for empty in later:
                passed_over(empty)
            return path
        later.append(path)
    raise UserError(f"there is no run with rows in {RUNS}; make one: python -m bench run --all")


def everywhere() -> Iterator[Path]:
    """Yield all folders with rows: this machine's, newest first, then the committed ones."""
    folders = [*_newest_first(), *sorted(REFERENCE.glob("*"))]
    yield from filter(_has_rows, folders)


def choose(selection: Selection, name: str | None = None, fresh: bool = False) -> Path:
    """Choose the folder that a selection runs in, without creating it.

    Without the user's own name it is the newest folder of the same selection that has not ended, or
    a new one; `fresh` refuses an existing folder.

    Raises:
        UserError: `fresh`, but a folder of that name exists; or the name is that of a folder or
            file that is no run's.
    """
    if name is not None:
        if not name.strip("."):
            raise UserError(f"{name!r} is no name of a run; name one, or a path with a slash")
        path = folder(name)
        if fresh and path.exists():
            raise UserError(f"{path} is there already; choose another --out, or leave out --fresh")
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file, and a run needs a folder; choose another --out")
        there = {file.name for file in path.iterdir()} if path.is_dir() else set()
        if there and there.isdisjoint(_OWN):
            raise UserError(f"{path} has files, but not those of a run; choose another --out")
        return path
    unfinished = (path for path in _newest_first() if _goes_on(path, selection))
    if not fresh and (begun := next(unfinished, None)) is not None:
        return begun
    stamp = "".join(filter(str.isdigit, now_utc().partition("+")[0]))
    return _unused(RUNS / f"{stamp[:8]}-{stamp[8:]}")


def begin(path: Path, selection: Selection, kind: Kind = "run", cells: int = 0) -> Run:
    """Create the folder and record the selection; it counts as unfinished from now on.

    Returns:
        The record, for `end`.

    Raises:
        UserError: another run writes here, or the folder cannot be written.
    """
    with RunStore(path).locked():
        before, asked = _record(path), plain(dataclasses.asdict(selection))
        number = before.number if before else 1 + max((r.number for r, _ in _records()), default=0)
        began = before.began if before else now_utc()
        starts = 1 + (before.starts if before else 0)
        record = Run(began, kind, _identity(selection), asked, cells, None, number, starts)
        write_atomically(path / _RECORD, dump(record))
        return record


def end(path: Path, begun: Run) -> None:
    """Record that a run has ended, unless it was begun again since."""
    with contextlib.suppress(LockedError), locked(path / LOCK):
        if _record(path) == begun:
            ended = dataclasses.replace(begun, ended=now_utc())
            write_atomically(path / _RECORD, dump(ended))


def planned(path: Path) -> tuple[int, bool]:
    """The number of cells that the run in this folder plans, and whether it has ended.

    Raises:
        UserError: no run was begun there.
    """
    record = _record(path)
    if record is None or not record.cells:
        raise UserError(
            f"{path} does not say what was to be measured; give the run's command again"
        )
    return record.cells, record.ended is not None


def _identity(selection: Selection) -> str:
    return digest(dataclasses.asdict(selection))


def _goes_on(path: Path, selection: Selection) -> bool:
    record = _record(path)
    return record is not None and not record.ended and record.selection == _identity(selection)


def _newest_first() -> Iterator[Path]:
    """Yield run folders, the one begun last first."""
    known = [(record.number, record.began, path.name, path) for record, path in _records()]
    yield from (path for *_, path in sorted(known, reverse=True))


def _records() -> Iterator[tuple[Run, Path]]:
    """Yield the records of run folders with these; other folders are skipped.

    A damaged record counts as that of the oldest run: its rows are as good as any.
    """
    for path in RUNS.glob(f"*/{_RECORD}"):
        yield _record(path.parent) or Run(""), path.parent


def _has_rows(path: Path) -> bool:
    """Whether a folder holds a row that was written to its end."""
    try:
        return b"\n" in read_bytes(path / "rows.jsonl")
    except OSError:
        return False


def _record(path: Path) -> Run | None:
    """The content of `run.json`; None when it is not there or damaged (its rows still count)."""
    try:
        return load(Run, read_bytes(path / _RECORD), str(path / _RECORD))
    except (OSError, UserError):
        return None


def _unused(path: Path) -> Path:
    """Return the path, numbered when two runs begin in the same second."""
    taken = range(2, 1000)
    names = (path, *(path.with_name(f"{path.name}-{number}") for number in taken))
    return next(name for name in names if not name.exists())
