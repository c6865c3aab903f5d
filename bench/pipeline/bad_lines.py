"""Files of unusable lines of data sets with reasons, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from bench.core.errors import UserError
from bench.core.files import read_bytes, write_atomically
from bench.core.named import without_paths
from bench.core.records import load
from bench.core.types import BadLine

NAME = "bad-lines.jsonl"


class Stored(TypedDict):
    """An unusable line."""

    dataset: str
    split: str
    id: str
    reason: str


def note(path: Path, dataset: str, split: str, bad: Sequence[BadLine]) -> None:
    """Write the bad lines of a split to a file, replacing those noted before.

    A file that would be empty is removed.
    """
    kept = [line for line in read(path) if (line["dataset"], line["split"]) != (dataset, split)]
    new = [
        Stored(dataset=dataset, split=split, id=x.id, reason=without_paths(x.reason)) for x in bad
    ]
    if kept + new:
        rows = (json.dumps(line, ensure_ascii=False) for line in kept + new)
        write_atomically(path, "".join(f"{row}\n" for row in rows).encode())
    else:
        path.unlink(missing_ok=True)


def read(path: Path) -> list[Stored]:
    """Read such a file; nothing where it is missing or damaged."""
    try:
        return [load(Stored, line, str(path)) for line in read_bytes(path).split(b"\n") if line]
    except (OSError, UserError):
        return []
