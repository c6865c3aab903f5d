"""Text that wants to break a table, and numbers as people read them."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.report import render
from bench.report.format import number, parameters, percent, plain, short, significant
from bench.report.latex import latex
from bench.report.table import Cell, Column, Table


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
    for line in lines:
        assert len(re.findall(r"(?<!\\)\|", line)) == 3
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
    for line in rows:
        assert line.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", line)) == 1
        rest = re.sub(r"\\[&%$#_{}]|\\text[a-z]+\{\}|\{[\[\]*]?\}|\\ldots\{\}", "", line[:-3])
        assert not re.search(r"[\\%$#_^~{}]", rest)
        assert not re.match(r"\s*[\[*]", line)  # an argument of the \\ before it
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
            r"\par{\footnotesize\noindent Table \ref{tab:t}: C.\par}",
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
    assert "without Heading5, Heading6, Heading7 and Heading8" in latex(wide, "short")


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
