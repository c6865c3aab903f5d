"""Blocks of a manuscript: what is written, what stays, what is refused; LaTeX compiles it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import UserError
from bench.report import manuscript
from bench.report.format import supported_decimals
from bench.report.results import collect
from tests.run_rows import Rows, failed, row
from tests.stored_runs import run

BEGIN, END = "<!-- kaidoku:begin x -->\n", "<!-- kaidoku:end -->\n"


def made(words: str) -> str:
    return f"made of {words}\n"


def rewritten(text: str, syntax: manuscript.Syntax = "md") -> str:
    return manuscript.rewritten(text, syntax, made, "m")[0]


# Finding and rewriting


def test_only_what_stands_between_markers_changes():
    text = f"# A\n\n{BEGIN}old\n\nolder\n{END}\nend without line feed"
    expected = f"# A\n\n{BEGIN}made of x\n{END}\nend without line feed"
    assert rewritten(text) == expected
    assert rewritten(expected) == expected


words = st.text(st.characters(codec="utf-8", exclude_characters="%<`~\n"), max_size=30)


@given(st.lists(words, min_size=1, max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_any_text_around_blocks_is_kept_to_the_byte(texts, newline):
    """Form feeds, separators of lines and paragraphs and lone carriage returns end no line."""
    block = f"% kaidoku:begin x{newline}{{}}% kaidoku:end{newline}"
    around = [text + newline for text in texts]
    old = block.format(f"old{newline}").join(["", *around])
    new = block.format(f"made of x{newline}").join(["", *around])
    assert rewritten(old, "tex") == new


def test_an_example_in_a_code_block_is_no_marker_but_a_fence_inside_of_a_block_hides_no_end():
    example = f"````md\n```\n{BEGIN}{END}```\n````\n~~~ md\n{BEGIN}~~~~\n"
    assert rewritten(f"{example}{BEGIN}```\n{END}") == f"{example}{BEGIN}made of x\n{END}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no block", "m has no block; write one"),
        (f"a\n{BEGIN}", "m:2: this block has no kaidoku:end"),
        (f"a\n{END}", "m:2: this end has no kaidoku:begin"),
        (f"{BEGIN}{BEGIN}{END}", "m:2: the block of line 1 has no end"),
    ],
)
def test_torn_blocks_are_refused(text, said):
    with pytest.raises(UserError, match=re.escape(said)):
        rewritten(text)


def test_what_the_maker_refuses_is_told_with_its_place_and_nothing_is_written(tmp_path):
    path = tmp_path / "m.md"
    path.write_text(f"{BEGIN}{END}text\n<!-- kaidoku:begin bad -->\n{END}")
    before = path.read_bytes()

    def some(words: str) -> str:
        if words == "bad":
            raise UserError("no table")
        return made(words)

    with pytest.raises(UserError, match=rf"{path}:4: no table"):
        manuscript.renew(path, some)
    assert path.read_bytes() == before


def test_a_link_stays_a_link_and_modes_line_ends_and_unchanged_files_are_kept(tmp_path):
    path, link = tmp_path / "m.tex", tmp_path / "link.tex"
    path.write_bytes(b"\xef\xbb\xbf% kaidoku:begin x\r\nold\r\n  %% kaidoku:end\r\n")
    path.chmod(0o640)
    link.symlink_to(path)
    manuscript.renew(link, made)
    assert path.read_bytes() == (
        b"\xef\xbb\xbf% kaidoku:begin x\r\nmade of x\r\n  %% kaidoku:end\r\n"
    )
    assert link.is_symlink() and path.stat().st_mode & 0o777 == 0o640
    before = path.stat().st_mtime_ns
    assert not manuscript.renew(link, made)[0].stale
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.docx", b"", "neither Markdown nor LaTeX"),
        ("m.md", b"\xff", "not UTF-8"),
        ("gone.md", None, "cannot read"),
    ],
)
def test_files_that_are_no_manuscript(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        manuscript.renew(tmp_path / name, made)


# What a marker asks for


def content(text: str, store: Rows, syntax: manuscript.Syntax = "md", notes="full") -> str:
    request = manuscript.parse(text)
    tables = manuscript.made(request, collect(store))
    return manuscript.content(tables, request, syntax, notes)


def cells(text: str) -> dict[str, str]:
    """The last cell of each row of a markdown table by its second."""
    rows = [[c.strip() for c in r.strip("|").split("|")] for r in text.splitlines() if r[:1] == "|"]
    return {each[1]: each[-1] for each in rows[2:]}


def test_filters_choose_rows_and_clean_rows_stay_in_a_curve():
    rows = [row(name, cer=0.1) for name in ("ctc-greedy", "ctc-beam", "ar-beam")]
    rows += [row("ctc-greedy", "lines", 0.3, "blot", severity) for severity in (1, 2)]
    rows += [row("ctc-greedy", "lines", 0.3, "noise", severity) for severity in (1, 2)]
    store = Rows(*rows)
    assert set(cells(content("cer decoder=ctc-*", store))) == {"ctc-greedy", "ctc-beam"}
    assert set(cells(content("cer decoder=ar-beam,ctc-beam", store))) == {"ar-beam", "ctc-beam"}
    curve = content("severity damage=blot decoder=ctc-greedy", store)
    assert "noise" not in curve and re.findall(r"^\| +(\d) ", curve, re.M) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("damages", "no table is called 'damages'; did you mean damage"),
        ("", "the block names no table"),
        ("cer decode=x", "no option 'decode'; did you mean decoder"),
        ("cer decoder=", "decoder needs one value"),
        ("cer run=a run=b", "run needs one value"),
        ("cer title='a", "close the quotation"),
        ("cer notes=shrt", "notes cannot be 'shrt'; did you mean short"),
        ("conditions run=a", "follows the blocks of its tables; write run=a there, or delete it"),
        ("condition", "no table is called 'condition'; did you mean conditions"),
        ("cer decoder=ctc-gredy", "nothing in the run has decoder 'ctc-gredy'; did you mean"),
        ("damage", "the run has no results for a table damage; change the block"),
        ("cer lang=jp", "no language is called 'jp'; "),
    ],
)
def test_a_block_that_nothing_fits(text, said):
    with pytest.raises(UserError, match=re.escape(said)):
        content(text, Rows(row()))


def test_one_title_for_two_tables_is_refused():
    rows = [row(dataset=name) for name in ("lines", "hooker")]
    with pytest.raises(UserError, match="2 tables fit"):
        content("speed title=Mine", Rows(*rows))
    assert content("speed dataset=hooker title=Mine", Rows(*rows)).count("Table: Mine") == 1


@pytest.mark.parametrize(
    ("half", "decimals"),
    [(0.354, 2), (0.355, 1), (0.949, 1), (0.95, 1), (0.999, 1), (1.0, 1), (3.54, 1), (3.55, 0),
     (9.5, 0), (12.0, 0), (0.0354, 2), (0.0, 2)],
)  # fmt: skip
def test_digits_end_where_the_interval_does(half, decimals):
    """The rule's own borders: 354 keeps two figures, 355 one, 950 becomes 1000 with two."""
    assert supported_decimals(50 - half, 50 + half, 2) == decimals


