"""Atomic writes, for every result, checkpoint and model; text files and content hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.core.errors import UserError

UNFINISHED = ".tmp"  # suffix of a draft


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Yield a draft beside `path` that replaces it at the end, or is deleted on an error.

    Missing folders are created.

    Raises:
        UserError: the folder may not be written to, or the disk is full.
    """
    with plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    # Threads, and machines that share a disk, may write the same cache entry at the same time.
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}{UNFINISHED}")
    try:
        with plain_errors(path):
            yield draft
            with draft.open("rb") as file:
                os.fsync(file.fileno())  # a rename must not overtake the bytes
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        UserError: the folder may not be written to, or the disk is full.
    """
    with draft_of(path) as draft:
        draft.write_bytes(content)


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusals to write into a sentence that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(
                f"no space left to write {path}; free some and run again, what was finished is kept"
            ) from error
        raise UserError(
            f"cannot write {path}: {error.strerror}; choose a folder that you may write to"
        ) from error


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        OSError: it cannot be read, or is a pipe or a device.
    """
    check_regular(path)
    return path.read_bytes()


def check_regular(path: Path) -> None:
    """Raise an `OSError` for a pipe or a device, which may never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))


def write_files(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files by their paths in a folder, each whole or not at all."""
    for name, content in files.items():
        write_atomically(folder / name, content)
    return [folder / name for name in files]


def content_hash(
    path: Path, length: int = 16, seen: Callable[[int], None] = lambda done: None
) -> str:
    """The first `length` hex digits of SHA-256 over a file's bytes.

    The same as the Hub's own hash of a large file. `seen` is called with the bytes done.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            seen(file.tell())
    return digest.hexdigest()[:length]


def read_text(paths: Iterable[Path]) -> list[str]:
    """Read the lines of text files that are not blank, in NFC as all references are.

    Raises:
        UserError: a file is missing, no text, or not UTF-8.
    """
    lines = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 text; convert it with iconv") from error
        if "\0" in text:
            raise UserError(f"{path} is no text file: it has NUL characters")
        text = unicodedata.normalize("NFC", text)
        lines += [line for line in text.split("\n") if line.strip()]
    return lines
