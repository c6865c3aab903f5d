"""Public sources without a host: the files of a folder as a builder sees them."""

from __future__ import annotations

from pathlib import Path


class FolderTree:
    """The files below a folder, as `datasets.rebuild.git.Tree`."""

    def __init__(self, folder: Path) -> None:
        self._paths = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_file()
        }

    def names(self) -> list[str]:
        return sorted(self._paths)

    def read(self, name: str) -> bytes:
        return self._paths[name].read_bytes()


class Files:
    """A tree of files in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        return self.files[name]
