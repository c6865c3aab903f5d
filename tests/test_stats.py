"""Intervals, differences and tests against independent programs and published examples."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from bench.analysis.stats import (
    ENOUGH,
    FEWEST,
    Interval,
    Redrawn,
    holm,
    micro_interval,
    rate_difference,
    ratio_interval,
    sign_flip_p,
    sum_ratio,
)


def _lines(
    seed: int, writers: int, each: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """Lines whose error rate depends on the writer, as handwriting's does."""
    rng = np.random.default_rng(seed)
    names, edits, characters = [], [], []
    for writer in range(writers):
        rate = rng.beta(2, 20)
        for _ in range(each):
            length = int(rng.integers(20, 70))
            names.append(f"w{writer}")
            characters.append(length)
            edits.append(int(rng.binomial(length, rate)))
    return np.array(edits), np.array(characters), names


def scipys_interval(tops, bottoms, resamples, seed):
    """The percentile interval of a ratio of sums over blocks."""
    return scipy_stats.bootstrap(
        (tops, bottoms),
        lambda t, b, axis=-1: t.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    ).confidence_interval


def test_agrees_with_scipy_on_writer_blocks():
    edits, characters, names = _lines(1, writers=40, each=5)
    tops = edits.reshape(40, 5).sum(axis=1)
    bottoms = characters.reshape(40, 5).sum(axis=1)
    oracle = scipys_interval(tops, bottoms, 40_000, seed=2)
    ours = micro_interval(edits, characters, names, resamples=40_000)
    assert ours is not None
    width = oracle.high - oracle.low
    assert ours.low == pytest.approx(oracle.low, abs=0.03 * width)
    assert ours.high == pytest.approx(oracle.high, abs=0.03 * width)
    assert ours.blocks == 40


def test_twelve_alike_and_different_writers_worked_by_hand():
    # Six blocks of rate 0.1 and six of 0.3: a draw has a binomial number of the second kind.
    edits, characters = [10] * 6 + [30] * 6, [100] * 12
    low, high = scipy_stats.binom.ppf((0.025, 0.975), 12, 0.5) / 12
    found = micro_interval(edits, characters, [f"w{place:02}" for place in range(12)])
    assert found is not None
    assert astuple(found) == pytest.approx((0.1 + 0.2 * low, 0.1 + 0.2 * high, 12))


@pytest.mark.parametrize(
    ("edits", "characters", "names"),
    [
        ([], [], []),
        ([1], [10], "a"),
        ([1] * 9, [10] * 9, "aabbccdde"),
        ([1] * 6, [0, *[9] * 5], "abcdef"),
    ],
)
def test_no_interval_without_six_writers(edits, characters, names):
    assert micro_interval(edits, characters, list(names)) is None


@pytest.mark.parametrize(
    ("edits", "characters", "names"),
    [([1], [1, 2], ["a", "b"]), ([1, 2], [1, 2], ["a"]), ([-1, 2], [1, 2], ["a", "b"])],
)
def test_wrong_input_is_refused(edits, characters, names):
    with pytest.raises(ValueError, match=r"one entry a line|negative"):
        micro_interval(edits, characters, names)
    with pytest.raises(ValueError, match="c is no block"):
        Redrawn(("a", "b")).block_sums([1.0], ["c"])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.integers(1, 90), st.sampled_from("abcdéfghijklmn")),
        min_size=2,
        max_size=60,
    ),
    st.randoms(use_true_random=False),
)
def test_bounds_and_order(lines, shuffler):
    interval = micro_interval(*zip(*lines, strict=True), resamples=200)
    if interval is None:
        assert len({writer for *_, writer in lines}) < FEWEST
        return
    rates = [
        sum(e for e, _, w in lines if w == writer) / sum(c for _, c, w in lines if w == writer)
        for writer in {w for *_, w in lines}
    ]
    assert 0 <= interval.low <= interval.high
    if interval.blocks >= ENOUGH:
        assert min(rates) - 1e-9 <= interval.low and interval.high <= max(rates) + 1e-9
    shuffler.shuffle(lines)
    assert micro_interval(*zip(*lines, strict=True), resamples=200) == interval


