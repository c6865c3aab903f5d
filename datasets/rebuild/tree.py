"""What a builder sees of a public source: named files that can be read, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

Report = Callable[[str, float, float], None]
"""Hears of progress: what is being done, how much of it is done, and how much there is."""


class Tree(Protocol):
    """The files of one version of a source; names are relative, with forward slashes."""

    def names(self) -> list[str]:
        """The names of all regular files, sorted."""

    def read(self, name: str) -> bytes:
        """The content of one of `names`.

        Raises:
            KeyError: there is no such file.
        """


def silent(doing: str, done: float, total: float) -> None:
    """A `Report` that nobody hears."""


def below(names: Iterable[str], folder: str) -> list[str]:
    """The names below a folder ("" for all), in the order of their parts."""
    prefix = f"{folder}/" if folder else ""
    return sorted((n for n in names if n.startswith(prefix)), key=lambda n: n.split("/"))
