"""What a builder sees of a public source: named files that can be read, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
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


class FolderTree:
    """The files below a folder; links are left out, so that nothing outside can be read."""

    def __init__(self, folder: Path) -> None:
        found = (path for path in sorted(folder.rglob("*")) if not path.is_symlink())
        self._paths = {
            path.relative_to(folder).as_posix(): path for path in found if path.is_file()
        }

    def names(self) -> list[str]:
        """The names of all regular files, sorted."""
        return sorted(self._paths)

    def read(self, name: str) -> bytes:
        """The content of one of `names`."""
        return self._paths[name].read_bytes()


def silent(doing: str, done: float, total: float) -> None:
    """A `Report` that nobody hears."""


def below(names: Iterable[str], folder: str) -> list[str]:
    """The names below a folder ("" for all), in the order of their parts."""
    prefix = f"{folder}/" if folder else ""
    return sorted((n for n in names if n.startswith(prefix)), key=lambda n: n.split("/"))
