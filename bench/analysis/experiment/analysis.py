"""Language gains, recall of hidden characters, and the declared contrasts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.analysis.experiment.counts import (
    CHARACTERS,
    CLOZE,
    EDITS,
    INKED,
    RIGHT,
    WRONG,
    Counts,
    Place,
)
from bench.analysis.experiment.design import ALPHA, BASELINE, LEVELS, Contrast, Term, slope_terms
from bench.analysis.stats import Interval, holm, sign_flip_p
from datasets.damage.base import SEVERITIES

Sums = NDArray[np.float64]  # (..., COLUMNS)
Statistic = Callable[[Sums, Sums], NDArray[np.float64]]  # of the baseline and of a system

ALL = "all"  # in place of a damage: the mean over all damages of the run

Ruling = Literal["holds", "the opposite holds", "does not hold", "not shown"]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval. value: None if the denominator is 0."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Gain:
    """The gain of a system over the baseline in one cell of the design.

    cer: micro, a fraction. gain: CER of the baseline less that; relative: as a share of the
    baseline's CER. hidden, partial, visible: the part of the gain that falls on such characters;
    the three add up to the gain. p: of the gain, randomisation by blocks, two-sided.
    """

    level: str
    damage: str
    severity: int
    system: str
    cer: Estimate
    gain: Estimate
    relative: Estimate
    hidden: Estimate
    partial: Estimate
    visible: Estimate
    p: float | None


@dataclass(frozen=True)
class Recall:
    """The reading of a cell's hidden characters by a system or the cloze test.

    characters: hidden ones with ink, over all seeds. share: of all characters of the cell that
    are hidden, spaces counted. right: share read right (R_hidden). wrong: characters written
    there that are not there, per hidden character (over 1 is possible).
    """

    level: str
    damage: str
    severity: int
    system: str
    characters: int
    share: float
    right: Estimate
    wrong: Estimate


@dataclass(frozen=True)
class Slope:
    """Slope of a system's gain over severity, under one damage or (`ALL`) averaged."""

    level: str
    damage: str
    system: str
    slope: Estimate


@dataclass(frozen=True)
class TestedContrast:
    """A declared contrast with its test.

    p: randomisation, one-sided in the declared direction; adjusted: by Holm over the family. None
    with too few blocks.
    """

    contrast: Contrast
    system: str
    value: float
    interval: Interval | None
    p: float | None
    adjusted: float | None
    verdict: Ruling


def gains(counts: Counts, systems: Sequence[str], damages: Sequence[str]) -> Iterator[Gain]:
    """Compute the gain of every system in every cell; the baseline's is 0 by definition."""
    statistics: dict[str, Statistic] = {
        "cer": lambda base, own: _ratio(_edits(own), _characters(own)),
        "gain": _gain,
        "relative": lambda base, own: _ratio(_edits(base) - _edits(own), _edits(base)),
        "hidden": lambda base, own: _part_of_gain(base, own, 0),
        "partial": lambda base, own: _part_of_gain(base, own, 1),
        "visible": lambda base, own: _part_of_gain(base, own, 2),
    }
    for (level, damage, severity), base in _cells(counts, damages, SEVERITIES):
        for system in systems:
            own = _Drawn(counts, (level, damage, severity, system))
            values = {name: _estimate(one, base, own) for name, one in statistics.items()}
            p = sign_flip_p(_edits(base.blocks) - _edits(own.blocks), "two-sided")
            yield Gain(level, damage, severity, system, **values, p=p)


def recalls(counts: Counts, systems: Sequence[str], damages: Sequence[str]) -> Iterator[Recall]:
    """Compute the recall of every system, and of the cloze test if it was run.

    Nothing is hidden at severity 0.
    """
    for cell, base in _cells(counts, damages, SEVERITIES[1:]):
        share = float(base.whole[CHARACTERS][0] / base.whole[CHARACTERS].sum())
        for system in (*systems, CLOZE):
            if (*cell, system) in counts.cells:
                own = _Drawn(counts, (*cell, system))
                right, wrong = (
                    _estimate(_share(RIGHT), base, own),
                    _estimate(_share(WRONG), base, own),
                )
                yield Recall(*cell, system, int(own.whole[INKED]), share, right, wrong)


def _cells(
    counts: Counts, damages: Sequence[str], severities: Sequence[int]
) -> Iterator[tuple[tuple[str, str, int], _Drawn]]:
    """Level, damage and severity of every cell, with the baseline's sums."""
    for cell in itertools.product(LEVELS, damages, severities):
        yield cell, _Drawn(counts, (*cell, BASELINE))


def slopes(counts: Counts, systems: Sequence[str], damages: Sequence[str]) -> Iterator[Slope]:
    """Compute the slope of every system by level and damage; their mean is under `ALL`."""
    for level in LEVELS:
        for names in (*((damage,) for damage in damages), tuple(damages)):
            terms = slope_terms(level, names)
            for system in systems:
                value, resampled, _, _ = _combined(counts, terms, system)
                slope = Estimate(value, counts.redrawn.interval(resampled))
                yield Slope(level, names[0] if len(names) == 1 else ALL, system, slope)


