"""Japanese words: all that the code says has them, with the same values in them."""

from __future__ import annotations

import ast
import re
import string

import pytest

from bench import ROOT, report
from bench.core.errors import UserError
from bench.pipeline.store import RunStore
from bench.report.captions import in_force, language, say
from bench.report.format import listing, plural
from bench.report.japanese import JAPANESE
from bench.report.plots.canvas import _width, wrapped
from tests.run_rows import failed, row
from tests.test_report import stored

SOURCES = [  # of words that are said, and of names that become words
    *(file for file in (ROOT / "bench" / "report").glob("*.py") if file.name != "japanese.py"),
    *(ROOT / "bench" / "report" / "plots").glob("*.py"),
    ROOT / "bench" / "core" / "metrics.py",
    ROOT / "datasets" / "about.py",
]


def constants(node: ast.AST) -> set[str]:
    """The strings in a piece of a program, those of f-strings left out."""
    if isinstance(node, ast.JoinedStr):
        return set()
    if isinstance(node, ast.Constant):
        return {node.value} if isinstance(node.value, str) else set()
    return set().union(*map(constants, ast.iter_child_nodes(node)))


def said(tree: ast.AST) -> set[str]:
    """The words that are given to `say` as they stand."""
    calls = (n for n in ast.walk(tree) if isinstance(n, ast.Call))
    return set().union(*(constants(n.args[0]) for n in calls if getattr(n.func, "id", "") == "say"))


def fields(words: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(words) if name}


def test_everything_said_has_japanese_words_and_no_word_is_left_over():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES]
    assert sorted(set().union(*map(said, trees)) - set(JAPANESE) - {""}) == []
    assert sorted(set(JAPANESE) - set().union(*map(constants, trees))) == []


def test_both_languages_tell_the_same_values():
    assert not [words for words, own in JAPANESE.items() if fields(words) != fields(own)]


def test_a_value_with_braces_is_no_field():
    assert say("Run {name}", name="{0} {x}") == "Run {0} {x}"


def test_a_language_ends_where_it_should_also_after_an_error():
    with pytest.raises(ValueError, match="inside"), language("ja"):
        assert in_force() == "ja" and listing(["a", "b"]) == "a、b" and plural(3, "line") == "3 行"
        raise ValueError("inside")
    assert in_force() == "en" and plural(3, "line") == "3 lines"
    with pytest.raises(UserError, match="did you mean ja"), language("jp"):
        pass


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    rows = [row(name, cer=cer) for name, cer in (("ctc-greedy", 0.1), ("ctc-beam", 0.2))]
    rows += [
        row(name, "lines", cer, "blot", s, ink_lost=None if s == 2 else 0.1)
        for s in (1, 2)
        for name, cer in (("ctc-greedy", 0.3), ("ctc-beam", 0.25))
    ]
    rows += [row("ar-beam", cer=None, weights="untrained", encoder="trocr-base")]
    rows += [failed(decoder="ctc-kenlm", reason="the decoder failed: no")]
    rows += [row("ar-greedy", "unipen", unreadable=1, foreign=2)]
    return stored(tmp_path_factory.mktemp("captions") / "run", *rows)


def test_a_japanese_report_has_no_english_sentence(store):
    report.write(store, ("md", "tex", "csv"), "ja")
    text = (store.path / "report.md").read_text(encoding="utf-8")
    for part in ("デコーダ", "失われたインク", "95 % 信頼区間", "署名", "未学習の重み", "失敗: "):
        assert part in text
    for part in ("CER by", "interval", "Encoder", "Decoder", "Read:", "signature", "untrained w"):
        assert part not in text
    assert "損傷の強さ" in (store.path / "tables/severity-1.csv").read_text(encoding="utf-8-sig")
    assert "未実行" in report.terminal(store, 120, "ja")


def test_heads_are_wrapped_by_what_their_letters_take():
    text = "char_erase の強さごとの文字誤り率(CER)、" * 6
    lines = wrapped(text)
    assert "".join(lines) == text and len(lines) > 2
    assert all(40 < _width(line) <= 90 for line in lines[:-1])
    assert not any(re.match("[、。)]", line) for line in lines)
    words = "word " * 60
    assert " ".join(wrapped(words)).split() == words.split()
