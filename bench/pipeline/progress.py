"""What is told of a run while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bench.core.types import Row
from bench.pipeline.plan import Block


class Progress(Protocol):
    """Listens to a run; the command line draws a bar from it."""

    def started(self, block: Block) -> None:
        """A block begins."""

    def note(self, doing: str) -> None:
        """What is being done now that is not measuring ("loading unipen")."""

    def advanced(self, cells: float) -> None:
        """So many more cells (a fraction) are done; they sum up to `Plan.cells`."""

    def finished(self, block: Block, rows: Sequence[Row]) -> None:
        """A block ends; its rows, those that were finished before included."""


class Silent:
    """Progress that nobody looks at."""

    def started(self, block: Block) -> None:
        """Nothing."""

    def note(self, doing: str) -> None:
        """Nothing."""

    def advanced(self, cells: float) -> None:
        """Nothing."""

    def finished(self, block: Block, rows: Sequence[Row]) -> None:
        """Nothing."""
