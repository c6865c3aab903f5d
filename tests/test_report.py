"""A run as tables and files: golden tables, what may share a table, and the command."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import ROOT
from bench.analysis import stats
from bench.core.types import Condition, EditCounts, LineResult, Row, Runtime, Spread, Timing
from bench.pipeline import runs
from bench.pipeline.cells import corrected as correction_of
from bench.pipeline.runs import newest
from bench.pipeline.store import RunStore
from bench.report import accuracy, output, panel, plots, render, speed
from bench.report.conditions import sentences
from bench.report.format import number, parameters, percent, plain, short, significant
from bench.report.language import language, say_text
from bench.report.latex import latex
from bench.report.panel import look_of
from bench.report.plots import gains_of
from bench.report.results import Result, collect
from bench.report.table import Cell, Column, Table
from tests import golden_report
from tests.run_rows import ENVIRONMENT, Rows, cell_lines, failed, line, row, timing
from tests.stored_runs import run

Kind = Callable[[Sequence[Result]], list[Table]]


def tables(*rows: Row, kind: Kind = accuracy.by_set) -> list[Table]:
    return kind(collect(Rows(*rows)))


def test_every_table_reads_as_it_is_committed():
    for file, text in golden_report.written().items():
        committed = (golden_report.FOLDER / file).read_bytes().decode()
        assert text == committed, "see the diff of: python -m tests.golden_report"


def test_untrained_weights_never_show_a_cer():
    timed = row(dataset="hooker", cer=None, weights="untrained", encoder="trocr-base")
    (table,) = tables(row(cer=0.1, weights="untrained"), row("ctc-beam", cer=0.2), timed)
    assert table.rows[0][0].text == "mini[weights=untrained]"
    assert table.rows[0][2].text == "—" and "untrained" in table.rows[0][2].notes[0]
    assert "10.00" not in render.markdown(table) + render.spreadsheet(table)
    assert len(table.columns) == 3 and len(table.rows) == 2  # nothing of what was only timed
    (alone,) = tables(timed)  # nothing else was read, so that the table says why it is empty
    assert alone.rows[0][2].text == "—"


def test_search_and_corrector_have_each_its_weights_and_what_they_were_tuned_on():
    extras = {
        "lm": "embedded", "lm_sha256": "b" * 16, "lm_weight": 0.5, "tuned_on": "these",
        "first_lm": "embedded", "first_lm_sha256": "a" * 16, "first_lm_order": 6, "alpha": 0.9,
        "first_tuned_on": "those",
    }  # fmt: skip
    options = {"alpha": None, "lm": "", "lm_weight": None}
    text = sentences("", collect(Rows(row("ctc-ngram+lm", options=options, extras=extras))))
    search = "language model embedded (sha256 aaaaaaaaaaaa, order 6), weights alpha 0.9 (tuned on:"
    after = "language model embedded (sha256 bbbbbbbbbbbb), weights lm_weight 0.5 (tuned on: these)"
    assert f"ctc-ngram+lm: {search} those), {after}." in "".join(text)
    del extras["lm_sha256"], extras["lm_weight"]
    extras |= {"lm": "qwen", "llm_prompt_name": "line-1", "prompt_sha256": "c" * 64}
    text = sentences("", collect(Rows(row("ctc-ngram+llm", options=options, extras=extras))))
    after = "language model qwen (prompt line-1, sha256 cccccccccccc)"
    assert f"ctc-ngram+llm: {search} those), {after}." in "".join(text)
    extras = {"lm": "byt5", "lm_sha256": "d" * 16}
    text = sentences("", collect(Rows(row("ctc-greedy+seq2seq", options={}, extras=extras))))
    assert "ctc-greedy+seq2seq: language model byt5 (sha256 dddddddddddd)." in "".join(text)


def test_a_row_without_speed_has_a_blank_and_says_why():
    why = "its task had 1 of the machine's 2 cores"
    results = collect(Rows(row("ctc-beam"), row(timing=None, extras={"no_speed": why})))
    (table,) = speed.as_in_trocr(results)
    cells = {line[0].text: line[2:] for line in table.rows}
    assert [cell.text for cell in cells["mini + ctc-greedy"]] == [""] * 5
    assert [note for cell in cells["mini + ctc-greedy"] for note in cell.notes] == [
        f"without speed: {why}"
    ]
    assert cells["mini + ctc-beam"][3].text == "12.00"
    stages = {cell.text for line in speed.by_stage(results)[0].rows for cell in line}
    assert "ctc-beam" in stages and "ctc-greedy" not in stages
    assert plots.draw(results)


def test_hostile_names_break_no_format():
    bad = "a|b\n\x1b[31m\\end{table} $&%"
    one = row(bad, bad, 0.1, bad, 1, encoder=bad, references=bad, started=bad, signature=bad)
    store = Rows(one, replace(one, key="two", condition=replace(one.condition, severity=2)))
    results = collect(store)
    for kind in (accuracy.by_severity, speed.by_stage_damaged):
        for table in kind(results):
            texts = render.markdown(table), latex(table), render.terminal(table, 80)
            assert not any("\x1b" in text for text in texts)
            assert texts[0].count("\n|") == 2 + len(table.rows)
            begun, ended = (texts[1].count(rf"\{end}{{table}}") for end in ("begin", "end"))
            assert begun == ended
    assert [plot.slug for plot in plots.draw(results)] == ["severity-1"]


def test_another_machine_has_its_own_table_but_a_commit_is_only_named():
    commit = {**ENVIRONMENT, "git": {"commit": "9" * 40, "dirty": True}}
    machine = {**ENVIRONMENT, "machine": {**ENVIRONMENT["machine"], "cpu": {"model": "Slow"}}}
    records = {"envhash012345678": ENVIRONMENT, "committed": commit, "elsewhere": machine}
    rows = (
        row(),
        row("ctc-beam", environment="committed"),
        row("ar-beam", environment="elsewhere"),
    )
    elsewhere, here = accuracy.by_set(collect(Rows(*rows, environments=records)))
    assert "Slow" in elsewhere.conditions and "Test CPU" not in elsewhere.conditions
    assert len(here.rows) == 2
    assert "abcdef0123 and 9999999999 with uncommitted changes" in here.conditions


# Files and the command


def test_a_report_reads_each_file_of_lines_once_and_resamples_each_cell_once(
    call, tmp_path, monkeypatch
):
    rows = [row("ctc-greedy", cer=0.1), row("ctc-ngram", cer=0.08)]
    rows += [row("ctc-greedy", cer=0.2, damage="blot", severity=3)]
    corrected = row("ctc-greedy+lm", cer=0.1)
    lines = [replace(line, uncorrected=line.text) for line in cell_lines(0.1)]
    correction = correction_of(lines, trained=True)
    corrected = replace(corrected, correction=correction)
    folder = run(tmp_path / "run", *rows, (corrected, lines)).path
    calls: Counter[str] = Counter()

    def counted(owner: Any, name: str) -> None:
        whole = getattr(owner, name)

        def wrapper(*args: Any, **more: Any) -> Any:
            calls[args[0].name if owner is Path else name] += 1
            return whole(*args, **more)

        monkeypatch.setattr(owner, name, wrapper)

    for owner, name in ((Path, "read_bytes"), (stats, "_bootstrap"), (stats, "sign_flip_p")):
        counted(owner, name)
    code, out, _ = call("report", "--run", str(folder), "--format", "csv")
    assert code == 0 and "CER by decoder and set" in out
    assert all(calls[file.name] == 1 for file in (folder / "lines").iterdir())
    lenient_rates = 3 * 3  # of each clean cell when something does not count
    assert calls["_bootstrap"] == len(rows) + 1 + lenient_rates
    assert calls["sign_flip_p"] <= 2 + 1  # against the best of the condition, and a corrector


def test_all_files_of_a_run(tmp_path):
    rows = [row("ctc-greedy", cer=0.1), row(damage="char_erase", severity=1, cer=0.2)]
    rows += [row(damage="char_erase", severity=2, cer=0.3)]
    rows += [row("ar-beam", cer=None, weights="untrained", encoder="trocr-base")]
    rows += [failed(decoder="ctc-kenlm", reason="a | b\n<b> $x$ \\cite{y} \x1b[31m")]
    store = run(tmp_path / "run", *rows)
    results = collect(store)
    files = [f.relative_to(store.path).as_posix() for f in output.write(store.path, results)]
    names = ("cer-1", "severity-1", "speed-1", "errors-1", "lenient-1", "stages-1",
             "stages-damaged-1")  # fmt: skip
    drawn = ("severity-1", "cer-speed-1")
    expected = {f"tables/{name}.{kind}" for name in names for kind in ("tex", "csv")}
    expected |= {f"plots/{name}.{kind}" for name in drawn for kind in ("png", "svg", "pdf")}
    assert files[0] == "report.md" and set(files) == {"report.md", "report.html", *expected}
    text = (store.path / "report.md").read_text(encoding="utf-8")
    assert all(f"(plots/{name}.png)" in text for name in drawn)
    shown = output.terminal(results, 90)
    assert max(map(len, shown.splitlines())) <= 90 and "\x1b" not in shown
    assert "Speed on lines" in shown and "kinds of errors" not in shown.lower()
    # Conditions stand once, below all tables, each with the numbers of its tables.
    assert shown.index("3. Speed on lines") < shown.index("all tables: Read: ")
    assert shown.count("Kaidoku") == 1 and "\n1: Micro CER in percent" in shown
    assert "Kaidoku" not in output.terminal(results, 90, notes="off")
    short = output.terminal(results, 90, notes="short").replace("\n", " ")
    assert short.count("lines (synthetic) (test, 24 lines); Test CPU 9000, 1 thread;") == 3

    # So they do in report.md; a table in a file of its own has its conditions with it.
    assert text.index("cer-speed-1.png") < text.index("## Conditions") < text.index("Kaidoku 0.1.0")
    assert text.count("Texts compared after the normaliser") == 1
    assert "### 3. Speed on lines" in text and "- *all tables*: Read: " in text
    assert "Kaidoku 0.1.0" in (store.path / "tables" / "cer-1.tex").read_text(encoding="utf-8")
    written = output.write(store.path, results, ("md", "tex"), notes="appendix")
    assert store.path / "tables" / "conditions.tex" in written
    output.write(store.path, results, ("md",), notes="full")
    text = (store.path / "report.md").read_text(encoding="utf-8")
    assert text.count("Texts compared after the normaliser") == len(names) > 1


def test_conditions_name_what_was_set_by_hand(tmp_path):
    options = {"beam": 5, "max_new_tokens": 40, "alpha": None, "lm": "/home/alice/my.arpa"}
    known = {
        "lm": "feed",
        "lm_sha256": "feed",
        "lm_trained_on": "unknown text (my.arpa)",
        "alpha": 0.3,
        "tuned_on": "set by hand: alpha",
    }
    own = dict.fromkeys(("max_new_tokens", "alpha", "lm"), "as given")
    for chosen, words in ((own, "beam 5, max new tokens 40, language"), ({}, "beam 5, language")):
        one = row("ar-beam", options=options, extras=known, decoder_options=chosen)
        shown = output.terminal(collect(run(tmp_path / words, one)), 2000)
        about = "my.arpa (sha256 feed, text: not recorded)"  # and not the hash that is its name
        assert f"ar-beam: {words} model {about}, weights alpha 0.3 (set" in shown
        assert "alice" not in shown and "tuned on" not in shown


def test_the_tables_as_a_workbook(call, refused, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    store = run(tmp_path / "run", row("ctc-greedy"), row("ctc-beam", cer=None, reason="=x"))
    path = tmp_path / "tables.xlsx"
    code, out, err = call("report", "--run", str(store.path), "--xlsx", str(path))
    assert code == 0 and f"written: {path}" in out, err
    assert not (store.path / "report.md").exists()
    book = openpyxl.load_workbook(path)
    assert book.sheetnames[0] == "cer-1" and book.sheetnames[-1] == "conditions"
    title, heads, first, *_ = book["cer-1"].iter_rows(values_only=True)
    assert title[0] == "CER by decoder and set"
    cer = "lines (synthetic) %"
    assert heads[:5] == ("Encoder", "Decoder", cer, f"{cer} low", f"{cer} high")
    assert first[1] == "ctc-greedy" and first[2] == pytest.approx(10) and first[3] < 10 < first[4]
    # No number is wider than its column, nor a word of a head with its filter.
    wide = {c[1].value: book["speed-1"].column_dimensions[c[1].column_letter].width
            for c in book["speed-1"].columns}  # fmt: skip
    assert wide["Parameters"] > len("558,000,000") and wide["Sentences/s"] > len("Sentences/s") + 2
    texts = [row[1] for row in book["conditions"].iter_rows(values_only=True)]
    assert any(text.startswith("e:mini@") for text in texts)
    for words, message in (
        (["--xlsx", "tables.xls"], "--xlsx writes .xlsx, which tables.xls is not"),
        (["--xlsx", "gone/tables.xlsx"], "there is no folder gone for tables.xlsx"),
        (["--xlsx", str(path), "--format", "tex"], "leave --into and --format out"),
    ):
        assert message in refused("report", "--run", str(store.path), *words)


def test_empty_run(tmp_path):
    store = RunStore(tmp_path / "run")
    assert output.terminal(collect(store)) == "No cell of this run is finished yet."
    files = output.write(store.path, collect(store))
    assert [file.name for file in files] == ["report.md", "report.html"]
    assert all("No cell of this run is finished yet." in file.read_text() for file in files)


@pytest.fixture
def runs_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    return tmp_path


def begun(folder: Path, day: int, *rows: Row) -> Path:
    if rows:
        run(folder, *rows)
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(f'{{"began": "2026-01-0{day}"}}')
    return folder


@pytest.mark.parametrize("left", [None, b"", b'{"key": "torn'])
def test_a_run_without_rows_is_never_the_newest(call, runs_folder, left):
    old, new = begun(runs_folder / "old", 2, row()), begun(runs_folder / "new", 3)
    if left is not None:
        (new / "rows.jsonl").write_bytes(left)
    assert newest() == old
    code, out, err = call("report", "--format", "csv")
    assert code == 0 and "CER by decoder and set" in out
    assert "new is newer, but has no rows: left out" in err
    failures = begun(runs_folder / "failures", 4, failed())
    assert newest() == failures  # `report` says why they failed


def test_a_speed_table_is_never_the_newest_run(runs_folder):
    old, new = begun(runs_folder / "old", 2, row()), begun(runs_folder / "new", 3, row())
    asked = '{"began": "2026-01-03", "kind": "speed"}'
    (new / "run.json").write_text(asked)
    assert newest() == old


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--run", "nwe"], "did you mean new?"),
        ([], "there is no run with rows in"),
        (["--format", "pdf"], "--format takes one of md, tex, csv, html, all, not 'pdf'"),
        (["--run", "new", "--pictures", "many"], "--pictures takes a number or all, not 'many'"),
    ],
)
def test_mistakes_are_one_sentence(refused, runs_folder, words, said):
    (runs_folder / "new").mkdir()
    (runs_folder / "new/run.json").write_text("{}")
    assert said in refused("report", *words)


def test_the_readme_of_the_results_names_every_field():
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    for kind in (Row, Condition, Runtime, EditCounts, Timing, Spread, LineResult):
        for field in fields(kind):
            assert f"`{field.name}`" in text, f"{kind.__name__}.{field.name}"


# Text that wants to break a table, and numbers as people read them


def table(*rows: tuple[Cell, ...], **more: Any) -> Table:
    columns = tuple(Column(f"c{i}", str, key=not i) for i in range(len(rows[0])))
    return Table("t", "T", ("C.",), columns, rows, **more)


def name(text: str) -> Cell:
    return Cell(plain(text))


HOSTILE = [
    "a|b",
    "a\nb\r\nc\u2028d",
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![image](http://example.org/x.png)",
    "`code` *bold* __bold__ ~~gone~~ $x^2$",
    r"\end{tabular} \input{x} %comment & # _ ^ ~ {}",
    "[1] first",
    "*star",
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\uff1d1",
    "\x1b[31mred\x1b[0m \u202ereversed",
    "漢字 ā ö",
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_keeps_its_columns_and_runs_nothing(text):
    written = render.markdown(table((name(text), name("x")), (name("y"), name(text))))
    lines = written.splitlines()[4:]
    assert len(lines) == 4
    for one in lines:
        assert len(re.findall(r"(?<!\\)\|", one)) == 3
    assert "<script" not in written
    assert "](" not in written.replace("]\\(", "")
    assert "\x1b" not in written and "\u202e" not in written


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_breaks_a_markdown_table(first, second):
    written = render.markdown(table((name(first), name(second))))
    (line,) = written.split("\n")[6:-1]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3


@pytest.mark.parametrize("text", HOSTILE)
def test_latex_has_no_special_character_left(text):
    written = latex(table((name(text), name("x")), (name("y"), name(text))))
    body = written[written.index(r"\midrule") + 8 : written.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line]
    assert len(rows) == 2
    for one in rows:
        assert one.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", one)) == 1
        rest = re.sub(r"\\[&%$#_{}]|\\text[a-z]+\{\}|\{[\[\]*]?\}|\\ldots\{\}", "", one[:-3])
        assert not re.search(r"[\\%$#_^~{}]", rest)
        assert not re.match(r"\s*[\[*]", one)  # an argument of the \\ before it
    assert written.isascii() or "ö" in written  # pdfLaTeX has no font for more than Latin 1


def test_latex_of_a_whole_table():
    full = table(
        (name("ctc_beam"), Cell("4.20", "[3.10, 5.30]", notes=("100 % & more",), bold=True)),
        published=((name("a--b"), Cell("—")),),
        signatures=("e:mini|d:x",),
    )
    assert latex(full) == "\n".join(
        [
            r"% needs \usepackage{booktabs}; with pdflatex also \usepackage[T1]{fontenc}",
            r"\begin{table}",
            r"\centering",
            r"\caption{T}",
            r"\label{tab:t}",
            r"\smallskip",
            r"\begin{tabular}{lr}",
            r"\toprule",
            r"c0 & c1 \\",
            r"\midrule",
            r"ctc\_beam & \textbf{4.20} {[}3.10, 5.30{]}\textsuperscript{1} \\",
            r"\midrule",
            r"a-{}-b & --- \\",
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\smallskip\raggedright\footnotesize \textsuperscript{1}100 \% \& more",
            r"\end{table}",
            r"\par{\footnotesize\noindent\emergencystretch=3em Table \ref{tab:t}: C.\par}",
            r"{\scriptsize\noindent\raggedright signature "
            r"\texttt{e:\allowbreak{}mini\textbar{}\allowbreak{}d:\allowbreak{}x}\par}",
            "",
        ]
    )


def test_latex_of_a_wide_table_is_one_table_and_one_of_the_columns_that_yield():
    columns = [Column("Name", str, key=True)]
    columns += [Column(f"Heading{i}", str, yields=max(0, i - 2)) for i in range(9)]
    cells = tuple(Cell(f"{i:09}") for i in range(9))
    wide = Table("t", "T", ("C.",), tuple(columns), tuple((name(f"n{r}"), *cells) for r in "ab"))
    written = latex(wide)
    first, further = written.split(r"\caption{T (further columns)}")
    assert written.count(r"\begin{tabular}") == 2
    assert [f"Heading{i}" in first for i in range(9)] == [i < 5 for i in range(9)]
    assert [f"Heading{i}" in further for i in range(9)] == [i > 4 for i in range(9)]
    assert "Columns left out: Heading5, Heading6, Heading7 and Heading8." in latex(wide, "short")


def test_latex_of_a_long_table_leaves_no_row_below_the_page():
    long = latex(table(*((name(f"row{n}"), Cell("1")) for n in range(70))))
    parts = [part.count("row") for part in long.split(r"\begin{table}")[1:]]
    assert sum(parts) == 70 and max(parts) <= 33 and long.count("(continued)") == len(parts) - 1


@pytest.mark.parametrize("text", HOSTILE)
def test_csv_cells_are_no_formulas(text):
    written = render.spreadsheet(table((Cell(text), name("x"))))
    (_, line) = list(csv.reader(io.StringIO(written, newline="")))
    assert len(line) == 5
    assert not line[0].lstrip().startswith(("=", "+", "-", "@", "\uff1d"))
    assert line[0].lstrip("'") == text


def test_terminal_breaks_wide_tables_and_repeats_the_names():
    cells = [Cell("12.34", "[11.11, 13.13]") for _ in range(8)]
    noted = Cell(cells[0].text, notes=("A note. " * 20,))
    text = render.terminal(table((name("ctc-greedy"), *cells[:-1], noted)), 60)
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("ctc-greedy") == 3
    assert text.count("12.34") == 8


def test_a_terminal_names_what_is_the_same_in_every_row_of_a_wide_table_once():
    cells = [Cell("12.34", "[11.11, 13.13]") for _ in range(8)]
    made = table((name("ctc-greedy"), *cells), (name("ctc-greedy"), *cells))
    assert render.terminal(made, 200).count("ctc-greedy") == 2
    text = render.terminal(made, 60)
    assert text.startswith("T (c0 ctc-greedy)\n") and text.count("ctc-greedy") == 1
    assert text.count("12.34") == 16


@given(st.text(max_size=60))
def test_plain_text_is_one_line_without_control(text):
    line = plain(text)
    assert line == " ".join(line.split())
    assert all(character.isprintable() for character in line)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (percent(0.0289), "2.89"),
        (percent(None), "—"),
        (percent(float("nan")), "n/a"),
        (number(31081.0, 1), "31,081.0"),
        (parameters(843_210), "843k"),
        (parameters(999_700), "1.0M"),
        (parameters(5_900_000), "5.9M"),
        (parameters(1_234_000_000), "1.2B"),
        (significant(0.0012345), "0.00123"),
        (significant(12345.6), "12,300"),
        (significant(0.0), "0"),
        (significant(float("nan")), "n/a"),
        (short("a" * 50, 10), "aaaaaaaaa…"),
    ],
)
def test_numbers(text, expected):
    assert text == expected


# Plots of a run: which there are, what they show, and that no letter is missing


class Lines(Rows):
    """Lines that every system reads with as many errors as its CER says, each writer its own."""

    def lines(self, key: str) -> list[LineResult]:
        (found,) = (each for each in self._rows if each.key == key)
        return [
            replace(line(f"w{w:02}", round(50 * (found.cer or 0)) + w % 3), id=f"{w}")
            for w in range(12)
        ]


def timed(decoder: str, rate: float, cer: float, **more: Any) -> Row:
    return row(decoder, cer=cer, timing=timing(rate), **more)


def made_up() -> Lines:
    rows = [timed("ctc-greedy", 40, 0.2), timed("ctc-ngram", 30, 0.1)]
    for damage, severity in (("blot", 1), ("blot", 3), ("noise", 3)):
        for decoder, cer in (("ctc-greedy", 0.5), ("ctc-ngram", 0.3)):
            rows.append(row(decoder, "lines", cer, damage, severity))
    return Lines(*rows)


def drawn(store: Rows, lang: str = "en") -> dict[str, panel.Plot]:
    with language(lang), warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of glyphs that a font lacks
        return {plot.slug: plot for plot in plots.draw(collect(store))}


def test_the_backend_of_a_notebook_is_not_needed():
    """Colab and Jupyter name theirs to every shell, and another environment does not have it."""
    environment = {**os.environ, "MPLBACKEND": "module://nowhere.backend_inline"}
    words = [sys.executable, "-c", "import bench.report.panel"]
    subprocess.run(words, cwd=ROOT, env=environment, check=True)


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_every_plot_is_drawn_in_every_format_without_a_missing_letter(lang):
    if lang == "ja" and panel.japanese_font() is None:
        pytest.skip("no font with Japanese letters is installed")
    found = drawn(made_up(), lang)
    names = ("severity", "gain", "gain-damage", "cer-speed")
    assert list(found) == [f"{name}-1" for name in names]
    for plot in found.values():
        assert plot.png.startswith(b"\x89PNG") and plot.pdf.startswith(b"%PDF")
        assert b"</svg>" in plot.svg
        assert set(plot.files) == {f"{plot.slug}.{kind}" for kind in ("png", "svg", "pdf")}
    assert ("改善" in found["gain-1"].title) == (lang == "ja")


def test_without_a_japanese_font_the_words_are_english(monkeypatch):
    monkeypatch.setattr(panel, "japanese_font", lambda: None)
    store = Lines(timed("ctc-greedy", 40, 0.2))
    assert drawn(store, "ja")["cer-speed-1"].title.startswith("CER against speed")
    with language("ja"):
        assert "フォント" in say_text(panel.NO_FONT)


def test_gains_are_paired_with_greedy_ctc_of_the_same_condition():
    gains = gains_of(collect(made_up()))
    assert {key: round(100 * gain.value) for key, gain in gains.items()} == {
        "mini-ctc-ngram-lines-none-0": 10,
        **{f"mini-ctc-ngram-lines-{place}": 20 for place in ("blot-1", "blot-3", "noise-3")},
    }
    interval = gains["mini-ctc-ngram-lines-blot-1"].interval
    assert interval is not None and interval.high - interval.low < 1e-12  # alike for every writer


def test_curves_are_unlike_without_colour():
    looks = [look_of(index) for index in range(11)]
    assert len({(look["marker"], str(look["linestyle"])) for look in looks}) == len(looks)
