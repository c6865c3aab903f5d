"""Lookup of stored runs and their systems by the user's names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bench.core.errors import UserError
from bench.core.registry import did_you_mean
from bench.core.types import Row
from bench.pipeline import runs
from bench.pipeline.store import RunStore
from bench.report.language import say_text
from bench.report.results import names

Run = Annotated[
    str | None,
    Parameter(
        name="--run", help="a name under results/runs, or a path; default: the newest with rows"
    ),
]


def open_run(name: str | None) -> RunStore:
    """Open the store of a run; rows that are damaged or lack an environment are counted on stderr.

    Args:
        name: a name under results/runs, or a path; None for the newest run.

    Raises:
        UserError: there is no such run, or its rows are of another schema.
    """

    def passed_over(path: Path) -> None:
        print(f"{path.name} is newer, but has no rows: left out", file=sys.stderr)

    store = RunStore(runs.newest(passed_over) if name is None else _folder(name))
    if torn := store.damaged_rows():
        count = "1 damaged row is" if len(torn) == 1 else f"{len(torn)} damaged rows are"
        print(f"{count} left out: {'; '.join(torn)}", file=sys.stderr)
    known = store.environments()
    if strange := sum(row.environment not in known for row in store.rows()):
        words = f"env.json lacks the environment of {strange} of the rows of {store.path}; "
        words += "put it back, or take out the rows of another run"
        print(say_text(words), file=sys.stderr)
    return store


def _folder(name: str) -> Path:
    path = Path(name) if Path(name).is_dir() else runs.folder(name)
    if not _is_run(path):
        known = [file.parent.name for file in sorted(runs.RUNS.glob("*/run.json"))]
        raise UserError(f"there is no run at {path}{did_you_mean(name, known) if known else ''}")
    return path


def _is_run(path: Path) -> bool:
    return any((path / file).is_file() for file in ("rows.jsonl", "run.json"))


class Runs:
    """The runs that words may mean, opened once each.

    name: the run that a word without one means; None for the newest.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._open: dict[Path | None, tuple[RunStore, dict[str, list[Row]]]] = {}

    def named(self, word: str, fits: Callable[[Row], bool] = lambda row: True) -> RunStore:
        """The rows of the system of a word, one a condition.

        Args:
            word: encoder:decoder as tables call them (with the options in brackets that tell
                namesakes apart), and before it RUN/ where it is of another run: a name under
                results/runs, or a path.
            fits: which of its rows.

        Raises:
            UserError: there is no such run or system, or several are called so.
        """
        tried = self._meanings(word)
        for path, system in tried:
            store, systems = self._systems(path)
            variants = [name for name in systems if system in (name, _bare(name))]
            if system in systems or len(variants) == 1:
                chosen = systems[system if system in systems else variants[0]]
                return store.only(filter(fits, chosen))
            if variants:
                raise UserError(f"{store.path} has several {system}: {', '.join(variants)}")
        path, system = tried[-1]
        store, systems = self._systems(path)
        hint = did_you_mean(system, systems) if systems else "; it has no row yet"
        name = "" if path or "/" not in word else f"there is no run {word.rpartition('/')[0]}, and "
        raise UserError(f"{name}{store.path} has no system {system!r}{hint}")

    def _meanings(self, word: str) -> list[tuple[Path | None, str]]:
        """Meanings of a word: names of encoders and runs may both hold slashes."""
        meanings: list[tuple[Path | None, str]] = [(None, word)]
        for place in (i for i, letter in enumerate(word) if letter == "/"):
            name, system = word[:place], word[place + 1 :]
            path = Path(name) if _is_run(Path(name)) else runs.folder(name)
            if _is_run(path):
                meanings.append((path, system))
        return meanings

    def _systems(self, path: Path | None) -> tuple[RunStore, Mapping[str, Sequence[Row]]]:
        if path not in self._open:
            store = open_run(self._name if path is None else str(path))
            rows, systems = store.rows(), dict[str, list[Row]]()
            for row, name in zip(rows, names(rows), strict=True):
                systems.setdefault(f"{name.encoder}:{name.decoder}", []).append(row)
            self._open[path] = store, systems
        return self._open[path]


def _bare(name: str) -> str:
    """A system's name without the options that set it apart from its namesakes."""
    encoder, _, decoder = name.partition("]:") if "]:" in name else name.partition(":")
    return f"{encoder.partition('[')[0]}:{decoder.partition('[')[0]}"
