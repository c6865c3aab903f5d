"""Intervals, differences and tests against independent programs and published examples."""

from __future__ import annotations

import dataclasses
import io
import math
from dataclasses import astuple
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
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
    significant,
    sum_ratio,
)
from bench.core.records import dump, load
from bench.core.types import Decoded, Line, LineResult
from bench.pipeline.cells import line_result
from bench.report import accuracy, correction, render
from bench.report.results import collect
from datasets import DATASETS
from datasets.about import Blocks, blocks_of
from datasets.base import fingerprint
from datasets.manifest import ManifestLines
from datasets.parquet import ScannedLines
from datasets.root import data_root, set_data_root
from tests.run_rows import Rows, cell_lines, row


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


# Few blocks: nothing under 6, Student's t under 12, and both p and interval for a finding


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


# Blocks: what statistics resample, what tables call it, and what else is said of a set


PAPER = np.full((8, 30), 255, np.uint8)


def letters(count: int, each: int = 2) -> list[LineResult]:
    """Lines of one hand in letters whose error rates differ."""
    return [
        dataclasses.replace(one, writer="Joseph Hooker", block=f"letter {one.block}")
        for one in cell_lines(0.1, count)[: count * each]
    ]


class Stored(Rows):
    """The same lines of every row."""

    def __init__(self, lines: list[LineResult], *rows: Any) -> None:
        super().__init__(*rows)
        self._lines = lines

    def lines(self, key: str) -> list[LineResult]:
        return self._lines


def test_a_line_without_a_block_has_its_writer_s():
    plain = Line("a", PAPER, "text", "w1", "test")
    named = dataclasses.replace(plain, block="letter 1")
    assert (plain.block, named.block, named.writer) == ("w1", "letter 1", "w1")
    stored = line_result(named, Decoded("text", 4))
    assert load(LineResult, dump(stored), "") == stored and stored.block == "letter 1"
    assert fingerprint([named]) == fingerprint(
        [dataclasses.replace(plain, writer="letter 1", block="")]
    )
    assert fingerprint([named]) != fingerprint([plain])


@pytest.mark.parametrize(
    ("source", "hand", "found"),
    [("hooker", "Joseph Hooker", Blocks(2, "letter", 1)), ("copiste", "", Blocks(2, "text", 0))],
)
def test_the_recorded_sets_have_letters_and_texts_for_blocks(tmp_path, source, hand, found):
    buffer = io.BytesIO()
    Image.fromarray(PAPER).save(buffer, "PNG")
    image = {"bytes": buffer.getvalue(), "path": "a.png"}
    rows = [
        {"id": f"i{n}", "image": image, "text": "a b", "writer": f"L{n % 2}", "split": "test"}
        for n in range(4)
    ]
    name = {"hooker": "hooker_lines.parquet", "copiste": "copiste_fr_lines.parquet"}[source]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    set_data_root(tmp_path)
    try:
        lines = ScannedLines(source, whole=True).load("test").lines
    finally:
        set_data_root(None)
    assert {(one.writer, one.block) for one in lines} == {(hand, "L0"), (hand, "L1")}
    assert blocks_of(source, lines) == found


def test_the_real_test_split_is_of_one_hand_in_17_letters():
    shipped = ScannedLines("hooker").load("test").lines
    assert len(shipped) == 300 and blocks_of("hooker", shipped) == Blocks(17, "letter", 1)
    if data_root() is None or not (data_root() / "hooker_lines.parquet").is_file():  # type: ignore
        pytest.skip("the data root has no hooker_lines.parquet")
    whole = ScannedLines("hooker", whole=True).load("test")
    assert whole.name == "hooker-all"
    assert blocks_of("hooker-all", whole.lines) == Blocks(17, "letter", 1)
    # the hash of stored rows: the set is the same, whatever its hand is called
    assert whole.sha256.startswith("dd79774821f8")
    by_id = {line.id: line for line in whole.lines}
    assert all((by_id[line.id].image == line.image).all() for line in shipped)


