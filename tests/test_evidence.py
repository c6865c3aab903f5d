"""Rows with their lines, and what may be compared with what."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from bench.analysis.evidence import Reading, paired, readings
from bench.core import metrics
from bench.core.errors import UserError
from bench.core.types import Condition, LineResult, Row
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


def test_what_has_no_lines_is_left_out_and_told():
    gone = run_rows.row("ar-beam", cer=None)  # the double has no lines without a CER
    store = run_rows.Rows(run_rows.row(), run_rows.failed(decoder="ctc-beam"), gone)
    told: list[str] = []
    assert [found.row.decoder for found in readings([store], left_out=told.append)] == [
        "ctc-greedy"
    ]
    assert "mini:ctc-beam on lines failed: out of memory" in told[0]
    assert told[1].startswith("mini:ar-beam on lines has no lines: ")


def test_a_row_of_several_runs_counts_once_and_unwanted_ones_are_not_read():
    one = run_rows.Rows(run_rows.row(), run_rows.row("ctc-beam", dataset="hooker"))
    other = run_rows.Rows(run_rows.row(), run_rows.row(dataset="unipen"), run_rows.failed())
    told: list[str] = []

    def wanted(row: Row) -> bool:
        return row.status == "ok" and row.condition.dataset != "hooker"

    found = readings([one, other], wanted, told.append)
    assert [each.row.condition.dataset for each in found] == ["lines", "unipen"]
    assert told == []


def test_lines_are_aligned_by_id_whatever_their_order():
    shuffled = list(LINES)
    random.Random(3).shuffle(shuffled)
    assert shuffled != list(LINES)
    pairs = paired(reading(), reading(tuple(shuffled), decoder="ctc-beam"))
    assert pairs.first.lines == pairs.second.lines == LINES
    assert pairs.second.row.decoder == "ctc-beam"


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
        paired(reading(), reading(decoder="ctc-beam", **changed))
    assert sentence in str(caught.value)
    assert "mini:ctc-greedy on lines" in str(caught.value)


def test_another_suite_of_damages_is_another_damage():
    one = reading(damage="blot", severity=3)
    other = replace(one.row, suite="suite-2")
    with pytest.raises(UserError, match=r"the damage differs .*suite-1.*suite-2"):
        paired(one, Reading(other, LINES))


@pytest.mark.parametrize(
    "lines",
    [
        LINES[:3],
        (*LINES[:3], line("e", "", "x", "w3")),
        (*LINES[:3], LINES[2]),
        (*LINES[1:], LINES[1]),
    ],
)
def test_other_lines_under_the_same_hash_are_refused(lines):
    with pytest.raises(UserError, match=r"did not read the same lines.*run both again"):
        paired(reading(), reading(lines))


@pytest.mark.parametrize("change", [{"reference": "on the mat"}, {"block": "w9"}])
def test_a_line_of_another_reference_or_block_is_refused(change):
    lines = (LINES[0], replace(LINES[1], **change), *LINES[2:])
    with pytest.raises(UserError, match="line b has another block or reference"):
        paired(reading(), reading(lines))
