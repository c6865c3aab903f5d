"""A disk cache of damaged lines.

A file holds the lines of one condition. Its name is a hash of the suite and its code, the damage
with its options, severity and seed, and the pixels, texts and boxes of the lines.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.core.cache import cache_folder, keep, kept
from bench.core.errors import UserError
from bench.core.files import UNFINISHED
from bench.core.hashing import code_version
from bench.core.types import Line
from datasets.damage.base import SUITE, Damage, Damaged, damaged_lines

LIMIT = 2 << 30  # bytes of all files together; the least recently read are removed first

_SCHEMA = pa.schema(
    [
        pa.field("image", pa.binary(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("boxes", pa.binary()),
        pa.field("box_source", pa.string(), nullable=False),
        pa.field("mask", pa.binary()),
        pa.field("ink_lost", pa.float64()),
    ]
)


def cached_lines(
    damage: Damage, lines: Sequence[Line], dataset: str, severity: int, seed: int
) -> Iterator[Damaged]:
    """Damage lines as `damaged_lines` does, or read them from the disk.

    They are cached once the last one was consumed. An unusable cache only costs time.

    Raises:
        UserError: the severity is not one of 0 to 5.
    """
    path = _path(damage, lines, dataset, severity, seed)
    stored = None if path is None else _read(path, lines)
    if stored is not None:
        yield from stored
        return
    made = []
    for item in damaged_lines(damage, lines, dataset, severity, seed):
        made.append(item)
        yield item
    if path is not None:
        _keep(path, made)


def _path(
    damage: Damage, lines: Sequence[Line], dataset: str, severity: int, seed: int
) -> Path | None:
    """The file of these lines; None if there can be no cache."""
    try:
        folder = cache_folder("damage")
    except UserError:
        return None
    return folder / f"{_identity(damage, lines, dataset, severity, seed)}.lines"


def _identity(damage: Damage, lines: Sequence[Line], dataset: str, severity: int, seed: int) -> str:
    code = code_version((type(damage).__module__, __name__))
    hashed = hashlib.blake2b(digest_size=16)
    for part in (SUITE, code, repr(damage), dataset, severity, seed):
        hashed.update(f"{part}\0".encode())
    for line in lines:
        facts = (line.id, line.text, line.box_source, line.image.shape, line.boxes is None)
        hashed.update(repr(facts).encode())
        hashed.update(line.image.tobytes())
        if line.boxes is not None:
            hashed.update(line.boxes.tobytes())
    return hashed.hexdigest()


def _read(path: Path, lines: Sequence[Line]) -> list[Damaged] | None:
    """The lines of a file; None if it is missing or damaged."""
    content = kept(path)
    if content is None:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # mark as recently read
    rows = pq.read_table(pa.BufferReader(content), schema=_SCHEMA).to_pylist()
    return [_damaged(line, row) for line, row in zip(lines, rows, strict=True)]


def _keep(path: Path, made: Sequence[Damaged]) -> None:
    table = pa.Table.from_pylist([_row(item) for item in made], schema=_SCHEMA)
    if table.nbytes > LIMIT // 4:  # would evict everything else
        return
    try:
        content = pa.BufferOutputStream()
        pq.write_table(table, content, compression="zstd", compression_level=1)
        keep(path, content.getvalue().to_pybytes())
        _make_room(path.parent)
    except (UserError, OSError):
        return


def _make_room(folder: Path) -> None:
    files = [(path, path.stat()) for path in folder.iterdir() if path.suffix != UNFINISHED]
    left = sum(facts.st_size for _, facts in files)
    for path, facts in sorted(files, key=lambda file: file[1].st_mtime):
        if left <= LIMIT:
            return
        path.unlink(missing_ok=True)
        left -= facts.st_size


def _row(item: Damaged) -> dict[str, Any]:
    boxes, mask = item.line.boxes, item.mask
    height, width = item.line.image.shape
    return {
        "image": item.line.image.tobytes(),
        "height": height,
        "width": width,
        "boxes": None if boxes is None else boxes.astype(np.float32).tobytes(),
        "box_source": item.line.box_source,
        "mask": None if mask is None else np.packbits(mask).tobytes(),
        "ink_lost": item.ink_lost,
    }


def _damaged(clean: Line, row: Mapping[str, Any]) -> Damaged:
    shape = (row["height"], row["width"])
    boxes, mask = row["boxes"], row["mask"]
    line = dataclasses.replace(
        clean,
        image=_array(row["image"], np.uint8, shape),
        boxes=None if boxes is None else _array(boxes, np.float32, (-1, 2)),
        box_source=row["box_source"],
    )
    if mask is not None:
        bits = np.unpackbits(_array(mask, np.uint8, (-1,)), count=line.image.size)
        mask = bits.astype(bool).reshape(shape)
    return Damaged(line, mask, row["ink_lost"])


def _array(content: bytes, dtype: type, shape: tuple[int, ...]) -> NDArray[Any]:
    """A writable copy of numpy's read-only view of the bytes."""
    return np.frombuffer(content, dtype).reshape(shape).copy()
