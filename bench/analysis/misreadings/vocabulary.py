"""Which words a word language model knows."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from decoders.language.lm import EMBEDDED_TEXT, read_word_lm, train_text
from decoders.language.ngram import words_of


@dataclass(frozen=True)
class Vocabulary:
    """The words of a language model, whatever their case and the punctuation at their ends.

    cores: of its words, what `core` leaves of them.
    bare: its words of which nothing is left (a dash).
    source: what the words are from, in words for a table.
    """

    cores: frozenset[str]
    bare: frozenset[str]
    source: str

    def __contains__(self, word: object) -> bool:
        """Whether the model knows the word."""
        inner = core(str(word))
        return inner in self.cores if inner else word in self.bare


def core(word: str) -> str:
    """A word without punctuation and symbols at its ends, and without case."""
    ends = {character for character in word if unicodedata.category(character)[0] in "PS"}
    return word.strip("".join(ends)).casefold()


def vocabulary(path: Path | None = None) -> Vocabulary:
    """The words of a language model.

    Args:
        path: an ARPA file or KenLM binary; None for the words of the embedded model, which are
            those of its text.

    Raises:
        UserError: the file is missing or broken, or KenLM cannot use it.
        Unavailable: kenlm is not installed.
    """
    if path is None:
        words = {word for paragraph in train_text() for word in words_of(paragraph)}
        return _known(words, f"the {len(words):,} words of the {EMBEDDED_TEXT}")
    found = read_word_lm(path).unigrams
    return _known(found, f"the {len(found):,} words of {path.name}")


def _known(words: Iterable[str], source: str) -> Vocabulary:
    cores = {word: core(word) for word in words}
    bare = frozenset(word for word, inner in cores.items() if not inner)
    return Vocabulary(frozenset(cores.values()) - {""}, bare, source)
