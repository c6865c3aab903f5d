"""Traces of a system by torch's profiler, never a source of speeds.

The profiler slows down what it watches, and every operator by another factor, so nothing of a
traced run goes into a row. It shows which operators a stage spends itself on, in which order, and
where one waits for another.

FOLDER/NAME/NAME.pt.trace.json.gz is for tensorboard --logdir FOLDER (torch-tb-profiler),
chrome://tracing and ui.perfetto.dev.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from bench.core.files import draft_of
from bench.core.progress import Report, silent
from bench.core.types import Image, Runtime
from bench.pipeline.measure import batches_of
from bench.pipeline.opening import Bench
from decoders.base import Decoder

STAGES = ("prepare", "encode", "decode")
_OF_PROFILER = ("Profiler", "[memory]")  # its steps, and the memory that it notes


@dataclass(frozen=True)
class Operator:
    """The profiler's counts of one operator or stage.

    calls: how often it ran.
    self_s: seconds on the CPU in itself; total_s: in what it called, too.
    device_s: seconds of its kernels on an accelerator; 0 without one.
    """

    name: str
    calls: int
    self_s: float
    total_s: float
    device_s: float


@dataclass(frozen=True)
class Trace:
    """A trace that was written.

    lines, batches: how much was read under the profiler, the warm-up not counted.
    stages: of `STAGES`, in order.
    operators: all others, that with most seconds first: of the device where there is one.
    """

    path: Path
    lines: int
    batches: int
    stages: tuple[Operator, ...]
    operators: tuple[Operator, ...]


def trace(
    name: str,
    bench: Bench,
    decoder: Decoder,
    images: Sequence[Image],
    folder: Path,
    report: Report = silent,
) -> Trace:
    """Read lines under the profiler and write the trace; one of the same name is replaced.

    The widest batch is read once before, and the profiler's record of it is dropped. Worker
    processes of the decoder are not watched.
    """
    runtime = bench.runtime
    batches = batches_of(images, runtime.batch_size)
    path = folder / name / f"{name}.pt.trace.json.gz"
    with profile(
        activities=_activities(runtime),
        schedule=schedule(wait=0, warmup=1, active=len(batches), repeat=1),
        on_trace_ready=lambda profiler: _write(profiler, path),
        record_shapes=True,
        profile_memory=True,
        acc_events=True,
    ) as profiler:
        for done, batch in enumerate((batches[-1], *batches)):
            report("tracing", done, len(batches) + 1)
            _read(bench, decoder, [images[place] for place in batch])
            profiler.step()
    report("tracing", 1, 1)
    stages, operators = _counted(profiler)
    return Trace(path, len(images), len(batches), stages, operators)


def _activities(runtime: Runtime) -> list[ProfilerActivity]:
    cuda = [ProfilerActivity.CUDA] if runtime.device.startswith("cuda") else []
    return [ProfilerActivity.CPU, *cuda]


def _read(bench: Bench, decoder: Decoder, images: Sequence[Image]) -> None:
    """A batch through all stages, each under its name."""
    with record_function("prepare"):
        prepared = bench.encoder.prepare(images)
    with record_function("encode"):
        encoded = bench.encoder.encode(prepared)
    with record_function("decode"):
        decoder.decode(encoded)
    if bench.runtime.device.startswith("cuda"):
        torch.cuda.synchronize(bench.runtime.device)


def _write(profiler: profile, path: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "trace.json.gz"
        profiler.export_chrome_trace(str(made))
        with draft_of(path) as draft:
            shutil.copyfile(made, draft)


def _counted(profiler: profile) -> tuple[tuple[Operator, ...], tuple[Operator, ...]]:
    counted = {}
    for event in profiler.key_averages():
        device = 1e-6 * event.self_device_time_total
        times = (1e-6 * event.self_cpu_time_total, 1e-6 * event.cpu_time_total, device)
        counted[event.key] = Operator(event.key, event.count, *times)
    stages = tuple(counted[stage] for stage in STAGES if stage in counted)
    others = (
        one
        for name, one in counted.items()
        if name not in STAGES and not name.startswith(_OF_PROFILER)
    )
    ranked = sorted(others, key=lambda one: (one.device_s, one.self_s), reverse=True)
    return stages, tuple(ranked)
