"""Declared classes of misreadings, and the edits of a line by class.

A view sorts all edits of its unit: every edit has exactly one class of each view, so the classes of
a view add up to all edits. Of the classes that would fit, the first of the view counts.
`docs/errors.md` says the same at length.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.metrics import Edit, character_edits, is_looping, normalise, word_edits
from bench.core.types import LineResult
from datasets.damage.visible import visibility
from decoders.language.lm import EMBEDDED_TEXT, kenlm_lm, train_text
from decoders.language.ngram import words_of

Shares = NDArray[np.float32]

UNSEEN: Shares = np.full(0, np.nan, np.float32)  # of a line whose hidden part is unknown

Unit = Literal["character", "word"]


class Class(NamedTuple):
    """A class by the names of its view and its own."""

    view: str
    name: str


@dataclass(frozen=True)
class View:
    """One way to sort the edits.

    unit: what is edited: the character edits of the CER, or the word edits of the WER.
    classes: names with what belongs to each, in the order in which they are tried.
    """

    name: str
    unit: Unit
    classes: Mapping[str, str]

    def __getitem__(self, name: str) -> Class:
        """The class of a name."""
        if name not in self.classes:
            raise KeyError(name)
        return Class(self.name, name)


NATURE = View(
    "what",
    "character",
    {
        "spacing": "a space was put in, left out, or stands on one side of a substitution",
        "case": "the same letter in the other case",
        "digit": "a digit (any Unicode number) stands on one side",
        "punctuation": "punctuation or a symbol stands on one side",
        "similar shape": "letters that look alike, as the file classes.py lists them: "
        "single ones (n and u), runs (rn and m), or the same letter with another accent",
        "other letter": "any other letter substituted, left out or put in",
    },
)
SCOPE = View(
    "where",
    "character",
    {
        "between words": "a space was put in, left out, or stands on one side of a substitution",
        "whole word": "in a word of which fewer than half of the characters were read, or in a "
        "word that was put in as a whole",
        "within a word": "in a word of which at least half of the characters were read",
    },
)
SIGHT = View(
    "sight",
    "character",
    {
        "hallucination": "something read in a hidden region: a hidden character (under 20 % of its "
        "ink is left) became another, or characters were put in beside one",
        "left out, hidden": "a hidden character was left out",
        "partly visible": "an edit at a character of which 20 % to 80 % of the ink is left",
        "visible": "an edit at a character of which 80 % of the ink or more is left",
        "not known": "the reference is not written as the normaliser leaves it, or the line's "
        "picture is not here, so nobody knows what was hidden",
    },
)
ENDING = View(
    "ending",
    "character",
    {
        "truncated line": "in a line that the decoder's token limit ended",
        "looping line": "in a line whose text ends in a loop (`bench.core.metrics.is_looping`)",
        "other line": "in a line that ended by itself",
    },
)
WORD = View(
    "word",
    "word",
    {
        "left out": "a word is missing",
        "letters right": "the word differs in case, or in punctuation at its ends, alone",
        "non-word": "what was read is not in the language model's vocabulary",
        "real word": "what was read is another word of the language model's vocabulary",
    },
)

VIEWS = (NATURE, SCOPE, SIGHT, ENDING, WORD)


# Which words a word language model knows


@dataclass(frozen=True)
class Vocabulary:
    """The words of a language model, ignoring case and punctuation at their ends.

    cores: of its words, what `core` leaves of them.
    bare: its words that are only punctuation (a dash).
    size: number of words of the model.
    source: what the words are from, `EMBEDDED_TEXT` or a file's name.
    """

    cores: frozenset[str]
    bare: frozenset[str]
    size: int
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
    """The words of an ARPA file or KenLM binary; without one those of the embedded text.

    Raises:
        UserError: the file is missing or broken, or KenLM cannot use it.
        Unavailable: kenlm is not installed.
    """
    if path is None:
        words = {word for paragraph in train_text() for word in words_of(paragraph)}
        return _known(words, EMBEDDED_TEXT)
    return _known(kenlm_lm(str(path)).words, path.name)


def _known(words: Collection[str], source: str) -> Vocabulary:
    cores = {word: core(word) for word in words}
    bare = frozenset(word for word, inner in cores.items() if not inner)
    return Vocabulary(frozenset(cores.values()) - {""}, bare, len(words), source)


# One line's edits


_SIGHTS: Mapping[str, str] = {"partial": "partly visible", "visible": "visible"}


@dataclass(frozen=True)
class Misreading:
    """An edit of the CER or of the WER, with its classes.

    classes: one of each view of its unit.
    """

    unit: Unit
    edit: Edit
    classes: tuple[Class, ...]


def misreadings(
    line: LineResult, known: Vocabulary, shares: Shares | None = None
) -> list[Misreading]:
    """All edits of a line: those on characters from left to right, then those on words.

    They are as many as the line's stored counts. The shares are the visible ones of each character
    of the normalised reference, none missing; `UNSEEN` where they are not known; None where nothing
    could be hidden, so that edits have no class of that view.
    """
    truth, read = normalise(line.reference), normalise(line.text)
    ending = _ending(line, read)
    scope = _Scope(truth, read, character_edits(truth, read))
    found = []
    for run in _runs(scope.edits):
        nature = _of_run(run)
        for edit in run:
            classes = [nature or _nature(edit), scope.of(edit), ending]
            if shares is not None:
                classes.append(_sight(edit, truth, shares))
            found.append(Misreading("character", edit, tuple(classes)))
    words = word_edits(truth, read)
    return [*found, *(Misreading("word", edit, (_word(edit, known),)) for edit in words)]


def _runs(edits: Sequence[Edit]) -> Iterator[list[Edit]]:
    """Group edits without a correct unit between them."""
    run: list[Edit] = []
    for edit in edits:
        if run and (edit.at, edit.read_at) != _end(run[-1]):
            yield run
            run = []
        run.append(edit)
    if run:
        yield run


def _end(edit: Edit) -> tuple[int, int]:
    """The positions after an edit in reference and text."""
    return edit.at + (edit.kind != "insertion"), edit.read_at + (edit.kind != "deletion")


def _of_run(run: Sequence[Edit]) -> Class | None:
    """The class of a run of edits as a whole (rn for m), if any."""
    if len(run) < 2:
        return None
    truth, read = ("".join(part) for part in zip(*((e.truth, e.read) for e in run), strict=True))
    return NATURE["similar shape"] if alike(truth, read) else None


def _nature(edit: Edit) -> Class:
    sides = (edit.truth, edit.read)
    categories = {unicodedata.category(side)[0] for side in sides if side}
    if " " in sides:
        return NATURE["spacing"]
    if edit.truth.casefold() == edit.read.casefold():
        return NATURE["case"]
    if "N" in categories:
        return NATURE["digit"]
    if categories & {"P", "S"}:
        return NATURE["punctuation"]
    return NATURE["similar shape" if alike(*sides) else "other letter"]


class _Scope:
    """The words of a line that were read, and the edits within these."""

    def __init__(self, truth: str, read: str, edits: list[Edit]) -> None:
        self.edits = edits
        wrong = {edit.at for edit in edits if edit.kind != "insertion"}
        self._lost = _each_word(truth, lambda word: 2 * len(wrong & word) > len(word))
        added = {edit.read_at for edit in edits if edit.kind == "insertion"}
        self._put_in = _each_word(read, lambda word: word <= added)

    def of(self, edit: Edit) -> Class:
        if " " in (edit.truth, edit.read):
            return SCOPE["between words"]
        if edit.kind != "insertion":
            whole = self._lost[edit.at]
        elif self._put_in[edit.read_at]:
            whole = True
        else:  # it touches the end of a word, or else the beginning of the next
            beside = [place for place in (edit.at - 1, edit.at) if place in self._lost]
            whole = self._lost[beside[0]] if beside else True
        return SCOPE["whole word" if whole else "within a word"]


def _each_word(text: str, test: Callable[[set[int]], bool]) -> dict[int, bool]:
    """The result of a test of words at each position of a text except spaces."""
    outcomes: dict[int, bool] = {}
    start = 0
    for word in text.split(" "):
        places = set(range(start, start + len(word)))
        outcomes |= dict.fromkeys(places, test(places))
        start += len(word) + 1
    return outcomes


def _sight(edit: Edit, truth: str, shares: Shares) -> Class:
    """The class by visibility; an insertion belongs to its less visible neighbour."""
    if shares.size != len(truth) or not truth:
        return SIGHT["not known"]
    last = len(truth) - 1
    beside = (max(edit.at - 1, 0), min(edit.at, last)) if edit.kind == "insertion" else (edit.at,)
    sight = visibility(min(float(shares[place]) for place in beside))
    if sight == "hidden":
        return SIGHT["left out, hidden" if edit.kind == "deletion" else "hallucination"]
    return SIGHT[_SIGHTS[sight]]


def _ending(line: LineResult, read: str) -> Class:
    if line.truncated:
        return ENDING["truncated line"]
    return ENDING["looping line" if is_looping(read) else "other line"]


def _word(edit: Edit, known: Vocabulary) -> Class:
    if edit.kind == "deletion":
        return WORD["left out"]
    if edit.kind == "substitution" and core(edit.truth) == core(edit.read):
        return WORD["letters right"]
    return WORD["real word" if edit.read in known else "non-word"]


# Letters that look alike in handwriting, written down from their strokes (minims, bowls, loops,
# hooks, capitals of one frame) before any result was classified, and the same for every decoder.
# It is a declaration, not a finding: who thinks otherwise changes it here and has every table anew.


# Any two letters of a group look alike.
_GROUPS = (
    # minims
    *("nuvr", "nm", "mw", "uvw", "ij", "ilt", "vry"),
    # bowls
    *("aou", "adqg", "ceo", "iec", "ae"),
    # loops, ascenders, descenders, hooks
    *("le", "bhkl", "hn", "flt", "fs", "gyjq", "yz", "rs", "pg"),
    # capitals, and the ones that stand for small letters
    *("OQDC", "CGE", "IJTFl", "UV", "MNWH", "PRB", "KHR", "SGL", "XY"),
)
# Runs of strokes that can be divided in two ways; either side may be the reference.
_RUNS = (
    ("rn", "m"), ("nn", "m"), ("ni", "m"), ("in", "m"), ("iu", "m"), ("ui", "m"), ("ri", "n"),
    ("ii", "n"), ("ii", "u"), ("vv", "w"), ("uu", "w"), ("iu", "w"), ("ui", "w"), ("cl", "d"),
    ("ol", "d"), ("el", "d"), ("ci", "a"), ("oi", "a"), ("ei", "a"), ("li", "h"), ("lc", "k"),
    ("lo", "b"), ("le", "k"),
)  # fmt: skip

_ALIKE = frozenset(
    (one, other) for group in _GROUPS for one, other in permutations(group, 2)
) | frozenset(pair for run in _RUNS for pair in (run, run[::-1]))


def alike(truth: str, read: str) -> bool:
    """Whether a letter, or a run of letters, may be taken for another by its shape.

    >>> alike("u", "n"), alike("rn", "m"), alike("é", "e"), alike("x", "n")
    (True, True, True, False)
    """
    return (truth, read) in _ALIKE or (truth != read and _bare(truth) == _bare(read) != "")


def _bare(text: str) -> str:
    if not text.isalpha():
        return ""
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
