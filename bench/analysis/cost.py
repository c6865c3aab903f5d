"""Costs of systems, their ratios, and the Pareto front of CER and speed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.analysis.stats import Interval, sum_ratio
from bench.core.types import Row, Timing


@dataclass(frozen=True)
class Speed:
    """Ratio of the second system's lines/s to the first's, for encoder and decoder.

    interval: by "batches" a paired one over the batches of the set; by "rounds" the range from the
        rounds of both, for rows without enough batches; else None.
    """

    value: float
    interval: Interval | None
    by: Literal["batches", "rounds", ""]


@dataclass(frozen=True)
class Cost:
    """The cost of a line in one system, encoder and decoder.

    lines_per_s: with its interval over batches, None if there are too few.
    wall_s, cpu_s: seconds a line; cpu_s of all threads and workers.
    device_s: seconds an accelerator was held per line; None on a CPU.
    threads: of torch.
    """

    lines_per_s: float
    lines_per_s_interval: Interval | None
    wall_s: float
    cpu_s: float
    device_s: float | None
    threads: int


def cost(row: Row) -> Cost | None:
    """Compute the cost of a line; None of a row without times."""
    if row.timing is None or row.counts is None:
        return None
    timing, lines = row.timing, row.counts.lines
    batches = timing.batches
    names = [str(place) for place in range(len(batches))]
    pace = sum_ratio([n for n, _ in batches], [s for _, s in batches], names) if batches else None
    wall_s = 1.0 / timing.lines_per_s.median
    return Cost(
        lines_per_s=timing.lines_per_s.median,
        lines_per_s_interval=pace.interval if pace else None,
        wall_s=wall_s,
        cpu_s=timing.cpu_s / lines,
        device_s=None if row.runtime.device == "cpu" else wall_s,
        threads=row.runtime.threads,
    )


def seconds_left(rows: Sequence[Row], left: int) -> float | None:
    """Estimate the seconds for cells that are left, from rows with times; None without any.

    A row costs its decoder's rounds, and its share of the encoder's for its condition.
    """
    sharing = Counter((row.encoder, row.condition, row.runtime) for row in rows)
    costs = [
        time.decode_s.n
        * (
            time.decode_s.median
            + (time.correct_s.median if time.correct_s else 0.0)
            + (time.host_s + time.encode_s) / sharing[row.encoder, row.condition, row.runtime]
        )
        for row in rows
        if (time := row.timing)
    ]
    return left * sum(costs) / len(costs) if costs else None


def speed_ratio(first: Timing | None, second: Timing | None) -> Speed | None:
    """Divide the second speed by the first; None if either has no times."""
    if first is None or second is None:
        return None
    sizes = [lines for lines, _ in first.batches]
    if sizes and sizes == [lines for lines, _ in second.batches]:
        names = [str(place) for place in range(len(sizes))]
        ratio = sum_ratio([s for _, s in first.batches], [s for _, s in second.batches], names)
        if ratio is not None and ratio.interval is not None:
            return Speed(ratio.value, ratio.interval, "batches")
    one, other = first.lines_per_s, second.lines_per_s
    rounds = min(one.n, other.n)
    value = other.median / one.median
    if rounds < 2:  # the range of a single round is that of its batches, length and all
        return Speed(value, None, "")
    return Speed(value, Interval(other.low / one.high, other.high / one.low, rounds), "rounds")


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Mark the points (CER, lines/s) on the Pareto front.

    >>> pareto([(0.1, 30.0), (0.2, 40.0), (0.2, 30.0)])
    [True, True, False]
    """
    return [
        not any(
            (cer <= own_cer and speed >= own_speed) and (cer < own_cer or speed > own_speed)
            for cer, speed in points
        )
        for own_cer, own_speed in points
    ]
