"""The contract of a data set: a name to the lines of a split."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bench.errors import Unavailable
from bench.types import Line, LineSet


@dataclass(frozen=True)
class Dataset(ABC):
    """A registered data set; its fields are its options."""

    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")

    @abstractmethod
    def missing(self) -> Unavailable | None:
        """Why it cannot be read here and the one command that would mend it; None when it can."""

    @abstractmethod
    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """The first `limit` lines of a split, always in the same order.

        A line that cannot be read becomes a `BadLine`, never an exception.

        Raises:
            Unavailable: the data is not here.
            UserError: the split does not exist, or a file lacks what it must have.
        """


def fingerprint(lines: Iterable[Line]) -> str:
    """SHA-256 over ids, texts, writers and pixels, in order."""
    digest = hashlib.sha256()
    for line in lines:
        head = f"{line.id}\x1f{line.text}\x1f{line.writer}\x1f{line.image.shape}\x1e"
        digest.update(head.encode())
        digest.update(line.image.tobytes())
    return digest.hexdigest()


def named_in(dataset: str, trained_on: str) -> bool:
    """Whether words on what weights were trained on name a data set, whichever part of it.

    >>> named_in("unipen-lex", "Unipen-all (train), 684 M printed lines")
    True
    >>> named_in("lines", "hooker (train)")
    False
    """
    return dataset.partition("-")[0].lower() in re.findall(r"[a-z0-9]+", trained_on.lower())


def spread(lines: Sequence[Line], count: int) -> list[Line]:
    """So many lines, evenly over all of them: the first ones alone are of few writers."""
    count = min(count, len(lines))
    return [lines[place * len(lines) // count] for place in range(count)]
