"""A trace as tables: the stages, and the operators that take most of the time."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.trace import Operator, Trace
from bench.report.format import number, percent, plain, plural
from bench.report.table import Cell, Column, Table, name

_SHOWN = 12


def tables(trace: Trace, system: str, read: str) -> list[Table]:
    """The stages, and the first operators.

    Args:
        trace: what was traced.
        system: its name.
        read: what it read, in words.
    """
    batches = "1 batch" if trace.batches == 1 else f"{trace.batches:,} batches"
    conditions = plain(
        f"{plural(trace.lines, 'line')} of {read} in {batches}, under the profiler. It slows down "
        "each operator by another factor: the shares show where to look, and the times are not "
        "those of a run."
    )
    whole = sum(stage.total_s for stage in trace.stages)
    stages = [_row(stage, stage.total_s, whole) for stage in trace.stages]
    device = any(one.device_s for one in trace.operators)
    spent = [one.device_s if device else one.self_s for one in trace.operators]
    shown = zip(trace.operators[:_SHOWN], spent, strict=False)
    operators = [_row(one, own, sum(spent)) for one, own in shown]
    where = "on the device" if device else "in itself"
    return [
        _table("stages", f"Stages of {system}", conditions, ("Stage", "ms"), stages),
        _table(
            "operators",
            f"Operators of {system}",
            f"The first of {len(trace.operators):,}.",
            ("Operator", f"ms {where}"),
            operators,
        ),
    ]


def _table(
    slug: str,
    title: str,
    conditions: str,
    heads: tuple[str, str],
    rows: Sequence[tuple[Cell, ...]],
) -> Table:
    what, spent = heads
    columns = (Column(what, key=True), Column("Calls"), Column(spent), Column("Share %"))
    return Table(slug, plain(title), conditions, columns, tuple(rows))


def _row(one: Operator, spent: float, whole: float) -> tuple[Cell, ...]:
    share = spent / whole if whole else None
    return (
        name(one.name),
        Cell(number(one.calls, 0), values=(one.calls,)),
        Cell(number(1000.0 * spent, 1), values=(1000.0 * spent,)),
        Cell(percent(share, 1), values=(None if share is None else 100.0 * share,)),
    )
