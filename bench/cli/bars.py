"""Progress bars on stderr: what is being done, how far, for how long, and the ETA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")


def bars(console: Console, **options: Any) -> Progress:
    """Bars with ETA, drawn on a terminal and nowhere else; `options` are rich's."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        **options,
    )


def track(items: Sequence[Item], doing: str) -> Iterator[Item]:
    """The items, with a bar."""
    with bars(Console(stderr=True)) as bar:
        yield from bar.track(items, description=doing)


class Steps:
    """The steps of a long job on stderr: a bar with ETA each on a terminal, a line each in a log.

    A context manager; its `report` hears of the progress.
    """

    def __init__(self, name: str) -> None:
        self._console = Console(stderr=True)
        self._name = name
        self._task: tuple[str, TaskID] | None = None
        self._bars = bars(self._console)

    def __enter__(self) -> Steps:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._task is not None:
            self._complete(self._task[1])
        self._bars.stop()

    def report(self, doing: str, done: float, total: float) -> None:
        """So much is done; a new name for what is being done begins a new bar."""
        if self._task is None or self._task[0] != doing:
            if self._task is not None:
                self._complete(self._task[1])
            label = f"{self._name}: {doing}"
            self._task = doing, self._bars.add_task(label, total=total)
            if not self._console.is_terminal:
                self._console.print(label, markup=False, highlight=False, soft_wrap=True)
        self._bars.update(self._task[1], completed=done, total=total)

    def _complete(self, task: TaskID) -> None:
        self._bars.update(task, completed=self._bars.tasks[task].total)
