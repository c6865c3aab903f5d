"""The words of tables and plots, in English or Japanese.

The code says its words in English; `say` gives them in the language in force, out of a catalogue by
the English words, as gettext does. Names of decoders, sets and options stay as they are registered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

from bench.core.errors import UserError
from bench.core.registry import did_you_mean

Language = Literal["en", "ja"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_IN_FORCE: ContextVar[Language] = ContextVar("language", default="en")


def in_force() -> Language:
    """The language in which `say` speaks now."""
    return _IN_FORCE.get()


@contextmanager
def language(name: str) -> Iterator[None]:
    """Speak this language inside of a `with`.

    Raises:
        UserError: there are no words in it.
    """
    if name not in LANGUAGES:
        raise UserError(f"there are no captions in {name!r}{did_you_mean(name, LANGUAGES)}")
    before = _IN_FORCE.set(name)
    try:
        yield
    finally:
        _IN_FORCE.reset(before)


def say(english: str, /, **values: object) -> str:
    """Words in the language in force, `{name}` replaced by the value of that name.

    Words that the catalogue lacks stay English; a test finds them.
    """
    if in_force() == "ja":
        from bench.report.japanese import JAPANESE

        return JAPANESE.get(english, english).format(**values)
    return english.format(**values)