# LaTeX


ENGINES = {
    ("pdflatex", "en"): r"\documentclass{article}\usepackage[T1]{fontenc}",
    ("lualatex", "en"): r"\documentclass{article}",
    ("lualatex", "ja"): r"\documentclass{article}\usepackage{luatexja}",
    ("uplatex", "ja"): r"\documentclass[uplatex,dvipdfmx]{jsarticle}\usepackage[T1]{fontenc}",
}


def installed(engine: str, *files: str) -> bool:
    """Whether an engine, dvipdfmx and the files of TeX are here."""
    programs = (engine, "kpsewhich", "dvipdfmx")
    return all(map(shutil.which, programs)) and not any(
        subprocess.run(["kpsewhich", file], check=False, capture_output=True).returncode
        for file in ("booktabs.sty", *files)
    )


@pytest.mark.parametrize(("engine", "lang"), ENGINES)
@pytest.mark.parametrize("notes", ["full", "appendix"])
def test_latex_compiles_in_normal_size(tmp_path, engine, lang, notes):
    files = ["luatexja.sty", "jsarticle.cls"] if lang == "ja" else []
    if not installed(engine, *files):
        pytest.skip(f"{engine}, dvipdfmx or a package is not installed")
    bad = "a|b_{}$&%#~^\\x 漢 —"
    rows = [row("ctc-greedy"), row("ctc-beam", cer=0.3), failed(decoder="ctc-kenlm", reason=bad)]
    rows += [row(name, "lines", 0.4, bad, s) for name in ("ctc-greedy", "ctc-beam") for s in (1, 2)]
    rows += [row("ctc-greedy", name) for name in ("hooker", "unipen", "ink", "iam", "cvl", "rimes")]
    rows += [row("ctc-greedy", "lines", 0.4, name, 3) for name in ("blot", "noise")]
    results = collect(Rows(*rows))
    requests = [manuscript.parse(f"{name} lang={lang}") for name in manuscript.TABLES]
    every = [manuscript.made(request, results) for request in requests]
    pairs = zip(every, requests, strict=True)
    text = [manuscript.content(tables, request, "tex", notes) for tables, request in pairs]
    if notes == "appendix":
        shared = {lang: [one for tables in every for one in tables]}
        text.append(manuscript.conditions(shared, "tex"))
    body = "\n".join(text)
    assert r"\small" not in body.replace(r"\smallskip", "") and "resizebox" not in body
    preamble = rf"{ENGINES[engine, lang]}\usepackage{{booktabs}}"
    (tmp_path / "m.tex").write_text(f"{preamble}\n\\begin{{document}}\n{body}\n\\end{{document}}\n")
    commands = [[engine, "-interaction=nonstopmode", "-halt-on-error", "m.tex"]]
    commands += [["dvipdfmx", "-q", "m.dvi"]] if engine == "uplatex" else []
    for command in commands:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=600, check=False)
        log = (tmp_path / "m.log").read_text(errors="replace")
        assert done.returncode == 0, log[-2000:] + done.stderr.decode()
    assert (tmp_path / "m.pdf").stat().st_size > 10_000
    assert "Missing character" not in log and "too large for page" not in log
    assert not re.search(r"Overfull \\hbox \(\d{2,}", log)  # nothing stands out of the page


