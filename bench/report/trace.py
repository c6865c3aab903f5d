"""Tables of a trace: stages, and the slowest operators."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.trace import Operator, Trace
from bench.report.format import number, plain, plural
from bench.report.language import say
from bench.report.table import Column, Table, count, declared, figure, keys, rate

_SHOWN = 12


def tables(trace: Trace, system: str, read: str) -> list[Table]:
    """The stages of a system on lines (`read` in words), and the first operators."""
    batches = say("{count} batches", count=f"{trace.batches:,}")
    conditions = plain(
        say(
            "{lines} of {set} in {batches}, under the profiler. It slows down each operator by "
            "another factor: the shares show where to look, and the times are not those of a run.",
            lines=plural(trace.lines, "line"),
            set=read,
            batches=say("1 batch") if trace.batches == 1 else batches,
        )
    )
    device = any(one.device_s for one in trace.operators)
    operators = [(one, one.device_s if device else one.self_s) for one in trace.operators]
    stages = [(stage, stage.total_s) for stage in trace.stages]
    ms = say("ms on the device") if device else say("ms in itself")
    first = say("The first of {count}.", count=f"{len(trace.operators):,}")
    of_stages, of_operators = (
        say("Stages of {system}", system=system),
        say("Operators of {system}", system=system),
    )
    return [
        _table("stages", of_stages, conditions, (say("Stage"), "ms"), stages),
        _table("operators", of_operators, first, (say("Operator"), ms), operators),
    ]


Timed = tuple[Operator, float]  # with its seconds


def _table(
    slug: str, title: str, conditions: str, heads: tuple[str, str], timed: Sequence[Timed]
) -> Table:
    whole = sum(seconds for _, seconds in timed)
    columns: list[Column[Timed]] = [
        *keys([heads[0]], lambda one: one[0].name),
        Column(say("Calls"), lambda one: count(one[0].calls)),
        Column(heads[1], lambda one: figure(one[1], lambda ms: number(ms, 1), scale=1000.0)),
        Column(say("Share %"), lambda one: rate(one[1] / whole if whole else None, decimals=1)),
    ]
    return declared(slug, plain(title), conditions, columns, timed[:_SHOWN])
