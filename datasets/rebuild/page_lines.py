"""Line sets from scanned pages with transcriptions, as Parquet files.

The rules behind `hooker.txt` and `copiste.txt`. Hooker: the line has at least 3 characters, is not
all in capitals (a printed letterhead), and its crop lies on the page, is 30 to 420 px high, and at
least 1.2 times as wide as high. Copiste: the line is not part of the sentence of consent that every
volunteer copied, nor the number of the text; it has no crossing-out marks (< and >), and is not
short.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from bench.core.errors import UserError
from bench.core.progress import Report
from datasets.crops import crop, jpeg, outlines, shrink
from datasets.files import decode
from datasets.page_xml import PageLine, Transcript, parse_alto, parse_page
from datasets.rebuild.git import Tree
from datasets.sources import SOURCES, Selection
from datasets.splits import split_of

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("text", pa.string()),
        ("writer", pa.string()),
        ("split", pa.string()),
    ]
)

_ROWS = 500  # of a row group: what a reader holds at a time

_TEXT_NUMBER = re.compile(r"wikitexte_(\d+)")


@dataclass(frozen=True)
class PageSet:
    """The conversion of a source's pages to lines.

    file: the Parquet file.
    parse: reads a transcription.
    encode: page, outline of a line to its JPEG.
    group: the letter or text that a page belongs to, by the stem of its file; splits are by group.
    line_id: group, stem and item to the line's id.
    """

    file: str
    parse: Callable[[bytes, str], Transcript]
    encode: Callable[[Image.Image, Any], bytes]
    group: Callable[[str], str]
    line_id: Callable[[str, str, str], str]


def build(pages: PageSet, tree: Tree, chosen: Selection, folder: Path, report: Report) -> list[str]:
    """Write the Parquet file into a folder.

    Returns:
        The chosen lines that the source does not have.
    """
    missing: list[str] = []
    texts, pictures = _by_stem(tree, ".xml"), _by_stem(tree, ".jpg")
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(folder / pages.file, SCHEMA, compression="zstd") as writer:
        for number, stem in enumerate(sorted(chosen)):
            report("cutting lines out of pages", number, len(chosen))
            if stem not in texts or stem not in pictures:
                missing += [f"{stem} {item}" for item in sorted(chosen[stem])]
                continue
            transcript = pages.parse(tree[texts[stem]], texts[stem])
            lines = [line for line in transcript.lines if len(line.polygon)]
            picture = _grey(tree[pictures[stem]], pictures[stem])
            done = list(_rows(pages, stem, lines, picture, chosen[stem]))
            cut = {item for item, _ in done}
            missing += [f"{stem} {item}" for item in sorted(chosen[stem] - cut)]
            rows += [row for _, row in done]
            while len(rows) >= _ROWS:
                writer.write_table(pa.Table.from_pylist(rows[:_ROWS], SCHEMA))
                del rows[:_ROWS]
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    return missing


def _rows(
    pages: PageSet,
    stem: str,
    lines: list[PageLine],
    picture: Image.Image,
    chosen: frozenset[str],
) -> Iterator[tuple[str, dict[str, Any]]]:
    group = pages.group(stem)
    for line, outline in zip(lines, outlines(lines), strict=True):
        if line.item not in chosen:
            continue
        name = pages.line_id(group, stem, line.item)
        try:
            image = {"bytes": pages.encode(picture, outline), "path": f"{name}.jpg"}
        except ValueError:  # not on its page: then it is missing
            continue
        yield (
            line.item,
            {
                "id": name,
                "image": image,
                "text": line.text,
                "writer": group,
                "split": split_of(group),
            },
        )


def _by_stem(names: Iterable[str], suffix: str) -> dict[str, str]:
    """Names by stem; of equal stems in different folders the last name counts."""
    paths = (PurePosixPath(name) for name in names)
    return {path.stem: str(path) for path in paths if path.suffix.lower() == suffix}


def _grey(content: bytes, name: str) -> Image.Image:
    try:
        return Image.fromarray(decode(content, upright=False))
    except ValueError as error:
        raise UserError(f"the page {name} cannot be read as a picture ({error})") from error


def _copiste_jpeg(page: Image.Image, outline: Any) -> bytes:
    """Encode at 56 px, by way of 96 px as in the recorded set, to get the same pixels."""
    first = io.BytesIO(jpeg(crop(page, outline, 96), 80))
    return jpeg(shrink(Image.open(first), 56), 70)


def _text_of(stem: str) -> str:
    """`wikitexte_0221_double_1` to `t0221d`: the second copy of a text is a group of its own."""
    match = _TEXT_NUMBER.search(stem)
    return f"t{match[1] if match else stem}{'d' if 'double' in stem else ''}"


HOOKER = PageSet(
    file=SOURCES["hooker"].files[0],
    parse=parse_page,
    encode=lambda page, outline: jpeg(crop(page, outline, 112), 85),
    group=lambda stem: "_".join(stem.split("_")[:4]),
    line_id=lambda group, stem, item: f"{stem}_{item}",
)

COPISTE = PageSet(
    file=SOURCES["copiste"].files[0],
    parse=parse_alto,
    encode=_copiste_jpeg,
    group=_text_of,
    line_id=lambda group, stem, item: f"{group}__{stem}_{item}",
)
