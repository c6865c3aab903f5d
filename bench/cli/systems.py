"""Systems by the names that a user gives them: `mini:ctc-greedy`, or `RUN/mini:ctc-greedy`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.analysis.evidence import Chosen
from bench.core.errors import UserError
from bench.core.registry import did_you_mean

if TYPE_CHECKING:
    from bench.core.types import Row
    from bench.pipeline.store import RunStore


@dataclass(frozen=True, eq=False)
class Named(Chosen):
    """A system that was asked for: its rows, one a condition.

    label: the user's own word for it.
    """

    label: str


class Runs:
    """The runs that words may mean, opened once each.

    name: the run that a word without one means; None for the newest.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._open: dict[Path | None, tuple[RunStore, dict[str, list[Row]]]] = {}

    def named(self, word: str, fits: Callable[[Row], bool] = lambda row: True) -> Named:
        """The system of a word.

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
                return Named(store, tuple(filter(fits, chosen)), word)
            if variants:
                raise UserError(f"{store.path} has several {system}: {', '.join(variants)}")
        path, system = tried[-1]
        store, systems = self._systems(path)
        hint = did_you_mean(system, systems) if systems else "; it has no row yet"
        name = "" if path or "/" not in word else f"there is no run {word.rpartition('/')[0]}, and "
        raise UserError(f"{name}{store.path} has no system {system!r}{hint}")

    def _meanings(self, word: str) -> list[tuple[Path | None, str]]:
        """Meanings of a word: names of encoders and runs may both hold slashes."""
        from bench.cli.stored import is_run
        from bench.pipeline import runs

        meanings: list[tuple[Path | None, str]] = [(None, word)]
        for place in (i for i, letter in enumerate(word) if letter == "/"):
            name, system = word[:place], word[place + 1 :]
            path = Path(name) if is_run(Path(name)) else runs.folder(name)
            if is_run(path):
                meanings.append((path, system))
        return meanings

    def _systems(self, path: Path | None) -> tuple[RunStore, Mapping[str, Sequence[Row]]]:
        """A run with its rows by the name of their system."""
        if path not in self._open:
            from bench.cli.stored import open_run
            from bench.report.results import names

            store = open_run(self._name if path is None else str(path))
            rows, systems = store.rows(), dict[str, list["Row"]]()
            for row, name in zip(rows, names(rows), strict=True):
                systems.setdefault(f"{name.encoder}:{name.decoder}", []).append(row)
            self._open[path] = store, systems
        return self._open[path]


def _bare(name: str) -> str:
    """A system's name without the options that set it apart from its namesakes."""
    encoder, _, decoder = name.partition("]:") if "]:" in name else name.partition(":")
    return f"{encoder.partition('[')[0]}:{decoder.partition('[')[0]}"
