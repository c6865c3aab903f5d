"""Splits: what others call them, and the project's own of the real sets.

Those are train, val and test by groups of lines, never by line: a hash decides, so a group's split
depends on nothing but its name. A group is a writer of UNIPEN, whose hands are then not in two
splits; a letter of Hooker's, which are all of one hand, so that the hand of a test line is one of
train; or a text of Copiste, whose volunteers are not named.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_ORDER = ("train", "val", "test")
_OTHER_NAMES = {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}
# https://huggingface.co/docs/hub/datasets-file-names-and-splits
_KEYWORDS = {
    **{name: name for name in _ORDER},
    **_OTHER_NAMES,
    "eval": "test",
    "evaluation": "test",
}


def split_of(group: str) -> str:
    """The split of a group: md5 of its name modulo 10, 0 test, 1 val, else train."""
    digit = int(hashlib.md5(group.encode()).hexdigest(), 16) % 10
    return {0: "test", 1: "val"}.get(digit, "train")


def canonical(name: str) -> str:
    """A split by the project's name for it: "Validation" is "val"; others stay as they are."""
    plain = name.strip()
    lower = plain.lower()
    return _OTHER_NAMES.get(lower, lower if lower in _ORDER else plain)


def named_split(name: str) -> str:
    """The split in the name of a file or folder, as on the Hub; "" for none.

    `NAME-00000-of-00002` names it literally; else a keyword does that stands by itself.
    """
    if shard := re.match(r"(\w+(?:\.\w+)*)-\d+-of-\d+", name):
        return canonical(shard[1])
    words = (_KEYWORDS.get(word) for word in re.split(r"[\W\d_]+", name.lower()))
    return next(filter(None, words), "")


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of splits, each once: train, val, test, then others by the alphabet."""
    rank = {name: place for place, name in enumerate(_ORDER)}
    return tuple(sorted(set(names), key=lambda name: (rank.get(name, len(rank)), name)))
