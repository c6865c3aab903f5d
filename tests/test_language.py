"""Japanese words: all that the code says has them, with the same values in them."""

from __future__ import annotations

import re
import string

import pytest
from babel.messages.extract import extract

from bench import ROOT
from bench.core.errors import UserError
from bench.report.format import listing, plural
from bench.report.language import catalogue, in_force, language
from bench.report.panel import _width, wrapped

REPORT = ROOT / "bench" / "report"
SCRIPTS = [*REPORT.rglob("*.js"), *REPORT.rglob("*.j2")]
JAPANESE = catalogue("ja")


def said() -> set[str]:
    """The words in calls of `say`, as gettext's tools extract them."""
    words = {
        message
        for path in REPORT.rglob("*.py")
        for _, message, *_ in extract("python", path.open("rb"), keywords={"say": None})
        if isinstance(message, str)
    }
    for path in SCRIPTS:
        words |= set(re.findall(r"\bsay\([\"']([^\"']+)[\"']\)", path.read_text(encoding="utf-8")))
    return words


def fields(words: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(words) if name}


def test_everything_said_has_japanese_words():
    assert sorted(said() - set(JAPANESE) - {""}) == []


def test_no_word_of_the_catalogue_is_left_over():
    # Names become words too: they stand in the code as strings of their own.
    others = (ROOT / "bench/core/metrics.py", ROOT / "datasets/about.py")
    files = [*REPORT.rglob("*.py"), *SCRIPTS, *others]
    code = "".join(path.read_text(encoding="utf-8") for path in files)
    code = re.sub(r"\"\s*\n\s*f?\"", "", code)  # strings that go on in the next line
    code = code.replace("'", '"')
    left = [words for words in JAPANESE if f'"{words}"'.replace("'", '"') not in code]
    assert left == []


def test_both_languages_have_the_same_values():
    assert not [words for words, own in JAPANESE.items() if fields(words) != fields(own)]


def test_a_language_ends_where_it_should_also_after_an_error():
    with pytest.raises(ValueError, match="inside"), language("ja"):
        assert in_force() == "ja" and listing(["a", "b"]) == "a、b" and plural(3, "line") == "3 行"
        raise ValueError("inside")
    assert in_force() == "en" and plural(3, "line") == "3 lines"
    with pytest.raises(UserError, match="did you mean ja"), language("jp"):
        pass


def test_heads_are_wrapped_by_what_their_letters_take():
    text = "char_erase の強度ごとの文字誤り率(CER)、" * 6
    lines = wrapped(text)
    assert "".join(lines) == text and len(lines) > 2
    assert all(40 < _width(line) <= 90 for line in lines[:-1])
    assert not any(re.match("[、。)]", line) for line in lines)
    words = "word " * 60
    assert " ".join(wrapped(words)).split() == words.split()
