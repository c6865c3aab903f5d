"""The golden set: the texts and counts of cheap cells are as stored."""

from __future__ import annotations

import pytest

from tests.golden import JOBS, RENEW, differences, load, machine, measure


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * job.slow) for name, job in JOBS.items()],
)
def test_results_are_as_stored(name, tmp_path):
    stored = load()[name]
    (folder := tmp_path / name).mkdir()
    changes = differences(stored["results"], measure(name, folder))
    if changes:
        pytest.fail(
            f"{len(changes)} results of the golden job {name!r} differ from those stored.\n\n"
            + "\n".join(changes)
            + f"\n\nWhere that is the aim of a change: {RENEW} {name}\n"
            f"stored on: {stored['made on']}\nmeasured on: {machine()}",
            pytrace=False,
        )


def cell(**more):
    made = {"counts": "substitutions 1, tokens 9", "texts": ["a: one", "b: two"]}
    return {**made, **more}


def test_a_difference_is_told_by_counts_and_texts():
    assert differences({"x": cell()}, {"x": cell()}) == []
    found = cell(counts="substitutions 2, tokens 9", texts=["a: one", "b: tvo"])
    (text,) = differences({"x": cell()}, {"x": found})
    assert text == "x: substitutions 1 -> 2; 1 of 2 lines differ\n    was  b: two\n    is   b: tvo"


@pytest.mark.parametrize(
    ("stored", "found", "words"),
    [
        ({"x": cell()}, {}, "x: not measured any more"),
        ({}, {"x": cell()}, "x: not stored yet"),
        ({"x": cell()}, {"x": "failed: no memory"}, "is failed: no memory"),
        (
            {"x": cell()},
            {"x": cell(texts=["a: one"])},
            "1 of 2 lines differ\n    was  b: two\n    is   no line",
        ),
        ({"s": {"loss": 2.0, "val CER": 1.0}}, {"s": {"loss": 2.01, "val CER": 1.0}}, "2.01"),
        ({"s": {"loss": 2.0, "val CER": 1.0}}, {"s": {"loss": 2.0, "val CER": 0.9}}, "0.9"),
    ],
)
def test_any_other_difference_is_told_in_words(stored, found, words):
    (text,) = differences(stored, found)
    assert words in text


def test_an_absent_peer_is_no_difference(monkeypatch):
    stored = {
        "mini + ctc-flashlight on lines test": cell(),
        "mini + ctc-beam on lines test": cell(),
    }
    monkeypatch.setattr("tests.golden.PEERS", {"ctc-flashlight": "no_such_package"})
    (text,) = differences(stored, {})
    assert "ctc-beam" in text