def test_captions_of_one_hand_count_letters_and_resample_them():
    found = letters(17)
    (table,) = accuracy.by_set(collect(Stored(found, row(dataset="hooker"))))
    assert "24 lines of 1 hand in 17 letters" in table.conditions
    assert "bootstrap over letters" in table.conditions and "writer" not in table.conditions
    own = micro_interval([one.edits for one in found], [50] * 34, [f"{n // 2}" for n in range(34)])
    assert own is not None
    assert table.rows[0][2].values[1] == pytest.approx(100 * own.low, abs=0.3)


def test_a_table_of_the_user_s_names_its_blocks(tmp_path):
    Image.fromarray(PAPER).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("image,text,writer,block\na.png,some text,Ann,letter 7\n")
    (one,) = ManifestLines(path=tmp_path / "t.csv").load("test").lines
    assert (one.writer, one.block) == ("Ann", "letter 7")
    assert blocks_of("manifest", [one]) == Blocks(1, "block", 1)


@pytest.mark.parametrize("name", ["lines", "lines-random"])
def test_synthetic_sets_are_called_so_where_their_numbers_stand(name):
    assert "synthetic" in DATASETS.entry(name).summary
    results = collect(Rows(row(dataset=name), row(dataset=name, damage="blot", severity=3)))
    (clean,), (damaged,) = accuracy.by_set(results), accuracy.by_damage(results)
    assert clean.columns[2].head == f"{name} (synthetic) %"
    assert damaged.title.endswith(f"on {name} (synthetic)")
    for table in (clean, damaged):
        assert f"{name} (synthetic: rendered with stroke fonts, test split" in table.conditions
    assert "synthetic" not in str(accuracy.by_set(collect(Rows(row(dataset="unipen")))))


def test_no_damage_is_ranked_over_another():
    rows = [
        row(damage=name, severity=3, cer=cer) for name, cer in (("blot", 0.4), ("char_erase", 0.1))
    ]
    (table,) = accuracy.by_damage(collect(Rows(*rows)))
    assert "the rows rank no damage over another" in table.conditions
    assert [cells[0].text for cells in table.rows] == ["char_erase", "blot"]  # as registered
    (alone,) = accuracy.by_damage(collect(Rows(rows[0])))
    assert "rank" not in alone.conditions


def test_gains_are_adjusted_over_the_table_and_starred_only_where_the_interval_agrees():
    def corrected(decoder: str, better: int) -> Any:
        counts = {"same": 0, "worse": 0, "changed": 0, "edits_before": 0}
        facts = {**counts, "improved": better, "refused": {}, "cer_before": 0.1, "wer_before": 0.1}
        return row(decoder, correction=facts)

    class Gained(Rows):
        def lines(self, key: str) -> list[LineResult]:
            better = 12 if "speller" in key else 6
            truth = "the quick brown fox"
            return [
                LineResult(
                    id=str(n), writer=f"w{n:02}", reference=truth, text=truth, tokens=19,
                    score=None, truncated=False, substitutions=0, deletions=0, insertions=0,
                    word_edits=0, block=f"w{n:02}",
                    uncorrected=truth.replace("o", "a") if n < better else truth,
                )
                for n in range(12)
            ]  # fmt: skip

    store = Gained(*(corrected(f"ctc-greedy+{name}", 1) for name in ("speller", "lm", "lm2")))
    (table,) = correction.tables(collect(store))
    place = [column.head for column in table.columns].index("Gain")
    cells = {cells[4].text: cells[place] for cells in table.rows}
    strong, weak = cells["ctc-greedy+speller"], cells["ctc-greedy+lm"]
    assert strong.text.endswith("*") and strong.values[3] == pytest.approx(3 * 2 / 2**12)
    assert not weak.text.endswith("*") and weak.values[3] == pytest.approx(2 * 2 / 2**6)
    assert isinstance(weak.values[1], float) and weak.values[1] > 0  # the interval leaves 0 out
    assert "Holm over the table" in table.conditions and "*" in render.terminal(table, 200)
