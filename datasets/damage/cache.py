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
from numpy.typing import NDArray

from bench.core.cache import cache_folder, keep, kept_file
from bench.core.errors import UserError
from bench.core.hashing import code_version
from bench.core.spill import Spill
from bench.core.types import Line
from datasets.damage.base import SUITE, Damage, Damaged, damaged_lines

_LENGTH = 8  # bytes of a number before each line: those that follow
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
    """
    chosen = lines if places is None else [lines[place] for place in places]
    name = f"{_identity(damage, lines, dataset, severity, seed, places)}.lines"
    try:
        path = cache_folder("damage") / name
    except UserError:
        yield from damaged_lines(damage, lines, dataset, severity, seed, places)
        return
    with kept_file(path) as file:
        if file is not None:
            with contextlib.suppress(OSError):
                os.utime(path)  # mark as recently read
            for line in chosen:
                yield _unpacked(line, file.read(int.from_bytes(file.read(_LENGTH))))
            return
    made, spill, size = [], Spill(), 0
    for item in damaged_lines(damage, lines, dataset, severity, seed, places):
        content = _packed(item)
        size += len(content)
        if size <= LIMIT // 4:  # more would evict everything else
            made.append(spill.keep(np.frombuffer(content, np.uint8)))
        yield item
    if len(made) == len(chosen):
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


def _keep(path: Path, made: Sequence[NDArray[np.uint8]]) -> None:
    with contextlib.suppress(UserError, OSError):
        keep(path, *(part for item in made for part in (len(item).to_bytes(_LENGTH), item.data)))
        _make_room(path.parent)


def _make_room(folder: Path) -> None:
    # Drafts too: one that is being written is among the newest, an old one was left by a kill.
    files = [(path, path.stat()) for path in folder.iterdir()]
    left = sum(facts.st_size for _, facts in files)
    for path, facts in sorted(files, key=lambda file: file[1].st_mtime):
        if left <= LIMIT:
            return
        path.unlink(missing_ok=True)
        left -= facts.st_size


def _packed(item: Damaged) -> bytes:
    """The arrays of a line, as a compressed archive of numpy."""
    facts: dict[str, Any] = {"image": item.line.image, "boxes": item.line.boxes}
    facts |= {"mask": item.mask, "source": item.line.box_source, "lost": item.ink_lost}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: fact for name, fact in facts.items() if fact is not None})
    return buffer.getvalue()


def _unpacked(clean: Line, content: bytes) -> Damaged:
    with np.load(io.BytesIO(content)) as arrays:
        line = dataclasses.replace(
            clean,
            image=arrays["image"],
            boxes=arrays.get("boxes"),
            box_source=str(arrays["source"]),
        )
        lost = arrays.get("lost")
        return Damaged(line, arrays.get("mask"), None if lost is None else float(lost))
