"""Tables from pytest-benchmark's JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.report.format import UNKNOWN, listing, plain, significant
from bench.report.table import Cell, Column, Table, count, declared, figure, keys, rate

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
    signatures = [str(_extra(one).get("signature") or "") for one in benchmarks]
    stated = listing([f"{key.replace('_', ' ')} {value}" for key, value in shared.items()])

    def option(key: str) -> Column[Mapping[str, Any]]:
        return Column(plain(key), lambda one: str(_extra(one).get(key, "")), key=True)

    def ms(head: str, key: str) -> Column[Mapping[str, Any]]:
        return Column(head, lambda one: _milliseconds(one["stats"].get(key)))

    columns = [
        *keys(["Benchmark"], lambda one: one["name"]),
        *map(option, varying),
        *(ms(f"{key.capitalize()} ms", key) for key in ("median", "min", "max")),
        Column("Rounds", lambda one: _rounds(one["stats"].get("rounds"))),
        Column("CER %", lambda one: _cer(_extra(one).get("cer"))),
    ]
    return declared(
        slug,
        f"Benchmark group {group}",
        "Wall time of one call, measured by pytest-benchmark over the rounds that the table "
        f"names, {machine}." + (f" The same for all: {plain(stated)}." if stated else ""),
        columns,
        benchmarks,
        signatures=tuple(dict.fromkeys(plain(s) for s in signatures if s)),
    )


def _extra(benchmark: Mapping[str, Any]) -> Mapping[str, Any]:
    extra: Mapping[str, Any] = benchmark.get("extra_info", {})
    return extra


def _rounds(rounds: object) -> Cell:
    return count(rounds) if isinstance(rounds, int) else Cell(UNKNOWN)


def _milliseconds(seconds: object) -> Cell:
    value = _number(seconds)
    if value is None:
        return Cell(UNKNOWN)
    return figure(value, lambda ms: significant(ms, 4), scale=1000.0)


def _cer(cer: object) -> Cell:
    value = _number(cer)
    note = "No CER: untrained weights, or a benchmark that reads nothing."
    return rate(value, notes=[note] if value is None else [])


def _number(value: object) -> float | None:
    """A finite number, or None (Python's JSON may contain NaN)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _extras(benchmarks: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], list[str]]:
    """`extra_info` that all benchmarks share, and the keys in which they differ."""
    extras = list(map(_extra, benchmarks))
    keys = [k for k in dict.fromkeys(k for e in extras for k in e) if k not in _OWN_COLUMNS]
    shared = {
        key: plain(extras[0][key])
        for key in keys
        if all(key in extra and extra[key] == extras[0][key] for extra in extras)
    }
    return shared, [key for key in keys if key not in shared]


def _machine(report: Mapping[str, Any]) -> str:
    """The machine in words, without its host name, since tables may be published."""
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
