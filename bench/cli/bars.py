"""Progress on stderr with ETA: bars on a terminal, a line every 10 s in a pipe or file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

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

from bench.report.format import commas
from bench.report.language import say, say_name, say_text

if TYPE_CHECKING:
    from typing import Self

    from bench.core.types import Row
    from bench.pipeline.plan import Block, Plan

Item = TypeVar("Item")

_LINE_S = 10.0  # between lines in a pipe or file
_FIRST_S = 2.0  # of a job before its first line
_REFRESH = 2  # a second: drawing must not take time from what is measured
_MEMORY_S = 600  # cells differ much in length, so the ETA averages over many of them


class _Progress(Progress):
    """Bars on a terminal; elsewhere lines of progress, at least `_LINE_S` seconds apart."""

    _printed_s = float("-inf")

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """See `Progress.update`."""
        super().update(task_id, **changes)
        self._print(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """See `Progress.advance`."""
        super().advance(task_id, advance)
        self._print(task_id)

    def _print(self, task_id: TaskID) -> None:
        task, now = self._tasks[task_id], self.get_time()
        due = max(self._printed_s + _LINE_S, now - (task.elapsed or 0) + _FIRST_S)
        if self.console.is_terminal or now < due or not task.completed:
            return
        self._printed_s = now
        left = task.time_remaining
        eta = "" if left is None else f", ETA {timedelta(seconds=round(left))}"
        words = say(
            "{done} of {total} ({percent} %)",
            done=_count(task.completed),
            total=_count(task.total or 0),
            percent=f"{task.percentage:.0f}",
        )
        text = f"{task.description}: {words}{eta}"
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _count(value: float) -> str:
    """Write a count, with a decimal where a cell is finished in part."""
    return f"{value:,.1f}".removesuffix(".0")


def bars(console: Console, **options: Any) -> Progress:
    """Progress with ETA; `options` are rich's."""
    return _Progress(
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
    """The items, with progress."""
    with bars(Console(stderr=True)) as bar:
        task = bar.add_task(say_text(doing), total=len(items))
        for item in items:  # rich's own `track` is silent off a terminal
            yield item
            bar.advance(task)


class Bars:
    """A context manager that draws progress on stderr, and lines of text above it.

    quiet: draw and print nothing; options: those of `bars`.
    """

    def __init__(self, quiet: bool = False, **options: Any) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._bars = bars(self._console, **options)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(say_text(text), markup=False, highlight=False, soft_wrap=True)


class Steps(Bars):
    """The steps of a long job: a bar with ETA each on a terminal, a line each in a log."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._task: tuple[str, TaskID] | None = None

    def __exit__(self, kind: object = None, *_: object) -> None:
        if kind is None and self._task is not None:
            self._complete(self._task[1])
        super().__exit__()

    def report(self, doing: str, done: float, total: float) -> None:
        """Move the bar; a new name begins a new one."""
        if self._task is None or self._task[0] != doing:
            if self._task is not None:
                self._complete(self._task[1])
            label = f"{say_text(self._name)}: {say_text(doing)}"
            self._task = doing, self._bars.add_task(label, total=total)
            if not self._console.is_terminal:
                self.say(label)
        self._bars.update(self._task[1], completed=done, total=total)

    def _complete(self, task: TaskID) -> None:
        self._bars.update(task, completed=self._bars.tasks[task].total)


class RunProgress(Bars):
    """The progress of a plan: a bar with ETA on a terminal, a line a block in a log."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(refresh_per_second=_REFRESH, speed_estimate_period=_MEMORY_S)
        self._blocks = len(plan.blocks)
        self._by_size = len({block.runtime.batch_size for block in plan.blocks}) > 1
        self._ended = 0
        self._label = ""
        self._left = float(plan.cells)
        self._begun = False
        self._task = self._bars.add_task(say_text("starting"), total=plan.cells)

    def started(self, block: Block) -> None:
        """A block begins."""
        size = block.runtime.batch_size
        batch = f", {say('batch {size}', size=size)}" if self._by_size else ""
        self._label = f"{self._ended + 1}/{self._blocks} {label(block)}{batch}"
        self._begun = False
        self._bars.update(self._task, description=self._label)

    def note(self, doing: str) -> None:
        """Show work that is not measuring."""
        self._bars.update(self._task, description=f"{self._label} ({say_text(doing)})".strip())

    def advanced(self, cells: float) -> None:
        """Count finished cells.

        The runner first reports the cells of a block that need no measuring: finished before, or
        not to be run. They cost no time, so the ETA must not take them for speed.
        """
        if self._begun:
            self._bars.advance(self._task, cells)
        elif cells:
            self._left -= cells
            self._bars.update(self._task, total=self._left)  # which also forgets the speed so far
        self._begun = True

    def finished(self, block: Block, rows: Sequence[Row]) -> None:
        """A block ends."""
        self._ended += 1
        failed = [row for row in rows if row.status == "failed"]
        for row in failed:
            words = "failed: {decoder} on {condition}: {reason}"
            reason = say_text(row.reason)
            self.say(say(words, decoder=row.decoder, condition=label(block), reason=reason))
        if rows and not self._console.is_terminal:
            done = say(
                "{done} of {cells} cells done", done=len(rows) - len(failed), cells=len(rows)
            )
            self.say(f"{self._label}: {done}")


def label(block: Block) -> str:
    """A block in words."""
    condition = block.condition
    where = say("{system} on {set}", system=block.encoder.name, set=condition.dataset)
    damage = f"{say_name(condition.damage)} {condition.severity}" if block.damage else ""
    return commas(filter(None, (where, damage)))
