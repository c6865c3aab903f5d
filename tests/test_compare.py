"""Systems side by side: what is worked out, what is printed, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.compare import NamedSystem, compare, sides
from bench.analysis.cost import pareto
from bench.analysis.evidence import Reading
from bench.analysis.stats import holm, rate_difference
from bench.core.errors import UserError
from bench.core.types import UNTRAINED
from bench.pipeline import runs
from tests.stored_runs import cell, run, timing

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
def test_mistakes_are_one_sentence(call, two_runs, words, sentence):
    code, out, err = call("compare", *words)
    assert code == 2 and out == ""
    assert err.startswith("error: ") and sentence in err and "Traceback" not in err


def test_half_written_rows_and_lines_that_are_gone_are_told(call, two_runs):
    with (two_runs / "old" / "rows.jsonl").open("ab") as file:
        file.write(b'{"key": "torn')
    row = cell("ctc-beam", BEAM, damage="blot", severity=3)[0]
    (two_runs / "old" / "lines" / f"{row.key}.jsonl").unlink()
    code, _, err = call("compare", "mini:ctc-greedy", "mini:ctc-beam", "--dataset", "lines")
    assert code == 1
    assert "1 half-written row is left out: " in err
    assert "left out: mini:ctc-beam on lines, blot 3 has no lines" in err


def test_rows_of_another_schema_are_refused(call, two_runs):
    path = two_runs / "new" / "rows.jsonl"
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 7'))
    code, _, err = call("compare", "mini:ctc-beam", "new/mini:ctc-beam")
    assert code == 2
    assert "line 1: the row has schema 7, but this version reads schema 2; update the pro" in err
