"""Systems side by side: what is worked out, what is printed, and what is refused."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.compare import NamedSystem, compare, sides
from bench.analysis.cost import pareto
from bench.analysis.evidence import Reading, aligned, cited_rows, not_worse, readings
from bench.analysis.stats import Difference, Interval, holm, rate_difference
from bench.core import metrics
from bench.core.errors import UserError
from bench.core.types import UNTRAINED, Condition, LineResult
from bench.pipeline import runs
from bench.pipeline.store import RunStore
from bench.report import cite
from bench.report.conditions import signatures
from bench.report.results import collect
from tests import run_rows
from tests.stored_runs import cell, run, timing, unsealed

GREEDY = [4, 0, 6, 5, 0, 7, 3, 4] * 3
BEAM = [2, 1, 4, 5, 0, 3, 0, 4] * 3  # of eight: 4 improved, 3 the same, 1 worse


def system(decoder: str, edits: list[int], **more: Any) -> NamedSystem:
    row, lines = cell(decoder, edits, **more)
    return NamedSystem(f"mini:{decoder}", (Reading(row, tuple(lines)),))


def test_lines_and_rates_are_of_the_second_against_the_first():
    one, other = system("ctc-greedy", GREEDY), system("ctc-beam", BEAM)
    (found,) = compare([one, other])
    first, second = one.readings[0], other.readings[0]
    assert found.cer == rate_difference(second.edits, first.edits, first.characters, first.blocks)
    errors = (second.word_edits, first.word_edits, first.words, first.blocks)
    assert found.wer == rate_difference(*errors) and found.cer_ratio is not None
    assert found.cer_ratio.value == pytest.approx(sum(BEAM) / sum(GREEDY))
    assert found.lines is not None
    assert found.lines._asdict() == {
        "improved": 12, "same": 9, "worse": 3, "first_alone": 3, "second_alone": 3,
    }  # fmt: skip
    (turned,) = compare([system("ctc-beam", BEAM), system("ctc-greedy", GREEDY)])
    assert turned.lines is not None and turned.cer is not None and found.cer is not None
    assert turned.lines.improved == 3 and turned.lines.worse == 12
    assert turned.cer.value == -found.cer.value


def test_every_pair_is_compared_and_all_p_values_are_one_family():
    systems = [
        system("ctc-greedy", GREEDY),
        system("ctc-beam", BEAM),
        system("ar-beam", [n + 1 for n in GREEDY]),
    ]
    found = compare(systems)
    assert [(pair.first.label, pair.second.label) for pair in found] == [
        ("mini:ctc-greedy", "mini:ctc-beam"),
        ("mini:ctc-greedy", "mini:ar-beam"),
        ("mini:ctc-beam", "mini:ar-beam"),
    ]
    raw = [pair.cer.p for pair in found if pair.cer]
    assert len(raw) == 3 and [pair.p_holm for pair in found] == holm(raw)
    assert [side.label for side in sides(found)] == [each.label for each in systems]


def test_speeds_are_compared_in_pairs_of_batches():
    first = [1.0, 2.0, 1.0, 2.0, 3.0, 3.0]
    second = [s / 2 for s in first]
    one = system("ctc-greedy", GREEDY, timing=timing(first, 24))
    other = system("ctc-beam", BEAM, timing=timing(second, 24))
    (found,) = compare([one, other])
    assert found.speed is not None and found.speed.by == "batches"
    assert found.speed.value == pytest.approx(2.0)
    # every batch takes half as long, so no draw of batches says anything else
    assert found.speed.interval is not None
    ends = (found.speed.interval.low, found.speed.interval.high)
    assert ends == pytest.approx((2.0, 2.0)) and found.speed.interval.blocks == 6
    assert found.cpu_ratio == pytest.approx(0.5)
    cost = found.first.cost
    assert cost is not None and cost.lines_per_s_interval is not None
    assert cost.lines_per_s == pytest.approx(2.0) and cost.wall_s == pytest.approx(0.5)
    assert cost.cpu_s == pytest.approx(1.0) and cost.device_s is None and cost.threads == 1
    assert 1 < cost.lines_per_s_interval.low < 2 < cost.lines_per_s_interval.high < 3.5


@pytest.mark.parametrize("batches", [0, 3])  # none, and batches of other sizes
def test_speeds_without_pairs_of_batches_have_the_range_of_their_rounds(batches):
    older = replace(timing([1.0, 2.0], 24), batches=())  # 8 lines/s, rounds from 7.2 to 8.8
    faster = replace(timing([0.5, 1.0], 24), batches=((8, 0.5),) * batches)
    (found,) = compare(
        [system("ctc-greedy", GREEDY, timing=older), system("ctc-beam", BEAM, timing=faster)]
    )
    assert found.speed is not None and found.speed.by == "rounds"
    assert found.speed.interval is not None
    ends = (found.speed.interval.low, found.speed.interval.high)
    assert ends == pytest.approx((18 / 11, 22 / 9)) and found.speed.interval.blocks == 3


def test_untrained_weights_have_a_speed_and_nothing_else():
    untrained = system("ar-beam", GREEDY, cer=None, wer=None, weights=UNTRAINED)
    (found,) = compare([system("ctc-greedy", GREEDY), untrained])
    assert (found.cer, found.wer, found.lines, found.p_holm) == (None,) * 4
    assert found.speed is not None and not found.second.on_front


def test_the_same_condition_is_found_and_none_is_a_sentence():
    clean = system("ctc-greedy", GREEDY)
    hurt, lines = cell("ctc-beam", BEAM, damage="blot", severity=3)
    both = NamedSystem("b", (Reading(hurt, tuple(lines)), *system("ctc-beam", BEAM).readings))
    (found,) = compare([clean, both])
    assert found.condition.severity == 0
    with pytest.raises(UserError, match=r"nothing in common: .*lines clean; c has lines blot 3"):
        compare([clean, NamedSystem("c", (Reading(hurt, tuple(lines)),))])
    with pytest.raises(UserError, match="needs two systems"):
        compare([clean])


points = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8)


@given(points)
def test_the_front_is_what_no_other_beats(found):
    on_front = pareto([(float(cer), float(speed)) for cer, speed in found])
    for (cer, speed), is_on in zip(found, on_front, strict=True):
        beaten = [(c, s) for c, s in found if c <= cer and s >= speed and (c, s) != (cer, speed)]
        assert is_on == (not beaten)
    assert any(on_front) or not found


# ---- the command ----


@pytest.fixture
def two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run `old` with two systems, clean and blotted, and run `new` with one of them."""
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    batches = {"timing": timing([1.0, 2.0, 3.0, 1.0, 2.0, 3.0], 24)}
    run(
        tmp_path / "old",
        cell("ctc-greedy", GREEDY, **batches),
        cell("ctc-beam", BEAM, **batches),
        cell("ctc-greedy", [n + 9 for n in GREEDY], damage="blot", severity=3),
        cell("ctc-beam", [n + 9 for n in BEAM], damage="blot", severity=3),
        cell("ctc-beam", BEAM, dataset="hooker"),
    )
    run(tmp_path / "new", cell("ctc-beam", [max(0, n - 1) for n in BEAM], **batches))
    (tmp_path / "old" / "run.json").write_text('{"began": "2026-01-01T00:00:00"}')
    return tmp_path


