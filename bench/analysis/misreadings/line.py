"""One line's edits, each with its class in every view."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.analysis.misreadings.classes import ENDING, NATURE, SCOPE, SIGHT, WORD, Class, Unit
from bench.analysis.misreadings.shapes import alike
from bench.analysis.misreadings.vocabulary import Vocabulary, core
from bench.core.metrics import Edit, character_edits, is_looping, normalise, word_edits
from bench.core.types import LineResult
from datasets.damage.visible import visibility

Shares = NDArray[np.float32]

UNSEEN: Shares = np.full(0, np.nan, np.float32)  # of a line of which nobody knows what was hidden

_SIGHTS: Mapping[str, str] = {"partial": "partly visible", "visible": "visible"}


@dataclass(frozen=True)
class Misreading:
    """An edit of the CER or of the WER, and what it is.

    classes: one of each view of its unit.
    """

    unit: Unit
    edit: Edit
    classes: tuple[Class, ...]


def misreadings(
    line: LineResult, known: Vocabulary, shares: Shares | None = None
) -> list[Misreading]:
    """All edits of a line: those on characters from left to right, then those on words.

    They are as many as the line's stored counts.

    Args:
        line: as stored.
        known: tells non-words from real words.
        shares: (N,) visible share of each character of the normalised reference, none missing;
            `UNSEEN` where it is not known; None where nothing could be hidden, so that the
            edits have no class of that view.
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
    """Edits between which nothing was read right, together."""
    run: list[Edit] = []
    for edit in edits:
        if run and (edit.at, edit.read_at) != _end(run[-1]):
            yield run
            run = []
        run.append(edit)
    if run:
        yield run


def _end(edit: Edit) -> tuple[int, int]:
    """The places behind an edit in reference and text."""
    return edit.at + (edit.kind != "insertion"), edit.read_at + (edit.kind != "deletion")


def _of_run(run: Sequence[Edit]) -> Class | None:
    """The class of all edits of a run that has one as a whole: rn for m."""
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
    """Which words of a line were read, and whether an edit falls within one of these."""

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


def _each_word(text: str, said: Callable[[set[int]], bool]) -> dict[int, bool]:
    """What is said of the word at each place of a text; nothing of its spaces."""
    found: dict[int, bool] = {}
    start = 0
    for word in text.split(" "):
        places = set(range(start, start + len(word)))
        found |= dict.fromkeys(places, said(places))
        start += len(word) + 1
    return found


def _sight(edit: Edit, truth: str, shares: Shares) -> Class:
    """A character that was put in belongs to the less visible of the two beside it."""
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
