"""Lines that cannot be used, and `bench data check` of any set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bench.report.output
from bench.core.types import BadLine, Line, LineSet
from bench.pipeline import bad_lines, runs
from datasets.base import BadLinesError, Dataset
from datasets.census import take
from datasets.manifest import ManifestLines
from datasets.root import set_data_root
from datasets.sheet import WIDTH
from tests.harness_doubles import registries

Call = Callable[..., tuple[object, str, str]]

# Text, writer, split, and the grey level of the image (height 10, as wide as 20 + level).
ROWS = [
    ("a line", "ann", "train", 1), ("b", "ann", "train", 2), ("a line", "bob", "train", 3),
    ("\u00e9t\u00e9 of 23 characters...", "bob", "val", 4), ("a line", "cy", "test", 3),
    ("twice", "cy", "test", 5), ("twice", "cy", "test", 5), ("", "cy", "test", 6),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _data_root() -> Iterator[None]:
    """Forget what a command line chose."""
    yield
    set_data_root(None)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A manifest of ROWS, and a row whose image is missing."""
    rows = ["id,image,text,writer,split"]
    for number, (text, writer, split, grey) in enumerate(ROWS):
        pixels = np.full((10, 20 + grey), 200 + grey, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append(f"{number},{number}.png,{text},{writer},{split}")
    path = tmp_path / "lines.csv"
    path.write_text("\n".join([*rows, "gone,gone.png,x,ann,train"]), encoding="utf-8")
    return path


def test_a_census_counts_by_hand(table: Path) -> None:
    found = take("mine", ManifestLines(table, strict=True))  # strict: counted all the same
    train, val, test = found.splits
    assert (train.split, val.split, test.split) == ("train", "val", "test")
    assert (train.lines, train.writers, train.blocks, train.bad) == (3, 2, 2, 1)
    assert (test.lines, test.writers, test.blocks, test.bad) == (3, 1, 1, 1)
    assert found.lines == 7
    assert found.alphabet == "".join(sorted(set("".join(text for text, *_ in ROWS))))
    assert [(split, line.id) for split, line in found.bad] == [("train", "gone"), ("test", "7")]
    assert (found.source, found.references) == ("lines.csv", "manifest")
    assert [line.id for line in found.shown] == ["0", "1", "2", "3", "4", "5", "6"]


def test_a_split_that_is_not_here_is_named_and_the_others_counted(call: Call, tmp_path) -> None:
    words = ["data", "check", "unipen-lex", "--data-root", str(tmp_path), "--limit", "2"]
    code, out, _ = call(*words, "--out", str(tmp_path / "out"))
    assert code == 1 and "not here          train, missing: unipen is not here" in out
    code, out, _ = call(*words, "--out", str(tmp_path / "out"), "--json")
    (record,) = json.loads(out)
    (absent,) = record["census"]["absent"]
    assert absent["split"] == "train" and absent["remedy"] == "python -m bench data get unipen"
    assert [count["split"] for count in record["census"]["splits"]] == ["val", "test"]


def test_data_check_tells_all_and_writes_what_to_look_at(
    table: Path, tmp_path: Path, call: Call
) -> None:
    out = tmp_path / "out"
    words = ["data", "check", "manifest", "-o", f"manifest.path={table}", "--out", str(out)]
    code, said, err = call(*words)
    assert code == 1 and "Traceback" not in err and "manifest: reading test" in err
    row = next(line for line in said.splitlines() if line.startswith("train "))
    assert " ".join(row.split()) == "train 3 2 2 1"
    letters = "".join(sorted(set("".join(text for text, *_ in ROWS))))
    for sentence in (
        "licence not stated; references manifest",
        f"{len(letters)} characters: {letters}; not printable ASCII: \u00e9",
        "cannot be used    2 lines, the first:",
        "train/gone: its image cannot be read: the file gone.png is missing",
        "test/7: its text is empty",
        f"all reasons       {out / 'bad-lines.jsonl'}",
    ):
        assert sentence in said
    assert Image.open(out / "sheet.png").width > WIDTH
    reasons = [json.loads(line) for line in (out / "bad-lines.jsonl").read_text().splitlines()]
    assert [(line["dataset"], line["split"], line["id"]) for line in reasons] == [
        ("manifest", "train", "gone"), ("manifest", "test", "7"),
    ]  # fmt: skip
    code, said, err = call(*words, "-o", "manifest.strict=true")
    assert code == 2 and said == ""
    assert "error: 2 lines of manifest cannot be used, and strict was asked for" in err
    code, said, _ = call(*words, "--split", "val", "-o", "manifest.strict=true")
    assert code == 0 and "cannot be used    none" in said
    (record,) = json.loads(call(*words, "--json")[1])
    assert record["state"] == "no record" and len(record["files"]) == 2
    assert "shown" not in record["census"]


def test_sets_that_the_user_has_to_get_are_not_got(call: Call, tmp_path: Path) -> None:
    code, _, err = call("data", "get", "iam", "--data-root", str(tmp_path))
    assert code == 2 and "iam cannot be got for you: " in err and "register at" in err
    code, _, err = call("data", "get", "unipen", "a/b")
    assert code == 2 and "by commands of their own" in err
    assert call("data", "get", "lines")[2].startswith("error: lines is here already")


RUN = ["run", "--encoder", "pixels", "--decoder", "reader", "--rounds", "1", "--threads", "1"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: Call) -> Call:
    """`bench run` with small working parts, of which `words` can have unreadable lines."""
    made = registries()
    monkeypatch.setattr("bench.pipeline.plan.Registries", lambda: made)
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(bench.report.output, "write", lambda folder, results, **options: [])
    monkeypatch.setattr(bench.report.output, "terminal", lambda results: "")
    return lambda *words: call(*RUN, "--out", str(tmp_path / "one"), *words)


def _reasons(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "bad-lines.jsonl").read_text().splitlines()]


def test_a_run_leaves_bad_lines_out_with_a_count_and_a_file_of_reasons(
    run: Call, tmp_path: Path
) -> None:
    code, out, _ = run("-o", "words.unreadable=2")
    assert code == 1
    assert f"2 lines could not be used; the reasons are in {tmp_path}/one/bad-lines.jsonl" in out
    assert _reasons(tmp_path / "one") == [
        {"dataset": "words", "split": "test", "id": f"bad-{i}", "reason": "the image is truncated"}
        for i in range(2)
    ]
    row = json.loads((tmp_path / "one" / "rows.jsonl").read_text().splitlines()[0])
    assert row["status"] == "ok" and row["unreadable"] == 2
    _, out, _ = run()  # of a mended set
    assert "could not be used" not in out
    assert not (tmp_path / "one" / "bad-lines.jsonl").exists()


def test_a_strict_run_ends_at_a_bad_line(run: Call, tmp_path: Path) -> None:
    code, out, err = run("-o", "words.unreadable=2", "-o", "words.strict=true")
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


@pytest.mark.parametrize("damaged", [b'{"id": "1"}\n', b"[]\n", b"\xff\n", b"{"])
def test_a_damaged_file_of_reasons_counts_as_none(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "bad-lines.jsonl"
    path.write_bytes(damaged)
    assert bad_lines.read(path) == []
    bad_lines.note(path, "a", "train", [BadLine("1", "x")])
    assert [line["id"] for line in bad_lines.read(path)] == ["1"]


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
