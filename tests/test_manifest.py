"""`manifest`: tables in every way that people write them, read right or refused with why."""

from __future__ import annotations

import csv
import json
import shutil
import string
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.core.errors import Unavailable, UserError
from datasets.base import BadLinesError
from datasets.manifest import ManifestLines
from datasets.table import read_table

TABLES = Path(__file__).parent / "fixtures" / "manifest"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images a.png to e.png, of as many columns as their letter's place is above 20."""
    (tmp_path / "lines").mkdir()
    for place, name in enumerate("abcde"):
        pixels = np.full((10, 20 + place), 200, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "lines" / f"{name}.png")
    return tmp_path


def _texts(path: Path, split: str = "test", **options: object) -> list[str]:
    found = ManifestLines(path, **options).load(split)  # type: ignore[arg-type]
    assert not found.bad, found.bad
    return [line.text for line in found.lines]


def test_a_csv_with_all_columns(folder: Path) -> None:
    path = folder / "lines.csv"
    path.write_text(
        "writer,split,image,text,id,form,severity\n"
        'ann,train,lines/a.png,"a, ""b""",1,f1,3\n'
        "bob,validation,lines/b.png,second,2,f2,\n"
        "bob,test,lines/c.png, third  line ,3,f2,\n"
    )
    spec = ManifestLines(path)
    assert spec.missing() is None and spec.split_names() == ("train", "val", "test")
    (line,) = spec.load("train").lines
    assert (line.id, line.text, line.writer, line.page) == ("1", 'a, "b"', "ann", "f1")
    assert (line.split, line.image.shape) == ("train", (10, 20))
    assert _texts(path, "val") == ["second"] and _texts(path) == ["third line"]
    found = spec.load("test", 0)
    assert (found.name, found.lines, found.source) == ("manifest", (), "lines.csv")
    with pytest.raises(UserError, match=r"no split dev2.*-o manifest\.split=dev2"):
        spec.load("dev2")


@pytest.mark.parametrize(
    ("rewrite", "text"),
    [
        (("⟦=", "⟧="), "x^2 [sic] = [s]"),
        (("[sic]=", "[s]=S", "^2=²"), "⟦x⟧² = S"),
        (("=~", "==:", "[s]=[sic]"), "⟦x⟧^2 [sic] : [sic]"),  # in one pass
        ((), "⟦x⟧^2 [sic] = [s]"),
    ],
)
def test_parts_of_texts_are_read_as_others(
    folder: Path, rewrite: tuple[str, ...], text: str
) -> None:
    (folder / "m.tsv").write_text("image\ttext\nlines/a.png\t⟦x⟧^2 [sic] = [s]\n")
    if rewrite[:1] == ("=~",):
        with pytest.raises(UserError, match="rewrite has '=~'; write FROM=TO"):
            ManifestLines(folder / "m.tsv", rewrite=rewrite).load()
        rewrite = rewrite[1:]
    assert _texts(folder / "m.tsv", rewrite=rewrite) == [text]
    with pytest.raises(UserError, match="'a' twice"):
        ManifestLines(folder / "m.tsv", rewrite=("a=b", "a=c")).load()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", "\ufefffile_name,text\nlines/a.png,caf\u00e9\nlines/b.png,two\n"),
        ("m.csv", "file_name;text\r\nlines\\a.png;caf\u00e9\r\nlines/b.png;two\r\n"),
        ("m.tsv", "image\ttext\nlines/a.png\tcaf\u00e9\n\nlines/b.png\ttwo"),
        ("m.txt", "lines/a.png\tcafe\u0301\nlines/b.png\ttwo\n"),
        ("m.jsonl", '{"image": "lines/a.png", "text": "caf\\u00e9"}\n\n'
                    '{"image": "lines/b.png", "text": "two", "boxes": [[0, 1]]}\n'),
        ("m.tsv", ("utf-16", "image\ttext\nlines/a.png\tcaf\u00e9\nlines/b.png\ttwo\n")),
    ],
    ids=["csv of a spreadsheet", "semicolons", "tsv", "without names", "jsonl", "utf-16"],
)  # fmt: skip
def test_the_same_lines_in_every_dress(
    folder: Path, name: str, content: str | tuple[str, str]
) -> None:
    encoding, text = content if isinstance(content, tuple) else ("utf-8", content)
    (folder / name).write_bytes(text.encode(encoding))
    found = ManifestLines(folder / name).load()
    assert [(line.id, line.text) for line in found.lines] == [
        ("lines/a", "caf\u00e9"), ("lines/b", "two"),
    ]  # fmt: skip


