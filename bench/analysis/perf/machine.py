"""What this machine can do at most, and whether anybody else is using it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

from bench.core.stopwatch import HostMeter, Stopwatch, pause

QUIET = 0.1  # share of all cores that others may use while we measure

_LOOK_S = 2.0  # how long a look at the neighbours takes
_SIDE, _BYTES = 2048, 2**29  # of the matrices of a product; of the memory that is read
_REPETITIONS = 5


@dataclass(frozen=True)
class Peaks:
    """What the fastest of a few tries reached.

    flops: float32 operations a second of a large product of matrices.
    bytes_per_s: of memory that is read once, far more than the caches hold.
    """

    flops: float
    bytes_per_s: float


def peaks(watch: Stopwatch) -> Peaks:
    """Measure the peaks with the threads that torch has now; about a second."""
    left, right = torch.rand(_SIDE, _SIDE), torch.rand(_SIDE, _SIDE)
    product = _fastest(watch, lambda: left @ right)
    many = torch.ones(_BYTES // 4)
    read = _fastest(watch, many.sum)
    return Peaks(2 * _SIDE**3 / product, _BYTES / read)


class Neighbours:
    """How much of the machine other processes use, from one look to the next."""

    def __init__(self) -> None:
        self._meter = HostMeter()
        self.look()

    def look(self) -> None:
        """Begin to count."""
        self._meter.watch_workers()
        self._begin = self._now()

    def share(self) -> float:
        """Of all cores since the last look: 0 to 1."""
        (wall, busy, own), (wall_now, busy_now, own_now) = self._begin, self._now()
        elapsed = (wall_now - wall) * (psutil.cpu_count() or 1)
        others = (busy_now - busy) - (own_now - own)
        return min(1.0, max(0.0, others / elapsed)) if elapsed > 0 else 0.0

    def _now(self) -> tuple[float, float, float]:
        times = psutil.cpu_times()
        resting = times.idle + getattr(times, "iowait", 0.0)
        # What guests use is within user time already.
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        return self._meter.wall(), sum(times) - resting - guests, self._meter.cpu()


def wait_for_quiet(patience_s: float, waiting: Callable[[float], None]) -> float:
    """Wait until others use less than `QUIET` of the machine, or the patience ends.

    Args:
        patience_s: seconds to wait at most, looks apart.
        waiting: told the share that others use, after each look that was not quiet.

    Returns:
        The share at the last look.
    """
    neighbours = Neighbours()
    waited = 0.0
    while True:
        neighbours.look()
        pause(_LOOK_S)
        share = neighbours.share()
        if share < QUIET or waited >= patience_s:
            return share
        waiting(share)
        waited += _LOOK_S


def _fastest(watch: Stopwatch, work: Callable[[], object]) -> float:
    return min(watch.measure(work)[1].wall_s for _ in range(_REPETITIONS))
