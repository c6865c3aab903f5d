"""Tables and Parquet files that were once misread in silence: read right, or refused with why."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import pytest

from bench.core.errors import UserError
from datasets.base import NothingReadableError
from datasets.manifest import ManifestLines
from datasets.parquet import ParquetLines
from datasets.table import read_table

FIXTURES = Path(__file__).parent / "fixtures"
TABLES = FIXTURES / "manifest"
SENTENCES = {  # what every command that loads the table says
    "cp932": r"none of the 1 rows .* line 2: it is not UTF-8 \(it looks like cp932.*UTF-8$",
    "comma-unquoted": "none of the 1 rows .* line 2: it has 3 fields, not 2; put .* double quotes",
    "cp932-header": r"first row of .* is not UTF-8 \(it looks like cp932, Japanese\); save",
}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_table_of_bad_rows_is_refused_with_the_first_reason(name: str, call, tmp_path) -> None:
    spec = ManifestLines(TABLES / f"{name}.csv")
    for load in (spec.split_names, spec.load, lambda: spec.load("train")):
        with pytest.raises(UserError, match=SENTENCES[name]):
            load()
    option = f"manifest.path={spec.path}"
    for words in (
        ("data", "check", "manifest", "-o", option, "--out", f"{tmp_path}/a"),
        (
            "run",
            "--dataset",
            "manifest",
            "--decoder",
            "ctc-greedy",
            "-o",
            option,
            "--out",
            f"{tmp_path}/b",
        ),
    ):
        code, out, err = call(*words)
        assert code == (2 if "check" in words else 1) and "Traceback" not in out + err
        assert ("cp932" if "cp932" in name else "3 fields") in out + err


def test_a_set_whose_images_are_all_bad_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("image,text\na.png,x\nb.png,y\n")
    with pytest.raises(NothingReadableError, match=r"none of the 2 lines .* the first is a: .*mis"):
        ManifestLines(tmp_path / "m.csv").load()
    assert ManifestLines(tmp_path / "m.csv").load(limit=0).lines == ()


@pytest.mark.parametrize(
    ("text", "encoding", "likely"),
    [
        ("手書きの行", "cp932", "cp932"),
        ("手書きの行", "euc_jp", "euc_jp"),
        ("漢字", "cp932", "cp932"),
        ("Un été à Zürich, élan", "cp1252", "cp1252"),
        ("“Où est-il ?” là", "cp1252", "cp1252"),
        ("手写文字识别", "gb18030", ""),
        ("рукописный текст", "koi8_r", ""),
    ],
)
def test_the_likely_encoding_is_named(tmp_path: Path, text, encoding, likely) -> None:
    for name, table in (("m.csv", f'image,text\na.png,"{text}"\n'),
                        ("m.jsonl", f'{{"image": "a.png", "text": "{text}"}}\n')):  # fmt: skip
        (tmp_path / name).write_bytes(table.encode(encoding))
        (row,) = read_table(tmp_path / name)
        named = row.trouble.partition("(it looks like ")[2].partition(",")[0]
        assert (named, row.trouble[:15]) == (likely, "it is not UTF-8")


def test_a_broken_character_of_utf8_is_no_other_encoding(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("image,text\na.png,été\n".encode() + b"b.png,caf\xc3\n")
    good, bad = read_table(tmp_path / "m.csv")
    assert not good.trouble and bad.trouble.startswith("it is not UTF-8; save")


def test_a_file_is_found_however_its_name_spells_accents(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, name) for form in ("NFC", "NFD") for name in ("が", "é")]
    for form in ("NFC", "NFD"):
        folder = tmp_path / form
        folder.mkdir()
        for name in names:
            shutil.copy(TABLES / "a.png", folder / f"{unicodedata.normalize(form, name)}.png")
        rows = [f"{name}.png,{place}\n" for place, name in enumerate(names)]
        (folder / "m.csv").write_text("image,text\n" + "".join(rows))
        found = ManifestLines(folder / "m.csv").load()
        assert len(found.lines) == 4 and not found.bad
    (tmp_path / "m.csv").write_text(f"image,text\n{'é' * 300}.png,x\nNFC/é.png,y\n")
    found = ManifestLines(tmp_path / "m.csv").load()
    assert len(found.lines) == 1 and len(found.bad) == 1


def test_utf16_is_read_with_its_mark_and_named_without(tmp_path: Path) -> None:
    (row,) = read_table(TABLES / "utf16-excel-csv.csv")
    assert dict(row.values) == {"image": "a.png", "text": "こんにちは"} and not row.trouble
    found = ManifestLines(TABLES / "utf16-excel-csv.csv").load()
    assert [line.text for line in found.lines] == ["こんにちは"]
    for encoding in ("utf-16-le", "utf-16-be"):
        (tmp_path / "m.csv").write_bytes("image,text\na.png,x\n".encode(encoding))
        with pytest.raises(UserError, match=r"is it UTF-16\? save the whole table in UTF-8"):
            read_table(tmp_path / "m.csv")


def test_stray_quotes_join_no_rows() -> None:
    found = ManifestLines(TABLES / "quote4.csv").load()
    assert [line.text for line in found.lines] == ["He left.", "Fine."]
    (bad,) = found.bad
    assert "line 3" in bad.reason and "goes on to line 5: is a quote never closed?" in bad.reason


@pytest.mark.parametrize(
    ("rows", "good", "span"),
    [
        ('a.png,"one\nb.png,two\nc.png,three"\nd.png,four\n', ["four"], (2, 4)),
        ('a.png,one\nb.png,two\nc.png,"three\n', ["one", "two"], (4, 4)),
        ('a.png,one\nb.png,"two\nc.png,three\n', ["one"], (3, 4)),
        ('a.png,one\nb.png,"two" and\nc.png,three\n', ["one", "three"], (3, 3)),
        ('a.png,"one ""two"""\nb.png,say "x"\n', ['one "two"', 'say "x"'], None),
    ],
)
def test_a_row_over_several_lines_is_set_aside_with_their_numbers(
    tmp_path: Path, rows: str, good: list[str], span: tuple[int, int] | None
) -> None:
    (tmp_path / "m.csv").write_text(f"image,text\n{rows}")
    records = read_table(tmp_path / "m.csv")
    assert [r.values["text"] for r in records if not r.trouble] == good
    bad = [r for r in records if r.trouble]
    if span is None:
        assert not bad
        return
    assert [r.number for r in bad] == [span[0]]
    assert (f"goes on to line {span[1]}" in bad[0].trouble) == (span[1] > span[0])


