"""The bootstrap against an independent program, against arithmetic, and on odd input."""

from __future__ import annotations

import itertools
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
    ratio_interval,
    sign_flip_p,
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


def test_agrees_with_scipy_on_writer_blocks():
    edits, characters, names = _lines(1, writers=40, each=5)
    tops = edits.reshape(40, 5).sum(axis=1)
    bottoms = characters.reshape(40, 5).sum(axis=1)
    oracle = scipy_stats.bootstrap(
        (tops, bottoms),
        lambda t, b, axis=-1: t.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=40_000,
        rng=np.random.default_rng(2),
    ).confidence_interval
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


def test_blocking_matters_when_lines_of_a_writer_are_alike():
    edits, characters, names = _lines(3, writers=20, each=20)
    blocked = micro_interval(edits, characters, names)
    single = micro_interval(edits, characters, [str(i) for i in range(len(names))])
    assert blocked is not None and single is not None
    assert blocked.high - blocked.low > 2 * (single.high - single.low)


def test_rates_over_one_are_not_clipped():
    interval = micro_interval([30] * 6 + [40] * 6, [10] * 12, list("abcdefghijkl"))
    assert interval is not None and 3 < interval.low < 3.5 < interval.high < 4


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


def test_memory_steps_do_not_lose_resamples(monkeypatch):
    edits, characters, names = _lines(4, writers=12, each=3)
    whole = micro_interval(edits, characters, names, resamples=999)
    monkeypatch.setattr("bench.analysis.stats._DRAWS_AT_ONCE", 50)
    assert micro_interval(edits, characters, names, resamples=999) == whole


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


def test_redrawn_blocks_give_the_interval_of_a_rate():
    rng = np.random.default_rng(3)
    writers = [f"w{i % 30}" for i in range(300)]
    edits, characters = rng.poisson(4, 300), np.full(300, 40)
    redrawn = Redrawn(tuple(sorted(set(writers))))
    sums = redrawn.sums(redrawn.block_sums(np.stack([edits, characters], 1), writers))
    found = redrawn.interval(sums[:, 0] / sums[:, 1])
    other = micro_interval(edits, characters, writers)
    assert found is not None
    assert other is not None
    assert (found.low, found.high) == pytest.approx((other.low, other.high), rel=0.02)
    assert found.blocks == 30


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


def test_names_that_are_no_block_are_refused():
    with pytest.raises(ValueError, match="c is no block"):
        Redrawn(("a", "b")).block_sums([1.0], ["c"])
    with pytest.raises(ValueError, match="one entry a line"):
        Redrawn(("a", "b")).block_sums([1.0, 2.0], ["a"])


def test_sign_flips_agree_with_all_sign_choices():
    found = np.array([3.0, -1.0, 2.0, 0.5, 1.5, -0.5, 2.5, 1.0])
    signs = np.array(list(itertools.product((-1, 1), repeat=len(found))))
    exact = (signs @ found >= found.sum()).mean()
    assert sign_flip_p(found) == pytest.approx(exact, abs=0.01)
    assert sign_flip_p(-found) == pytest.approx(1 - exact, abs=0.02)


def test_a_null_effect_is_significant_as_often_as_it_should_be():
    rng = np.random.default_rng(11)
    p = [sign_flip_p(rng.normal(0, 1, 20), flips=199, seed=i) for i in range(400)]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09


def test_holm_adjusts_as_published():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
