"""A stored cell measured again: when its number holds, and what is said where it does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bench.analysis.reproduce
from bench.analysis.evidence import Reading
from bench.analysis.reproduce import Reproduction, plan_of, verdict_of
from bench.core.errors import UserError
from bench.core.registry import Entry
from bench.core.types import LineResult, Row, Runtime
from bench.pipeline import runs
from bench.pipeline.plan import Registries
from bench.pipeline.runner import run
from bench.pipeline.store import RunStore
from bench.report.reproduce import text
from tests.harness_doubles import ASKED, HERE, go, registries
from tests.stored_runs import cell

ONE = replace(ASKED, decoders=("no-e",))
RECORD = {"git": {"commit": "a", "dirty": False}, "machine": {"packages": {"torch": "2"}}}
EDITS = [0, 9, 3, 2, 7, 1, 0, 12] * 2


def reading(folder: Path) -> Reading:
    store = RunStore(folder)
    row = store.rows()[0]
    return Reading(row, tuple(store.lines(row.key)))


def again(folder: Path, row: Row, mine: Registries | None = None) -> Reading:
    run(plan_of(row, registries=mine or registries()), RunStore(folder))
    return reading(folder)


def made(edits: list[int], **more: Any) -> Reading:
    row, lines = cell("ctc-beam", edits, **more)
    return Reading(row, tuple(lines))


def judged(old: Reading, new: Reading, now: Any = RECORD) -> Reproduction:
    return verdict_of(old, new, (RECORD, now))


@pytest.mark.parametrize(
    "asked",
    [
        replace(ONE, damages=("eraser",), severities=(3,), seed=7, limit=9),
        replace(
            ONE,
            split="val",
            runtime=Runtime(batch_size=3),
            decoders=("reader",),
            options={"reader": {"drop": "ox", "table": "f00"}, "words": {"size": 8}},
        ),
    ],
)
def test_the_same_cell_runs_again_from_its_row_alone(tmp_path, asked):
    go(tmp_path / "old", asked)
    old = reading(tmp_path / "old")
    new = again(tmp_path / "new", old.row)
    for field in ("condition", "runtime", "signature"):
        assert getattr(new.row, field) == getattr(old.row, field)
    assert new.row.timing is not None and old.row.timing is not None
    assert new.row.timing.lines_per_s.n == old.row.timing.lines_per_s.n
    verdict = judged(old, new)
    assert verdict.holds and verdict.exact and verdict.changed == 0 and verdict.differs == ()


def test_changed_code_does_not_hold_and_says_how_many_lines_read_otherwise(tmp_path):
    go(tmp_path / "old", ONE)
    old = reading(tmp_path / "old")
    changed = registries(**{"no-e": Entry(f"{HERE}:ReaderSpec", "", {"drop": "aeiou"})})
    verdict = judged(old, again(tmp_path / "new", old.row, changed))
    assert not verdict.holds and verdict.exact is False and not verdict.within
    assert verdict.changed == 12  # each has a vowel besides e
    said = text(verdict)
    assert said.startswith("pixels:no-e does not hold\n") and "outside the interval" in said
    assert "  decoder: d:no-e[drop=e" in said


def failed(one: Reading) -> Reading:
    nothing: dict[str, Any] = {"counts": None, "timing": None, "cer": None}
    return Reading(replace(one.row, status="failed", reason="no\nmemory", **nothing), ())


READ = made(EDITS)
OTHER_DATA = Reading(replace(READ.row, dataset_sha256="x"), READ.lines)
UNTRAINED = made([3, 4], cer=None, weights="untrained")


@pytest.mark.parametrize(
    ("old", "new", "holds", "said"),
    [
        (READ, made([*EDITS[:-1], 11]), True, "1 line of 16 read otherwise"),  # in the interval
        (READ, made([n + 20 for n in EDITS]), False, "outside the interval"),
        (Reading(READ.row, ()), READ, True, "the stored lines are gone"),
        (
            READ,
            Reading(replace(READ.row, dataset_sha256="x"), READ.lines),
            False,
            "the data is not",
        ),
        (READ, failed(READ), False, "it failed: no memory"),
        (UNTRAINED, UNTRAINED, True, "no CER: the weights are untrained"),
    ],
)
def test_when_a_number_holds(old, new, holds, said):
    verdict = judged(old, new)
    assert verdict.holds == holds and said in text(verdict)


def test_what_differs_in_the_environment_is_named():
    packages = {"torch": "3", "jax": "1"}
    now = {"git": {"commit": "b", "dirty": False}, "machine": {"packages": packages, "gpu": ["H"]}}
    found = judged(made([3, 4]), made([3, 4]), now).differs
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


# The command


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Row:
    """One row of the doubles in results/runs/old, and the doubles in place of the real parts."""
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(runs, "REFERENCE", tmp_path / "reference")
    monkeypatch.setattr(bench.analysis.reproduce, "Registries", registries)
    go(tmp_path / "runs" / "old", ONE)
    return reading(tmp_path / "runs" / "old").row


def test_the_command_says_whether_a_number_holds(call, stored, tmp_path):
    before = sorted((tmp_path / "runs").rglob("*"))
    code, out, _ = call("cite", "--again", stored.key, "--run", "old")
    assert code == 0 and out.startswith("pixels:no-e holds\n  CER % then ")
    assert "exactly the same edits" in out and "0 lines of 12 read otherwise" in out
    assert sorted((tmp_path / "runs").rglob("*")) == before  # nothing is left behind
    path = tmp_path / "runs" / "old" / "rows.jsonl"
    row = json.loads(path.read_text())
    row["counts"]["substitutions"] += 400
    del row["sha256"]  # of the row as it was
    path.write_text(json.dumps({**row, "cer": 4.0, "lines_sha256": ""}) + "\n")
    (path,) = (tmp_path / "runs" / "old" / "lines").glob("*.jsonl")
    lines = [LineResult(**json.loads(line)) for line in path.read_text().splitlines()]
    wrong = (json.dumps({**vars(line), "substitutions": 90}) + "\n" for line in lines)
    path.write_text("".join(wrong))
    code, out, _ = call("cite", "--again", stored.key, "--run", "old")
    assert code == 1 and "does not hold" in out


def test_json_and_a_folder_that_is_kept(call, stored, tmp_path):
    code, out, _ = call(
        "cite", "--again", stored.signature, "--run", "old", "--out", "again", "--json"
    )
    record = json.loads(out)
    assert code == 0 and record["holds"] is True and record["exact"] is True
    assert RunStore(tmp_path / "runs" / "again").rows()[0].key == record["after"]["key"]
    code, _, err = call("cite", "--again", stored.key, "--run", "old", "--out", "again")
    assert code == 2 and "is there already" in err


def test_mistakes_are_one_sentence_with_a_remedy(refused, stored, tmp_path, monkeypatch):
    again = ("cite", "--run", "old", "--again")
    assert "no time can be taken on 'abacus'" in refused(*again, stored.key, "--device", "abacus")
    merged = stored.signature.replace("bs:5", "bs:{5 6}")
    go(tmp_path / "runs" / "old", replace(ONE, runtime=Runtime(batch_size=6)))
    assert "--again measures one row; give the key of one: " in refused(*again, merged)
    lacking = registries()
    lacking.datasets.entries["words"] = Entry(f"{HERE}:Words", "", {"absent": True})
    monkeypatch.setattr(bench.analysis.reproduce, "Registries", lambda: lacking)
    assert "python -m bench data get words" in refused(*again, stored.key)
