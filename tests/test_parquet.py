"""Parquet files: the user's, those of a Hub that runs on this machine, and the recorded sets."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bench.core.errors import Unavailable, UserError
from bench.core.hub import MAIN
from bench.core.progress import silent
from datasets.base import BadLinesError
from datasets.hub import download, licence_of, locate
from datasets.parquet import ParquetLines
from tests.fake_hub import FakeHub, serve

REPO = "tiny/lines"
SPLITS = Path(__file__).parent / "fixtures" / "parquet-splits"


def _png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 30), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _write(path: Path, texts: list[str], **columns: list[object]) -> Path:
    """A file in the Hub's layout: an image and a text column, and perhaps others."""
    images = [{"bytes": _png(100 + i), "path": "line.png"} for i in range(len(texts))]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": images, "text": texts, **columns}), path, row_group_size=2)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set as the Hub has it: shards by split, and a card."""
    root = tmp_path / "repo"
    _write(root / "data/train-00000-of-00002.parquet", ["a", "b", "c"])
    _write(root / "data/train-00001-of-00002.parquet", ["d"])
    _write(root / "data/validation-00000-of-00001.parquet", ["e"])
    _write(root / "data/test-00000-of-00001.parquet", ["f", "g"])
    (root / "README.md").write_text("---\npretty_name: x\nlicense: cc-by-4.0\n---\n# Lines\n")
    return root


def _texts(spec: ParquetLines, split: str, limit: int | None = None) -> list[str]:
    return [line.text for line in spec.load(split, limit).lines]


def test_a_folder_in_the_hubs_layout_has_its_splits(folder: Path) -> None:
    spec = ParquetLines(str(folder))
    assert spec.missing() is None and spec.split_names() == ("train", "val", "test")
    assert _texts(spec, "train") == ["a", "b", "c", "d"]
    assert _texts(spec, "train", 3) == ["a", "b", "c"] and _texts(spec, "train", 0) == []
    assert _texts(spec, "val") == _texts(spec, "validation") == ["e"]
    found = spec.load("test")
    assert [line.id for line in found.lines] == [f"data/test-00000-of-00001-{i}" for i in range(2)]
    assert (found.name, found.licence, found.references) == ("parquet", "cc-by-4.0", "parquet")
    assert found.lines[1].image.tolist() == [[101] * 30] * 8
    only = ParquetLines(str(folder), files="data/t*")
    assert only.split_names() == ("train", "test")


def test_a_split_may_begin_late_in_a_row_group(tmp_path: Path) -> None:
    texts = [str(i) for i in range(200)]
    splits: list[object] = [*["train"] * 150, *["test"] * 50]
    path = _write(tmp_path / "lines.parquet", texts, split=splits)
    pq.write_table(pq.read_table(path), path)
    spec = ParquetLines(str(path), split_column="split")
    assert _texts(spec, "test") == texts[150:]
    assert _texts(spec, "train") == texts[:150]


def test_columns_are_found_or_named(tmp_path: Path) -> None:
    file = _write(
        tmp_path / "lines.parquet", ["a", "b", "c"], line_id=[7, 8, 9], split=["dev", "test", None],
        author=["x", "y", "z"], form=["p", "q", "r"], other=["A", "B", "C"],
    )  # fmt: skip
    spec = ParquetLines(str(file))
    assert spec.split_names() == ("val", "test", "unassigned")
    (line,) = spec.load("val").lines
    assert (line.id, line.text, line.writer, line.page) == ("7", "a", "x", "p")
    named = ParquetLines(str(file), text="other", split="train")
    assert _texts(named, "train") == ["A", "B", "C"] and named.split_names() == ("train",)
    with pytest.raises(UserError, match=r"no column nope; its columns are image, text, line_"):
        ParquetLines(str(file), split_column="nope").load()
    with pytest.raises(UserError, match=r"column line_id of .* holds int64, not text"):
        ParquetLines(str(file), text="line_id").load()
    with pytest.raises(UserError, match=r"line_id of .* not text; .*one split for all with"):
        ParquetLines(str(file), split_column="line_id").load()
    scores = _write(tmp_path / "scores.parquet", ["a", "b"], writer=[1.0, math.nan])
    assert [line.writer for line in ParquetLines(str(scores)).load().lines] == ["1.0", ""]


def test_a_file_without_rows_is_not_right(tmp_path: Path, call: Any) -> None:
    file = tmp_path / "lines.parquet"
    empty = pa.table({"image": pa.array([], pa.binary()), "text": pa.array([], pa.string())})
    pq.write_table(empty, file)
    assert call("data", "check", "parquet", "-o", f"parquet.path={file}")[0] == 1


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "lines.parquet"
    columns = [pa.array([_png(1)]), pa.array(["a"]), pa.array(["b"])]
    pq.write_table(pa.Table.from_arrays(columns, ["image", "text", "text"]), file)
    with pytest.raises(UserError, match="has the column 'text' twice"):
        ParquetLines(str(file)).load()


