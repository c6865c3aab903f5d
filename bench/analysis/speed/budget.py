"""How many lines and passes fit into the time that a table may take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from bench.core.errors import Unavailable
from bench.pipeline.plan import Rounds

_LONG_S = 120.0  # a system whose passes together would take longer is not repeated


class Budget:
    """The seconds that a table may take, shared evenly among the blocks still to come.

    seconds: in all; infinity for no limit.
    """

    def __init__(self, seconds: float, blocks: int, now: Callable[[], float]) -> None:
        self.seconds = seconds
        self._blocks, self._now, self._begin = blocks, now, now()

    def left(self) -> float:
        """Seconds that remain."""
        return self.seconds - (self._now() - self._begin)

    def share(self) -> float:
        """Seconds for the block that comes next."""
        return max(0.0, self.left() / max(1, self._blocks))

    def block_ended(self) -> None:
        """One block fewer is to come."""
        self._blocks -= 1

    def affordable(
        self, line_s: float, size: int, asked: int, rounds: Rounds
    ) -> tuple[int, Rounds]:
        """Lines and passes of the next block.

        Lines are given up before passes, down to one batch, and then passes down to one.

        Args:
            line_s: what a line costs all systems of the block together.
            size: of a batch.
            asked: the most lines, at least one batch.
            rounds: the most passes.

        Raises:
            Unavailable: not even one batch fits into what is left.
        """
        if size * line_s > self.left():
            raise Unavailable(
                f"a batch of {size} would take about {math.ceil(size * line_s)} s, and "
                f"{max(0, math.floor(self.left()))} s were left",
                f"give it more than --minutes {self.seconds / 60:g}",
            )
        share = self.share()
        batches = _ratio(share, rounds.least * size * line_s)
        count = asked if batches >= asked / size else size * max(1, math.floor(batches))
        least = math.floor(min(rounds.least, max(1.0, _ratio(share, count * line_s))))
        return count, replace(rounds, least=least, most_s=min(share, _LONG_S))


def check_memory(size: int, line_mib: float, free_mib: float) -> None:
    """Refuse a batch that would not fit into the memory: the kernel would end the process.

    Args:
        size: of the batch.
        line_mib: by how much a line alone in its batch made the process grow.
        free_mib: what is free beside that.

    Raises:
        Unavailable: it would not fit.
    """
    needed = (size - 1) * max(0.0, line_mib)
    if needed > free_mib:
        raise Unavailable(
            f"a batch of {size} would need about {needed / 1024:.0f} GiB more memory, and "
            f"{free_mib / 1024:.0f} GiB are free",
            "give a smaller --batch-size",
        )


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom else math.inf
