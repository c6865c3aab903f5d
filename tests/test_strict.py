"""Lines that cannot be used: counted and explained, or fatal where the user says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bench.report
from bench.core.types import BadLine, Line, LineSet
from bench.pipeline import bad_lines, runs
from datasets.base import BadLinesError, Dataset, listening
from tests.harness_doubles import registries

Call = Callable[..., tuple[object, str, str]]
RUN = ["run", "--encoder", "pixels", "--decoder", "reader", "--rounds", "1", "--threads", "1"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: Call) -> Call:
    """`bench run` with small working parts, of which `words` can have unreadable lines."""
    made = registries()
    monkeypatch.setattr("bench.pipeline.plan.Registries", lambda: made)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(bench.report, "write", lambda folder, results, **options: [])
    monkeypatch.setattr(bench.report, "terminal", lambda results: "")
    return lambda *words: call(*RUN, "--out", str(tmp_path / "one"), *words)


def _reasons(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "bad-lines.jsonl").read_text().splitlines()]


def test_a_run_leaves_bad_lines_out_with_a_count_and_a_file_of_reasons(
    run: Call, tmp_path: Path
) -> None:
    code, out, _ = run("-o", "words.unreadable=2")
    assert code == 1
    assert f"2 lines could not be used: why stands in {tmp_path}/one/bad-lines.jsonl" in out
    assert _reasons(tmp_path / "one") == [
        {"dataset": "words", "split": "test", "id": f"bad-{i}", "reason": "the image is truncated"}
        for i in range(2)
    ]
    row = json.loads((tmp_path / "one" / "rows.jsonl").read_text().splitlines()[0])
    assert row["status"] == "ok" and row["unreadable"] == 2


def test_a_mended_set_leaves_no_old_reasons(run: Call, tmp_path: Path) -> None:
    run("-o", "words.unreadable=2")
    _, out, _ = run()
    assert "could not be used" not in out
    assert not (tmp_path / "one" / "bad-lines.jsonl").exists()


@pytest.mark.parametrize("asked", ["--strict", "-o words.strict=true"])
def test_a_strict_run_ends_at_a_bad_line(run: Call, tmp_path: Path, asked: str) -> None:
    code, out, err = run("-o", "words.unreadable=2", *asked.split())
    assert code == 2 and out == ""
    assert "error: 2 of 14 lines of words (test) cannot be used, and strict was asked for; " in err
    assert f"the first is bad-0: the image is truncated; all are in {tmp_path}/one/bad-l" in err
    assert len(_reasons(tmp_path / "one")) == 2
    assert not (tmp_path / "one" / "rows.jsonl").exists()


def test_reasons_of_other_splits_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bad-lines.jsonl"
    bad_lines.note(path, "a", "train", [BadLine("1", "x")])
    bad_lines.note(path, "a", "test", [BadLine("2", "\u00e9")])
    bad_lines.note(path, "b", "test", [])
    bad_lines.note(path, "a", "train", [BadLine("3", "y")])
    assert [(line["split"], line["id"]) for line in bad_lines.read(path)] == [
        ("test", "2"), ("train", "3"),
    ]  # fmt: skip
    for split in ("train", "test"):
        bad_lines.note(path, "a", split, [])
    assert not path.exists()


class Given(Dataset):
    """Gathers what the test gives it."""

    def missing(self) -> None:
        return None

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        raise NotImplementedError

    def of(self, *found: Line | BadLine, total: int = 0) -> LineSet:
        return self.gathered(
            "given", "test", iter(found), source="s", licence="l", references="r", total=total
        )


def _line(name: str, height: int = 8, width: int = 30, text: str = "text") -> Line:
    return Line(name, np.full((height, width), 255, np.uint8), text, "w", "test")


def test_what_no_encoder_should_see_is_set_aside() -> None:
    found = Given().of(
        _line("a"), BadLine("b", "why"), _line("a"), _line("c", 3), _line("d", 4, 801),
        _line("e", 4, 800), _line("f", text="\ud800"), BadLine("\udce9", "no\udce9"),
    )  # fmt: skip
    assert [line.id for line in found.lines] == ["a", "e"]
    assert [(bad.id, bad.reason) for bad in found.bad] == [
        ("b", "why"),
        ("a", "another line has the same id"),
        ("c", "its image of 30 x 3 pixels is no line of writing"),
        ("d", "its image of 801 x 4 pixels is no line of writing"),
        ("f", "half of a UTF-16 pair stands in its text, id, writer or block"),
        ("\\udce9", "no\\udce9"),
    ]
    with pytest.raises(BadLinesError, match=r"6 of 8 lines of given \(test\)"):
        Given(strict=True).of(*found.lines, *found.bad)


def test_a_listener_hears_how_far_a_set_is() -> None:
    heard: list[tuple[str, float, float]] = []
    with listening(lambda *told: heard.append(told)):
        Given().of(_line("a"), _line("b"), total=2)
        Given().of(_line("a"), _line("b"))
    Given().of(_line("a"))
    assert heard == [
        ("reading test", 0, 2), ("reading test", 1, 2),
        ("reading test", 0, 0), ("reading test", 1, 1),
    ]  # fmt: skip