def test_a_page_is_read_only_with_its_checksum(tmp_path: Path) -> None:
    file = tmp_path / "lines.parquet"
    table = pa.table({"image": [_png(1)], "text": ["clear"]})
    pq.write_table(
        table,
        file,
        write_page_checksum=True,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
    )
    assert ParquetLines(str(file)).load().lines
    file.write_bytes(file.read_bytes().replace(b"clear", b"cleat", 1))
    with pytest.raises(UserError, match=r"as Parquet: .*; copy or download it again$") as error:
        ParquetLines(str(file)).load()
    assert "\n" not in str(error.value)


def test_a_column_of_values_beyond_python_is_refused(tmp_path: Path) -> None:
    spans = pa.array([2**60], pa.duration("s"))
    pq.write_table(
        pa.table({"image": [_png(1)], "text": ["a"], "writer": spans}), tmp_path / "a.parquet"
    )
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        ParquetLines(str(tmp_path / "a.parquet")).load()


def test_categories_are_read_as_their_texts(tmp_path: Path) -> None:
    columns = {
        "text": ["a", "b", "a"],
        "split": ["train", "test", "test"],
        "writer": ["x", "y", "x"],
    }
    table = {name: pa.array(values).dictionary_encode() for name, values in columns.items()}
    images = [_png(n) for n in range(3)]
    pq.write_table(pa.table({"image": images, **table}), tmp_path / "lines.parquet")
    spec = ParquetLines(str(tmp_path / "lines.parquet"))
    assert spec.split_names() == ("train", "test") and _texts(spec, "test") == ["b", "a"]
    assert [line.writer for line in spec.load("test").lines] == ["y", "x"]
    numbers = pa.array([1, 2, 1]).dictionary_encode()
    pq.write_table(pa.table({"image": images, "text": numbers}), tmp_path / "lines.parquet")
    with pytest.raises(UserError, match=r"column text of .* not text"):
        spec.load("test")


def test_bad_lines_are_set_aside_or_fatal(tmp_path: Path) -> None:
    wide = io.BytesIO()
    Image.new("L", (5000, 10)).save(wide, "PNG")
    images = [_png(1), b"junk", None, _png(2), _png(3), wide.getvalue()]
    texts = ["good", "x", "x", " ", "again", "x"]
    ids = ["a", "b", "c", "d", "a", "e"]
    pq.write_table(pa.table({"image": images, "text": texts, "id": ids}), tmp_path / "a.parquet")
    found = ParquetLines(str(tmp_path)).load()
    assert [line.id for line in found.lines] == ["a"]
    assert [(bad.id, bad.reason) for bad in found.bad] == [
        ("b", "its image cannot be read: it is not an image"),
        ("c", "its image cannot be read: it has none"),
        ("d", "its text is empty"),
        ("a", "another line has the same id"),
        ("e", "its image of 5000 x 10 pixels is no line of writing"),
    ]
    with pytest.raises(
        BadLinesError, match=r"5 of 6 lines of parquet .* the first is b: "
    ) as error:
        ParquetLines(str(tmp_path), strict=True).load()
    assert error.value.lineset.bad == found.bad


def test_what_is_not_there_is_told(tmp_path: Path, folder: Path) -> None:
    for path, reason in (("", "none is named"), ("./nowhere", "no file or folder nowhere"),
                         (str(tmp_path / "a.parquet"), "no file or folder")):  # fmt: skip
        missing = ParquetLines(path).missing()
        assert missing is not None and reason in missing.reason and missing.remedy
        with pytest.raises(Unavailable):
            ParquetLines(path).load()
    missing = ParquetLines(str(folder), files="*.csv").missing()
    assert missing is not None and "no Parquet file of the pattern *.csv" in missing.reason
    missing = ParquetLines(str(folder), revision="v1").missing()
    assert missing is not None and "is a path and has no revision" in missing.reason
    with pytest.raises(UserError, match=r"no split eval; .*-o parquet\.split=eval"):
        ParquetLines(str(folder)).load("eval")
    file = folder / "data/train-00000-of-00002.parquet"
    for content in (b"PAR1 no more", file.read_bytes().replace(b"text", b"t\xf9xt")):
        file.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as Parquet"):
            ParquetLines(str(folder)).load()


@pytest.mark.parametrize(
    ("card", "licence"),
    [("---\r\nlicense: 'mit'\r\n---\r\n", "mit"), ("---\nlicense:\n- mit\n---\n", "not stated"),
     (None, "not stated")],
)  # fmt: skip
def test_the_licence_is_that_of_the_card(tmp_path: Path, card: str | None, licence: str) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card, newline="")
    assert licence_of(tmp_path) == licence


