"""The words of tables, plots and pages, in English or Japanese.

The code has its words in English, and they are the msgids of gettext's catalogues in `locale/`.
Babel reads them directly, without a compiled file that could get stale. Names of decoders,
sets and options stay as they are registered.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal, get_args

from bench.core.errors import UserError
from bench.core.registry import did_you_mean

Language = Literal["en", "ja"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

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
    """Use a language inside a `with` block.

    Raises:
        UserError: there is no catalogue for it.
    """
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


@functools.cache
def catalogue(name: str) -> Mapping[str, str]:
    """Translations of a language by English text; empty for English."""
    if name == "en":
        return {}
    from babel.messages.pofile import read_po

    with (_LOCALE / name / "LC_MESSAGES" / "kaidoku.po").open("rb") as file:
        return {str(one.id): str(one.string) for one in read_po(file) if one.id}
