"""A stored cell measured again: when its number holds, and what is told where it does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bench.analysis.reproduce
from bench.analysis.evidence import Reading
from bench.analysis.reproduce import Verdict, plan_of, verdict_of
from bench.core.errors import UserError
from bench.core.registry import Entry
from bench.core.types import LineResult, Row, Runtime
from bench.pipeline import runs
from bench.pipeline.plan import Registries, Selection
from bench.pipeline.store import RunStore
from bench.report.reproduce import text
from tests.harness_doubles import ASKED, HERE, go, registries
from tests.stored_runs import cell

ONE = replace(ASKED, decoders=("no-e",))
RECORD = {"git": {"commit": "a", "dirty": False}, "machine": {"packages": {"torch": "2"}}}


def measured(folder: Path, asked: Selection = ONE, mine: Registries | None = None) -> RunStore:
    go(folder, asked, mine)
    return RunStore(folder)


def reading(store: RunStore, row: Row | None = None) -> Reading:
    row = row or store.rows()[0]
    return Reading(row, tuple(store.lines(row.key)))


def again(folder: Path, row: Row, mine: Registries | None = None) -> RunStore:
    from bench.pipeline.runner import run

    store = RunStore(folder)
    run(plan_of(row, registries=mine or registries()), store)
    return store


def judged(old: Reading, new: Reading, *records: Any) -> Verdict:
    return verdict_of(old, new, (records[0], records[1]) if records else (RECORD, RECORD))


@pytest.mark.parametrize(
    "asked",
    [
        ONE,
        replace(ONE, damages=("eraser",), severities=(3,), seed=7, limit=9),
        replace(ONE, split="val", runtime=Runtime(batch_size=3)),
        replace(
            ONE,
            decoders=("reader",),
            options={"reader": {"drop": "ox", "table": "f00"}, "words": {"size": 8}},
        ),
    ],
)
def test_the_same_cell_runs_again_from_its_row_alone(tmp_path, asked):
    old = reading(measured(tmp_path / "old", asked))
    store = again(tmp_path / "new", old.row)
    (row,) = store.rows()
    assert (row.condition, row.runtime, row.signature) == (
        old.row.condition, old.row.runtime, old.row.signature,
    )  # fmt: skip
    assert row.timing is not None and old.row.timing is not None
    assert row.timing.lines_per_s.n == old.row.timing.lines_per_s.n
    verdict = judged(old, reading(store))
    assert verdict.holds and verdict.exact and verdict.changed == 0 and verdict.differs == ()


def test_what_was_left_to_the_decoder_is_asked_for_as_it_chose():
    row = cell("ctc-ngram", [1, 2], options={"alpha": None, "beam": 8}, extras={"alpha": 0.7})[0]
    (block,) = plan_of(replace(row, encoder="mini")).blocks
    assert block.decoders[0].thing.alpha == 0.7 and block.decoders[0].thing.beam == 8


def test_changed_code_does_not_hold_and_says_how_many_lines_read_otherwise(tmp_path):
    old = reading(measured(tmp_path / "old"))
    changed = registries(**{"no-e": Entry(f"{HERE}:ReaderSpec", "", {"drop": "aeiou"})})
    verdict = judged(old, reading(again(tmp_path / "new", old.row, changed)))
    assert not verdict.holds and verdict.exact is False and not verdict.within
    assert verdict.changed == 12  # each has a vowel besides e
    assert [d.what for d in verdict.differs] == ["decoder"]
    said = text(verdict)
    assert said.startswith("pixels:no-e does not hold\n") and "outside the interval" in said
    assert "  decoder: d:no-e[drop=e" in said


def test_other_texts_may_hold_within_the_interval(tmp_path):
    edits = [0, 9, 3, 2, 7, 1, 0, 12] * 2
    row, lines = cell("ctc-beam", edits)
    other, new = cell("ctc-beam", [*edits[:-1], 11])
    old = Reading(row, tuple(lines))
    verdict = judged(old, Reading(other, tuple(new)))
    assert verdict.holds and verdict.within and verdict.exact is False and verdict.changed == 1
    assert "within the interval" in text(verdict) and "1 line of 16 read otherwise" in text(verdict)
    far, lines_far = cell("ctc-beam", [n + 20 for n in edits])
    assert not judged(old, Reading(far, tuple(lines_far))).holds


def test_without_the_stored_lines_counts_and_the_new_interval_decide():
    edits = [0, 9, 3, 2, 7, 1, 0, 12] * 2
    row, lines = cell("ctc-beam", edits)
    gone, there = Reading(row, ()), Reading(row, tuple(lines))
    verdict = judged(gone, there)
    assert verdict.holds and verdict.exact and verdict.changed is None
    assert verdict.interval is not None and "the stored lines are gone" in text(verdict)


def test_other_data_never_holds_and_a_failure_neither():
    row, lines = cell("ctc-beam", [3, 4])
    old = Reading(row, tuple(lines))
    elsewhere = replace(row, dataset_sha256="other")
    verdict = judged(old, Reading(elsewhere, tuple(lines)))
    assert not verdict.holds and "the data is not that of the row" in text(verdict)
    assert {d.what for d in verdict.differs} == {"data", "dataset_sha256"}
    failed = replace(row, status="failed", reason="no\nmemory", counts=None, timing=None, cer=None)
    verdict = judged(old, Reading(failed, ()))
    assert not verdict.holds and "it failed: no memory" in text(verdict)
    assert verdict.speed is None


def test_untrained_weights_hold_for_what_they_are():
    row, lines = cell("ar-beam", [3, 4], cer=None, weights="untrained")
    verdict = judged(Reading(row, tuple(lines)), Reading(row, tuple(lines)))
    assert verdict.holds and verdict.exact is None and verdict.interval is None
    assert "no CER: the weights are untrained" in text(verdict)


def test_speed_is_a_ratio_with_the_range_of_the_rounds():
    row, lines = cell("ctc-beam", [3, 4])
    assert row.timing is not None
    pace = replace(row.timing.lines_per_s, median=24.0, low=22.0, high=30.0)
    faster = replace(row, timing=replace(row.timing, lines_per_s=pace))
    found = judged(Reading(row, tuple(lines)), Reading(faster, tuple(lines))).speed
    assert found is not None  # the row's rounds: 10.8 to 13.2 lines/s around 12
    assert found.interval is not None and found.by == "rounds"
    ends = (found.interval.low, found.interval.high)
    assert (found.value, *ends) == pytest.approx((2, 22 / 13.2, 30 / 10.8))


def test_what_differs_in_the_environment_is_named():
    row, lines = cell("ctc-beam", [3, 4])
    there = Reading(row, tuple(lines))
    now = {
        "git": {"commit": "b", "dirty": False},
        "machine": {"packages": {"torch": "3", "jax": "1"}, "gpu": ["H"]},
    }
    found = judged(there, there, RECORD, now).differs
    assert {tuple(each) for each in found} == {
        ("git commit", "a", "b"),
        ("machine packages torch", "2", "3"),
        ("machine packages jax", "absent", "1"),
        ("machine gpu", "absent", "H"),
    }


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (cell("ctc-beam", [1], status="failed", reason="no memory")[0], "that cell failed.*no mem"),
        (cell("ctc-beam", [1], extras={"passes": []})[0], "speed table.*bench speed"),
        (cell("gone", [1])[0], "no decoder is called 'gone'"),
        (cell("ctc-beam", [1], options={"bem": 3})[0], "no option 'bem'"),
    ],
)
def test_what_cannot_be_asked_for_again_is_a_sentence(row, sentence):
    with pytest.raises(UserError, match=sentence):
        plan_of(row)


# ---- the command ----


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Row:
    """One row of the doubles in results/runs/old, and the doubles in place of the real parts."""
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(runs, "REFERENCE", tmp_path / "reference")
    monkeypatch.setattr(bench.analysis.reproduce, "Registries", registries)
    return measured(tmp_path / "runs" / "old").rows()[0]


def test_the_command_tells_that_a_number_holds(call, stored, tmp_path):
    before = sorted((tmp_path / "runs").rglob("*"))
    code, out, _ = call("reproduce", stored.key, "--run", "old")
    assert code == 0 and out.startswith("pixels:no-e holds\n  CER % then ")
    assert "exactly the same edits" in out and "0 lines of 12 read otherwise" in out
    assert sorted((tmp_path / "runs").rglob("*")) == before  # nothing is left behind


def test_json_and_a_folder_that_is_kept(call, stored, tmp_path):
    code, out, _ = call("reproduce", stored.signature, "--run", "old", "--out", "again", "--json")
    record = json.loads(out)
    assert code == 0 and record["holds"] is True and record["exact"] is True
    assert record["after"]["counts"] == record["before"]["counts"]
    assert RunStore(tmp_path / "runs" / "again").rows()[0].key == record["after"]["key"]
    code, _, err = call("reproduce", stored.key, "--run", "old", "--out", "again")
    assert code == 2 and "is there already" in err


def test_a_number_that_does_not_hold_is_exit_code_1(call, stored, tmp_path):
    path = tmp_path / "runs" / "old" / "rows.jsonl"
    row = json.loads(path.read_text())
    row["counts"]["substitutions"] += 400
    row["cer"] = 4.0
    path.write_text(json.dumps(row) + "\n")
    lines = [LineResult(**json.loads(text)) for text in _lines(tmp_path).read_text().splitlines()]
    told = (json.dumps({**vars(line), "substitutions": 90}) + "\n" for line in lines)
    _lines(tmp_path).write_text("".join(told))
    code, out, _ = call("reproduce", stored.key, "--run", "old")
    assert code == 1 and "does not hold" in out


def test_what_is_missing_here_is_told_with_its_remedy(call, stored, monkeypatch):
    lacking = registries()
    lacking.datasets.entries["words"] = Entry(f"{HERE}:Words", "", {"absent": True})
    monkeypatch.setattr(bench.analysis.reproduce, "Registries", lambda: lacking)
    code, _, err = call("reproduce", stored.key, "--run", "old")
    assert code == 2 and "python -m bench data get words" in err
    monkeypatch.setattr(bench.analysis.reproduce, "Registries", registries)
    code, _, err = call("reproduce", stored.key, "--run", "old", "--device", "abacus")
    assert code == 2 and "torch has no device 'abacus' here" in err


def test_several_rows_are_not_reproduced_at_once(call, stored, tmp_path):
    merged = stored.signature.replace("bs:5", "bs:{5 6}")
    go(tmp_path / "runs" / "old", replace(ONE, runtime=Runtime(batch_size=6)))
    code, _, err = call("reproduce", merged, "--run", "old")
    assert code == 2 and "2 rows are meant; give the key of one: " in err


def _lines(folder: Path) -> Path:
    (path,) = (folder / "runs" / "old" / "lines").glob("*.jsonl")
    return path