def test_filters_json_and_another_run(call, two_runs):
    words = ("compare", "old/mini:ctc-beam", f"{two_runs}/new/mini:ctc-beam", "--json")
    code, out, _ = call(*words, "--dataset", "lines")
    assert code == 0
    record = json.loads(out)
    (pair,) = record["pairs"]
    assert pair["first"] == "old/mini:ctc-beam" and pair["condition"]["severity"] == 0
    assert pair["cer"]["value"] < 0 and pair["cer"]["interval"]["blocks"] == 8
    assert pair["lines"]["worse"] == 0 and pair["speed"]["by"] == "batches"
    assert [side["label"] for side in record["systems"]] == list(words[1:3])
    assert record["systems"][0]["on_front"] is False and record["systems"][1]["on_front"] is True
    assert "lines" not in record["systems"][0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("mini:ctc-greedy",), "a comparison needs two systems"),
        (("mini:ctc-greedy", "mini:ctc-greedy"), "named twice"),
        (("mini:ctc-greedy", "mini:ctc-bean"), "did you mean mini:ctc-beam"),
        (("mini:ctc-greedy", "gone/mini:ctc-beam"), "there is no run gone, and "),
        (("mini:ctc-greedy", "mini:ctc-beam", "--run", "nope"), "there is no run at "),
        (("mini:ctc-greedy", "mini:ctc-beam", "--json", "--format", "md"), "not both"),
    ],
)
def test_mistakes_are_one_sentence(refused, two_runs, words, sentence):
    assert sentence in refused("compare", *words)


