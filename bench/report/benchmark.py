"""Tables of pytest-benchmark: times with the CER of the same texts beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.core import records
from bench.core.errors import UserError
from bench.report.format import number, plain
from bench.report.table import Column, Table, count, declared, figure, keys, rate

_NO_CER = "untrained weights have a speed but no CER"


class Stats(msgspec.Struct):
    """Times of a benchmark in seconds, and how often it ran."""

    median: records.Positive
    iqr: float
    rounds: int


class Extra(msgspec.Struct):
    """Entries of `extra_info` that `tests/test_speed.py` writes.

    cer: a fraction, None for untrained weights; left out where nothing is read.
    lines: in one call.
    """

    cer: float | msgspec.UnsetType | None = msgspec.UNSET
    lines: int = 1
    signature: str = ""


class Benchmark(msgspec.Struct):
    """A benchmark as the file of --benchmark-json has it."""

    name: str
    stats: Stats
    group: str | None = None
    param: str | None = None
    extra_info: Extra = msgspec.field(default_factory=Extra)


class _Cpu(msgspec.Struct):
    brand_raw: str = ""


class _MachineInfo(msgspec.Struct):
    cpu: _Cpu = msgspec.field(default_factory=_Cpu)


class _Report(msgspec.Struct):
    benchmarks: list[Benchmark]
    machine_info: _MachineInfo = msgspec.field(default_factory=_MachineInfo)


def from_file(path: Path) -> list[Table]:
    """The tables of a file of --benchmark-json.

    Raises:
        UserError: it cannot be read, is of another kind, or holds no benchmark.
    """
    remedy = f"make it with: pytest --benchmark-only --benchmark-json {path}"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; {remedy}") from None
    report = records.load(_Report, text, str(path), remedy)
    if not report.benchmarks:
        raise UserError(f"{path} holds no benchmark; {remedy}")
    return tables(report.benchmarks, report.machine_info.cpu.brand_raw)


def from_session(benchmarks: Sequence[Any]) -> list[Table]:
    """The tables of a session of pytest, whose benchmarks have their times in themselves."""
    return tables([msgspec.convert({**each, "stats": each}, Benchmark) for each in benchmarks])


def tables(benchmarks: Sequence[Benchmark], machine: str = "") -> list[Table]:
    """One table a group, the fastest first."""
    groups: dict[str, list[Benchmark]] = {}
    for each in sorted(benchmarks, key=lambda each: each.stats.median):
        groups.setdefault(plain(each.group or "others"), []).append(each)
    return [_table(name, group, plain(machine)) for name, group in groups.items()]


def _table(group: str, benchmarks: Sequence[Benchmark], machine: str) -> Table:
    def ms(seconds: float) -> str:
        return number(1000.0 * seconds, 2)

    def cer(each: Benchmark) -> Any:
        known = each.extra_info.cer
        if known is msgspec.UNSET:
            return ""
        return rate(known, notes=() if known is not None else (_NO_CER,))

    columns: list[Column[Benchmark]] = [
        *keys(["Name"], lambda each: each.param or each.name),
        Column("Median ms", lambda each: figure(each.stats.median, ms)),
        Column("IQR ms", lambda each: figure(each.stats.iqr, ms)),
        Column(
            "Lines/s",
            lambda each: figure(each.extra_info.lines / each.stats.median, lambda x: number(x, 1)),
        ),
        Column("Rounds", lambda each: count(each.stats.rounds)),
    ]
    if any(each.extra_info.cer is not msgspec.UNSET for each in benchmarks):
        columns.insert(1, Column("CER %", cer))
    lines = sorted({each.extra_info.lines for each in benchmarks})
    calls = f"one call ({' or '.join(map(str, lines))} lines)" if lines != [1] else "one call"
    where = f" on {machine}" if machine else ""
    signatures = dict.fromkeys(plain(each.extra_info.signature) for each in benchmarks)
    return declared(
        f"benchmark-{group}",
        f"Benchmark: {group}",
        f"Wall time of {calls} by pytest-benchmark{where}, median and interquartile range of the "
        "rounds.",
        columns,
        benchmarks,
        signatures=tuple(filter(None, signatures)),
    )