# The command


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.pipeline.runs.RUNS", tmp_path / "runs")
    return run(tmp_path / "runs" / "mine", row("ctc-greedy"), row("ctc-beam")).path


def test_a_manuscript_is_renewed_checked_and_stale_again(call, tmp_path, run_folder):
    path = tmp_path / "thesis.md"
    path.write_text("# T\n\n<!-- kaidoku:begin cer run=mine -->\n<!-- kaidoku:end -->\n\nend\n")
    code, out, _ = call("report", "--into", str(path), "--check")
    assert code == 1 and "thesis.md:3: cer run=mine: stale" in out
    assert path.read_text().count("\n") == 6
    assert call("report", "--into", str(path))[0] == 0
    assert "| mini " in path.read_text() and path.read_text().endswith("-->\n\nend\n")
    code, out, _ = call("report", "--into", str(path), "--check", "--json")
    (found,) = json.loads(out[out.index("[") :])
    assert code == 0
    assert found["blocks"] == [{"line": 3, "words": "cer run=mine", "stale": False}]


TABLE = ["<!-- kaidoku:begin cer run=mine{} -->", "<!-- kaidoku:end -->"]


def below(text: str) -> list[str]:
    """The lines between the caption of a Markdown table and the end of its block."""
    inside = text.partition("kaidoku:begin cer")[2].partition("<!-- kaidoku:end")[0]
    return [line for line in inside.partition("Table: ")[2].splitlines()[1:] if line]


