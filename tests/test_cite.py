"""From a signature or key back to its row, and the footnote of a number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.analysis.evidence import Store, cited_rows
from bench.core.errors import UserError
from bench.pipeline import runs
from bench.report import cite
from bench.report.conditions import signatures
from bench.report.results import collect
from tests import run_rows
from tests.stored_runs import cell, run

EDITS = [4, 0, 6, 5, 0, 7, 3, 4] * 3
KEYS = ("aaaaaa1111111111", "aaaaaa2222222222", "bbbbbb3333333333")


def footnotes(found: Store) -> list[cite.Footnote]:
    return cite.footnotes(collect(found), found.environments())


def store() -> run_rows.Rows:
    return run_rows.Rows(
        run_rows.row("ctc-greedy", key=KEYS[0]),
        run_rows.row("ctc-greedy", key=KEYS[1], dataset="hooker"),
        run_rows.row("ctc-greedy", key=KEYS[2], damage="blot", severity=3),
    )


@pytest.mark.parametrize(
    ("word", "places"),
    [
        (KEYS[0], [0]),
        ("bbbbbb", [2]),
        ("aaaaaa", [0, 1]),
        (f" `{KEYS[2]}`\n", [2]),
        (store().rows()[1].signature, [1]),
        (store().rows()[0].signature.replace("s:lines-test", "s:{lines-test x}"), [0]),
    ],
)
def test_a_row_is_found_by_its_key_or_signature(word, places):
    found = cited_rows(word, [run_rows.Rows(), store()])
    assert [row.key for row in found.rows()] == [KEYS[place] for place in places]
    assert found.lines(found.rows()[0].key) and found.environments() == store().environments()


def test_the_signature_below_a_table_means_all_its_rows():
    (below,) = signatures(collect(store()))
    assert "{" in below
    found = cited_rows(below, [store()])
    assert [row.key for row in found.rows()] == list(KEYS)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("cccccc", "no row of that run has this key or signature: cccccc"),
        ("e:mini|d:x", "no row of that run"),
        ("e:mini@01234567|d:ctc-greedy", "no row of that run"),  # a part is no signature
        ("aaaaa", "neither a signature"),
        ("mini:ctc-greedy", "neither a signature"),
        ("", "neither a signature"),
    ],
)
def test_what_means_nothing_is_told(word, sentence):
    with pytest.raises(UserError, match=sentence):
        cited_rows(word, [store()])


def test_hostile_names_stay_text_in_every_format():
    nasty = "ctc](http://x) `<b> \\end{document} %"
    found = run_rows.Rows(run_rows.row(nasty, signature=f"e:mini|d:{nasty}|n:nfc-ws1"))
    (note,) = footnotes(found)
    markdown, latex = cite.markdown(note), cite.latex(note)
    assert "<b>" not in markdown.partition("Signature")[0] and "](http" not in markdown[:200]
    assert markdown.count("\n") == 0 and markdown.rpartition("Signature: ")[2].count("`") == 2
    assert r"\end{document}" not in latex and latex.count(r"\footnote{") == 1
    assert latex.count("{") == latex.count("}")


# ---- the command ----


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(runs, "REFERENCE", tmp_path / "reference")
    for name, key, began in (("old", KEYS[0], "2026-01-01"), ("new", KEYS[2], "2026-02-01")):
        run(tmp_path / "runs" / name, cell("ctc-greedy", EDITS, key=key))
        (tmp_path / "runs" / name / "run.json").write_text(json.dumps({"began": began}))
    run(tmp_path / "reference" / "two", cell("ctc-beam", EDITS, key=KEYS[1]))
    (tmp_path / "reference" / "notes").mkdir()
    return tmp_path


def test_formats_and_json(call, stored):
    _, out, _ = call("cite", KEYS[0], "--format", "tex")
    assert out.startswith(r"\footnote{mini:ctc-greedy on lines (synthetic): CER 8.43 \%")
    _, out, _ = call("cite", KEYS[0], KEYS[1], KEYS[0], "--format", "text")
    assert out.count("Signature: ") == 2
    code, out, _ = call("cite", KEYS[0], "--json", "--run", "old")
    (record,) = json.loads(out)
    assert code == 0 and record["rows"][0]["key"] == KEYS[0]
    assert list(record["environments"]) == [record["rows"][0]["environment"]]


def test_a_run_that_cannot_be_read_is_no_obstacle_unless_it_was_named(call, stored):
    path = stored / "runs" / "new" / "rows.jsonl"
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 9'))
    code, out, err = call("cite", KEYS[0])
    assert code == 0 and KEYS[0] in out and "not looked through: " in err
    code, _, err = call("cite", KEYS[0], "--run", "new")
    assert code == 2 and err.startswith("error: ") and "schema 9" in err
    code, _, err = call("cite", "cccccc")
    assert code == 2 and "no row of the 2 runs that were looked through" in err
