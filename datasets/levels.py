"""Text at four linguistic levels, from most to least predictable, equal in line lengths.

english: the documents' own lines; shuffled: the same words in random order; pseudo: each word
replaced by a pronounceable non-word of its length; random: characters drawn from the corpus'
unigram. Differences between levels measure a decoder's knowledge of words, order and spelling.
"""

from __future__ import annotations

from abc import ABC
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np

from bench.core.errors import Unavailable, UserError
from bench.core.options import check_least
from bench.core.registry import did_you_mean
from datasets.base import Dataset
from datasets.corpus import documents
from datasets.seeds import stream

LEVELS = ("english", "shuffled", "pseudo", "random")
SHORTEST, LONGEST = 20, 70  # characters of a line


@dataclass(frozen=True)
class LevelSet(Dataset, ABC):
    """An embedded set of lines of 20 to 70 characters.

    level: one of `datasets.levels.LEVELS`.
    size: lines of a split.
    """

    level: str = "english"
    size: int = 300

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            hint = did_you_mean(self.level, LEVELS)
            raise UserError(f"no level is called {self.level!r}{hint}")
        check_least(self, 1, "size")

    def missing(self) -> Unavailable | None:
        """None: it is embedded."""
        return None

    def at_level(self, name: str) -> str:
        """The registered name at its level: "ink-shuffled"."""
        return name if self.level == "english" else f"{name}-{self.level}"


def line_texts(split: str, level: str) -> list[str]:
    """All lines of a split at a level, 20 to 70 characters each, in document order."""
    english = _english(split)
    if level == "english":
        return english
    rng = stream("kaidoku-level-1", split, level)
    if level == "shuffled":
        return shuffled(english, rng)
    if level == "pseudo":
        return [pseudo(line, rng) for line in english]
    return [random_characters(len(line), rng) for line in english]


@cache
def _english(split: str) -> list[str]:
    rng = stream("kaidoku-wrap-1", split)
    return [
        line
        for document in documents(split)
        for paragraph in document.paragraphs
        for line in wrap(paragraph, rng)
    ]


def wrap(paragraph: str, rng: np.random.Generator) -> list[str]:
    """Fill lines of random length with whole words; a remainder under 20 characters is dropped."""
    lines: list[str] = []
    line, length = "", int(rng.integers(SHORTEST, LONGEST + 1))
    for word in paragraph.split():
        longer = f"{line} {word}" if line else word
        if len(longer) <= length or (len(line) < SHORTEST and len(longer) <= LONGEST):
            line = longer
            continue
        lines.append(line)
        line, length = word, int(rng.integers(SHORTEST, LONGEST + 1))
    return [line for line in [*lines, line] if SHORTEST <= len(line) <= LONGEST]


def shuffled(lines: list[str], rng: np.random.Generator) -> list[str]:
    """The words of all lines in random order, wrapped anew."""
    words = [word for line in lines for word in line.split()]
    order = rng.permutation(len(words))
    return wrap(" ".join(words[i] for i in order), rng)


def pseudo(line: str, rng: np.random.Generator) -> str:
    """Replace each run of letters by a non-word of its length and capitals."""
    out: list[str] = []
    letters = ""
    for char in f"{line}\0":
        if char.isalpha():
            letters += char
            continue
        if letters:
            pairs = zip(letters, _non_word(len(letters), rng), strict=True)
            out += [new.upper() if old.isupper() else new for old, new in pairs]
            letters = ""
        out.append(char)
    return "".join(out[:-1])


def random_characters(length: int, rng: np.random.Generator) -> str:
    """Characters drawn from the train text's unigram; single spaces, none at the ends."""
    drawn: list[str] = []
    while len(drawn) < length:
        char = _unigram().draw(rng)
        edge = not drawn or len(drawn) == length - 1 or drawn[-1] == " "
        if char != " " or not edge:
            drawn.append(char)
    return "".join(drawn)


@dataclass(frozen=True)
class _Chances:
    """Cumulative counts of characters, for fast sampling."""

    characters: list[str]
    sums: list[int]

    @staticmethod
    def of(counts: Counter[str]) -> _Chances:
        characters = sorted(counts)
        return _Chances(characters, list(accumulate(counts[c] for c in characters)))

    def draw(self, rng: np.random.Generator) -> str:
        return self.characters[bisect_right(self.sums, rng.random() * self.sums[-1])]


def _non_word(length: int, rng: np.random.Generator) -> str:
    """Draw a word that is not in the corpus from a letter-trigram chain.

    Words of one or two letters are not checked: nearly all of them exist.
    """
    for _ in range(20):
        word = _chain(length, rng)
        if length < 3 or word not in _vocabulary():
            return word
    return word


def _chain(length: int, rng: np.random.Generator) -> str:
    word = "  "
    for _ in range(length):
        word += _trigrams().get(word[-2:], _trigrams()["  "]).draw(rng)
    return word[2:]


@cache
def _vocabulary() -> frozenset[str]:
    return frozenset(_words(None))


@cache
def _trigrams() -> dict[str, _Chances]:
    """Counts of the letters that follow two letters; ends of words are not counted."""
    counts: dict[str, Counter[str]] = {}
    for word in _words("train"):
        padded = f"  {word}"
        for index in range(len(word)):
            counts.setdefault(padded[index : index + 2], Counter())[padded[index + 2]] += 1
    return {pair: _Chances.of(followers) for pair, followers in counts.items()}


def _words(split: str | None) -> list[str]:
    text = " ".join(p for d in documents(split) for p in d.paragraphs).lower()
    return "".join(c if c.isalpha() else " " for c in text).split()


@cache
def _unigram() -> _Chances:
    return _Chances.of(Counter(c for d in documents("train") for p in d.paragraphs for c in p))
