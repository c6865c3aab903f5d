"""Run folders: where they lie, which is the newest, and which one a selection goes on in.

Beside the rows a run folder holds `run.json`: what was asked for, by a hash, and when it ended.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import ROOT
from bench.core.errors import UserError
from bench.core.files import write_atomically
from bench.core.hashing import digest, plain
from bench.core.records import dump, load
from bench.core.stopwatch import now_utc
from bench.pipeline.plan import Selection

RUNS = ROOT / "results" / "runs"
REFERENCE = ROOT / "results" / "reference"
CHECKS = ROOT / "results" / "checks"  # what other commands leave to be looked at

_RECORD = "run.json"


@dataclass(frozen=True)
class _Run:
    """The content of `run.json`. selection: its hash; asked: all that was asked for."""

    began: str
    selection: str = ""
    asked: dict[str, Any] = field(default_factory=dict)
    ended: str | None = None


def folder(name: str) -> Path:
    """The folder that a user means: a name under `results/runs`, or a path when it has a slash."""
    return Path(name).expanduser() if "/" in name else RUNS / name


def newest(passed_over: Callable[[Path], None] = lambda path: None) -> Path:
    """The run folder that was begun last, of those with rows.

    Args:
        passed_over: hears of every later one, which has no row (a run that failed at once).

    Raises:
        UserError: there is none.
    """
    for path in _newest_first():
        if _has_rows(path):
            return path
        passed_over(path)
    raise UserError(f"there is no run with rows in {RUNS}; make one: python -m bench run --all")


def everywhere() -> Iterator[Path]:
    """Every folder with rows: of this machine the newest first, then those that are committed."""
    folders = [*_newest_first(), *sorted(REFERENCE.glob("*"))]
    yield from filter(_has_rows, folders)


def choose(selection: Selection, name: str | None = None, fresh: bool = False) -> Path:
    """The folder that a selection runs in; nothing is made.

    Args:
        selection: what is asked for.
        name: the user's own choice; else the newest folder of the same selection that has not
            ended, or a new one.
        fresh: never one that is there.

    Raises:
        UserError: `fresh`, but a folder of that name is there.
    """
    if name is not None:
        path = folder(name)
        if fresh and path.exists():
            raise UserError(f"{path} is there already; choose another --out, or leave out --fresh")
        return path
    unfinished = (path for path in _newest_first() if _goes_on(path, selection))
    if not fresh and (begun := next(unfinished, None)) is not None:
        return begun
    stamp = "".join(filter(str.isdigit, now_utc().partition("+")[0]))
    return _unused(RUNS / f"{stamp[:8]}-{stamp[8:]}")


def begin(path: Path, selection: Selection) -> None:
    """Make the folder and note what is asked for; it counts as unfinished from now on.

    Raises:
        OSError: the folder cannot be written.
    """
    path.mkdir(parents=True, exist_ok=True)
    before, asked = _record(path), plain(dataclasses.asdict(selection))
    _write(path, _Run(before.began if before else now_utc(), _identity(selection), asked))


def end(path: Path) -> None:
    """Note that the run in this folder went to its end."""
    if record := _record(path):
        _write(path, dataclasses.replace(record, ended=now_utc()))


def _identity(selection: Selection) -> str:
    return digest(dataclasses.asdict(selection))


def _goes_on(path: Path, selection: Selection) -> bool:
    record = _record(path)
    return record is not None and not record.ended and record.selection == _identity(selection)


def _newest_first() -> Iterator[Path]:
    """Run folders by the time at which they were begun; other folders are passed over."""
    folders = [path.parent for path in RUNS.glob(f"*/{_RECORD}")]
    known = [(record.began, path.name, path) for path in folders if (record := _record(path))]
    yield from (path for *_, path in sorted(known, reverse=True))


def _has_rows(path: Path) -> bool:
    """Whether a folder holds a row that was written to its end."""
    try:
        return b"\n" in (path / "rows.jsonl").read_bytes()
    except OSError:
        return False


def _record(path: Path) -> _Run | None:
    """The content of `run.json`; None when it is not there or damaged (its rows still count)."""
    try:
        return load(_Run, (path / _RECORD).read_bytes(), str(path / _RECORD))
    except (OSError, UserError):
        return None


def _write(path: Path, record: _Run) -> None:
    write_atomically(path / _RECORD, dump(record))


def _unused(path: Path) -> Path:
    """The path, with a number behind it when two runs begin in one second."""
    taken = range(2, 1000)
    names = (path, *(path.with_name(f"{path.name}-{number}") for number in taken))
    return next(name for name in names if not name.exists())
