"""Time and memory: the only file that reads a clock.

A stage is measured from border to border: the device is synchronised at both borders and nowhere
in between. CPU seconds are those of this process and of its worker processes, so that a decoder
with a pool does not look cheap. Peak memory is, on CUDA, what torch had allocated at most during
the stage; on the CPU it is the resident set of this process at its highest during the stage (the
kernel's high-water mark, reset at the border where the kernel allows it, else the size at the
end), plus the resident sets of the workers. All decoders of a block are open at the same time,
so resident memory is the whole process's and not one decoder's own.
"""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
import psutil

from bench.core.types import Spread

Result = TypeVar("Result")

_MIB = 2**20


@dataclass(frozen=True)
class Lap:
    """One measured stage: wall seconds, CPU seconds with workers, peak memory in MiB."""

    wall_s: float
    cpu_s: float
    peak_mib: float


class HostMeter:
    """Clocks and memory of a run on the CPU; tests replace it."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._workers: list[psutil.Process] = []
        # Kept open: opening them costs more than all the rest of a stage border.
        self._status = _kept_open(self, "/proc/self/status", os.O_RDONLY)
        self._clear_refs = _kept_open(self, "/proc/self/clear_refs", os.O_WRONLY)

    def wall(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.perf_counter()

    def cpu(self) -> float:
        """CPU seconds of this process, its finished children and its live workers.

        A worker that ends moves from the last term to the second, so the sum never falls.
        """
        ended = os.times()
        total = time.process_time() + ended.children_user + ended.children_system
        for worker in self._workers:
            with contextlib.suppress(psutil.Error):
                used = worker.cpu_times()
                total += used.user + used.system + used.children_user + used.children_system
        return total

    def synchronise(self) -> None:
        """Do nothing: the CPU has no queue to wait for."""

    def reset_peak(self) -> None:
        """Reset the kernel's high-water mark of the resident set (Linux, proc(5): clear_refs)."""
        if self._clear_refs is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._clear_refs, b"5", 0)

    def peak_mib(self) -> float:
        """High-water mark of this process plus the present size of its workers."""
        total = self._high_water_bytes() or self._process.memory_info().rss
        for worker in self._workers:
            with contextlib.suppress(psutil.Error):
                total += worker.memory_info().rss
        return total / _MIB

    def watch_workers(self) -> None:
        """Find the worker processes once: a scan of all processes is too slow for every stage."""
        self._workers = self._process.children(recursive=True)

    def _high_water_bytes(self) -> int:
        """VmHWM of this process; 0 where the kernel does not report it."""
        if self._status is None:
            return 0
        _, _, value = os.pread(self._status, 8192, 0).partition(b"VmHWM:")
        return int(value.split(None, 1)[0]) * 1024 if value else 0


class CudaMeter(HostMeter):
    """The meter of a run on a CUDA device."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device = device

    def synchronise(self) -> None:
        """Wait for every stream of the device.

        The current one is waited for asleep: `torch.cuda.synchronize` spins, and its CPU time would
        count as work of the stage.
        """
        import torch

        with torch.cuda.device(self._device):
            event = torch.cuda.Event(blocking=True)
            event.record()
            event.synchronize()
        torch.cuda.synchronize(self._device)

    def reset_peak(self) -> None:
        """Reset torch's allocation statistics."""
        import torch

        torch.cuda.reset_peak_memory_stats(self._device)

    def peak_mib(self) -> float:
        """Peak memory that torch allocated on the device."""
        import torch

        return torch.cuda.max_memory_allocated(self._device) / _MIB


class Stopwatch:
    """Measures stages and sums their wall time.

    measured_s: wall seconds of all stages so far, failed ones included.
    """

    def __init__(self, meter: HostMeter) -> None:
        self.meter = meter
        self.measured_s = 0.0

    @classmethod
    def for_device(cls, device: str) -> Stopwatch:
        """A stopwatch for a torch device name ("cpu", "cuda", "cuda:1")."""
        return cls(CudaMeter(device) if device.startswith("cuda") else HostMeter())

    def now(self) -> float:
        """Seconds of the meter's clock, for times outside of the stages."""
        return self.meter.wall()

    def measure(self, stage: Callable[[], Result]) -> tuple[Result, Lap]:
        """Run a stage between two synchronised borders."""
        meter = self.meter
        meter.synchronise()
        meter.reset_peak()
        cpu, wall = meter.cpu(), meter.wall()
        try:
            result = stage()
            meter.synchronise()
        finally:
            wall_s = meter.wall() - wall
            self.measured_s += wall_s
        return result, Lap(wall_s, meter.cpu() - cpu, meter.peak_mib())


def spread(values: Sequence[float]) -> Spread:
    """Median and range of repetitions."""
    if not values:
        raise ValueError("a spread needs at least one value")
    return Spread(float(np.median(values)), float(min(values)), float(max(values)), len(values))


def overhead(wall_s: float, measured_s: float) -> float:
    """Share of a loop's wall time that was not spent in its measured stages; 0 without a loop."""
    return (wall_s - measured_s) / wall_s if wall_s > 0 else 0.0


def pause(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)


def steady_s() -> float:
    """Seconds of a clock that never jumps: the same for all processes of a machine."""
    return time.monotonic()


def now_utc() -> str:
    """The time now, ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _kept_open(owner: object, path: str, mode: int) -> int | None:
    """A file descriptor that is closed with its owner; None where there is no such file."""
    try:
        descriptor = os.open(path, mode)
    except OSError:
        return None
    weakref.finalize(owner, os.close, descriptor)
    return descriptor
