"""Cache of derived data: language models, damaged lines, leaks.

Disks and copies damage files silently, so everything has a checksum: before an entry's content, or
beside a file that another program reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from bench.core.errors import UserError
from bench.core.files import content_hash, draft_of, write_atomically

_SEAL = ".sha256"
_LENGTH = hashlib.sha256().digest_size


def cache_folder(kind: str) -> Path:
    """Return the cache folder of a kind, created if missing.

    Its parent is `KAIDOKU_CACHE`, else `kaidoku` under `XDG_CACHE_HOME`, else `~/.cache/kaidoku`.

    Raises:
        UserError: it cannot be created.
    """
    own = os.environ.get("KAIDOKU_CACHE")
    base = os.environ.get("XDG_CACHE_HOME", "")
    base = base if Path(base).is_absolute() else "~/.cache"  # as its specification says
    folder = Path(own or f"{base}/kaidoku") / kind
    try:
        folder = folder.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~ before an unknown user
        reason = error.strerror if isinstance(error, OSError) else "there is no such home folder"
        raise UserError(
            f"cannot make the cache folder {folder} ({reason}); set KAIDOKU_CACHE to a folder "
            "that may be written to"
        ) from error
    return folder


def keep(path: Path, *parts: bytes | memoryview) -> None:
    """Write an entry, its content in parts."""
    with draft_of(path) as draft, draft.open("wb") as file:
        file.write(_checksum(path, parts))
        file.writelines(parts)


@contextlib.contextmanager
def kept_file(path: Path) -> Iterator[BinaryIO | None]:
    """Open an entry at its content; None where there is none, or a damaged one (it is deleted)."""
    try:
        file = path.open("rb")
    except OSError:
        yield None
        return
    with file:
        try:
            checksum = file.read(_LENGTH)
            sound = checksum == _checksum(path, iter(lambda: file.read(1 << 20), b""))
        except OSError:  # a bad sector
            sound = False
        if sound:
            file.seek(_LENGTH)
            yield file
            return
    with contextlib.suppress(OSError):
        path.unlink()
    yield None


def kept(path: Path) -> bytes | None:
    """Read an entry; None where there is none, or a damaged one."""
    with kept_file(path) as file:
        return None if file is None else file.read()


def seal(path: Path) -> None:
    """Write a file's checksum beside it."""
    write_atomically(path.with_name(path.name + _SEAL), content_hash(path, 64).encode())


def intact(path: Path, seen: Callable[[int], None] = lambda done: None) -> bool:
    """Whether a file still matches its checksum; `seen` is called with the bytes checked."""
    try:
        seal = path.with_name(path.name + _SEAL).read_bytes()
        return seal == content_hash(path, 64, seen).encode()
    except OSError:
        return False


def _checksum(path: Path, parts: Iterable[bytes | memoryview]) -> bytes:
    """Hash the content with the name, which identifies the inputs that it was made from."""
    digest = hashlib.sha256(path.name.encode() + b"\0")
    for part in parts:
        digest.update(part)
    return digest.digest()
