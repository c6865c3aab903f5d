"""The embedded corpus: original English prose, split by whole document.

Test is documents 03 and 09 of each genre, val is 06, train the rest (README beside the texts).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent
_HEAD = re.compile(r"^## (?P<id>[A-Z](?P<number>\d\d)) (?P<title>.+)$")
_SPLIT_OF_NUMBER = {"03": "test", "09": "test", "06": "val"}


@dataclass(frozen=True)
class Document:
    """One document; `paragraphs` are whole, one a string."""

    id: str
    title: str
    split: str
    paragraphs: tuple[str, ...]


@cache
def documents(split: str | None = None) -> tuple[Document, ...]:
    """All documents of a split ("train", "val", "test"), or of the whole corpus."""
    every = [doc for path in sorted(_FOLDER.glob("*_*.txt")) for doc in _read(path)]
    return tuple(doc for doc in every if split is None or doc.split == split)


def _read(path: Path) -> list[Document]:
    heads: list[re.Match[str]] = []
    bodies: list[list[str]] = []
    for line in path.read_text(encoding="ascii").splitlines():
        if head := _HEAD.match(line):
            heads.append(head)
            bodies.append([])
        elif line.strip() and bodies:
            bodies[-1].append(line.strip())
    return [
        Document(
            id=head["id"],
            title=head["title"],
            split=_SPLIT_OF_NUMBER.get(head["number"], "train"),
            paragraphs=tuple(body),
        )
        for head, body in zip(heads, bodies, strict=True)
    ]
