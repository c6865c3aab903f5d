"""UNIPEN's text lines: the public raw files to `unipen_lines.tsv` and its strokes.

The rules by which `unipen.txt` chose the lines, of category 8 of aga apa app art bba bbb bbc bbd
dar hpb phi, and of lex: quality is not BAD, no stroke is blank (all its points 0 0: such ink was
withdrawn by its donors), at least 8 characters and 2 words of 1.7 letters on average, the strokes
form one line, and width / height / characters lies between 0.10 and 1.6. An item of the list is
the number of a line among all that its contributor labelled, kept or not.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

from bench.core.metrics import normalise
from bench.core.progress import Report
from datasets.rebuild.selection import Selection
from datasets.rebuild.tree import Tree
from datasets.rebuild.unipen_raw import Segment, segments
from datasets.splits import split_of
from datasets.unipen import COLUMNS, HEIGHT, MARGIN, STROKES, TABLE

# Their transcribers set words and punctuation apart: "found $ 7 5 0 , and Maxwell 's".
_SPACED = ("dar", "hpb", "phi")
_BETWEEN_DIGITS = re.compile(r"(?<=\b\d) (?=\d\b)")
_BEFORE_MARK = re.compile(r" (?=[,.;:?!]|'s\b)")


def build(tree: Tree, chosen: Selection, folder: Path, report: Report) -> list[str]:
    """Write both files into a folder.

    Returns:
        The chosen lines that the source does not have.
    """
    missing: list[str] = []
    rows = ["\t".join(COLUMNS)]
    total = sum(len(items) for items in chosen.values())
    with (
        (folder / STROKES).open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=0) as strokes,
    ):
        for contributor in sorted(chosen):
            wanted = set(chosen[contributor])
            for number, segment in enumerate(segments(tree, contributor)):
                if str(number) not in wanted or not segment.strokes:
                    continue
                wanted.remove(str(number))
                record = _record(contributor, number, segment)
                strokes.write(f"{_json(record)}\n".encode())
                rows.append("\t".join(_row(record, segment.quality)))
                report("reading ink", len(rows) - 1, total)
            missing += [f"{contributor} {number}" for number in sorted(wanted, key=int)]
    (folder / TABLE).write_text("\n".join([*rows, ""]), encoding="utf-8", newline="\n")
    return missing


def _record(contributor: str, number: int, segment: Segment) -> dict[str, object]:
    text = normalise(segment.label)
    if contributor in _SPACED:
        text = _BEFORE_MARK.sub("", _BETWEEN_DIGITS.sub("", text))
    hand = re.sub(r"[^A-Za-z0-9]", "", segment.writer.partition("/")[2])[:16]
    return {
        "file": f"{contributor}_{hand}_{number:05d}.png",
        "writer": segment.writer,
        "src": segment.source,
        "text": text,
        "strokes": segment.strokes,
    }


def _row(record: dict[str, object], quality: str) -> list[str]:
    file, writer, text = (str(record[key]) for key in ("file", "writer", "text"))
    strokes = record["strokes"]
    assert isinstance(strokes, list)
    points = [point for stroke in strokes for point in stroke]
    wide, high = (max(p[i] for p in points) - min(p[i] for p in points) for i in (0, 1))
    scale = (HEIGHT - 2 * MARGIN) / max(high, 1)
    width = int(wide * scale) + 2 * MARGIN
    return [file, writer, split_of(writer), str(width), str(HEIGHT), quality, text]


def _json(record: dict[str, object]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))
