"""Which lines of a public source make up a set: a list that is part of the project.

The lines were chosen once, by the rules that stand in the docstrings of the builders. Some of
these rules measure (does the ink form one line? is a crop wide enough?), and a measured threshold
must not move a line in or out of a test split when a library changes. So the outcome is frozen in
`datasets/rebuild/NAME.txt`: a group of the source (a UNIPEN contributor, a page), a tab, and its
items, where `r2l7-22` stands for `r2l7` to `r2l22`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

Selection = Mapping[str, frozenset[str]]

_FOLDER = Path(__file__).resolve().parent
_RANGE = re.compile(r"(.*?)(\d+)-(\d+)")


def load_selection(name: str) -> Selection:
    """The chosen items of every group of a set."""
    return parse_selection((_FOLDER / f"{name}.txt").read_text(encoding="utf-8"))


def parse_selection(text: str) -> Selection:
    """Parse lines of `group TAB items`."""
    groups: dict[str, frozenset[str]] = {}
    for row in text.splitlines():
        group, _, tokens = row.partition("\t")
        groups[group] = frozenset(item for token in tokens.split() for item in _expand(token))
    return groups


def _expand(token: str) -> list[str]:
    """`r2l7-9` to `r2l7 r2l8 r2l9`; leading zeros of the first number are kept."""
    found = _RANGE.fullmatch(token)
    if found is None:
        return [token]
    prefix, first, last = found.groups()
    return [f"{prefix}{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)]