@pytest.fixture
def hub(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """An empty cache, and a Hub that has `folder` as REPO."""
    with serve(tmp_path / "hub", monkeypatch) as server:
        server.push(f"datasets/{REPO}", folder, "v1", "refs/convert/parquet")
        yield server


Call = Callable[..., tuple[object, str, str]]


def test_a_set_of_the_hub_is_got_and_read(hub: FakeHub, call: Call) -> None:
    missing = ParquetLines(REPO).missing()
    assert missing is not None and f"{REPO} is not in " in missing.reason
    assert missing.remedy == f"python -m bench data get {REPO}"
    code, out, err = call(*missing.remedy.split()[3:])
    assert code == 0, err
    assert "3 files" not in out and "4 files" in out and "cc-by-4.0" in out
    hub.requests.clear()
    found = ParquetLines(REPO).load("train", 2)
    assert [line.text for line in found.lines] == ["a", "b"] and found.licence == "cc-by-4.0"
    commit = hub.repos[f"datasets/{REPO}"]["main"]
    assert found.source == f"{hub.url}/datasets/{REPO} @ {commit[:12]}"
    assert hub.requests == []  # reading asks the Hub nothing
    download(REPO, MAIN, "*", silent)
    assert not [r for r in hub.requests if r.startswith("GET") and r.endswith(".parquet")]


def test_a_pattern_and_a_revision_are_heeded(hub: FakeHub, call: Call) -> None:
    spec = ParquetLines(REPO, revision="refs/convert/parquet", files="data/test*")
    missing = spec.missing()
    assert missing is not None
    assert missing.remedy.endswith(f"{REPO} --revision refs/convert/parquet --files 'data/test*'")
    code, _, err = call(
        "data", "get", REPO, "--revision", "refs/convert/parquet", "--files", "data/test*"
    )
    assert code == 0, err
    assert spec.split_names() == ("test",)
    assert sum(r.startswith("GET /datasets") and "train" in r for r in hub.requests) == 0


def test_an_interrupted_download_is_not_taken_for_the_set(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "data/train-00001-of-00002.parquet"
    hub.spoilt.add(name)
    with pytest.raises(UserError, match=f"{name} of {REPO} arrived damaged and was removed"):
        download(REPO, MAIN, "*", silent)
    assert ParquetLines(REPO).missing() is not None
    with pytest.raises(UserError, match="no Parquet file of the pattern a"):
        download(REPO, MAIN, "a", silent)
    commit = hub.repos[f"datasets/{REPO}"]["main"]
    with pytest.raises(Unavailable, match="only partly"):  # a shard of two
        locate(REPO, commit, "*")
    hub.spoilt.clear()
    folder = download(REPO, MAIN, "*", silent)
    assert _texts(ParquetLines(REPO), "train") == ["a", "b", "c", "d"] and folder.name == commit


def parts(folder: Path, *names: str) -> ParquetLines:
    """A folder with one line in each file."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SPLITS / "test-00000-of-00001.parquet", folder / name)
    return ParquetLines(str(folder))


def test_shards_are_of_the_splits_that_they_are_called_after() -> None:
    spec = ParquetLines(str(SPLITS))
    assert spec.split_names() == ("test", "eval", "synthetic", "unlabeled")
    assert {len(spec.load(split).lines) for split in spec.split_names()} == {2}


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["data/dev-00000-of-00001.parquet", "data/pseudo.v2-00000-of-00009.parquet"],
         ("val", "pseudo.v2")),
        (["default/eval/0000.parquet", "default/partial-train/0000.parquet"], ("train", "eval")),
        (["iam_val.parquet", "my-training-2.parquet", "eval.parquet"], ("train", "val", "test")),
        (["train.parquet", "synthetic.parquet"], ("train", "synthetic")),
        (["lines.parquet", "more.parquet"], ("test",)),
        (["latest.parquet", "contest-00000-of-00001.parquet"], ("contest", "latest")),
    ],
)  # fmt: skip
def test_no_file_is_silently_of_test(tmp_path: Path, names: list[str], splits) -> None:
    assert parts(tmp_path, *names).split_names() == splits


def test_absent_shards_are_noted(folder: Path) -> None:
    spec = ParquetLines(str(folder))
    assert not any("in part" in note for note in spec.load("train").notes)
    (folder / "data/train-00000-of-00002.parquet").unlink()
    assert "data/train is here only in part: 1 of its 2 files" in spec.load("train").notes
    assert not any("in part" in note for note in spec.load("test").notes)


def test_a_row_without_a_split_is_unassigned(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.parquet", ["a", "b", "c", "d"], split=["test", None, "", "test"])
    spec = ParquetLines(str(path))
    assert spec.split_names() == ("test", "unassigned")
    assert _texts(spec, "test") == ["a", "d"] and _texts(spec, "unassigned") == ["b", "c"]
