"""Rows with their lines, and what may be compared with what."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from bench.analysis.evidence import Reading, aligned, not_worse, readings
from bench.analysis.stats import Difference, Interval, rate_difference
from bench.core import metrics
from bench.core.errors import UserError
from bench.core.types import Condition, LineResult
from tests import run_rows


def line(name: str, reference: str, text: str, writer: str = "w") -> LineResult:
    score = metrics.score_line(reference, text)
    return LineResult(
        name, writer, reference, text, len(text), None, False,
        score.substitutions, score.deletions, score.insertions, score.word_edits, block=writer,
    )  # fmt: skip


LINES = (
    line("a", "the  cat sat", "the cat sat", "w1"),  # white space is no error
    line("b", "on a mat", "in mat", "w2"),
    line("c", "cafe\u0301", "cafè!", "w1"),  # four characters after NFC
    line("d", "", "x", "w3"),
)


def reading(lines: tuple[LineResult, ...] = LINES, **more: Any) -> Reading:
    return Reading(run_rows.row(**more), lines)


def test_the_counts_of_a_reading_are_those_of_its_cell():
    found = reading()
    counts = metrics.totals(LINES)
    assert found.edits.tolist() == [0, 3, 2, 1]
    assert found.characters.tolist() == [11, 8, 4, 0]
    assert found.words.tolist() == [3, 3, 1, 0]
    assert found.edits.sum() == counts.edits and found.characters.sum() == counts.characters
    assert found.words.sum() == counts.words and found.word_edits.sum() == counts.word_edits
    assert found.blocks == ("w1", "w2", "w1", "w3")
    assert found.system == "mini:ctc-greedy"


def test_rows_count_once_and_what_has_no_lines_is_left_out():
    gone = run_rows.row("ar-beam", cer=None)  # the double has no lines without a CER
    one = run_rows.Rows(run_rows.row(), run_rows.failed(decoder="ctc-beam"), gone)
    other = run_rows.Rows(run_rows.row(), run_rows.row(dataset="unipen"))
    left_out: list[str] = []
    found = readings([one, other], left_out.append)
    assert [each.row.condition.dataset for each in found] == ["lines", "unipen"]
    assert "mini:ctc-beam on lines failed: out of memory" in left_out[0]
    assert left_out[1].startswith("mini:ar-beam on lines has no lines: ")


def test_lines_are_aligned_by_id_whatever_their_order():
    shuffled = list(LINES)
    random.Random(3).shuffle(shuffled)
    assert shuffled != list(LINES)
    found = aligned(reading(tuple(shuffled), decoder="ctc-beam"), reading())
    assert found.lines == LINES and found.row.decoder == "ctc-beam"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"dataset": "hooker"}, "the data set differs (lines and hooker)"),
        ({"condition": Condition("lines", "val")}, "the split differs (test and val)"),
        ({"damage": "blot", "severity": 3}, "the damage differs (none and blot-3[seed=0]@suite-1)"),
        ({"dataset_sha256": "abc"}, "how many of them) differs (lines00000000000 and abc)"),
        ({"normaliser": "nfc-ws2"}, "the normaliser differs (nfc-ws1 and nfc-ws2)"),
    ],
)
def test_what_may_not_be_compared_is_refused_with_the_reason(changed, sentence):
    with pytest.raises(UserError) as caught:
        aligned(reading(decoder="ctc-beam", **changed), reading())
    assert sentence in str(caught.value)
    assert "mini:ctc-greedy on lines" in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((*LINES[:3], line("e", "", "x", "w3")), "did not read the same lines.*run both again"),
        ((*LINES[:3], LINES[2]), "did not read the same lines"),
        (
            (LINES[0], replace(LINES[1], block="w9"), *LINES[2:]),
            "line b has another block or reference",
        ),
    ],
)
def test_other_lines_under_the_same_hash_are_refused(lines, why):
    with pytest.raises(UserError, match=why):
        aligned(reading(lines), reading())


# The best of a condition, and what is not significantly worse


WRITERS = [f"w{w:02}" for w in range(12)]
BEST = [3, 4, 5, 3, 4, 5, 3, 4, 5, 3, 4, 5]
ALIKE = [4, 3, 5, 4, 3, 5, 4, 3, 5, 4, 3, 6]  # one edit more, by turns better and worse
WORSE = [n + 4 for n in BEST]
SLIGHTLY = [*(n + 1 for n in BEST[:6]), *BEST[6:]]  # six writers worse: p = 2 / 64


def read(edits: list[int], decoder: str, cer: float | None = 0.0, **more: Any) -> Reading:
    """A line a writer with so many edits in 50 characters."""
    lines = tuple(
        LineResult(f"l{w}", w, "a" * 50, "b", 1, None, False, n, 0, 0, 1, block=w)
        for w, n in zip(WRITERS, edits, strict=False)
    )
    rate = None if cer is None else sum(edits) / (50 * len(edits))
    return Reading(run_rows.row(decoder, cer=rate, **more), lines)


def test_the_best_and_what_is_not_significantly_worse():
    readings = [read(WORSE, "ctc-beam"), read(ALIKE, "ar-beam"), read(BEST, "ctc-greedy")]
    untrained = read([0] * 12, "ar-greedy", cer=None)
    assert not_worse([[*readings, untrained]]) == {one.row.key for one in readings[1:]}
    gap = readings[0].cer_less(readings[2])
    assert gap == rate_difference(WORSE, BEST, [50] * 12, WRITERS)
    assert len(not_worse([[read(BEST, "a"), read(BEST, "b")]])) == 2  # of equals both


def test_the_family_is_the_whole_table_and_not_the_condition():
    pairs = [
        [read(BEST, "a", dataset=name), read(SLIGHTLY, "b", dataset=name)]
        for name in ("lines", "unipen", "hooker")
    ]
    assert [len(not_worse([pair])) for pair in pairs] == [1, 1, 1]
    assert len(not_worse(pairs)) == 6
    family = [read(SLIGHTLY, f"c{i}") for i in range(3)]
    assert len(not_worse([[read(BEST, "a"), *family]])) == 4


def test_a_small_p_beside_an_interval_with_0_is_no_finding(monkeypatch):
    for low, count in ((-0.001, 2), (0.001, 1)):
        gap = Difference(0.01, Interval(low, 0.02, 12), 0.001)
        monkeypatch.setattr(Reading, "cer_less", lambda own, other, gap=gap: gap)
        assert len(not_worse([[read(BEST, "a"), read(WORSE, "b")]])) == count


@pytest.mark.parametrize("writers", [1, 5])
def test_a_condition_of_few_writers_or_other_lines_has_no_best(writers):
    assert not not_worse([[read([1] * writers, "a"), read([40] * writers, "b")]])
    assert not not_worse([[read(BEST, "a"), read(WORSE, "b", dataset="hooker")], []])
