"""pytest-benchmark's JSON as the same kind of table as a run has."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.report.format import listing, percent, plain, significant
from bench.report.table import Cell, Column, Notes, Table, name

_OWN_COLUMNS = ("cer", "signature")
_OF_PYTEST_BENCHMARK = {  # what it says of a machine by itself, "cpu" apart
    *("node", "processor", "machine", "release", "system", "cpu"),
    *("python_compiler", "python_implementation", "python_implementation_version"),
    *("python_version", "python_build"),
}


def tables(path: Path) -> list[Table]:
    """A table for each benchmark group of a `--benchmark-json` file.

    `extra_info` is read as this project writes it: `cer` (a fraction, None for untrained weights)
    and `signature`; what else is there becomes part of the sentence where it is the same for a
    whole group, else a column.

    Raises:
        UserError: the file cannot be read, or is no JSON of pytest-benchmark.
    """
    report = _read(path)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for benchmark in report["benchmarks"]:
        groups.setdefault(plain(benchmark.get("group") or "all"), []).append(benchmark)
    if not groups:
        raise UserError(
            f"{path} has no benchmarks; make it with: pytest --benchmark-only "
            f"--benchmark-json {path}"
        )
    machine = _machine(report)
    return [
        _table(f"benchmark-{number}", group, machine, benchmarks)
        for number, (group, benchmarks) in enumerate(groups.items(), 1)
    ]


def _read(path: Path) -> Mapping[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON; give the file of --benchmark-json") from error
    listed = report.get("benchmarks") if isinstance(report, dict) else None
    if not isinstance(listed, list) or not all(map(_is_benchmark, listed)):
        raise UserError(f"{path} is not a report of pytest-benchmark (--benchmark-json FILE)")
    return dict(report)


def _is_benchmark(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get("stats"), dict)
        and isinstance(entry.get("extra_info", {}), dict)
    )


def _table(slug: str, group: str, machine: str, benchmarks: Sequence[Mapping[str, Any]]) -> Table:
    shared, varying = _extras(benchmarks)
    notes = Notes()
    columns = [
        Column("Benchmark", key=True),
        *(Column(plain(head), key=True) for head in varying),
        *(Column(head) for head in ("Median ms", "Min ms", "Max ms", "Rounds", "CER %")),
    ]
    signatures = [str(b.get("extra_info", {}).get("signature") or "") for b in benchmarks]
    stated = listing([f"{key.replace('_', ' ')} {value}" for key, value in shared.items()])
    return Table(
        slug,
        f"Benchmark group {group}",
        "Wall time of one call, measured by pytest-benchmark over the rounds that the table "
        f"names, {machine}." + (f" The same for all: {plain(stated)}." if stated else ""),
        tuple(columns),
        tuple(_row(b, varying, notes) for b in benchmarks),
        notes=tuple(notes.texts),
        signatures=tuple(dict.fromkeys(plain(s) for s in signatures if s)),
    )


def _row(benchmark: Mapping[str, Any], varying: Sequence[str], notes: Notes) -> tuple[Cell, ...]:
    stats, extra = benchmark["stats"], benchmark.get("extra_info", {})
    rounds = stats.get("rounds")
    return (
        name(benchmark["name"]),
        *(name(extra.get(key, "")) for key in varying),
        *(_milliseconds(stats.get(key)) for key in ("median", "min", "max")),
        Cell(f"{rounds:,}", values=(rounds,)) if isinstance(rounds, int) else name("n/a"),
        _cer(extra, notes),
    )


def _milliseconds(seconds: object) -> Cell:
    value = _number(seconds)
    if value is None:
        return name("n/a")
    return Cell(significant(1000.0 * value, 4), values=(1000.0 * value,))


def _cer(extra: Mapping[str, Any], notes: Notes) -> Cell:
    value = _number(extra.get("cer"))
    if value is None:
        mark = notes.mark("No CER: untrained weights, or a benchmark that reads nothing.")
        return Cell(percent(None), values=(None,), marks=(mark,))
    return Cell(percent(value), values=(100.0 * value,))


def _number(value: object) -> float | None:
    """A finite number, or None (JSON of Python may hold NaN)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _extras(benchmarks: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], list[str]]:
    """`extra_info` that all benchmarks share, and the keys in which they differ."""
    extras = [benchmark.get("extra_info", {}) for benchmark in benchmarks]
    keys = [k for k in dict.fromkeys(k for e in extras for k in e) if k not in _OWN_COLUMNS]
    shared = {
        key: plain(extras[0][key])
        for key in keys
        if all(key in extra and extra[key] == extras[0][key] for extra in extras)
    }
    return shared, [key for key in keys if key not in shared]


def _machine(report: Mapping[str, Any]) -> str:
    """The machine in words; its host name stays out of tables that may be published."""
    machine = report.get("machine_info")
    machine = machine if isinstance(machine, dict) else {}
    cpu = machine.get("cpu")
    brand = cpu.get("brand_raw") if isinstance(cpu, dict) else None
    words = [f"on {brand or machine.get('machine') or 'a machine that the file does not name'}"]
    if machine.get("python_version"):
        words.append(f"Python {machine['python_version']}")
    words += [
        f"{key.replace('_', ' ')} {value}"
        for key, value in machine.items()
        if key not in _OF_PYTEST_BENCHMARK and isinstance(value, str | int | float)
    ]
    commit = report.get("commit_info")
    if isinstance(commit, dict) and commit.get("id"):
        dirty = " with uncommitted changes" if commit.get("dirty") else ""
        identity = str(commit["id"])  # not always a hash: "unversioned"
        words.append(f"commit {identity[:10] if len(identity) == 40 else identity}{dirty}")
    return plain(", ".join(words))
