"""Differences and ratios against independent programs and published examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from bench.analysis.stats import FEWEST, rate_difference, sign_flip_p, sum_ratio

# Darwin's maize: heights of crossed less self-fertilised plants in eighths of an inch, 15 pairs.
# Fisher (The Design of Experiments, 1935, section 21) counts all 2^15 signs: 863 sums are at
# least as high as the observed 314, so 1,726 at least as far from 0.
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def systems(
    seed: int, writers: int = 24, each: int = 6, gain: float = 0.9
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], list[str]]:
    """Edits of two systems, characters and writers: what is hard is so for both."""
    rng = np.random.default_rng(seed)
    names = [f"w{w:02}" for w in range(writers) for _ in range(each)]
    chars = rng.integers(20, 70, writers * each)
    rates = np.repeat(rng.beta(2, 12, writers), each)
    first = rng.binomial(chars, rates)
    second = rng.binomial(chars, np.clip(gain * rates, 0, 1))
    return first, second, chars, names


def by_writer(values: NDArray[np.int64], names: list[str]) -> NDArray[np.float64]:
    _, place = np.unique(names, return_inverse=True)
    return np.bincount(place, values).astype(np.float64)


def test_signs_are_counted_as_fisher_counted_darwins_maize():
    assert sum(DARWIN) == 314
    assert sign_flip_p(DARWIN, flips=2**15) == pytest.approx(863 / 2**15, rel=1e-12)
    assert sign_flip_p(DARWIN, "two-sided", flips=2**15) == pytest.approx(1726 / 2**15, rel=1e-12)
    assert sign_flip_p(DARWIN, "two-sided") == pytest.approx(1726 / 2**15, abs=0.006)  # random


@pytest.mark.parametrize("writers", [12, 13, 30])
def test_a_difference_agrees_with_scipy(writers):
    first, second, chars, names = systems(writers, writers, gain=0.85)
    found = rate_difference(first, second, chars, names)
    assert found is not None and found.interval is not None
    tops, bottoms = by_writer(first - second, names), by_writer(chars, names)
    assert found.value == pytest.approx(first.sum() / chars.sum() - second.sum() / chars.sum())
    oracle = scipy_stats.bootstrap(
        (tops, bottoms),
        lambda t, b, axis=-1: t.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = oracle.high - oracle.low
    assert found.interval.low == pytest.approx(oracle.low, abs=0.06 * width)
    assert found.interval.high == pytest.approx(oracle.high, abs=0.06 * width)
    assert found.interval.blocks == writers
    permuted = scipy_stats.permutation_test(
        (by_writer(first, names), by_writer(second, names)),
        lambda a, b, axis=-1: a.sum(axis=axis) - b.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9_999 if writers > 13 else np.inf,
        rng=np.random.default_rng(2),
    )
    assert found.p == pytest.approx(permuted.pvalue, abs=1e-9 if writers <= 13 else 0.02)


def test_a_ratio_agrees_with_scipy():
    first, second, _, names = systems(3)
    found = sum_ratio(second, first, names)
    assert found is not None and found.interval is not None
    oracle = scipy_stats.bootstrap(
        (by_writer(second, names), by_writer(first, names)),
        lambda t, b, axis=-1: t.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found.value == pytest.approx(second.sum() / first.sum())
    assert found.interval.low == pytest.approx(oracle.low, rel=0.01)
    assert found.interval.high == pytest.approx(oracle.high, rel=0.01)


def test_pairs_know_more_than_two_single_intervals():
    first, second, chars, names = systems(4, gain=0.8)
    found = rate_difference(first, second, chars, names)
    alone = rate_difference(first, np.zeros_like(first), chars, names)
    assert found is not None and found.interval and alone is not None and alone.interval
    paired_width = found.interval.high - found.interval.low
    assert paired_width < 0.6 * (alone.interval.high - alone.interval.low)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.integers(0, 9),
            st.integers(1, 40),
            st.sampled_from("abcdefghijklm"),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_swapping_the_systems_turns_the_sign_and_nothing_else(lines):
    first, second, chars, names = (list(column) for column in zip(*lines, strict=True))
    found = rate_difference(first, second, chars, names, resamples=300)
    turned = rate_difference(second, first, chars, names, resamples=300)
    assert found is not None and turned is not None
    assert found.value == pytest.approx(-turned.value)
    assert found.p == turned.p
    if found.interval is None or found.p is None:
        assert len(set(names)) < FEWEST and turned.interval is None
    else:
        assert turned.interval is not None
        assert 0 < found.p <= 1 and (first != second or found.p == 1.0)
        assert found.interval.low == pytest.approx(-turned.interval.high, abs=1e-12)


def test_one_writer_has_a_difference_and_proves_nothing():
    found = rate_difference([5, 4], [1, 1], [10, 10], ["a", "a"])
    assert found is not None
    assert (found.value, found.interval, found.p) == (0.35, None, None)


def test_nothing_to_divide_by_is_no_number():
    assert rate_difference([1], [2], [0], ["a"]) is None
    assert sum_ratio([1], [0], ["a"]) is None


def test_writers_that_read_alike_leave_few_choices_and_those_are_all_taken():
    # of 40 writers 35 are read alike: what is left has 32 choices of signs, no random ones
    assert sign_flip_p([*[0.0] * 35, 3, 3, 3, 3, 3], "two-sided") == 2 / 32


def test_a_random_p_value_is_never_0():
    assert sign_flip_p([1.0] * 40, flips=99) == 1 / 100
