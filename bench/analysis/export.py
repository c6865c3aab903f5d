"""Damaged copies of a data set on disk, for others to read the same images.

A copy is a folder of its own, `<damage>-<severity>-<seed>` or `clean`:

    export.json      what it was made of: set, damage, severity, seed, versions of the code
    images/*.png     8-bit grey
    manifest.jsonl   a line of JSON each: image, text, id, writer, block, page, split, boxes, ink
                     that is lost, share of each character that is still to be seen
    SHA256SUMS       for `sha256sum -c SHA256SUMS`

The data set `manifest` reads it back. The manifest is written last: while it is missing the copy is
unfinished, and making it again goes on after the last line that is whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.core.errors import UserError
from bench.core.files import plain_errors, write_atomically
from bench.core.hashing import code_version, plain
from bench.core.types import Condition, Image, Line, LineSet
from bench.pipeline.opening import Track
from bench.pipeline.plan import CLEAN
from datasets.damage.base import SUITE, Damage, Damaged, others
from datasets.damage.visible import visible_shares

MANIFEST, RECORD, SUMS = "manifest.jsonl", "export.json", "SHA256SUMS"
UNFINISHED = "manifest.part.jsonl"  # rows that are whole, while the copy is being made

Record = dict[str, Any]


@dataclass(frozen=True)
class Exported:
    """A copy on disk.

    made, reused: lines that were damaged now, and that were there already.
    """

    path: Path
    made: int
    reused: int


def export(
    lineset: LineSet,
    condition: Condition,
    damage: Damage | None,
    options: Mapping[str, Any],
    folder: Path,
    track: Track,
) -> Exported:
    """Write a copy of a set under a damage, or resume an unfinished one.

    Args:
        lineset: the clean lines.
        condition: how they are damaged.
        damage: None for the clean copy.
        options: of data set and damage, as the user gave them, for the record.
        folder: in which the copy gets a folder.
        track: draws the progress.

    Raises:
        UserError: another copy lies there, or the folder cannot be written.
    """
    path = folder / name_of(condition)
    with plain_errors(path):
        (path / "images").mkdir(parents=True, exist_ok=True)
    _claim(path, _record(lineset, condition, damage, options))
    if (path / MANIFEST).is_file():
        return Exported(path, 0, len(lineset.lines))
    done = _finished(path)
    write_atomically(path / UNFINISHED, b"".join(map(_json, done.values())))
    neighbours = others(lineset.lines, condition.dataset, condition.seed)
    work = list(enumerate(zip(lineset.lines, neighbours, strict=True)))
    todo = [(number, pair) for number, pair in work if number not in done]
    with plain_errors(path), (path / UNFINISHED).open("ab") as journal:
        for number, (line, other) in track(todo, f"writing {path.name}"):
            result = (
                Damaged(line, None, None)
                if damage is None
                else damage.apply(
                    line, condition.dataset, condition.severity, condition.seed, other
                )
            )
            done[number] = _write_line(path, number, line, result)
            journal.write(_json(done[number]))
            journal.flush()
    _finish(path, [done[number] for number, _ in work])
    return Exported(path, len(todo), len(work) - len(todo))


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


def _claim(path: Path, record: Record) -> None:
    """Record the copy's origin, or check it against an existing copy."""
    file = path / RECORD
    if not file.is_file():
        if any((path / "images").iterdir()) or (path / MANIFEST).exists():
            raise UserError(f"{path} holds files of something else; choose another folder")
        write_atomically(file, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())
        return
    try:
        there = json.loads(file.read_bytes())
        differ = [name for name, value in record.items() if there.get(name) != value]
    except (ValueError, AttributeError):
        differ = [RECORD]
    if differ:
        raise UserError(
            f"{path} holds another copy (it differs in {', '.join(differ)}); "
            "delete it or choose another folder"
        )


def _finished(path: Path) -> dict[int, Record]:
    """The rows of an unfinished copy whose images are intact, by number."""
    try:
        rows = (path / UNFINISHED).read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    finished = {}
    for number, row in ((row["number"], row) for row in map(_parsed, rows) if row):
        try:
            whole = _sha256((path / row["image"]).read_bytes()) == row["sha256"]
        except OSError:
            whole = False
        if whole:
            finished[number] = row
    return finished


def _parsed(text: bytes) -> Record | None:
    """Parse a row; None if torn."""
    try:
        row = json.loads(text)
    except ValueError:
        return None
    return row if isinstance(row, dict) and {"number", "image", "sha256"} <= set(row) else None


def _write_line(path: Path, number: int, line: Line, result: Damaged) -> Record:
    """Write an image; its row of the manifest."""
    # An id may hold anything, slashes too; the number alone keeps files apart.
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", line.id)[:80].strip(".-")
    image = f"images/{number:06d}-{stem}.png"
    encoded = _png(result.line.image)
    write_atomically(path / image, encoded)
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


def _finish(path: Path, rows: Sequence[Record]) -> None:
    """Write the checksums, and the manifest last."""
    sums = [f"{row['sha256']}  {row['image']}\n" for row in rows]
    manifest = b"".join(map(_json, rows))
    sums.append(f"{_sha256(manifest)}  {MANIFEST}\n")
    write_atomically(path / SUMS, "".join(sums).encode())
    write_atomically(path / MANIFEST, manifest)
    (path / UNFINISHED).unlink()


def _json(row: Record) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
