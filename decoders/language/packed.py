"""Compressed language models, unpacked into the cache because KenLM reads plain files."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from pathlib import Path
from typing import Any

import rich.progress
from rich.console import Console

from bench.core.cache import cache_folder, intact, seal
from bench.core.errors import UserError
from bench.core.files import check_regular, content_hash, draft_of
from bench.core.named import named
from bench.core.registry import did_you_mean

_READ: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open, b"]\0\0": lzma.open
}  # fmt: skip
_OTHERS = {b"\x28\xb5\x2f\xfd": "unzstd", b"PK\3\4": "unzip"}
_BLOCK = 1 << 20
# An ARPA file packs to a tenth; what grows more than this is made to fill the disk.
_MOST = 200


def unpacked(path: Path) -> Path:
    """Return the file of a model, or its unpacked copy if gzip, bzip2 or xz packed it.

    Raises:
        UserError: it cannot be read, is broken, is packed by another program, or the cache cannot
            be written.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            head = file.read(max(map(len, (*_READ, *_OTHERS))))
    except FileNotFoundError as error:
        names = named().models
        raise UserError(
            f"there is no language model {path}; name a file that is there, or a model of "
            f"kaidoku.toml{did_you_mean(str(path), names) if names else ''}"
        ) from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; name the language model's file in it") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    for magic, tool in _OTHERS.items():
        if head.startswith(magic):
            raise UserError(f"{path} is compressed; unpack it with {tool}")
    reader = next((read for magic, read in _READ.items() if head.startswith(magic)), None)
    if reader is None:
        return path
    stem = path.stem if path.suffix in (".gz", ".bz2", ".xz", ".lzma") else path.name
    copy = cache_folder("lm") / content_hash(path) / stem
    if not intact(copy):
        _unpack(path, reader, copy)
        seal(copy)
    return copy


def _unpack(path: Path, reader: Any, copy: Path) -> None:
    """Write the content, with progress for a large file."""
    most = _MOST * max(path.stat().st_size, _BLOCK)
    progress = rich.progress.open(
        path,
        "rb",
        description=f"unpacking {path.name}",
        console=Console(stderr=True),
        transient=True,
        disable=path.stat().st_size < 20 * _BLOCK,
    )
    with (
        draft_of(copy) as draft,
        progress as packed,
        draft.open("wb") as out,
    ):
        try:
            with reader(packed) as content:
                while block := content.read(_BLOCK):
                    out.write(block)
                    if out.tell() > most:
                        raise UserError(
                            f"{path} unpacks to over {_MOST} times its size; if it is "
                            "a model all the same, unpack it yourself"
                        )
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise UserError(f"{path} is broken ({error}); copy or download it again") from error
