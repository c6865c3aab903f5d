"""How time is taken, on a clock that only the test moves."""

import json
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch

from bench import ROOT
from bench.core.errors import UserError
from bench.core.stopwatch import HostMeter, Lap, Stopwatch
from bench.core.types import Decoded, Runtime, Spread
from bench.pipeline.measure import BlockMeasure, reason
from bench.pipeline.plan import ONCE, Rounds
from decoders.base import Decoder
from tests.harness_doubles import FakeMeter, Pixels, ReaderSpec, drawn


def fake_block(
    meter: FakeMeter, paces: dict[str, list[float]], texts: tuple[str, ...], size: int
) -> BlockMeasure:
    """A block on a fake clock: encoding takes 1 s a line, decoders as scripted, call by call."""
    encoder = Pixels().open(Runtime())
    encode = encoder.encode

    def timed_encode(batch):
        meter.work(
            wall_s=0.5 * len(batch[1]), cpu_s=2.0 * len(batch[1]), device_s=0.5 * len(batch[1])
        )
        return encode(batch)

    def timed_prepare(images, prepare=encoder.prepare):
        meter.work(wall_s=0.25)
        return prepare(images)

    encoder.encode, encoder.prepare = timed_encode, timed_prepare  # type: ignore[method-assign]
    order: list[str] = []

    class Timed(Decoder):
        def __init__(self, name: str) -> None:
            super().__init__(ReaderSpec())
            self.name, self.calls = name, iter(paces[name])

        def decode(self, encoded):
            order.append(self.name)
            pace = next(self.calls)
            meter.work(wall_s=pace * len(encoded.states), cpu_s=0.5)
            return [Decoded("x", 1)] * len(encoded.states)

    block = BlockMeasure(
        encoder,
        {name: Timed(name) for name in paces},
        [drawn(text) for text in texts],
        Runtime(batch_size=size),
        Stopwatch(meter),
    )
    block.order = order  # type: ignore[attr-defined]
    return block


def test_times_of_several_rounds_are_medians_over_rounds():
    # widths 2, 4, 6 -> batches of 2 and 1; warm-up, then 3 rounds of 2 batches
    block = fake_block(FakeMeter(), {"d": [99, 1, 1, 3, 3, 2, 2]}, ("abc", "a", "ab"), size=2)
    shares: list[float] = []
    block.run(Rounds(least=3, least_s=0, most_s=1e9), shares.append)
    timing = block.timing("d")
    assert timing.host_s == 0.5
    assert timing.encode_s == 3.0  # the device's half is waited for
    assert timing.decode_s == Spread(median=6.0, low=3.0, high=9.0, n=3)
    assert timing.lines_per_s == Spread(3 / 9, 3 / 12, 3 / 6, 3)
    assert timing.decode_lines_per_s == Spread(0.5, 3 / 9, 1.0, 3)
    assert timing.cpu_s == 2.0 * 3 + 0.5 * 2
    assert timing.latency_p50_s == 3.0 and timing.latency_p95_s == 4.0
    assert timing.batches == ((2, 6.0), (1, 3.0))  # medians of 4, 8, 6 and of 2, 4, 3
    assert timing.peak_mib == 7.0
    assert shares == pytest.approx([*[1 / 6] * 6, 0])
    # the loop holds everything but the warm-up, and nothing was left unmeasured here
    assert block.loop_s == block.measured_s == 3 * (0.5 + 3.0) + 3 + 9 + 6


def test_slow_systems_have_fewer_rounds_and_the_warm_up_is_the_widest_batch():
    paces = {"slow": [0.0] + [10.0] * 20, "fast": [0.0] + [1.0] * 20}
    block = fake_block(FakeMeter(), paces, ("abc", "a", "ab"), size=1)
    block.run(Rounds(least=3, least_s=0, most_s=70))
    # a slow round is 3 * (1 + 10) = 33 s: two fit into 70 s
    assert block.timing("slow").decode_s.n == 2
    assert block.timing("fast").decode_s.n == 3
    assert block.timing("fast").encode_s == block.timing("slow").encode_s == 3.0
    assert block.timing("fast").scenario == "single"
    assert block.batches == [(1,), (2,), (0,)]


def test_decoders_are_interleaved_in_a_seeded_order():
    names = {name: [0.1] * 200 for name in "abcd"}
    texts = tuple("x" * n for n in range(1, 13))

    def order() -> list[str]:
        block = fake_block(FakeMeter(), names, texts, size=1)
        block.run(ONCE)
        return block.order[4:]  # type: ignore[attr-defined]

    first = order()
    turns = [tuple(first[i : i + 4]) for i in range(0, 48, 4)]
    assert all(sorted(turn) == list("abcd") for turn in turns)
    assert len(set(turns)) > 6
    assert order() == first


def test_too_few_texts_are_a_failure_and_not_a_shift_of_lines():
    block = fake_block(FakeMeter(), {"d": [0.1] * 9}, ("ab", "c"), size=2)
    block._decoders["d"].decode = lambda encoded: [Decoded("x", 1)]  # type: ignore[method-assign]
    block.run(ONCE)
    assert block.readings["d"].failure == "the decoder failed: ValueError: 1 texts for 2 lines"


@pytest.mark.parametrize(
    ("read", "why"),
    [
        ("x", "str in place of Decoded"),
        (Decoded(None, 1), "Decoded.text is of the type NoneType"),  # type: ignore[arg-type]
        (Decoded("x", torch.tensor(1)), "Decoded.tokens is of the type Tensor"),  # type: ignore[arg-type]
        (Decoded("x", 1, torch.tensor(1)), "Decoded.score is of the type Tensor"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_stored_is_a_failure_of_its_decoder(read, why):
    block = fake_block(FakeMeter(), {"d": [0.1] * 9}, ("ab", "c"), size=2)
    block._decoders["d"].decode = lambda encoded: [read] * 2  # type: ignore[method-assign]
    block.run(ONCE)
    assert block.readings["d"].failure == f"the decoder failed: TypeError: {why}"


def test_an_exception_is_one_sentence():
    runtime = Runtime(device="cuda", batch_size=8)
    assert reason(KeyError("a\n  b"), runtime) == "KeyError: 'a\\n b'"
    assert reason(RuntimeError(), runtime) == "RuntimeError"
    assert reason(UserError("do this"), runtime) == "do this"
    out = "out of memory on cuda at batch size 8; try a smaller one"
    assert reason(torch.OutOfMemoryError("CUDA out of memory. Tried ..."), runtime) == out
    cpu = "alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"
    for error in (MemoryError(), RuntimeError(cpu), cv2.error("error: (-4:Insufficient memory)")):
        assert reason(error, runtime) == out


# Laps with a clock of our own, and the real meter against work of known size


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
