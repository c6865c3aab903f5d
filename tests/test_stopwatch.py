"""Laps with a clock of our own, and the real meter against work of known size."""

import json
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import ROOT
from bench.core.stopwatch import HostMeter, Lap, Stopwatch
from tests.harness_doubles import FakeMeter


def test_a_lap_runs_from_synchronised_border_to_synchronised_border():
    meter = FakeMeter()
    watch = Stopwatch(meter)

    def stage():
        meter.log.append("work")
        meter.work(wall_s=2.0, cpu_s=3.0, device_s=0.5)
        return "text"

    result, lap = watch.measure(stage)
    assert result == "text"
    # the device's half second is waited for at the border, inside of the lap
    assert lap == Lap(wall_s=2.5, cpu_s=3.0, peak_mib=7.0)
    assert meter.log == [
        "synchronise", "reset", "cpu", "wall", "work", "synchronise", "wall", "cpu", "peak",
    ]  # fmt: skip


def test_measured_time_adds_up_and_holds_failed_stages():
    meter = FakeMeter()
    watch = Stopwatch(meter)

    def fails():
        meter.work(wall_s=4.0)
        raise ValueError

    watch.measure(lambda: meter.work(wall_s=1.0))
    meter.work(wall_s=10.0)  # between stages
    with pytest.raises(ValueError):
        watch.measure(fails)
    assert watch.measured_s == 5.0
    assert watch.now() == 15.0


# In a process of its own: threads that other tests left spinning would be counted as well. So would
# a worker of numpy's OpenBLAS, which spins for 2^26 cycles before it first sleeps.
_BUSY_AND_IDLE = """
import json, time
from bench.core.stopwatch import HostMeter, Stopwatch
watch = Stopwatch(HostMeter())
laps = [watch.measure(work)[1] for work in (lambda: sum(range(9_000_000)), lambda: time.sleep(0.2))]
print(json.dumps([[lap.wall_s, lap.cpu_s] for lap in laps]))
"""


def test_the_host_meter_sees_cpu_work_and_no_sleep():
    done = subprocess.run(
        [sys.executable, "-c", _BUSY_AND_IDLE],
        cwd=ROOT, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (busy_wall, busy_cpu), (idle_wall, idle_cpu) = json.loads(done.stdout)
    # Counted once, not twice.
    assert 0 < busy_cpu < 1.6 * busy_wall
    assert idle_wall >= 0.19
    assert idle_cpu < 0.05


def test_cpu_seconds_and_memory_of_living_and_of_ended_workers_count():
    meter = HostMeter()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(sum, (range(10),))
        alone = Stopwatch(meter).measure(lambda: None)[1].peak_mib
        meter.watch_workers()
        with_worker = Stopwatch(meter).measure(lambda: None)[1].peak_mib
        assert with_worker > alone + 5
        _, lap = Stopwatch(meter).measure(lambda: pool.apply(sum, (range(20_000_000),)))
        assert lap.cpu_s > 0.1
        so_far = meter.cpu()
        pool.close()
        pool.join()
    assert meter.cpu() >= so_far - 0.02  # clock ticks of 10 ms


def test_only_the_stopwatch_reads_a_clock():
    pattern = re.compile(r"^\s*(import time\b|from time import|import timeit\b)|perf_counter", re.M)
    guilty = [
        path.relative_to(ROOT).as_posix()
        for folder in ("bench", "models", "decoders", "datasets")
        for path in Path(ROOT, folder).rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert guilty == ["bench/core/stopwatch.py"]


def test_a_cuda_device_is_synchronised_and_its_own_memory_measured():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    watch = Stopwatch.for_device("cuda")
    a = torch.ones(8192, 8192, device="cuda")
    watch.measure(lambda: a @ a)
    _, lap = watch.measure(lambda: [a @ a for _ in range(20)].pop())
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(20):
        a @ a
    end.record()
    end.synchronize()
    assert lap.wall_s == pytest.approx(begin.elapsed_time(end) / 1e3, rel=0.3)
    assert lap.peak_mib >= 2 * 8192 * 8192 * 4 / 2**20
