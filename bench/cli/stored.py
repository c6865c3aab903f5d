"""Runs that are there, opened by the name that a user gives."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bench.core.errors import UserError
from bench.core.registry import did_you_mean
from bench.pipeline import runs
from bench.pipeline.store import RunStore

Run = Annotated[
    str | None,
    Parameter(help="a name under results/runs, or a path; the newest by default"),
]


def open_run(name: str | None) -> RunStore:
    """The store of a run; what of it is half-written is counted on stderr.

    Args:
        name: a name under results/runs, or a path; None for the newest run.

    Raises:
        UserError: there is no such run, or its rows are of another schema.
    """
    store = RunStore(runs.newest(_passed_over) if name is None else _folder(name))
    if torn := store.half_written():
        count = "1 half-written row is" if len(torn) == 1 else f"{len(torn)} half-written rows are"
        print(f"{count} left out: {'; '.join(torn)}", file=sys.stderr)
    return store


def _passed_over(path: Path) -> None:
    print(f"{path.name} is newer, but has no rows: left out", file=sys.stderr)


def _folder(name: str) -> Path:
    """The folder of a run that is there.

    Raises:
        UserError: there is none of that name.
    """
    path = Path(name) if Path(name).is_dir() else runs.folder(name)
    if not is_run(path):
        known = [file.parent.name for file in sorted(runs.RUNS.glob("*/run.json"))]
        raise UserError(f"there is no run at {path}{did_you_mean(name, known) if known else ''}")
    return path


def is_run(path: Path) -> bool:
    """Whether a folder holds what a run leaves."""
    return any((path / file).is_file() for file in ("rows.jsonl", "run.json"))
