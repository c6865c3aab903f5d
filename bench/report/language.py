"""The words of tables, plots and pages, in English or Japanese.

The code has its words in English, and they are the msgids of gettext's catalogues in `locale/`.
Babel reads them directly, without a compiled file that could get stale. Names of decoders,
sets and options stay as they are registered.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal, get_args

from bench.core.errors import UserError
from bench.core.registry import did_you_mean

Language = Literal["en", "ja"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_VALUE = re.compile(r"\{(\w+)\}")
_WORDS = ("name", "module", "attribute", "number")  # values without a space in them
_TYPED = ("name", "names", "another")  # what the user types in every language
_OFFERS = ("; did you mean ", "; there are: ")  # what `did_you_mean` puts behind a mistake
_LOCALE = Path(__file__).parent / "locale"
_IN_FORCE: ContextVar[Language] = ContextVar("language", default="en")


def in_force() -> Language:
    """The language of `say`."""
    return _IN_FORCE.get()


def preferred() -> str:
    """The user's language: $KAIDOKU_LANG, else Japanese where $LC_ALL or $LANG is, else English."""
    own = os.environ.get("KAIDOKU_LANG")
    locale = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    return own or ("ja" if locale.startswith("ja") else "en")


@contextmanager
def language(name: str) -> Iterator[None]:
    """Use a language inside a `with` block."""
    if name not in LANGUAGES:
        raise UserError(f"no language is called {name!r}{did_you_mean(name, LANGUAGES)}")
    before = _IN_FORCE.set(name)
    try:
        yield
    finally:
        _IN_FORCE.reset(before)


def say(english: str, /, **values: object) -> str:
    """Translate words into the current language, then fill in `{name}`.

    Words that `locale/ja/LC_MESSAGES/kaidoku.po` lacks stay English; a test finds them.
    """
    return catalogue(in_force()).get(english, english).format(**values)


def say_name(name: str) -> str:
    """A registered name in the current language, its options in brackets left as they are."""
    word, bracket, options = name.partition("[")
    return f"{catalogue(in_force()).get(word, word)}{bracket}{options}"


def say_text(english: str) -> str:
    """Translate a text of a layer below, such as a recorded reason, whose values are filled in.

    Values are translated too, names are not. A text that no entry of `texts.po` fits stays English.
    """
    if (words := catalogue(in_force(), "texts").get(english)) is not None:
        return words
    for pattern, words in _texts(in_force()):
        if match := pattern.fullmatch(english):
            values = match.groupdict().items()
            return words.format(**{k: v if k in _TYPED else say_text(v) for k, v in values})
    return english


def say_about(documentation: str) -> str:
    """A docstring in the current language, paragraph by paragraph."""
    words = catalogue(in_force(), "about")
    return "\n\n".join(words.get(text, text) for text in documentation.split("\n\n"))


def say_help(english: str) -> str:
    """A text of `--help` in the current language, on one line."""
    words = " ".join(english.split())
    own = catalogue(in_force(), "help").get(words.removesuffix("."))
    return words if own is None else own + "。" * words.endswith(".")


@functools.cache
def _texts(name: str) -> list[tuple[re.Pattern[str], str]]:
    """The texts with values and their translations, those with most letters of their own first.

    A value in a text stands for anything, a `{name}` for one word. Names offered
    behind a mistake come first, or they would be taken for a part of its last value.
    """
    texts = {text: own for text, own in catalogue(name, "texts").items() if _VALUE.search(text)}
    ranked = sorted(texts, key=lambda text: len(_VALUE.sub("", text)), reverse=True)
    ranked.sort(key=lambda text: not any(offer in text for offer in _OFFERS))
    return [(re.compile(_pattern(text), re.DOTALL), texts[text]) for text in ranked]


def _pattern(text: str) -> str:
    own, names = _VALUE.split(text)[::2], _VALUE.findall(text)
    values = [f"(?P<{name}>[^ ]+)" if name in _WORDS else f"(?P<{name}>.+?)" for name in names]
    return "".join(map("".join, zip(map(re.escape, own), [*values, ""], strict=True)))


@functools.cache
def catalogue(name: str, domain: str = "kaidoku") -> Mapping[str, str]:
    """Translations of a language by English text; empty for English."""
    if name == "en":
        return {}
    from babel.messages.pofile import read_po

    with (_LOCALE / name / "LC_MESSAGES" / f"{domain}.po").open("rb") as file:
        return {str(one.id): str(one.string) for one in read_po(file) if one.id}
