"""The progress of a run on stderr: a bar with ETA on a terminal, a line a block in a log."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console

from bench.cli.bars import bars
from bench.core.types import Row
from bench.pipeline.plan import Block, Plan

_REFRESH = 2  # a second: drawing must not take time from what is measured
_MEMORY_S = 600  # cells differ much in length, so the ETA looks at many of them


class RunProgress:
    """Draws the progress of a plan; a context manager."""

    def __init__(self, plan: Plan) -> None:
        self._console = Console(stderr=True)
        self._blocks = len(plan.blocks)
        self._ended = 0
        self._label = ""
        self._left = float(plan.cells)
        self._begun = False
        self._bar = bars(
            self._console, refresh_per_second=_REFRESH, speed_estimate_period=_MEMORY_S
        )
        self._task = self._bar.add_task("starting", total=plan.cells)

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def started(self, block: Block) -> None:
        """A block begins."""
        self._label = f"{self._ended + 1}/{self._blocks} {block.label}"
        self._begun = False
        self._bar.update(self._task, description=self._label)

    def note(self, doing: str) -> None:
        """What is being done now that is not measuring."""
        self._bar.update(self._task, description=f"{self._label} ({doing})".strip())

    def advanced(self, cells: float) -> None:
        """So many more cells are done.

        The harness tells first which cells of a block need no measuring: finished before, or not
        to be run. They cost no time, so the ETA must not take them for speed.
        """
        if self._begun:
            self._bar.advance(self._task, cells)
        elif cells:
            self._left -= cells
            self._bar.update(self._task, total=self._left)  # which also forgets the speed so far
        self._begun = True

    def finished(self, block: Block, rows: Sequence[Row]) -> None:
        """A block ends."""
        self._ended += 1
        failed = [row for row in rows if row.status == "failed"]
        for row in failed:
            self._say(f"failed: {row.decoder} on {block.label}: {row.reason}")
        if not self._console.is_terminal:
            self._say(f"{self._label}: {len(rows) - len(failed)} of {len(rows)} cells done")

    def _say(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