def test_a_ratio_of_rates_agrees_with_scipy_on_two_samples():
    draws = np.random.default_rng(4)
    sides = []
    for scale in (3.0, 1.0):
        names = [f"w{i % 30}" for i in range(300)]
        sides.append((draws.poisson(scale, 300), np.full(300, 40), names))
    found = ratio_interval(sides[0], sides[1])
    assert found is not None and found.blocks == 30

    def writer_sums(side):
        edits, characters, names = side
        owners = np.array(names)
        return [(edits[owners == w].sum(), characters[owners == w].sum()) for w in set(names)]

    (top, bottom) = (np.array(writer_sums(side)) for side in sides)

    def ratio(i, j):
        over, under = top[i], bottom[j]
        return (over[:, 0].sum() / over[:, 1].sum()) / (under[:, 0].sum() / under[:, 1].sum())

    theirs = scipy_stats.bootstrap(
        (np.arange(30), np.arange(30)), ratio, method="percentile", vectorized=False,
        n_resamples=4000, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert found.low == pytest.approx(theirs.low, rel=0.03)
    assert found.high == pytest.approx(theirs.high, rel=0.03)


@pytest.mark.parametrize("blocks", [6, 12])
def test_a_ratio_over_no_errors_is_infinite_and_of_no_errors_at_all_is_one(blocks):
    names = [f"w{place % blocks}" for place in range(24)]
    clean = (np.zeros(24), np.full(24, 10), names)
    wrong = (np.ones(24), np.full(24, 10), names)
    infinite, even = ratio_interval(wrong, clean), ratio_interval(clean, clean)
    assert infinite is not None and infinite.low == infinite.high == np.inf
    assert even is not None and even.low == even.high == 1.0
    assert ratio_interval(wrong, (np.ones(2), np.ones(2), ["a", "a"])) is None


def test_the_same_draws_serve_every_sum():
    redrawn = Redrawn(("a", "b", "c"), resamples=50)
    sums = redrawn.block_sums([1.0, 2.0, 4.0, 8.0], ["a", "b", "c", "c"])
    assert sums.tolist() == [1, 2, 12]
    assert np.array_equal(redrawn.sums(2 * sums), 2 * redrawn.sums(sums))
    assert redrawn.interval(redrawn.sums(sums) * 0 + 7) is None
    many = Redrawn(tuple("abcdefghijkl"), resamples=50)
    assert many.interval(many.sums(np.zeros(12)) + 7) == Interval(7, 7, 12)


def test_what_most_draws_do_not_have_has_no_interval():
    redrawn = Redrawn(tuple("abcdefghijkl"), resamples=1000)
    rates = np.ones(1000)
    rates[:5] = np.nan
    assert redrawn.interval(rates) == Interval(1, 1, 12)
    rates[:11] = np.nan
    assert redrawn.interval(rates) is None
    assert Redrawn(("a",)).interval(np.ones(10)) is None


def test_holm_adjusts_as_published():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


# ---- pairs ----

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


@pytest.mark.parametrize("writers", [13, 30])
def test_a_difference_and_a_ratio_agree_with_scipy(writers):
    first, second, chars, names = systems(writers, writers, gain=0.85)
    found = rate_difference(first, second, chars, names)
    assert found is not None and found.interval is not None
    tops, bottoms = by_writer(first - second, names), by_writer(chars, names)
    assert found.value == pytest.approx(first.sum() / chars.sum() - second.sum() / chars.sum())
    oracle = scipys_interval(tops, bottoms, 20_000, seed=1)
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
    ratio = sum_ratio(second, first, names)
    assert ratio is not None and ratio.interval is not None
    assert ratio.value == pytest.approx(second.sum() / first.sum())
    theirs = scipy_stats.bootstrap(
        (by_writer(second, names), by_writer(first, names)),
        lambda t, b, axis=-1: t.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (ratio.interval.low, ratio.interval.high) == pytest.approx(tuple(theirs), rel=0.01)


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


def test_what_few_blocks_or_no_characters_cannot_say():
    found = rate_difference([5, 4], [1, 1], [10, 10], ["a", "a"])
    assert found is not None
    assert (found.value, found.interval, found.p) == (0.35, None, None)
    assert rate_difference([1], [2], [0], ["a"]) is None
    assert sum_ratio([1], [0], ["a"]) is None


def test_the_least_p_values():
    # of 40 writers 35 are read alike: what is left has 32 choices of signs, no random ones
    assert sign_flip_p([*[0.0] * 35, 3, 3, 3, 3, 3], "two-sided") == 2 / 32
    assert sign_flip_p([1.0] * 40, flips=99) == 1 / 100  # a random one is never 0