def conclude(counts: Counts, contrasts: Sequence[Contrast], system: str) -> list[TestedContrast]:
    """Compute the declared contrasts of a system's gain and adjust their p-values by Holm."""
    computed = [(contrast, *_combined(counts, contrast.terms, system)) for contrast in contrasts]
    p_values = [_p(contrast, own, part) for contrast, _, _, own, part in computed]
    opposed = holm([_p_opposed(contrast, own) for contrast, _, _, own, _ in computed])
    tested = []
    for (contrast, value, resampled, _, _), p, after, against in zip(
        computed, p_values, holm(p_values), opposed, strict=True
    ):
        interval = counts.redrawn.interval(resampled)
        verdict = _verdict(contrast, interval, after, against)
        tested.append(TestedContrast(contrast, system, value, interval, p, after, verdict))
    return tested


def _combined(
    counts: Counts, terms: Sequence[Term], system: str
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A weighted sum of gains.

    Returns:
        Its value; (draws,) its value in each draw; (blocks,) what each block adds to it;
        (blocks,) the share of the characters that each block has, to move the null hypothesis.
    """
    value, resampled = 0.0, np.zeros(1)
    own_part = np.zeros(len(counts.redrawn.blocks))
    share = np.zeros(len(counts.redrawn.blocks))
    for term in terms:
        base = counts.cells[term.level, term.damage, term.severity, BASELINE]
        own = counts.cells[term.level, term.damage, term.severity, system]
        characters = _characters(base)
        value += term.weight * float(_gain(base.sum(axis=0), own.sum(axis=0)))
        drawn = counts.redrawn.sums
        resampled = resampled + term.weight * _gain(drawn(base), drawn(own))
        own_part += term.weight * (_edits(base) - _edits(own)) / characters.sum()
        share += characters / characters.sum() / len(terms)
    return value, resampled, own_part, share


def _p(contrast: Contrast, own: NDArray[np.float64], share: NDArray[np.float64]) -> float | None:
    if contrast.direction == "above":
        return sign_flip_p(own)
    if contrast.direction == "below":
        return sign_flip_p(-own)
    # Two one-sided tests: above -margin and below +margin (Schuirmann 1987).
    margin = contrast.margin * share
    above, below = sign_flip_p(own + margin), sign_flip_p(margin - own)
    return None if above is None or below is None else max(above, below)


def _p_opposed(contrast: Contrast, own: NDArray[np.float64]) -> float | None:
    """The p-value in favour of the opposite; for "near 0", of the mean not being 0."""
    if contrast.direction == "near":
        return sign_flip_p(own, "two-sided")
    return sign_flip_p(-own if contrast.direction == "above" else own)


def _verdict(
    contrast: Contrast, interval: Interval | None, adjusted: float | None, opposed: float | None
) -> Ruling:
    """Combine p-value and interval: a finding needs both."""
    if interval is None or adjusted is None or opposed is None:
        return "not shown"
    above, below = interval.low > 0, interval.high < 0
    near = -contrast.margin < interval.low and interval.high < contrast.margin
    if {"above": above, "below": below, "near": near}[contrast.direction] and adjusted <= ALPHA:
        return "holds"
    if contrast.direction == "near":
        return "does not hold" if (above or below) and opposed <= ALPHA else "not shown"
    against = below if contrast.direction == "above" else above
    return "the opposite holds" if against and opposed <= ALPHA else "not shown"


class _Drawn:
    """The sums of a cell by block, in total, and in each draw of the blocks."""

    def __init__(self, counts: Counts, place: Place) -> None:
        self.redrawn = counts.redrawn
        self.blocks: Sums = counts.cells[place]
        self.whole: Sums = self.blocks.sum(axis=0)
        self.draws: Sums = counts.redrawn.sums(self.blocks)


def _estimate(statistic: Statistic, base: _Drawn, own: _Drawn) -> Estimate:
    value = float(statistic(base.whole, own.whole))
    if not np.isfinite(value):
        return Estimate(None, None)
    return Estimate(value, own.redrawn.interval(statistic(base.draws, own.draws)))


def _edits(sums: Sums) -> NDArray[np.float64]:
    added: NDArray[np.float64] = sums[..., EDITS].sum(axis=-1)
    return added


def _characters(sums: Sums) -> NDArray[np.float64]:
    added: NDArray[np.float64] = sums[..., CHARACTERS].sum(axis=-1)
    return added


def _gain(base: Sums, own: Sums) -> NDArray[np.float64]:
    return _ratio(_edits(base) - _edits(own), _characters(base))


def _part_of_gain(base: Sums, own: Sums, kind: int) -> NDArray[np.float64]:
    less = base[..., EDITS][..., kind] - own[..., EDITS][..., kind]
    return _ratio(less, _characters(base))


def _share(column: int) -> Statistic:
    """A column over the hidden characters with ink."""
    return lambda base, own: _ratio(own[..., column], own[..., INKED])


def _ratio(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(top, np.float64) / bottom
