"""Real ink that ships with the project: `python -m datasets.embed` builds it from the data root.

Val and test parts of two public sources (licences in `embedded/README.md`). Builds with the same
library versions are equal byte for byte.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datasets.base import spread
from datasets.joined import CHARACTERS
from datasets.root import data_root
from datasets.sources import EMBEDDED, SOURCES
from datasets.splits import split_of
from datasets.unipen import COLUMNS, STROKES, TABLE, read_index, read_pieces, read_strokes

HOOKER_LINES = {"test": 300, "val": 200}


def build(root: Path, out: Path = EMBEDDED) -> dict[str, int]:
    """Write the embedded files from a data root, and return their sizes in bytes."""
    characters = root / CHARACTERS
    kept = (
        record
        for piece, record in zip(read_pieces(characters), read_strokes(characters), strict=True)
        if split_of(piece.writer) != "train"
    )
    files = {CHARACTERS: _compressed(kept)}
    rows, strokes = [], []
    for row, record in zip(read_index(root / TABLE), read_strokes(root / STROKES), strict=True):
        if row["split"] != "train":
            rows.append("\t".join(row[name] for name in COLUMNS) + "\n")
            strokes.append(record)
    files[TABLE] = "".join(["\t".join(COLUMNS) + "\n", *rows]).encode()
    files[STROKES] = _compressed(strokes)
    (hooker,) = SOURCES["hooker"].files
    files[hooker] = _some_lines(root / hooker)
    out.mkdir(exist_ok=True)
    for name, content in files.items():
        (out / name).write_bytes(content)
    return {name: len(content) for name, content in files.items()}


def _compressed(records: Iterable[bytes]) -> bytes:
    return gzip.compress(b"".join(records), 9, mtime=0)


def _some_lines(path: Path) -> bytes:
    """Lines of val and test, spread evenly over their letters."""
    table = pq.read_table(path)
    splits = table.column("split").to_pylist()
    places: list[int] = []
    for split, count in HOOKER_LINES.items():
        every = [place for place, name in enumerate(splits) if name == split]
        places += spread(every, count)
    buffer = io.BytesIO()
    pq.write_table(table.take(pa.array(sorted(places))), buffer, compression="none")
    return buffer.getvalue()


if __name__ == "__main__":
    root = data_root()
    if root is None:
        raise SystemExit("error: no data root; see python -m bench data list")
    for name, size in build(root).items():
        print(f"{size:>10,}  {name}")
