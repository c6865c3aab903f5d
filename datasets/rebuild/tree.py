"""What a builder sees of a public source: named files that can be read, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Tree(Protocol):
    """The files of one version of a source; names are relative, with forward slashes."""

    def names(self) -> list[str]:
        """The names of all regular files, sorted."""

    def read(self, name: str) -> bytes:
        """The content of one of `names`.

        Raises:
            KeyError: there is no such file.
        """


def below(names: Iterable[str], folder: str) -> list[str]:
    """The names below a folder ("" for all), in the order of their parts."""
    prefix = f"{folder}/" if folder else ""
    return sorted((n for n in names if n.startswith(prefix)), key=lambda n: n.split("/"))
