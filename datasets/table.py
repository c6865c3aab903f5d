"""Tables of the user: CSV, TSV and JSON Lines, read with each bad row; and names of columns.

Columns are named by the user, or detected by their usual names.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from datasets.files import SUFFIXES, content

_KINDS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "tsv", ".jsonl": "jsonl",
          ".ndjson": "jsonl"}  # fmt: skip
_SAVE = "save the whole table in UTF-8"
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_LIKELY = {  # characters that texts of a kind consist of, beside ASCII
    "Japanese": re.compile("[\u3000-\u30ff\u4e00-\u9fff\uff01-\uff60]"),
    "Western": re.compile("[\u00a0-\u017f\u2013-\u2026\u20ac]"),
}
_SUFFIXES = ".csv, .tsv (or .txt) or .jsonl"


@dataclass(frozen=True)
class Record:
    """A row of a table.

    number: of its line in the file, from 1.
    values: by column; missing ones and null are "".
    trouble: the reason why it is unusable, else "".
    """

    number: int
    values: Mapping[str, str]
    trouble: str = ""

    def value(self, column: str) -> str:
        """The value of a column; "" for the column "", although pandas gives its index no name."""
        return self.values.get(column, "").strip() if column else ""


def read_table(path: Path, quoted: bool | None = None) -> list[Record]:
    """All rows of a table, in UTF-8 or in UTF-16 with a byte order mark.

    CSV has commas or semicolons and a first row of names. TSV has tabs and the same, or only two
    columns without names, image and text, as the lists that TrOCR was trained with. Fields may be
    `quoted`: by default in CSV and not in TSV, where a text may begin with a double quote.

    Raises:
        UserError: the file is unreadable, of another kind or without columns.
    """
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise UserError(f"{path} is not a table: its name should end in {_SUFFIXES}")
    try:
        encoded = content(path)
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    text = _text(encoded)
    remedy = f"it is not UTF-8{'' if _encodable([text]) else _likely(encoded)}; {_SAVE}"
    if "\0" in text:
        raise UserError(f"{path} has NUL characters; is it UTF-16? {_SAVE}")
    if "\x1b$" in text:
        raise UserError(f"{path} has the escape codes of ISO-2022-JP; {_SAVE}")
    if kind == "jsonl":
        return list(_objects(text, remedy))
    quoting = quoted if quoted is not None else kind == "csv"
    return list(_rows(path, text, kind, quoting, remedy))


def _text(encoded: bytes) -> str:
    """Decode; undecodable bytes become lone surrogates, which mark their row as bad."""
    if encoded.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        whole = len(encoded) // 2 * 2
        return encoded[:whole].decode("utf-16", "surrogatepass")
    return encoded.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")


def _likely(encoded: bytes) -> str:
    """Guess the encoding of bytes that are not UTF-8, for the reason of a bad row."""
    for name, kind in (("cp932", "Japanese"), ("euc_jp", "Japanese"), ("cp1252", "Western")):
        with contextlib.suppress(UnicodeDecodeError):
            letters = [c for c in encoded.decode(name) if not c.isascii()]
            fitting = sum(bool(_LIKELY[kind].match(c)) for c in letters)
            if fitting > 0.9 * len(letters) and _written_so(encoded, name):
                return f" (it looks like {name}, {kind})"
    return ""


def _written_so(encoded: bytes, name: str) -> bool:
    """Whether the bytes beyond ASCII are distributed as in texts of an encoding."""
    high = [byte for byte in encoded if byte >= 0x80]
    if name == "cp932":  # kana and frequent kanji begin with these
        return 3 * sum(byte < 0xA0 for byte in high) > len(high)
    if name == "euc_jp":  # kana
        return 10 * sum(byte in (0xA4, 0xA5) for byte in high) > len(high)
    # Western letters stand by themselves between others; those of UTF-8 or Chinese do not.
    return 3 * sum(min(pair) >= 0x80 for pair in pairwise(encoded)) < len(high)


def _rows(path: Path, text: str, kind: str, quoted: bool, remedy: str) -> Iterator[Record]:
    """The rows of a table with a delimiter; a row over many lines has an unclosed quote."""
    first = text.partition("\n")[0]
    # Excel's CSV may have tabs.
    delimiter = "\t" if kind == "tsv" else max(",;\t", key=first.count)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    names: list[str] = []
    for number, fields, trouble in _numbered(reader):
        if not trouble and (not any(fields) or (not names and fields[0].startswith("sep="))):
            continue  # Excel's own first line names the delimiter
        if not trouble and not names:
            names = _names(path, fields, remedy)
            if names is not _NAMELESS:
                continue
        troubles = [trouble]
        if not trouble and len(fields) != len(names):
            troubles.append(f"it has {len(fields)} fields, not {len(names)}")
            if len(fields) > len(names) and quoted:
                hint = f"put a text that has a {_DELIMITERS[delimiter]} into double quotes"
                troubles.append(hint)
        elif not _encodable(fields):
            troubles.append(remedy)
        if reader.line_num > number:
            troubles.append(
                f"it goes on to line {reader.line_num}, as if its quote were never closed"
            )
        values = dict(zip(names, fields, strict=False))
        yield Record(number, values, "; ".join(filter(None, troubles)))


_NAMELESS = ["image", "text"]


def _names(path: Path, fields: Sequence[str], remedy: str) -> list[str]:
    """The names of the columns, from the first row."""
    if not _encodable(fields):
        raise UserError(f"the first row of {path} cannot be read: {remedy}")
    names = [field.strip() for field in fields]
    if len(names) == len(_NAMELESS) and names[0].lower().endswith(SUFFIXES):
        return _NAMELESS
    if len(names) < 2 or any(name.lower().endswith(SUFFIXES) for name in names):
        raise UserError(
            f"the first row of {path} names no columns ({', '.join(names)[:60]!r}); begin the "
            "table with a row such as image,text, with the same delimiter as below"
        )
    once_each(path, filter(None, names))
    return names


def once_each(table: object, names: Iterable[str]) -> None:
    """Refuse a table with two columns of one name."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{table} has the column {min(twice)!r} twice; give each its own name")


