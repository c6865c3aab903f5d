"""Pairwise comparison of systems on the same lines: gain and cost.

Of each pair the second is compared with the first: a ΔCER below 0 means fewer errors, a speed
ratio above 1 more lines a second.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bench.analysis.cost import Cost, Speed, cost, pareto, speed_ratio
from bench.analysis.evidence import Reading, aligned
from bench.analysis.stats import (
    Difference,
    Interval,
    Ratio,
    holm,
    micro_interval,
    rate_difference,
    sum_ratio,
)
from bench.core.errors import UserError
from bench.core.types import Condition


@dataclass(frozen=True, eq=False)
class NamedSystem:
    """A system under the user's name, with its readings."""

    label: str
    readings: tuple[Reading, ...]


class Lines(NamedTuple):
    """Counts of the lines of a pair.

    improved, worse: fewer and more character edits with the second than with the first.
    first_alone, second_alone: lines without edits with this system only.
    """

    improved: int
    same: int
    worse: int
    first_alone: int
    second_alone: int


@dataclass(frozen=True)
class Side:
    """One system on one condition: rates, cost, and whether it is on the Pareto front."""

    label: str
    reading: Reading
    cer_interval: Interval | None
    wer_interval: Interval | None
    cost: Cost | None
    on_front: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Its label and the key of its row."""
        return self.label, self.reading.row.key


@dataclass(frozen=True)
class Comparison:
    """The difference of the second system of a pair from the first, on one condition.

    cer, wer: second less first; None where one of them has no CER (untrained weights).
    cer_ratio: the second's errors over the first's.
    p_holm: `cer.p` adjusted over all pairs of the comparison.
    cpu_ratio: CPU seconds a line, second over first.
    """

    condition: Condition
    first: Side
    second: Side
    cer: Difference | None
    cer_ratio: Ratio | None
    p_holm: float | None
    wer: Difference | None
    lines: Lines | None
    speed: Speed | None
    cpu_ratio: float | None


def compare(systems: Sequence[NamedSystem]) -> list[Comparison]:
    """Every pair of systems on every condition that both have read.

    Raises:
        UserError: fewer than two systems, or a pair without a common condition or with
            incomparable rows.
    """
    if len(systems) < 2:
        raise UserError("a comparison needs two systems; name one more")
    found = []
    for one, other in itertools.combinations(systems, 2):
        matched = [
            (_side(one.label, first), _side(other.label, second))
            for first in one.readings
            if (second := _counterpart(first, other.readings)) is not None
        ]
        if not matched:
            raise UserError(
                f"{one.label} and {other.label} have read nothing in common: {_contents(one)}; "
                f"{_contents(other)}"
            )
        found += matched
    of = {side.key: side for side in _marked(side for pair in found for side in pair)}
    compared = [_compared(of[one.key], of[other.key]) for one, other in found]
    adjusted = holm([item.cer.p if item.cer else None for item in compared])
    return [dataclasses.replace(item, p_holm=p) for item, p in zip(compared, adjusted, strict=True)]


def sides(comparisons: Iterable[Comparison]) -> list[Side]:
    """Each system of the comparisons once a condition, in order of appearance."""
    every = (side for item in comparisons for side in (item.first, item.second))
    return [side for group in _by_condition(every) for side in group]


def _by_condition(every: Iterable[Side]) -> list[list[Side]]:
    """Each side once, those of one condition together."""
    groups: dict[Hashable, dict[Hashable, Side]] = {}
    for side in {side.key: side for side in every}.values():
        groups.setdefault(_place(side.reading), {})[side.key] = side
    return [list(group.values()) for group in groups.values()]


def _marked(every: Iterable[Side]) -> list[Side]:
    """The sides, marked where they are on the front of their condition."""
    marked = []
    for group in _by_condition(every):
        points = {
            side.key: (side.reading.row.cer, side.cost.lines_per_s)
            for side in group
            if side.reading.row.cer is not None and side.cost is not None
        }
        front = dict(zip(points, pareto(list(points.values())), strict=True))
        marked += [dataclasses.replace(side, on_front=front.get(side.key, False)) for side in group]
    return marked


def _counterpart(reading: Reading, others: Iterable[Reading]) -> Reading | None:
    """Find the reading of the same condition and limit, else that of the whole set."""
    near = [other for other in others if _place(other) == _place(reading)]
    exact = [other for other in near if other.row.condition == reading.row.condition]
    return next(iter([*exact, *near]), None)


def _place(reading: Reading) -> Condition:
    return dataclasses.replace(reading.row.condition, limit=None)


def _contents(system: NamedSystem) -> str:
    places = {
        f"{one.row.condition.dataset} {one.row.condition.damaged or 'clean'}"
        for one in system.readings
    }
    return f"{system.label} has {', '.join(sorted(places)) or 'nothing'}"


def _side(label: str, reading: Reading) -> Side:
    if not reading.scored:
        return Side(label, reading, None, None, cost(reading.row))
    return Side(
        label,
        reading,
        reading.cer_interval,
        micro_interval(reading.word_edits, reading.words, reading.blocks),
        cost(reading.row),
    )


def _compared(first: Side, second: Side) -> Comparison:
    one, other = first.reading, aligned(second.reading, first.reading)
    scored = one.scored and other.scored
    errors = (other.word_edits, one.word_edits, one.words, one.blocks)
    return Comparison(
        condition=one.row.condition,
        first=first,
        second=second,
        cer=other.cer_less(one) if scored else None,
        cer_ratio=sum_ratio(other.edits, one.edits, one.blocks) if scored else None,
        p_holm=None,
        wer=rate_difference(*errors) if scored else None,
        lines=_lines(one, other) if scored else None,
        speed=speed_ratio(one.row.timing, other.row.timing),
        cpu_ratio=second.cost.cpu_s / first.cost.cpu_s
        if first.cost and second.cost and first.cost.cpu_s
        else None,
    )


def _lines(first: Reading, second: Reading) -> Lines:
    before, after = first.edits, second.edits
    return Lines(
        improved=int(np.sum(after < before)),
        same=int(np.sum(after == before)),
        worse=int(np.sum(after > before)),
        first_alone=int(np.sum((before == 0) & (after > 0))),
        second_alone=int(np.sum((after == 0) & (before > 0))),
    )
