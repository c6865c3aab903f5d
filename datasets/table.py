"""Tables that people write: CSV, TSV and JSON Lines to rows of text, bad rows told one by one."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.errors import UserError
from datasets.images import SUFFIXES
from datasets.paths import content

_KINDS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "tsv", ".jsonl": "jsonl",
          ".ndjson": "jsonl"}  # fmt: skip
_SUFFIXES = ".csv, .tsv (or .txt) or .jsonl"


@dataclass(frozen=True)
class Record:
    """A row of a table.

    number: of its line in the file, from 1.
    values: by column; missing ones and null are "".
    trouble: why it cannot be used; "" when it can.
    """

    number: int
    values: Mapping[str, str]
    trouble: str = ""


def read_table(path: Path, quoted: bool | None = None) -> list[Record]:
    """All rows of a table, in UTF-8 or in UTF-16 with a byte order mark.

    CSV has commas or semicolons and a first row of names; so has TSV, with tabs, or it has no
    names and two columns, image and text, as the lists that TrOCR was trained with.

    Args:
        path: its suffix tells what it is.
        quoted: whether fields may stand in double quotes; by default in CSV and not in TSV, where
            a text may begin with one.

    Raises:
        UserError: the file cannot be read, is of no such kind or has no columns.
    """
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise UserError(f"{path} is no table that can be read: its name should end in {_SUFFIXES}")
    try:
        text = _text(content(path))
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if kind == "jsonl":
        return list(_objects(text))
    quoting = quoted if quoted is not None else kind == "csv"
    return list(_rows(path, text, _delimiter(kind, text), quoting))


def _text(encoded: bytes) -> str:
    """The text; what is no UTF-8 becomes lone surrogates, by which its row is known to be bad."""
    if encoded.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return encoded.decode("utf-16", "replace")
    return encoded.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")


def _delimiter(kind: str, text: str) -> str:
    if kind == "tsv":
        return "\t"
    first = text.partition("\n")[0]
    return ";" if first.count(";") > first.count(",") else ","


def _rows(path: Path, text: str, delimiter: str, quoted: bool) -> Iterator[Record]:
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
    )
    names: list[str] = []
    for number, fields in _numbered(reader):
        if isinstance(fields, str):
            yield Record(number, {}, fields + _swallowed(number, reader.line_num))
        elif any(fields):
            named = bool(names)
            names = names or _names(path, fields)
            if named or names is _NAMELESS:
                record = _record(number, names, fields)
                more = _swallowed(number, reader.line_num) if record.trouble else ""
                yield replace(record, trouble=record.trouble + more)


_NAMELESS = ["image", "text"]


def _names(path: Path, fields: Sequence[str]) -> list[str]:
    """The names of the columns by the first row."""
    if len(fields) == len(_NAMELESS) and fields[0].strip().lower().endswith(SUFFIXES):
        return _NAMELESS
    names = [field.strip() for field in fields]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{path} has the column {min(twice)!r} twice; give each its own name")
    return names


def _numbered(reader: Any) -> Iterator[tuple[int, list[str] | str]]:
    """Rows with the number of the line that they begin at, or why one cannot be read."""
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, f"the row cannot be read ({error})"


def _swallowed(first: int, last: int) -> str:
    """What to say of a bad row that goes over many lines."""
    return f"; it goes on to line {last}: is a quote never closed?" if last > first else ""


def _record(number: int, names: Sequence[str], fields: Sequence[str]) -> Record:
    values = dict(zip(names, fields, strict=False))
    if len(fields) != len(names):
        return Record(number, values, f"it has {len(fields)} fields, not {len(names)}")
    return _checked(number, values)


def _objects(text: str) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Record(number, {}, f"it is not JSON ({error})")
            continue
        if not isinstance(found, dict):
            yield Record(number, {}, "it is no JSON object")
            continue
        plain = {name: value for name, value in found.items() if not isinstance(value, dict | list)}
        yield _checked(number, {n: "" if v is None else str(v) for n, v in plain.items()})


def _checked(number: int, values: Mapping[str, str]) -> Record:
    try:
        "".join(values.values()).encode()
    except UnicodeEncodeError:
        return Record(number, values, "it is not UTF-8; save the whole table in UTF-8")
    return Record(number, values)