def _numbered(reader: Any) -> Iterator[tuple[int, list[str], str]]:
    """Rows, or reasons of unreadable ones, with the number of their first line."""
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader), ""
        except StopIteration:
            return
        except csv.Error as error:
            yield number, [], f"the row cannot be read ({error})"


def _encodable(texts: Iterable[str]) -> bool:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def _objects(text: str, remedy: str) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            # Numbers as they are written: 1.10 is a text of four characters. NaN is no text.
            value = json.loads(
                line,
                parse_float=str,
                parse_int=str,
                parse_constant=lambda _: None,
                object_pairs_hook=_once,
            )
        except (ValueError, RecursionError) as error:
            yield Record(number, {}, f"it is not JSON ({error})")
            continue
        if not isinstance(value, dict):
            yield Record(number, {}, "it is not a JSON object; write one a line")
            continue
        values = {
            name: "" if inner is None else inner if isinstance(inner, str) else json.dumps(inner)
            for name, inner in value.items()
            if not isinstance(inner, dict | list)
        }
        whole = _encodable((*values, *values.values()))
        yield Record(number, values, "" if whole else remedy)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, refusing repeated keys, of which `json` silently takes the last."""
    made = dict(pairs)
    if len(made) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{name!r} comes twice")
    return made


# The first that is there counts.
_USUAL: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "file_name", "filename", "file", "image_path", "path"),
    "text": ("text", "transcription", "transcript", "sentence", "ground_truth", "gt", "label"),
    "id": ("id", "line_id", "name"),
    "writer": ("writer", "writer_id", "author"),
    "block": ("block",),
    "page": ("page", "page_id", "form", "form_id", "document", "document_id"),
    "split": ("split", "partition"),
}


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns, "" for an absent one.

    Without ids, lines are numbered or named after their images; without splits, all are of one.
    """

    image: str = "image"
    text: str = "text"
    id: str = ""
    writer: str = ""
    block: str = ""
    page: str = ""
    split: str = ""

    def named(self) -> list[str]:
        """The columns that are read."""
        return [name for name in vars(self).values() if name]

    def check(self, table: object, names: Sequence[str]) -> None:
        """Refuse a table that lacks one of the columns; `names` are those that it has."""
        if absent := [name for name in self.named() if name not in names]:
            raise UserError(
                f"{table} has no column {' and no column '.join(absent)}; "
                f"its columns are {', '.join(names) or 'none'}"
            )


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Options that name the columns of a table.

    image, text, id, writer, block, page, split_column: column names; unset ones are detected by
        their usual names. Blocks are the units of resampling, by default the writers.
    split: the split of all lines, overriding any column.
    """

    image: str = ""
    text: str = ""
    id: str = ""
    writer: str = ""
    block: str = ""
    page: str = ""
    split_column: str = ""
    split: str = ""

    def columns(
        self, table: object, dataset: str, names: Sequence[str], images: Sequence[str] | None = None
    ) -> Columns:
        """The columns of a table.

        `table` and the registered `dataset` are for errors; `images` are the columns that can hold
        images, if known: a single one is taken.

        Raises:
            UserError: a column that the user named, or one for images or texts, is missing.
        """
        chosen = {**vars(self), "split": self.split_column}
        named = {
            what: chosen[what] or next((name for name in usual if name in names), "")
            for what, usual in _USUAL.items()
        }
        if images is not None and not self.image and named["image"] not in images:
            named["image"] = images[0] if len(images) == 1 else ""
        if self.split:
            named["split"] = ""
        columns = Columns(**named)
        columns.check(table, names)
        for what in ("image", "text"):
            if not named[what]:
                raise UserError(
                    f"{table} has no column that is known to hold the {what}; name one of "
                    f"{', '.join(names) or 'none'} with -o {dataset}.{what}=COLUMN"
                )
        return columns


def quoting_note(path: Path, texts: Sequence[str]) -> Iterator[str]:
    """Note texts of a TSV that look as if the table quoted its fields."""
    quoted = [text for text in texts if re.fullmatch(r'"([^"]|"")+"', text)]
    if quoted and _KINDS[path.suffix.lower()] == "tsv":
        yield (
            f"texts in double quotes as a whole: {len(quoted)} of {len(texts)}; if the table "
            "quotes its fields, read it with -o manifest.quoted=true"
        )


def named_by_option(dataset: str, split: str) -> str:
    """The remedy for a table without a split."""
    return f"where all lines are one split, -o {dataset}.split={split} names it"