def test_the_layout_of_trocr_is_read(folder: Path) -> None:
    (folder / "lines").rename(folder / "image")
    (folder / "gt_test.txt").write_text("a.png\tone\nb.png\ttwo\n")
    found = ManifestLines(folder / "gt_test.txt").load()
    assert [(line.id, line.text) for line in found.lines] == [("a", "one"), ("b", "two")]


def test_columns_the_root_and_the_split_can_be_named(folder: Path) -> None:
    (folder / "tables").mkdir()
    path = folder / "tables" / "m.csv"
    path.write_text("scan,words,part\na.png,one,x\nb.png,two,y\n")
    options = {"root": folder / "lines", "image": "scan", "text": "words"}
    assert _texts(path, "x", split_column="part", **options) == ["one"]
    found = ManifestLines(path, split="train", **options).load("train")  # type: ignore[arg-type]
    assert [line.text for line in found.lines] == ["one", "two"]
    with pytest.raises(UserError, match=r"to hold the image; .*scan, words, part with -o mani"):
        ManifestLines(path).load()
    with pytest.raises(UserError, match="no column nope; its columns are scan, words, part"):
        ManifestLines(path, image="nope").load()


def test_bad_rows_are_told_one_by_one(folder: Path) -> None:
    outside = folder.parent / "secret.png"
    Image.new("L", (30, 10)).save(outside)
    (folder / "link.png").symlink_to(outside)
    (folder / "broken.png").write_bytes(b"\x89PNG")
    rows = [
        b"image,text,id", b"lines/a.png,good,1", b"../secret.png,x,2", b"link.png,x,3",
        str(outside).encode() + b",x,4", b"lines/none.png,x,5", b"broken.png,x,6",
        b"lines/b.png,,7", b"lines/c.png,caf\xe9,8", b"lines/d.png,x", b",x,10", b"lines/e.png,e,1",
    ]  # fmt: skip
    path = folder / "m.csv"
    path.write_bytes(b"\n".join(rows))
    found = ManifestLines(path).load()
    assert [line.text for line in found.lines] == ["good"]
    reasons = {bad.id: bad.reason for bad in found.bad}
    parts = {
        "2": "leads out of", "3": "leads out", "4": "leads out of", "5": "none.png is missing",
        "6": "cannot be read", "7": "empty", "8": "line 9 of the table: it is not UTF-8 (it looks",
        "lines/d": "line 10 of the table: it has 2 fields, not 3", "10": "no path", "1": "same id",
    }  # fmt: skip
    assert list(reasons) == list(parts)
    assert all(part in reasons[name] for name, part in parts.items()), reasons
    with pytest.raises(BadLinesError, match="10 of 11 lines of manifest"):
        ManifestLines(path, strict=True).load()
    path.write_text("image,text\nlines/\x1b[31m.png,x\nlines/a.png,y\n")
    assert [bad.id for bad in ManifestLines(path).load().bad] == [r"lines/\x1b[31m"]


