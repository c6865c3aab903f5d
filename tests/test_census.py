"""`bench data check` of any set: what is counted, drawn, written and told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.core.errors import Unavailable, UserError
from bench.core.types import Line
from datasets.census import Repeats, take
from datasets.iam import Iam
from datasets.manifest import ManifestLines
from datasets.root import set_data_root
from datasets.sheet import HEIGHT, WIDTH, contact_sheet
from tests.iam_layout import write_iam, write_list

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
    assert found.texts == Repeats(2, 5, 1, ("train/0", "train/2", "test/4"))
    assert found.images == Repeats(2, 4, 1, ("train/2", "test/4"))
    assert [(split, line.id) for split, line in found.bad] == [("train", "gone"), ("test", "7")]
    assert (found.source, found.references) == ("lines.csv", "manifest")
    assert [line.id for line in found.shown] == ["0", "1", "2", "3", "4", "5", "6"]


def test_a_census_of_some_lines(table: Path) -> None:
    found = take("mine", ManifestLines(table), ("test",), 2)
    assert [(count.split, count.lines) for count in found.splits] == [("test", 2)]
    assert found.images.groups == 0 and not found.bad
    with pytest.raises(UserError, match="no split none"):
        take("mine", ManifestLines(table), ("none",))


def test_a_split_that_is_not_here_is_told_and_the_others_counted(
    tmp_path: Path, call: Call
) -> None:
    drawn = write_iam(tmp_path)
    lists = tmp_path / "splits" / "aachen"
    write_list(lists / "te.lst", list(drawn))
    options = ("-o", f"iam.root={tmp_path}", "--out", str(tmp_path / "out"))
    code, out, _ = call("data", "check", "iam", *options)
    assert code == 1
    assert "not here          train: there is no list of the partition aachen" in out
    code, out, _ = call("data", "check", "iam", *options, "--json")
    (record,) = json.loads(out)
    assert code == 1
    assert [absent["split"] for absent in record["census"]["absent"]] == ["train", "val"]
    assert record["census"]["absent"][1]["remedy"].startswith("get ")
    assert [count["split"] for count in record["census"]["splits"]] == ["test"]
    with pytest.raises(Unavailable, match="no list"):
        take("iam", Iam(root=tmp_path), ("val",))


def test_a_sheet_shows_every_line_scaled_to_fit() -> None:
    images = [np.full((20, 50), 0, np.uint8), np.full((HEIGHT * 4, 300), 0, np.uint8),
              np.full((100, WIDTH * 4), 0, np.uint8)]  # fmt: skip
    lines = [Line(str(i), image, "t\u00e9xt", "w", "test") for i, image in enumerate(images)]
    sheet = contact_sheet("title", lines)
    columns = (sheet == 0).sum(axis=1)
    runs = [int((columns == width).sum()) for width in (50, 75, WIDTH)]
    assert runs == [20, HEIGHT, 25]  # black rows as wide as each image is on the sheet
    assert sheet.shape[1] < WIDTH + 50 and sheet[0].min() == 255
    other = contact_sheet("title", [lines[0], Line("1", images[0], "text", "w", "val")])
    assert other.shape[0] > contact_sheet("title", [lines[0]] * 2).shape[0]  # a heading more
    assert (contact_sheet("title", lines) != contact_sheet("other", lines)).any()


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
        "2, in 5 lines, 1 of them in more than one split; one: train/0, train/2, test/4",
        "cannot be used    2 lines, the first:",
        "train/gone: its image cannot be read: the file gone.png is missing",
        "test/7: its text is empty",
        f"contact sheet     {out / 'sheet.png'}",
        f"all reasons       {out / 'bad-lines.jsonl'}",
    ):
        assert sentence in said
    assert Image.open(out / "sheet.png").width > WIDTH
    reasons = [json.loads(line) for line in (out / "bad-lines.jsonl").read_text().splitlines()]
    assert [(line["dataset"], line["split"], line["id"]) for line in reasons] == [
        ("manifest", "train", "gone"), ("manifest", "test", "7"),
    ]  # fmt: skip
    code, said, err = call(*words, "--strict")
    assert code == 2 and said == ""
    assert "error: 2 lines of manifest cannot be used, and strict was asked for" in err
    code, said, _ = call(*words, "--split", "val", "--strict")
    assert code == 0 and "cannot be used    none" in said


def test_data_check_for_programs(table: Path, tmp_path: Path, call: Call) -> None:
    words = ["data", "check", "manifest", "iam", "--json", "--data-root", str(tmp_path / "none")]
    code, said, _ = call(*words)
    assert code == 1
    assert [record["state"] for record in json.loads(said)] == ["missing", "missing"]
    code, said, _ = call(*words[:3], *words[4:], "-o", f"manifest.path={table}",
                         "--out", str(tmp_path / "out"))  # fmt: skip
    (record,) = json.loads(said)
    assert record["state"] == "no record" and len(record["files"]) == 2
    census = record["census"]
    assert census["splits"][0]["lines"] == 3 and census["texts"]["groups"] == 2
    assert census["bad"][0] == ["train", {"id": "gone", "reason": census["bad"][0][1]["reason"]}]
    assert "shown" not in census


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["manifst"], "did you mean manifest"),
        (["--limit", "3"], "name the sets to count"),
        (["lines", "--limit", "0"], "leaves nothing to count"),
        (["lines", "unipen", "--out", "x"], "--out is the folder of one set"),
        (["lines", "-o", "unipen.subset=bb"], "'unipen', which is not checked"),
        (["lines", "-o", "lines.siz=3"], "did you mean size"),
    ],
)
def test_mistakes_are_told_in_a_sentence(call: Call, words: list[str], sentence: str) -> None:
    code, out, err = call("data", "check", *words)
    assert (code, out) == (2, "") and sentence in err and err.count("\n") == 1


def test_sets_that_the_user_has_to_get_are_not_got(call: Call, tmp_path: Path) -> None:
    code, _, err = call("data", "get", "iam", "--data-root", str(tmp_path))
    assert code == 2 and "iam cannot be got for you: " in err and "register at" in err
    code, _, err = call("data", "get", "unipen", "a/b")
    assert code == 2 and "by commands of their own" in err
    assert call("data", "get", "lines")[2].startswith("error: lines is here already")
