"""Every command that prints results prints them in Japanese, without an English sentence."""

from __future__ import annotations

import io
import re

import openpyxl
import pytest

from bench.cli import listing
from bench.report.format import width_of
from tests import error_runs
from tests.japanese import english_in

MEASURED = ("--encoder", "mini", "--dataset", "ink")
COMMANDS = {
    "report": ("report", "--run", "RUN", "--format", "md"),
    "compare": ("compare", "--run", "RUN", "mini:ctc-greedy", "mini:ctc-ngram"),
    "errors": ("errors", "--run", "RUN", "--damage", "all", "--xlsx", "OUT/errors.xlsx"),
    "cite": ("cite", "--run", "RUN", "SIGNATURE", "--format", "text"),
    "run": ("run", *MEASURED, "--decoder", "ctc-greedy,ctc-ngram", "--limit", "2", "--rounds", "1",
            "--out", "OUT/a"),
    "plan": ("run", *MEASURED, "--decoder", "ctc-greedy", "--limit", "2", "--dry-run",
             "--out", "OUT/b"),
    "speed": ("speed", "--encoder", "mini", "--decoder", "ctc-greedy", "--limit", "1",
              "--batch-size", "1", "--minutes", "1", "--out", "OUT/c"),
    "overfit": ("check", "overfit", "--limit", "2", "-o", "lines.size=20"),
    "leak": ("check", "leak", "--dataset", "lines", "-o", "lines.size=20"),
    "tune": ("tune", *MEASURED, "--decoder", "ctc-ngram", "--grid", "alpha=0.5,1", "--grid",
             "beta=1", "--limit", "2", "--damage", "blot", "--dry-run", "--out", "OUT/d"),
    "list": ("list",),
    "list --check": ("list", "--check"),
    "data list": ("data", "list"),
    "data check": ("data", "check", "ink", "--limit", "2", "--out", "OUT/e"),
    "diagnose": ("dev", "diagnose", "--decoder", "ctc-beam", "--limit", "2", "--damage", "blot"),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_prints_japanese(call, tmp_path, command):
    store, _ = error_runs.make(tmp_path / "run")
    values = {"RUN": str(store.path), "SIGNATURE": store.rows()[0].signature}
    words = [values.get(word, word.replace("OUT", str(tmp_path))) for word in COMMANDS[command]]
    code, out, err = call(*words, "--lang", "ja")
    assert code in (0, 1), err
    written = [path.read_text("utf-8") for path in tmp_path.rglob("*.md")]
    written += [path.read_text("utf-8-sig") for path in tmp_path.rglob("*.csv")]
    for text in (out, *written, *map(cells, tmp_path.rglob("*.xlsx"))):
        assert english_in(text) == []
    assert re.search("[ぁ-ん一-龥]", out)


def test_a_terminal_gets_lines_that_fit(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    words = "ページ画像と PAGE XML の文書をそこに置く。別の場所は -o page.root=DIR で指定する"
    assert listing.behind("- page  ", words) == f"- page  {words}"
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "60")
    lines = listing.behind("- page  ", words).splitlines()
    assert len(lines) == 2 and all(width_of(line) <= 60 for line in lines)
    assert lines[1].startswith(8 * " ") and " ".join(line[8:] for line in lines) == words


def cells(path) -> str:
    """The heads and words of a workbook, without the lines that were read."""
    book = openpyxl.load_workbook(path)
    return " | ".join(
        str(cell.value)
        for sheet in book
        for row in sheet.iter_rows(max_row=2 if sheet.title == "誤りの多い行" else None)
        for cell in row
        if isinstance(cell.value, str)
    )


def test_the_environment_decides_where_the_command_line_does_not(call, tmp_path, monkeypatch):
    store, _ = error_runs.make(tmp_path / "run")
    words = ("cite", "--run", str(store.path), store.rows()[0].signature)
    monkeypatch.setenv("KAIDOKU_LANG", "ja")
    assert "署名" in call(*words)[1] and "Signature" in call(*words, "--lang", "en")[1]
    monkeypatch.setenv("KAIDOKU_LANG", "")
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.setenv("LANG", "ja_JP.UTF-8")
    assert "署名" in call(*words)[1]
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert "Signature" in call(*words)[1]
    monkeypatch.setenv("KAIDOKU_LANG", "jp")
    code, _, err = call(*words)
    assert code == 2 and "did you mean ja" in err
