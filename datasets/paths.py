"""Files that a data set names itself: they must lie in its folder and be of a sane size."""

from __future__ import annotations

import stat
import unicodedata
from pathlib import Path

FILE_LIMIT = 256 * 1024**2  # bytes; the largest scanned pages are far below it


def inside(root: Path, name: str) -> Path:
    """The path of a file that a data set names, which must not lead out of the set's folder.

    Refused are `..`, an absolute path to elsewhere, and a symbolic link to elsewhere; the folder
    itself may be a link. Whether the file exists is not asked.

    Raises:
        ValueError: it leads out, or is no path at all; the sentence names it.
    """
    if not name or "\0" in name:
        raise ValueError(f"{name!r} is no path")
    home = root.resolve()
    if ".." in Path(name).parts:
        raise ValueError(f"the path {name} leads out of {root}")
    try:
        # Accents may be characters of their own in one of the names (macOS, zip files), and not
        # in the other.
        forms = (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))
        name = next((form for form in forms if (home / form).exists()), name)
        path = (home / name).resolve()
    except (OSError, RuntimeError) as error:  # a loop of links, a name too long
        raise ValueError(f"the path {name} cannot be followed ({error})") from error
    if not path.is_relative_to(home):
        raise ValueError(f"the path {name} leads out of {root}")
    return path


def content(path: Path, limit: int = FILE_LIMIT) -> bytes:
    """All bytes of a regular file.

    Raises:
        ValueError: it is missing, no regular file (a pipe would wait for ever), larger than
            `limit` bytes, or may not be read.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path.name} is not a file")
        if found.st_size > limit:
            raise ValueError(f"{path.name} has {found.st_size} bytes; at most {limit} are read")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"the file {path.name} is missing") from error
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read ({error.strerror})") from error
