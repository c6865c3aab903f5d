"""Cache of derived data: language models, damaged lines, leaks.

Disks and copies damage files silently, so everything has a checksum: before an entry's content, or
beside a file that another program reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from bench.core.errors import UserError
from bench.core.files import content_hash, write_atomically

_SEAL = ".sha256"


def cache_folder(kind: str) -> Path:
    """Return the cache folder of a kind, created if missing.

    Its parent is `KAIDOKU_CACHE`, else `kaidoku` under `XDG_CACHE_HOME`, else `~/.cache/kaidoku`.

    Raises:
        UserError: it cannot be created.
    """
    own = os.environ.get("KAIDOKU_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(own or f"{base}/kaidoku").expanduser() / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the cache folder {folder} ({error.strerror}); set KAIDOKU_CACHE to a "
            "folder that may be written to"
        ) from error
    return folder


def keep(path: Path, content: bytes) -> None:
    """Write an entry.

    Raises:
        UserError: the folder may not be written to, or the disk is full.
    """
    write_atomically(path, _checksum(path, content) + content)


def kept(path: Path) -> bytes | None:
    """Read an entry; None where there is none, or a damaged one (which is deleted)."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    checksum, content = data[:32], data[32:]
    if checksum == _checksum(path, content):
        return content
    with contextlib.suppress(OSError):
        path.unlink()
    return None


def seal(path: Path) -> None:
    """Write a file's checksum beside it.

    Raises:
        UserError: the folder may not be written to, or the disk is full.
    """
    write_atomically(path.with_name(path.name + _SEAL), content_hash(path, 64).encode())


def intact(path: Path, seen: Callable[[int], None] = lambda done: None) -> bool:
    """Whether a file still matches its checksum; `seen` is called with the bytes checked."""
    try:
        seal = path.with_name(path.name + _SEAL).read_bytes()
        return seal == content_hash(path, 64, seen).encode()
    except OSError:
        return False


def _checksum(path: Path, content: bytes) -> bytes:
    """Hash the content with the name, which identifies the inputs that it was made from."""
    return hashlib.sha256(path.name.encode() + b"\0" + content).digest()
