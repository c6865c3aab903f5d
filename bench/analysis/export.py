"""Damaged copies of a data set on disk, for others to read the same images.

A copy is a folder of its own, `<damage>-<severity>-<seed>` or `clean`:

    export.json      what it was made of: set, damage, severity, seed, versions of the code
    images/*.png     8-bit grey
    manifest.jsonl   a line of JSON each: image, text, id, writer, block, page, split, boxes, ink
                     that is lost, share of each character that is still to be seen
    SHA256SUMS       for `sha256sum -c SHA256SUMS`

The data set `manifest` reads it back. A copy takes its place when it is whole, so that one that was
stopped is made again.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.core.errors import UserError
from bench.core.files import plain_errors
from bench.core.hashing import code_version, plain
from bench.core.types import Condition, Image, Line, LineSet
from bench.pipeline.opening import Track
from bench.pipeline.plan import CLEAN
from datasets.damage.base import SUITE, Damage, Damaged, others
from datasets.damage.visible import visible_shares

MANIFEST, RECORD, SUMS = "manifest.jsonl", "export.json", "SHA256SUMS"

Record = dict[str, Any]


@dataclass(frozen=True)
class Exported:
    """A copy on disk, and whether it was made now or there already."""

    path: Path
    made: bool


def export(
    lineset: LineSet,
    condition: Condition,
    damage: Damage | None,
    options: Mapping[str, Any],
    folder: Path,
    track: Track,
) -> Exported:
    """Write a copy of a set under a damage (None for a clean one), unless it is there.

    The copy gets a folder of its own in `folder`; `options` are the user's of data set and damage,
    for the record.

    Raises:
        UserError: another copy lies there, or the folder cannot be written.
    """
    path, record = folder / name_of(condition), _record(lineset, condition, damage, options)
    if path.exists():
        _check_same(path, record)
        return Exported(path, made=False)
    draft = path.with_name(f"{path.name}.unfinished")
    neighbours = others(lineset.lines, condition.dataset, condition.seed)
    pairs = list(zip(lineset.lines, neighbours, strict=True))
    severity, seed = condition.severity, condition.seed
    with plain_errors(draft):
        shutil.rmtree(draft, ignore_errors=True)  # left by one that was stopped
        (draft / "images").mkdir(parents=True)
        rows = []
        for number, (line, other) in enumerate(track(pairs, f"writing {path.name}")):
            result = Damaged(line, None, None)
            if damage is not None:
                result = damage.apply(line, condition.dataset, severity, seed, other)
            rows.append(_write_line(draft, number, line, result))
        manifest = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
        sums = [f"{row['sha256']}  {row['image']}\n" for row in rows]
        sums.append(f"{_sha256(manifest)}  {MANIFEST}\n")
        (draft / RECORD).write_text(
            json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8"
        )
        (draft / SUMS).write_text("".join(sums), "utf-8")
        (draft / MANIFEST).write_bytes(manifest)
        draft.rename(path)
    return Exported(path, made=True)


def name_of(condition: Condition) -> str:
    """The folder of a copy."""
    if condition.damage == CLEAN:
        return "clean"
    return f"{condition.damage}-{condition.severity}-{condition.seed}"


def _record(
    lineset: LineSet, condition: Condition, damage: Damage | None, options: Mapping[str, Any]
) -> Record:
    return {
        "suite": SUITE,
        "dataset": condition.dataset,
        "split": condition.split,
        "dataset_sha256": lineset.sha256,
        "lines": len(lineset.lines),
        "source": lineset.source,
        "licence": lineset.licence,
        "references": lineset.references,
        "boxes": sorted({line.box_source for line in lineset.lines}),
        "damage": condition.damage,
        "severity": condition.severity,
        "seed": condition.seed,
        "options": plain(options),
        "code": code_version((type(damage).__module__,)) if damage else "",
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def _check_same(path: Path, record: Record) -> None:
    """Refuse a folder that holds anything but the same copy."""
    try:
        there = json.loads((path / RECORD).read_bytes())
        differ = [name for name, value in record.items() if there.get(name) != value]
    except (OSError, ValueError, AttributeError):
        differ = [RECORD]
    if differ:
        raise UserError(
            f"{path} holds something else (it differs in {', '.join(differ)}); "
            "delete it or choose another folder"
        )


def _write_line(path: Path, number: int, line: Line, result: Damaged) -> Record:
    """Write an image; its row of the manifest."""
    # An id may hold anything, slashes too; the number alone keeps files apart.
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", line.id)[:80].strip(".-")
    image = f"images/{number:06d}-{stem}.png"
    encoded = _png(result.line.image)
    (path / image).write_bytes(encoded)
    boxes = result.line.boxes
    return {
        "number": number,
        "image": image,
        "text": line.text,
        "id": line.id,
        "writer": line.writer,
        "block": line.block,
        "page": line.page,
        "split": line.split,
        "ink_lost": result.ink_lost,
        "visible": None if result.mask is None else _numbers(visible_shares(line, result)),
        "boxes": None if boxes is None else [_numbers(box) for box in boxes],
        "box_source": result.line.box_source,
        "sha256": _sha256(encoded),
    }


def _numbers(values: np.ndarray[Any, np.dtype[np.float32]]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _png(image: Image) -> bytes:
    _, encoded = cv2.imencode(".png", image)
    content: bytes = encoded.tobytes()
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