def test_bad_objects_are_told_one_by_one(folder: Path) -> None:
    path = folder / "m.jsonl"
    path.write_text(
        '{"image": "lines/a.png", "text": "good"}\n{"image": "lines/b.png", "te\n[1, 2]\n'
        '{"image": "lines/c.png", "text": "\\ud800"}\n{"image": "lines/d.png", "text": null}\n'
        '{"text": ["x"], "image": "lines/e.png"}\n' + "[" * 100_000 + "\n"
        '{"image": "lines/a.png", "id": 7, "text": 1.10}\n'
    )
    found = ManifestLines(path).load()
    assert [line.text for line in found.lines] == ["good", "1.10"]
    assert [bad.id for bad in found.bad] == [
        "line 2", "line 3", "lines/c", "lines/d", "lines/e", "line 7",
    ]  # fmt: skip
    parts = ("not JSON", "no", "not UTF-8", "empty", "empty", "line 7 of the table: it is not JSON")
    assert all(part in bad.reason for part, bad in zip(parts, found.bad, strict=True))


def test_a_row_without_a_split_is_of_none_where_others_have_one(folder: Path) -> None:
    path = folder / "t.csv"
    rows = ["lines/a.png,one,train", "lines/b.png,two,", "lines/c.png,three,test"]
    path.write_text("\n".join(["image,text,split", *rows]))
    found = ManifestLines(path).load("test")
    assert [line.text for line in found.lines] == ["three"]
    assert [line.reason for line in found.bad] == ["line 3 of the table: its split is empty"]
    path.write_text("image,text,split\nlines/a.png,one,\nlines/b.png,two,\n")
    assert _texts(path) == ["one", "two"]
    assert ManifestLines(path, split="val").load("val").bad == ()


def test_a_tsv_that_quotes_its_fields_is_noted(folder: Path) -> None:
    path = folder / "t.tsv"
    text = 'image\ttext\nlines/a.png\t"He said ""hi"""\nlines/b.png\t"no", he said\n'
    path.write_text(text)
    assert (
        ManifestLines(path)
        .load()
        .notes[0]
        .startswith("texts in double quotes as a whole: 1 of 2; if")
    )
    path.write_text(text.replace('"no", he said', "no"))
    assert _texts(path, quoted=True) == ['He said "hi"', "no"]
    for quoted in (True, False):
        notes = ManifestLines(path, quoted=quoted).load().notes
        assert not any("double quotes" in note for note in notes)


def test_the_first_line_of_excel_names_the_delimiter(folder: Path) -> None:
    path = folder / "t.csv"
    path.write_text("sep=;\r\nimage;text\r\nlines/a.png;one, two\r\n")
    assert _texts(path) == ["one, two"]


def test_json_is_read_as_it_stands(folder: Path) -> None:
    path = folder / "t.jsonl"
    path.write_text(
        '{"image": "lines/a.png", "text": true}\n'
        '{"image": "lines/b.png", "text": "x", "text": "y"}\n'
        '{"image": "lines/c.png", "text": 1.10}\n'
    )
    found = ManifestLines(path).load()
    assert [line.text for line in found.lines] == ["true", "1.10"]
    assert "it is not JSON ('text' comes twice)" in found.bad[0].reason


def test_what_is_no_table_is_told(tmp_path: Path) -> None:
    for path, reason in ((None, "none is named"), (tmp_path / "no.csv", "there is no file")):
        missing = ManifestLines(path).missing()
        assert missing is not None and reason in missing.reason and missing.remedy
        with pytest.raises(Unavailable):
            ManifestLines(path).load()
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"should end in \.csv, \.tsv"):
        ManifestLines(tmp_path / "a.xlsx").load()
    (tmp_path / "a.csv").write_text("image,text\n")
    with pytest.raises(UserError, match="has no rows"):
        ManifestLines(tmp_path / "a.csv").split_names()
    (tmp_path / "a.csv").write_text("image,image\n")
    with pytest.raises(UserError, match="the column 'image' twice"):
        ManifestLines(tmp_path / "a.csv").load()
    for first in ("# our lines", "image|text", "a.png,x,train"):
        (tmp_path / "a.csv").write_text(f"{first}\nb.png,y,test\n")
        with pytest.raises(UserError, match=r"names no columns \(.*; begin the table"):
            ManifestLines(tmp_path / "a.csv").load()