def test_damaged_rows_and_lines_that_are_gone_are_told(call, two_runs):
    with (two_runs / "old" / "rows.jsonl").open("ab") as file:
        file.write(b'{"key": "torn')
    row = cell("ctc-beam", BEAM, damage="blot", severity=3)[0]
    (two_runs / "old" / "lines" / f"{row.key}.jsonl").unlink()
    (two_runs / "old" / "env.json").unlink()  # as where the rows of another run are appended
    code, _, err = call("compare", "mini:ctc-greedy", "mini:ctc-beam", "--dataset", "lines")
    assert code == 1
    assert "1 damaged row is left out: " in err
    assert "env.json lacks the environment of 5 of the rows of " in err
    assert "left out: mini:ctc-beam on lines, blot 3 has no lines" in err
    for path in (two_runs / "old" / "lines").iterdir():
        path.unlink()
    code, _, err = call("compare", "mini:ctc-greedy", "mini:ctc-beam", "--dataset", "lines")
    assert code == 2 and "nothing in common" in err
    assert "mini:ctc-greedy on lines has no lines" in err and "run it" in err


def test_a_table_in_which_nothing_can_be_tested_says_why(call, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    run(tmp_path / "few", cell("ctc-greedy", GREEDY[:3]), cell("ctc-beam", BEAM[:3]))
    code, out, err = call("compare", "mini:ctc-greedy", "mini:ctc-beam", "--run", "few")
    words = " ".join(out.split())
    assert (code, err) == (0, "") and "3 writers: too few" in words
    assert "Nothing here can be tested" in words and "at least 6 writers" in words
    assert "adjusted for" not in words


def test_rows_of_another_schema_are_refused(refused, two_runs):
    path = two_runs / "new" / "rows.jsonl"
    path.write_text(unsealed(path.read_text()).replace('"schema": 2', '"schema": 7'))
    said = refused("compare", "mini:ctc-beam", "new/mini:ctc-beam")
    assert "line 1: the row has schema 7, but this version reads schema 2; update the pro" in said


# Rows with their lines, and what may be compared with what


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


# From a signature or key back to its row, and the footnote of a number


EDITS = [4, 0, 6, 5, 0, 7, 3, 4] * 3
KEYS = ("aaaaaa1111111111", "aaaaaa2222222222", "bbbbbb3333333333")


def footnotes(found: RunStore) -> list[cite.Footnote]:
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
    path.write_text(unsealed(path.read_text()).replace('"schema": 2', '"schema": 9'))
    code, out, err = call("cite", KEYS[0])
    assert code == 0 and KEYS[0] in out and "not looked through: " in err
    code, _, err = call("cite", KEYS[0], "--run", "new")
    assert code == 2 and err.startswith("error: ") and "schema 9" in err
    code, _, err = call("cite", "cccccc")
    assert code == 2 and "no row of the 2 runs that were looked through" in err
