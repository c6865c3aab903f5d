"""Every edit in its classes: worked by hand, and classes that add up to what the rows count."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.cell.rich_text import CellRichText
from PIL import Image as Pillow

from bench import ROOT
from bench.analysis.evidence import Reading
from bench.analysis.misreadings import analyse
from bench.analysis.misreadings.classes import (
    ENDING,
    NATURE,
    SCOPE,
    SIGHT,
    UNSEEN,
    VIEWS,
    WORD,
    View,
    Vocabulary,
    misreadings,
)
from bench.cli.errors import vocabulary_of
from bench.core.errors import UserError
from bench.core.metrics import normalise, score_line, totals
from bench.core.types import Row
from bench.report.sheets import clean, diffed
from tests.error_runs import HOSTILE, LINES, READERS, make
from tests.run_rows import read_line, row

KNOWN = Vocabulary(frozenset({"the", "then", "cat", "form", "from"}), frozenset({"-"}), 5, "a test")


def classed(view: View, reference: str, text: str, shares=None, **more) -> list[str]:
    """The class of each edit in a view, from left to right."""
    found = misreadings(read_line("1", reference, text, **more), KNOWN, shares)
    return [c.name for each in found for c in each.classes if c.view == view.name]


@pytest.mark.parametrize(
    ("view", "reference", "text", "classes"),
    [
        (NATURE, "the cat", "thecat", ["spacing"]),
        (NATURE, "the cat", "the ,cat", ["punctuation"]),
        (NATURE, "x-y", "x y", ["spacing"]),  # before punctuation
        (NATURE, "Sir", "SIR", ["case"] * 2),
        (NATURE, "in 1912", "in 1972", ["digit"]),
        (NATURE, "l", "1", ["digit"]),  # it looks alike, but a digit is a digit
        (NATURE, "sir.", "sir,", ["punctuation"]),
        (NATURE, "sun", "snn", ["similar shape"]),
        (NATURE, "corn", "com", ["similar shape"] * 2),  # rn as m
        (NATURE, "cart", "cat", ["other letter"]),
        (NATURE, "café", "cafe", ["similar shape"]),
        (NATURE, "cafe\u0301", "café", []),  # the same after the normaliser
        (NATURE, "", "ab", ["other letter"] * 2),
        (SCOPE, "one word here", "one werd here", ["within a word"]),
        (SCOPE, "one word here", "one here", ["whole word"] * 4 + ["between words"]),
        (SCOPE, "one word", "one x word", ["whole word", "between words"]),
        (SCOPE, "one word", "onex word", ["within a word"]),
        (SCOPE, "word", "wxyz", ["whole word"] * 3),
        (SCOPE, "word", "woxy", ["within a word"] * 2),  # half of it was read
        (SCOPE, "the cat", "thecat", ["between words"]),
        (SCOPE, "", "new", ["whole word"] * 3),
        (WORD, "the cat", "then cat", ["real word"]),
        (WORD, "the cat", "tha cat", ["non-word"]),
        (WORD, "the cat", "The cat", ["letters right"]),
        (WORD, "the, cat", "the cat", ["letters right"]),
        (WORD, "the cat", "cat", ["left out"]),
        (WORD, "the cat", "the then, cat", ["real word"]),
        (WORD, "the cat", "the - cat", ["real word"]),
        (WORD, "form", '"From', ["real word"]),
    ],
)
def test_the_class_of_an_edit(view, reference, text, classes):
    assert sorted(classed(view, reference, text)) == sorted(classes)


def test_what_is_read_in_hidden_places_is_a_hallucination():
    shares = np.array([1, 1, 0.1, 0.0, 0.5, 1], np.float32)
    assert classed(SIGHT, "abcdef", "abxyef", shares) == ["hallucination"] * 2
    assert classed(SIGHT, "abcdef", "abef", shares) == ["left out, hidden"] * 2
    assert classed(SIGHT, "abcdef", "axcdzf", shares) == ["visible", "partly visible"]
    # What was put in belongs to the less visible neighbour, at the ends to the only one.
    assert classed(SIGHT, "abcdef", "abXcdef", shares) == ["hallucination"]
    assert classed(SIGHT, "abcdef", "abcdXef", shares) == ["hallucination"]
    assert classed(SIGHT, "abcdef", "aXbcdef", shares) == ["visible"]
    assert classed(SIGHT, "abcdef", "XabcdefX", shares) == ["visible", "visible"]
    assert classed(SIGHT, "abcdef", "abxdef", np.array([1, 1, 0.2, 1, 1, 1], np.float32)) == [
        "partly visible"  # hidden is under a fifth
    ]


def test_without_a_mask_nothing_is_said_of_sight_and_without_shares_that_it_is_not_known():
    assert classed(SIGHT, "abc", "abx", None) == []
    assert classed(SIGHT, "abc", "abx", UNSEEN) == ["not known"]
    assert classed(SIGHT, "", "x", UNSEEN) == ["not known"]


def test_how_the_line_ended():
    assert classed(ENDING, "abc", "abx") == ["other line"]
    assert classed(ENDING, "abc", "ab", truncated=True) == ["truncated line"]
    looping = "ab" + " la" * 10
    assert set(classed(ENDING, "abc", looping)) == {"looping line"}
    assert set(classed(ENDING, "abc", looping, truncated=True)) == {"truncated line"}


@settings(max_examples=100, deadline=None)
@given(st.text("abnmruC1,. é-", max_size=14), st.text("abnmruC1,. é-", max_size=14), st.booleans())
def test_the_classes_of_a_view_add_up_to_the_counted_edits(reference, text, truncated):
    read = read_line("1", reference, text, truncated=truncated)
    found = misreadings(read, KNOWN, UNSEEN)
    counts = {"character": totals([read]).edits, "word": read.word_edits}
    for view in VIEWS:
        classes = [c for each in found for c in each.classes if c.view == view.name]
        assert len(classes) == counts[view.unit]
        assert {c.name for c in classes} <= set(view.classes)
    assert all(a.edit.at <= b.edit.at for a, b in pairwise(found) if a.unit == b.unit)


def test_systems_of_other_lines_are_not_compared():
    one, other = (
        Reading(row(decoder), (read_line(reference, reference, reference),))
        for decoder, reference in (("ctc-greedy", "a"), ("ctc-beam", "b"))
    )
    with pytest.raises(UserError, match="did not read the same lines"):
        analyse([one, other], KNOWN)


def test_every_class_is_defined_in_the_documentation():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for view in VIEWS:
        section = text.partition(f"\n### {view.name} (")[2].partition("\n### ")[0]
        assert section.startswith(view.unit), view.name
        defined = "".join(f"| {name} | {meaning} |\n" for name, meaning in view.classes.items())
        assert defined in section


# `bench errors` as its user meets it: tables, formats, mistakes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    return make(tmp_path_factory.mktemp("runs") / "mine")


@pytest.fixture
def errors(call, run):
    """Call the command on the run."""
    return lambda *words: call("errors", "--run", str(run[0].path), *words)


def test_the_clean_set_with_all_decoders_side_by_side(errors):
    code, out, err = errors()
    assert "left out: mini:ctc-kenlm on lines failed: out of memory" in err
    assert code == 1  # one of the chosen cells failed
    for title in (
        "Errors of mini on lines (synthetic), clean",
        "Classes of errors: mini on lines (synthetic), clean",
        "What decoders change of the errors of ctc-greedy: mini on lines (synthetic), clean",
        "What is read as what, characters",
        "What is read as what, words",
    ):
        assert " ".join(out.split()).count(title) == 1  # broken at the terminal's width
    assert "char_erase" not in out and "trocr" not in out
    assert out.count("Test CPU 9000") == 1  # the conditions once, above the first table


def test_the_numbers_are_those_of_the_lines(errors, run):
    store, clean = run
    code, out, _ = errors("--decoder", "ctc-greedy,ctc-ngram", "--json")
    (found,) = json.loads(out)
    assert code == 0
    assert found["condition"]["damage"] == "none" and found["against"] is not None
    for system in found["systems"]:
        (row,) = [r for r in store.rows() if r.key == system["key"]]
        lines = store.lines(row.key)
        kinds = ("substitution", "deletion", "insertion")
        scores = [score_line(line.reference, line.text) for line in lines]
        assert system["cer"] == row.cer == sum(s.edits for s in scores) / system["characters"]
        assert system["kinds"] == {
            kind: count for kind in kinds if (count := sum(getattr(s, f"{kind}s") for s in scores))
        }
        for view in ("what", "where", "ending"):
            assert sum(system["classes"][view].values()) == row.counts.edits
        assert sum(system["classes"]["word"].values()) == row.counts.word_edits
        assert system["classes"]["sight"] == {}
        assert sum(count for *_, count in system["confusions"]) == row.counts.edits
    greedy, ngram = found["systems"]
    text = "".join(line.text for line in clean.lines)
    confusions = {(a, b): n for a, b, n in greedy["confusions"]}
    assert confusions == {("n", "u"): text.count("n"), ("w", "v"): text.count("w")}
    assert greedy["changes"] is None
    change = ngram["changes"]["what"]["similar shape"]
    assert (change["removed"], change["added"]) == (text.count("n") + text.count("w"), 0)
    assert change["interval"][0] <= change["net"] <= change["interval"][1] < 0
    assert ngram["changes"]["what"]["case"]["added"] == sum(map(str.isupper, text))


def test_a_damage_with_a_mask_tells_hallucinations(errors):
    _, out, _ = errors("--damage", "char_erase", "--json")
    (found,) = json.loads(out)
    for system in found["systems"]:
        assert sum(system["classes"]["sight"].values()) == sum(system["kinds"].values())
    half = found["systems"][0]["classes"]["sight"]  # ar-beam leaves out and puts in nothing
    assert "hallucination" not in half and half["left out, hidden"] > 0
    greedy = found["systems"][1]["classes"]["sight"]
    assert greedy["hallucination"] > 0 and "left out, hidden" not in greedy


def test_severity_alone_means_all_damages(errors):
    _, out, _ = errors("--severity", "2,3", "--json")
    assert [each["condition"]["damage"] for each in json.loads(out)] == ["char_erase", "defocus"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--decoder", "ctc-gredy"], "no decoder 'ctc-gredy'; did you mean ctc-greedy or ctc-ng"),
        (["--damage", "defocus", "--severity", "3"], "no row of damage defocus, severity 3 toget"),
        (["--encoder", "trocr-small"], "none of the chosen rows has a CER: untrained weights"),
        (["--decoder", "ctc-kenlm"], "none of the chosen rows has a CER: mini:ctc-kenlm on lines"),
        (["--top", "0"], "--top must be >= 1, not 0"),
        (["--xlsx", "x.ods"], "--xlsx writes .xlsx, which x.ods is not"),
        (["--json", "--format", "md"], "give --json or --format md, not both"),
        (["--vocabulary", "/no/such.arpa"], "/no/such.arpa"),
    ],
)
def test_mistakes_are_one_sentence(refused, run, words, sentence):
    assert sentence in refused("errors", "--run", str(run[0].path), *words)


def test_words_are_judged_by_the_model_that_the_rows_were_read_with(tmp_path):
    def read_with(lm: str) -> Row:
        return row("ctc-kenlm", options={"lm": lm}, extras={"lm_words": 3})

    embedded = vocabulary_of(None, [row("ctc-greedy"), read_with("")])
    assert embedded == vocabulary_of("embedded", [read_with("elsewhere.arpa")])
    with pytest.raises(UserError, match=r"several word models .*name the one"):
        vocabulary_of(None, [read_with(""), read_with("own.arpa")])
    with pytest.raises(UserError, match=r"own\.arpa of the rows is not here; name one with --voc"):
        vocabulary_of(None, [read_with(str(tmp_path / "own.arpa"))])


# The workbook: what its cells hold, that nothing in it runs, and that LibreOffice reads it


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
    """Read the rows of a sheet as dictionaries by column head; of equal heads the first counts."""
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
    for drawing, place in zip(sheet._images, range(3, 3 + len(rows)), strict=True):
        start, end = drawing.anchor._from, drawing.anchor.to
        assert (
            (start.row, start.col) == (end.row, end.col) == (place - 1, column - 1)
        )  # in its cell
        picture = np.asarray(Pillow.open(io.BytesIO(drawing._data())))
        assert picture.ndim == 2 and picture.std() > 5  # grey, and not blank
        assert sheet.row_dimensions[place].height >= 40


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
            for cells in sheet.iter_rows():
                assert all(cell.data_type != "f" for cell in cells)
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
        for cells in sheet.iter_rows():
            for cell in cells:
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
    """Decode a text of the file, which openpyxl leaves encoded, as a spreadsheet does."""
    return "" if value is None else str(value).replace("_x005F_", "_")
