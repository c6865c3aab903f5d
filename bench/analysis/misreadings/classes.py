"""The classes of misreadings, declared. `docs/errors.md` says the same at length.

A view sorts all edits of its unit: every edit has exactly one class of each view, so the classes of
a view add up to all edits. Of the classes that would fit, the first of the view counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

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
        """The class of a name.

        Raises:
            KeyError: the view has none of that name.
        """
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
        "similar shape": "letters that look alike, as the file shapes.py lists them: "
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