@pytest.mark.parametrize("text", ["", "image,text\n", "\n\n", "\ufeff"])
def test_a_table_without_rows_is_called_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UserError, match="has no rows"):
        ManifestLines(tmp_path / "m.csv").split_names()


def test_numbers_of_json_are_read_as_they_are_written(tmp_path: Path) -> None:
    written = {"1.10": "1.10", "1e999": "1e999", "9" * 5000: "9" * 5000, "NaN": "", "null": ""}
    rows = (f'{{"image": "a.png", "text": {text}}}\n' for text in written)
    (tmp_path / "m.jsonl").write_text("".join(rows))
    records = read_table(tmp_path / "m.jsonl")
    assert [r.values["text"] for r in records] == list(written.values())
    assert not any(r.trouble for r in records)


def parts(folder: Path, *names: str) -> ParquetLines:
    """A folder with one line in each file."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FIXTURES / "parquet-splits/test-00000-of-00001.parquet", folder / name)
    return ParquetLines(str(folder))


def test_shards_are_of_the_splits_that_they_are_called_after() -> None:
    spec = ParquetLines(str(FIXTURES / "parquet-splits"))
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
        (["0000.parquet"], ("test",)),
        (["latest.parquet", "contest-00000-of-00001.parquet"], ("contest", "latest")),
    ],
)  # fmt: skip
def test_no_file_is_silently_of_test(tmp_path: Path, names: list[str], splits) -> None:
    assert parts(tmp_path, *names).split_names() == splits
