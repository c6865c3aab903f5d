"""Few blocks: nothing under 6, Student's t under 12, and both p and interval for a finding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.analysis.stats import (
    ENOUGH,
    FEWEST,
    Interval,
    micro_interval,
    rate_difference,
    ratio_interval,
    sign_flip_p,
    significant,
    sum_ratio,
)


def names(count: int) -> list[str]:
    return [f"w{place:02}" for place in range(count)]


@pytest.mark.parametrize("blocks", [1, FEWEST - 1])
def test_under_six_blocks_there_is_no_interval_and_no_p(blocks):
    edits, units = np.arange(1, blocks + 1), np.full(blocks, 50)
    side = (edits, units, names(blocks))
    enough = (np.arange(1, 21), np.full(20, 50), names(20))
    found = rate_difference(edits, 2 * edits, units, names(blocks))
    ratio = sum_ratio(edits, 2 * edits, names(blocks))
    assert micro_interval(*side) is None
    assert found is not None and (found.interval, found.p) == (None, None)
    assert ratio is not None and ratio.interval is None
    assert ratio_interval(side, enough) is None and ratio_interval(enough, side) is None
    assert sign_flip_p([1.0] * blocks) is None


@pytest.mark.parametrize("blocks", [FEWEST, ENOUGH - 1])
def test_equal_blocks_have_students_interval_of_their_rates(blocks):
    rng = np.random.default_rng(blocks)
    first, second = rng.integers(20, 60, (2, blocks))
    units = np.full(blocks, 200)

    def student(values):
        return scipy_stats.t.interval(0.95, blocks - 1, values.mean(), scipy_stats.sem(values))

    own = micro_interval(first, units, names(blocks))
    assert own is not None and own.blocks == blocks
    assert (own.low, own.high) == pytest.approx(student(first / units))
    gap = rate_difference(first, second, units, names(blocks))
    assert gap is not None and gap.interval is not None
    ends = (gap.interval.low, gap.interval.high)
    assert ends == pytest.approx(student((first - second) / units))


def test_unequal_blocks_agree_with_the_linearised_ratio():
    # Cochran, Sampling Techniques, section 6.3; the jackknife is a little more careful.
    rng = np.random.default_rng(2)
    units = rng.integers(900, 1500, 9)
    edits = rng.binomial(units, rng.beta(20, 180, 9))
    rate = edits.sum() / units.sum()
    residuals = edits - rate * units
    error = math.sqrt(9 / 8 * residuals @ residuals) / units.sum()
    half = scipy_stats.t.ppf(0.975, 8) * error
    found = micro_interval(edits, units, names(9))
    assert found is not None
    assert (found.low + found.high) / 2 == pytest.approx(rate)
    assert half < found.high - rate < 1.15 * half


@pytest.mark.parametrize("blocks", [6, 11])
def test_a_t_interval_covers_where_the_bootstrap_does_not(blocks):
    rng = np.random.default_rng(blocks)
    covered = {"ours": 0, "bootstrap": 0}
    trials = 400
    for _ in range(trials):
        units = rng.integers(500, 1500, blocks)
        edits = rng.binomial(units, rng.beta(8, 72, blocks))  # hands differ; CER 10 %
        ours = micro_interval(edits, units, names(blocks))
        draws = rng.integers(0, blocks, (400, blocks))
        rates = edits[draws].sum(1) / units[draws].sum(1)
        low, high = np.quantile(rates, (0.025, 0.975))
        assert ours is not None
        covered["ours"] += ours.low <= 0.1 <= ours.high
        covered["bootstrap"] += low <= 0.1 <= high
    assert 0.92 <= covered["ours"] / trials <= 0.985
    assert covered["bootstrap"] < covered["ours"]


def test_a_ratio_of_two_samples_has_a_t_interval_where_one_of_them_is_small():
    rng = np.random.default_rng(4)
    small = (rng.integers(30, 60, 8), np.full(8, 300), names(8))
    large = (rng.integers(10, 30, 40), np.full(40, 300), names(40))
    found = ratio_interval(small, large)
    assert found is not None and found.blocks == 8
    logs, errors = [], []
    for edits, units, _ in (small, large):
        rates = edits / units
        logs.append(math.log(rates.mean()))
        errors.append(scipy_stats.sem(rates) / rates.mean())
    half = scipy_stats.t.ppf(0.975, 7) * math.hypot(*errors)
    middle = logs[0] - logs[1]
    assert math.log(found.low) == pytest.approx(middle - half)
    assert math.log(found.high) == pytest.approx(middle + half)


def test_a_finding_needs_a_small_p_and_an_interval_without_0():
    away, across = Interval(0.01, 0.05, 9), Interval(-0.01, 0.05, 9)
    assert significant(away, 0.05) and significant(Interval(-3, -1, 9), 0.001)
    assert not significant(away, 0.0501) and not significant(across, 0.001)
    assert not significant(None, 0.001) and not significant(away, None)
    assert not significant(Interval(0.0, 0.05, 9), 0.001)
