"""Names of splits, and the project's own splits of the real sets.

Lines are split by groups, and a group's split depends only on the hash of its name. A group is a
writer of UNIPEN, so that splits share no hand; a letter of Hooker, all of one hand, so that splits
share it; or a text of Copiste, whose volunteers are not named.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

# Contributors of UNIPEN whose writers are those of another, by the same names: there they wrote
# isolated characters, here words.
_SAME_WRITERS = {"apd": "apb", "ape": "apb", "cee": "ced"}
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
    """The split of a group: md5 of its name modulo 10; 0 is test, 1 val, the rest train."""
    digit = int(hashlib.md5(group.encode()).hexdigest(), 16) % 10
    return {0: "test", 1: "val"}.get(digit, "train")


def hand_of(writer: str) -> str:
    """The name of a UNIPEN writer where the same person wrote for two contributors.

    >>> hand_of("apd/Chris_Hess")
    'apb/Chris_Hess'
    """
    contributor, slash, name = writer.partition("/")
    return f"{_SAME_WRITERS.get(contributor, contributor)}{slash}{name}"


def may_learn(writer: str) -> bool:
    """Whether a UNIPEN writer is of train under every name."""
    return split_of(writer) == split_of(hand_of(writer)) == "train"


def canonical(name: str) -> str:
    """The project's name for a split: "Validation" is "val"; unknown names are unchanged."""
    plain = name.strip()
    lower = plain.lower()
    return _OTHER_NAMES.get(lower, lower if lower in _ORDER else plain)


def keyword_split(name: str) -> str:
    """The split that a whole name means ("Validation", "eval"), else ""."""
    return _KEYWORDS.get(name.strip().lower(), "")


def named_split(name: str) -> str:
    """The split in the name of a file or folder, as on the Hub, else "".

    It is NAME of `NAME-00000-of-00002`, else a keyword that is a word of its own.
    """
    if shard := re.match(r"(\w+(?:\.\w+)*)-\d+-of-\d+", name):
        return canonical(shard[1])
    words = (_KEYWORDS.get(word) for word in re.split(r"[\W\d_]+", name.lower()))
    return next(filter(None, words), "")


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct names of splits: train, val, test, then others alphabetically."""
    rank = {name: place for place, name in enumerate(_ORDER)}
    return tuple(sorted(set(names), key=lambda name: (rank.get(name, len(rank)), name)))
