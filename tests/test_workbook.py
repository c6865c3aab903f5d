"""The workbook: what its cells hold, that nothing in it runs, and that LibreOffice reads it."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.cell.rich_text import CellRichText
from PIL import Image as Pillow

from bench.core.metrics import normalise
from bench.report.sheets import clean, diffed
from tests.error_runs import HOSTILE, LINES, READERS, make

SHEETS = ["Summary", "Classes", "Changes", "Confusions", "Words", "Worst lines", "Conditions"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workbook")


@pytest.fixture
def written(call, folder):
    """The workbook of a run, hostile or not, made once."""

    def book(hostile: bool) -> Path:
        path = folder / f"{hostile}.xlsx"
        if not path.exists():
            store, _ = make(folder / f"run-{hostile}", hostile)
            choice = ["--decoder", ",".join(READERS), "--damage", "none,char_erase"]
            code, out, _ = call("errors", "--run", str(store.path), *choice, "--xlsx", str(path))
            assert code == 0 and f"written: {path}" in out
        return path

    return book


def table(sheet, head: str = "No.") -> list[dict[str, Any]]:
    """The rows of a sheet by the heads of its columns (the first of those of one name)."""
    rows = [[cell.value for cell in row] for row in sheet.iter_rows()]
    top = next(number for number, row in enumerate(rows) if row[0] == head)
    return [dict(reversed(list(zip(rows[top], row, strict=True)))) for row in rows[top + 1 :]]


def test_the_sheets_hold_the_numbers_of_the_rows(written):
    book = openpyxl.load_workbook(written(False))
    assert book.sheetnames == SHEETS
    summary = table(book["Summary"])
    assert len(summary) == 2 * len(READERS)
    greedy = next(r for r in summary if (r["Decoder"], r["Damage"]) == ("ctc-greedy", "none"))
    assert greedy["Edits"] == greedy["Sub."] and greedy["Del."] == greedy["Ins."] == 0
    assert greedy["CER %"] == pytest.approx(100 * greedy["Edits"] / greedy["Characters"])
    confused = {
        (r["Reference"], r["Read"]): r["ctc-greedy"] for r in table(book["Confusions"])[:50]
    }
    assert confused["n", "u"] + confused["w", "v"] == greedy["Edits"]
    classes = [r for r in table(book["Classes"]) if (r["No."], r["View"]) == (1, "what")]
    assert sum(r["ctc-greedy"] for r in classes) == greedy["Edits"]
    assert all(r["What belongs to it"].startswith("character edits: ") for r in classes)
    changes = {(r["No."], r["Class"], r["Decoder"]): r for r in table(book["Changes"])}
    assert changes[1, "similar shape", "ctc-ngram"]["Removed"] == greedy["Edits"]
    conditions = [(r["What"], r["Text"]) for r in table(book["Conditions"])]
    assert [what for what, _ in conditions].count("signature") == 2 * len(READERS)
    assert any("Test CPU 9000" in text for what, text in conditions if what == "conditions")


def test_the_worst_lines_come_first_with_their_pictures(written):
    book = openpyxl.load_workbook(written(False), rich_text=True)
    sheet = book["Worst lines"]
    rows = table(sheet)
    assert len(rows) == 2 * LINES
    for number in (1, 2):
        means = [r["Mean CER"] for r in rows if r["No."] == number]
        assert means == sorted(means, reverse=True) and means[-1] > 0
    assert len(sheet._images) == len(rows)
    column = next(c.column for c in sheet[2] if c.value == "Picture")
    for drawing, row in zip(sheet._images, range(3, 3 + len(rows)), strict=True):
        start, end = drawing.anchor._from, drawing.anchor.to
        assert (start.row, start.col) == (end.row, end.col) == (row - 1, column - 1)  # in its cell
        picture = np.asarray(Pillow.open(io.BytesIO(drawing._data())))
        assert picture.ndim == 2 and picture.std() > 5  # grey, and not blank
        assert sheet.row_dimensions[row].height >= 40


def test_what_was_read_wrongly_is_coloured():
    found = diffed("the cat sat", "tha at saat")
    assert isinstance(found, CellRichText)
    styled = {str(p): p.font for p in found if not isinstance(p, str)}
    assert str(found) == "tha cat saat"  # what is missing stands there, struck out
    assert styled["c"].strike and not styled["c"].b
    assert sum(bool(font.u) for font in styled.values()) == 1  # one a was put in
    assert diffed("abc", "abc") == CellRichText(["abc"])
    assert diffed("", "") == ""


@settings(max_examples=100)
@given(st.text("abc ", max_size=8), st.text("abc =", max_size=8))
def test_a_diff_holds_the_whole_text_and_the_whole_reference(reference, text):
    found = diffed(reference, text)
    pieces = [found] if isinstance(found, str) else found
    read = [str(p) for p in pieces if isinstance(p, str) or not p.font.strike]
    assert "".join(read) == normalise(text)
    truth = "".join(str(p) for p in pieces if isinstance(p, str))
    assert len(truth) <= len(normalise(reference))


def test_nothing_in_it_is_a_formula(written):
    path = written(True)
    for rich in (False, True):
        for sheet in openpyxl.load_workbook(path, rich_text=rich):
            for row in sheet.iter_rows():
                assert all(cell.data_type != "f" for cell in row)
    sheet = openpyxl.load_workbook(path)["Words"]
    cells = {str(cell.value): cell for row in sheet.iter_rows() for cell in row}
    for text in ("=HYPERLINK(A1)", "+1", "-1", "@x"):
        assert cells[text].quotePrefix  # so it stays text when somebody edits it


def test_text_that_a_workbook_cannot_hold_is_replaced():
    assert clean("a\x07b\u202ec\ud800") == "a\ufffdb\ufffdc\ufffd"
    assert clean("_x0041_") == "_x005F_x0041_"  # or a spreadsheet would show A
    assert len(clean("x" * 5000)) == 2000
    found = diffed("", "x" * 50_000)
    assert isinstance(found, CellRichText) and len(str(found)) <= 2000


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is not installed")
def test_libreoffice_opens_it_and_shows_the_same(written, tmp_path):
    """A program of its own reads and saves it: the same text and pictures, and no formula."""
    subprocess.run(
        [
            *("soffice", "--headless", f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"),
            *("--convert-to", "xlsx:Calc MS Excel 2007 XML", "--outdir", str(tmp_path)),
            str(written(True)),
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    ours = openpyxl.load_workbook(written(True))
    theirs = openpyxl.load_workbook(tmp_path / "True.xlsx")
    assert theirs.sheetnames == SHEETS
    for sheet in ours:
        again = theirs[sheet.title]
        assert len(again._images) == len(sheet._images)
        for row in sheet.iter_rows():
            for cell in row:
                other = again[cell.coordinate]
                assert other.data_type != "f"
                if isinstance(cell.value, float):
                    assert other.value == pytest.approx(cell.value)
                else:
                    assert shown(other.value) == shown(cell.value)
    words = {shown(cell.value) for row in theirs["Words"] for cell in row}
    assert "_x0041_" in words  # and not A
    assert HOSTILE[0] in words


def shown(value: object) -> str:
    """What a spreadsheet shows of a text that openpyxl gives as it stands in the file."""
    return "" if value is None else str(value).replace("_x005F_", "_")