def test_a_column_without_a_name_is_no_split(folder: Path) -> None:
    """As the index that pandas writes, or columns that a spreadsheet leaves empty."""
    path = folder / "t.csv"
    path.write_text(",image,text,,\n0,lines/a.png,one,,\n1,lines/b.png,two,,\n")
    assert ManifestLines(path).split_names() == ("test",)
    found = ManifestLines(path).load()
    assert [(line.id, line.writer) for line in found.lines] == [("lines/a", ""), ("lines/b", "")]


WORDS = st.text(string.ascii_letters + ",;\t\"'\u00e9 \n", max_size=8)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_what_pythons_own_writer_wrote_is_read_back(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path / "m.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("image", "text"), *rows])
    records = read_table(path)
    assert [tuple(r.values.values()) for r in records] == [row for row in rows if any(row)]
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps({"image": a, "text": b}) + "\n" for a, b in rows))
    assert [tuple(r.values.values()) for r in read_table(path)] == rows


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=80), suffix=st.sampled_from([".csv", ".tsv", ".jsonl"]))
def test_bytes_are_rows_or_a_user_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    try:
        found = ManifestLines(path).load()
    except UserError:
        return
    assert not found.lines and found.bad  # there is no image


SENTENCES = {  # what every command that loads the table says
    "cp932": r"none of the 1 rows .* line 2: it is not UTF-8 \(it looks like cp932.*UTF-8$",
    "comma-unquoted": "none of the 1 rows .* line 2: it has 3 fields, not 2; put .* double quotes",
    "cp932-header": r"first row of .* is not UTF-8 \(it looks like cp932, Japanese\); save",
}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_table_of_bad_rows_is_refused_with_the_first_reason(name: str, call, tmp_path) -> None:
    spec = ManifestLines(TABLES / f"{name}.csv")
    for load in (spec.split_names, spec.load):
        with pytest.raises(UserError, match=SENTENCES[name]):
            load()
    words = ("data", "check", "manifest", "-o", f"manifest.path={spec.path}")
    code, _, err = call(*words, "--out", str(tmp_path))
    assert code == 2 and ("cp932" if "cp932" in name else "3 fields") in err


@pytest.mark.parametrize(
    ("text", "encoding", "likely"),
    [
        ("手書きの行", "cp932", "cp932"),
        ("手書きの行", "euc_jp", "euc_jp"),
        ("Un été à Zürich, élan", "cp1252", "cp1252"),
        ("手写文字识别", "gb18030", ""),
    ],
)
def test_the_likely_encoding_is_named(tmp_path: Path, text, encoding, likely) -> None:
    for name, table in (("m.csv", f'image,text\na.png,"{text}"\n'),
                        ("m.jsonl", f'{{"image": "a.png", "text": "{text}"}}\n')):  # fmt: skip
        (tmp_path / name).write_bytes(table.encode(encoding))
        (row,) = read_table(tmp_path / name)
        named = row.trouble.partition("(it looks like ")[2].partition(",")[0]
        assert (named, row.trouble[:15]) == (likely, "it is not UTF-8")


def test_a_seven_bit_encoding_is_no_ascii(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("image,text\na.png,手書き\n".encode("iso2022_jp"))
    with pytest.raises(UserError, match="ISO-2022-JP; save the whole table in UTF-8"):
        read_table(tmp_path / "m.csv")


def test_a_text_of_a_whole_book_is_no_line(folder: Path) -> None:
    (folder / "m.tsv").write_text(f"lines/a.png\t{'x' * 20_000}\nlines/b.png\ty\n")
    (bad,) = ManifestLines(folder / "m.tsv").load().bad
    assert bad.reason == "its text of 20000 characters is no line of writing"


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
    assert "line 3" in bad.reason and "goes on to line 5, as if" in bad.reason
