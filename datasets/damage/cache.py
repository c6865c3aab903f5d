"""A disk cache of damaged lines.

A file holds the lines of one condition. Its name is a hash of the suite and its code, the damage
with its options, severity and seed, and the pixels, texts and boxes of the lines.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.cache import cache_folder, keep, kept
from bench.core.errors import UserError
from bench.core.files import UNFINISHED
from bench.core.hashing import code_version
from bench.core.types import Line
from datasets.damage.base import SUITE, Damage, Damaged, damaged_lines

LIMIT = 2 << 30  # bytes of all files together; the least recently read are removed first


def cached_lines(
    damage: Damage,
    lines: Sequence[Line],
    dataset: str,
    severity: int,
    seed: int,
    places: Sequence[int] | None = None,
) -> Iterator[Damaged]:
    """Damage lines as `damaged_lines` does, or read them from the disk.

    They are cached once the last one was consumed. An unusable cache only costs time.

    Raises:
        UserError: the severity is not one of 0 to 5.
    """
    chosen = lines if places is None else [lines[place] for place in places]
    name = f"{_identity(damage, lines, dataset, severity, seed, places)}.lines"
    try:
        path = cache_folder("damage") / name
    except UserError:
        yield from damaged_lines(damage, lines, dataset, severity, seed, places)
        return
    if (content := kept(path)) is not None:
        with contextlib.suppress(OSError):
            os.utime(path)  # mark as recently read
        yield from _unpacked(chosen, content)
        return
    made = []
    for item in damaged_lines(damage, lines, dataset, severity, seed, places):
        made.append(item)
        yield item
    _keep(path, made)


def _identity(damage: Damage, lines: Sequence[Line], *facts: object) -> str:
    code = code_version((type(damage).__module__, __name__))
    hashed = hashlib.blake2b(digest_size=16)
    for part in (SUITE, code, repr(damage), *facts):
        hashed.update(f"{part}\0".encode())
    for line in lines:
        known = (line.id, line.text, line.box_source, line.image.shape, line.boxes is None)
        hashed.update(repr(known).encode())
        hashed.update(line.image.tobytes())
        if line.boxes is not None:
            hashed.update(line.boxes.tobytes())
    return hashed.hexdigest()


def _keep(path: Path, made: Sequence[Damaged]) -> None:
    with contextlib.suppress(UserError, OSError):
        content = _packed(made)
        if len(content) <= LIMIT // 4:  # more would evict everything else
            keep(path, content)
            _make_room(path.parent)


def _make_room(folder: Path) -> None:
    files = [(path, path.stat()) for path in folder.iterdir() if path.suffix != UNFINISHED]
    left = sum(facts.st_size for _, facts in files)
    for path, facts in sorted(files, key=lambda file: file[1].st_mtime):
        if left <= LIMIT:
            return
        path.unlink(missing_ok=True)
        left -= facts.st_size


def _packed(made: Sequence[Damaged]) -> bytes:
    """The arrays of each line by its place, as a compressed archive of numpy."""
    arrays: dict[str, Any] = {}
    for place, item in enumerate(made):
        facts: dict[str, Any] = {"image": item.line.image, "boxes": item.line.boxes}
        facts |= {"mask": item.mask, "source": item.line.box_source, "lost": item.ink_lost}
        arrays |= {f"{name} {place}": fact for name, fact in facts.items() if fact is not None}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _unpacked(lines: Sequence[Line], content: bytes) -> Iterator[Damaged]:
    with np.load(io.BytesIO(content)) as arrays:
        for place, clean in enumerate(lines):
            line = dataclasses.replace(
                clean,
                image=arrays[f"image {place}"],
                boxes=arrays.get(f"boxes {place}"),
                box_source=str(arrays[f"source {place}"]),
            )
            lost = arrays.get(f"lost {place}")
            mask = arrays.get(f"mask {place}")
            yield Damaged(line, mask, None if lost is None else float(lost))
