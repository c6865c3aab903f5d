"""Texts to train on: mostly not English, so that the encoder learns ink and not language."""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from datasets.levels import line_texts, pseudo

_PRINTABLE = [c for c in string.printable if "!" <= c <= "~" and c != "\\"]
_COMMON = list(string.ascii_letters + string.digits) + list(".,-'\"():;!?")


@dataclass(frozen=True)
class Texts:
    """Draws texts.

    english: chance of a line of the train documents as it stands; the rest is pseudo-words,
        shuffled words and random characters in equal parts.
    capitals: chance of a text in capitals throughout.
    """

    english: float = 0.0
    capitals: float = 0.0

    @cached_property
    def _lines(self) -> list[str]:
        return line_texts("train", "english")

    @cached_property
    def _vocabulary(self) -> list[str]:
        return [word for line in self._lines for word in line.split()]

    def draw(self, rng: np.random.Generator, longest: int = 70) -> str:
        """A text of 3 to `longest` characters."""
        length = int(rng.integers(min(12, longest - 1), longest + 1))
        text = self._mixed(rng, length)
        return text.upper() if self.capitals and rng.random() < self.capitals else text

    def _mixed(self, rng: np.random.Generator, length: int) -> str:
        if rng.random() < self.english:
            return _cut(self._lines[int(rng.integers(len(self._lines)))], length)
        kind = int(rng.integers(3))
        if kind == 0:
            line = pseudo(self._lines[int(rng.integers(len(self._lines)))], rng)
            return _cut(line, length)
        if kind == 1:
            return self._shuffled(length, rng)
        return _random(length, rng)

    def _shuffled(self, length: int, rng: np.random.Generator) -> str:
        words = [self._vocabulary[i] for i in rng.integers(len(self._vocabulary), size=14)]
        return _cut(" ".join(words), length)


def _cut(text: str, length: int) -> str:
    """At most `length` characters, cut at a space where there is one."""
    if len(text) <= length:
        return text
    space = text.rfind(" ", 0, length + 1)
    return text[: space if space > 2 else length].strip()


def _random(length: int, rng: np.random.Generator) -> str:
    """Random characters in groups: letters of one case, digits, or anything printable."""
    groups: list[str] = []
    while sum(map(len, groups)) + len(groups) < length:
        size = int(rng.integers(1, 9))
        pool = (
            list(string.ascii_lowercase),
            list(string.ascii_uppercase),
            list(string.digits),
            _COMMON,
            _PRINTABLE,
        )[int(rng.choice(5, p=(0.35, 0.1, 0.15, 0.2, 0.2)))]
        groups.append("".join(pool[i] for i in rng.integers(len(pool), size=size)))
    return _cut(" ".join(groups), length)
