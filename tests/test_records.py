"""Files that do not fit: one sentence with file, line and field, and never a traceback."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.core.records import dump, load_row
from bench.pipeline import runs
from decoders import tuned
from tests import run_rows
from tests.stored_runs import cell, run

FIXTURES = Path(__file__).parent / "fixtures" / "records"
DEEP = b"[" * 99_999
COUNTS = dict.fromkeys(("improved", "same", "worse", "changed", "edits_before"), 1)
ROW = run_rows.row(
    damage="blot",
    severity=3,
    encoder_options={"size": 1},
    leak={"train": {"text": 2}, "lm": {"lines": 0.5}},
    correction={**COUNTS, "refused": {"cut off": 1}, "cer_before": 0.2, "wer_before": 0.3},
    extras={"passes": [[1.0]], "parts": [24], "distinct_lines": 24, "set_notes": ["few"]},
)
WHOLE = dump(ROW)[:-1]
FREE = (
    "options", "encoder_options", "decoder_options", "dataset_options", "damage_options", "extras",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("rows-lines", "line 1, field counts.lines: expected `int`, got `str`; delete that line"),
        ("rows-severity", "line 1, field condition.severity: expected `int`, got `str`"),
        ("rows-speed", "line 1, field timing.batches[1]: expected `array` of length 2, got 3"),
    ],
)
def test_a_row_with_a_wrong_field_is_one_sentence(refused, tmp_path, name, sentence):
    shutil.copy(FIXTURES / f"{name}.jsonl", tmp_path / "rows.jsonl")
    err = refused("report", "--run", str(tmp_path))
    assert f"{tmp_path}/rows.jsonl, {sentence}" in err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (DEEP, "line 1: its values nest too deeply"),
        (WHOLE.replace(b'"split": "test", ', b""), "field condition.split: missing; delete"),
        (WHOLE.replace(b'"median": 12.0', b'"median": 0'), "field timing: a speed is not above 0"),
        (WHOLE.replace(b'"cer": 0.1', b'"cer": [0.1]'), "line 1, field cer: expected `fl"),
    ],
)
def test_other_json_is_no_row(refused, tmp_path, text, sentence):
    (tmp_path / "rows.jsonl").write_bytes(text + b"\n")
    assert sentence in refused("report", "--run", str(tmp_path))


@pytest.mark.parametrize(
    "path", sorted(runs.REFERENCE.glob("*/rows.jsonl")), ids=lambda path: path.parent.name
)
def test_the_rows_behind_the_documentation_can_be_read(path):
    lines = path.read_bytes().splitlines(keepends=True)
    assert [load_row(line, str(path)).schema for line in lines] == [2] * len(lines)


def typed(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a row that has a type."""
    inner: Any = ()
    if isinstance(value, dict | list) and path[-1:] not in {(name,) for name in FREE}:
        inner = value.items() if isinstance(value, dict) else list(enumerate(value))[:1]
    deeper = [found for key, each in inner for found in typed(each, (*path, key))]
    return [path, *deeper] if path else deeper


@pytest.mark.parametrize("path", typed(json.loads(dump(ROW))), ids=str)
def test_no_field_of_a_row_takes_another_type(path):
    for wrong in ({"x": [None]}, [{"x": 1}]):
        fields = json.loads(dump(ROW))
        where = fields
        for step in path[:-1]:
            where = where[step]
        if path[-1] in FREE and isinstance(wrong, dict):
            continue
        where[path[-1]] = wrong
        with pytest.raises(UserError, match="rows, line 1, field ") as caught:
            load_row(json.dumps(fields).encode(), "rows, line 1")
        assert f"field {path[0]}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (DEEP, "env.json: its values nest too deeply; delete it"),
        (b'{"a": {"machine": {"cpu": 5}}}', "field [...].machine.cpu: expected `object`, got `int"),
        (None, "env.json: Is a directory; delete it"),
    ],
)
def test_an_environment_that_does_not_fit_is_one_sentence(refused, tmp_path, text, sentence):
    run(tmp_path, cell("ctc-greedy", [1, 2]))
    path = tmp_path / "env.json"
    path.unlink()
    path.mkdir() if text is None else path.write_bytes(text)
    assert sentence in refused("report", "--run", str(tmp_path))


@pytest.mark.parametrize("text", [DEEP, b"5", b'{"began": 5}', b"\xff"])
def test_a_damaged_run_is_passed_over(tmp_path, monkeypatch, text):
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    run(tmp_path / "good", cell("ctc-greedy", [1, 2]))
    (tmp_path / "good" / "run.json").write_text('{"began": "2026-01-01"}')
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_bytes(text)
    assert runs.newest() == tmp_path / "good"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "condition",
            "entries[0].conditions[11]: expected `str`, got `int`; restore it with git",
        ),
        ("null", "entries[0].values[...]: expected `float`, got `null`"),
    ],
)
def test_tuned_weights_that_do_not_fit_are_one_sentence(name, sentence):
    path = FIXTURES / f"tuned-{name}.json"
    with pytest.raises(UserError) as caught:
        tuned.load(path)
    assert f"{path}, field {sentence}" in str(caught.value)