@pytest.mark.parametrize(
    ("words", "option", "lines"),
    [
        ("", ["--notes", "off"], []),
        (" notes=off", [], []),
        (" notes=off", ["--notes", "full"], []),
        ("", ["--notes", "short"], ["in brackets 95 % intervals over writers"]),
        ("", [], ["Micro CER in percent", "- signature `e:mini", "- signature `e:mini"]),
    ],
)
def test_the_notes_below_a_table(call, tmp_path, run_folder, words, option, lines):
    path = tmp_path / "m.md"
    path.write_text("\n".join(TABLE).format(words) + "\n")
    assert call("report", "--into", str(path), *option)[0] == 0
    found = below(path.read_text())
    assert [line[: len(start)] for line, start in zip(found, lines, strict=True)] == lines
    assert ("10.0" in path.read_text()) and call("report", "--into", str(path), "--check", *option)[
        0
    ] == 0


def test_conditions_in_a_block_of_their_own(call, tmp_path, run_folder):
    chapter, appendix = tmp_path / "chapter.tex", tmp_path / "appendix.tex"
    chapter.write_text("% kaidoku:begin cer run=mine\n% kaidoku:end\n"
                       "% kaidoku:begin errors run=mine notes=short\n% kaidoku:end\n"
                       "% kaidoku:begin stages run=mine\n% kaidoku:end\n")  # fmt: skip
    appendix.write_text("% kaidoku:begin conditions\n% kaidoku:end\n")
    files = ("--into", str(appendix), "--into", str(chapter))
    code, _, err = call("report", *files[2:], "--notes", "appendix")
    assert code == 2 and "needs a block for them; write one in one of the files" in err
    assert call("report", *files)[0] == 0
    shown, gathered = chapter.read_text(), appendix.read_text()
    assert "sha256" not in shown and "signature" not in shown
    assert (
        gathered.count("Texts compared after") == 1 and gathered.count("Wall seconds of one") == 1
    )
    assert r"Table \ref{tab:stages-1}: Wall seconds" in gathered and "errors" not in gathered
    assert call("report", *files, "--check")[0] == 0
    chapter.write_text(shown.replace("cer run=mine", "cer run=mine lang=ja"))
    assert call("report", *files)[0] == 0
    gathered = appendix.read_text()  # of each table in its language
    assert r"表 \ref{tab:cer-1}: マイクロ CER" in gathered and "U+" not in gathered
    assert r"Table \ref{tab:stages-1}: Wall seconds" in gathered
    chapter.write_text("no table\n")
    code, _, err = call("report", "--into", str(appendix))
    assert code == 2 and "no block has its conditions here" in err


def test_a_run_beside_the_manuscript_and_the_run_of_the_command_line(call, tmp_path, run_folder):
    path = tmp_path / "thesis.tex"
    for words, arguments in (
        ("cer run=./runs/mine lang=ja", []),
        ("cer", ["--run", "mine", "--lang", "ja"]),
    ):
        path.write_text(f"% kaidoku:begin {words}\n% kaidoku:end\n")
        assert call("report", *arguments, "--into", str(path))[0] == 0
        assert "エンコーダ" in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--check"], "--check goes with --into"),
        (["--into", "m.md", "--format", "tex"], "leave --format out"),
        (["--into", "gone.md"], "cannot read gone.md"),
        (["--into", "{path}"], "{path}:1: there is no run at"),
    ],
)
def test_mistakes_are_one_sentence(refused, tmp_path, run_folder, arguments, said):
    path = tmp_path / "m.md"
    path.write_text("<!-- kaidoku:begin cer run=nime -->\n<!-- kaidoku:end -->\n")
    sentence = refused("report", *(word.format(path=path) for word in arguments))
    assert said.format(path=path) in sentence
