"""Typed records in JSON; an error names file, line and field of a value that does not fit.

JSON is what other programs read: UTF-8, no NaN and no infinity. A lone surrogate, which a decoder
may emit, is valid in JSON when it is escaped, but msgspec's parser does not read it: Python's does,
and msgspec checks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict, TypeVar

import msgspec

from bench.core.errors import UserError
from bench.core.types import Row

SCHEMA = 2

# The last field of a row in its file; rows of earlier versions have none.
_SEALED = re.compile(rb'(.*), "sha256": "([^"]*)"}\s*', re.DOTALL)

T = TypeVar("T")
Positive = Annotated[float, msgspec.Meta(gt=0)]


class CorruptError(UserError):
    """A text is not as it was written: not JSON (cut off), or of another checksum."""


class _Cpu(TypedDict, total=False):
    model: str
    cores: int | None
    usable_cores: int | None


class _Machine(TypedDict, total=False):
    os: list[str]
    python: str
    packages: dict[str, str | None]
    cpu: _Cpu
    gpu: list[str]


class _Git(TypedDict, total=False):
    commit: str
    dirty: bool


class Environment(TypedDict, total=False):
    """Entries of an environment record that code reads (`bench.core.machine.environment`)."""

    kaidoku: str
    git: _Git | None
    machine: _Machine
    memory_mib: float
    thread_variables: dict[str, str | None]
    gpus: list[dict[str, str]]


class _Extras(TypedDict, total=False):
    """Entries of `Row.extras` that code reads; others are only shown."""

    set_notes: list[str]
    encoder_notes: list[str]
    generation_applied: dict[str, Any]
    generation_ignored: dict[str, Any]
    distinct_lines: int
    parts: list[Positive]
    passes: list[list[Positive]]
    encode: list[float]
    gpu_clocks: dict[str, str]
    no_speed: str


def dump(record: Any) -> bytes:
    """Encode a record as a line of JSON, line feed included.

    Raises:
        ValueError: a number is not finite, which JSON cannot hold.
    """
    fields = msgspec.to_builtins(record)
    try:
        return (json.dumps(fields, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except UnicodeEncodeError:  # a lone surrogate
        return (json.dumps(fields, allow_nan=False) + "\n").encode()


def load(kind: type[T], text: bytes, where: str, remedy: str = "") -> T:
    """Decode a JSON text as `kind`, any type that msgspec can check.

    An error message begins with `where` ("run/rows.jsonl, line 3") and ends with `remedy`.

    Raises:
        UserError: the text does not fit.
        CorruptError: it is not JSON.
    """
    if b"\\u" not in text:  # the fast path, by a factor of three; errors come from `fit`
        with contextlib.suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return msgspec.json.decode(text, type=kind)
    return fit(kind, parse(text, where, remedy), where, remedy)


def parse(text: bytes, where: str, remedy: str = "") -> Any:
    """Parse a JSON text to plain values.

    Raises:
        UserError: they nest too deeply.
        CorruptError: it is not JSON.
    """
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise UserError(_sentence(where, "its values nest too deeply", remedy)) from None
    except ValueError as error:
        raise CorruptError(_sentence(where, f"not JSON ({error})", remedy)) from None


def fit(kind: type[T], value: Any, where: str, remedy: str = "", at: str = "") -> T:
    """Convert parsed JSON to `kind`, as `load`; `at` is the field that holds the values."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, field = str(error).partition(" - at `$")
        field = (at + field.rstrip("`")).lstrip(".")
        place = f"{where}, field {field}" if field else where
        raise UserError(_sentence(place, what[:1].lower() + what[1:], remedy)) from None


def dump_row(row: Row) -> bytes:
    """Encode a row as a line of `rows.jsonl`, with a checksum of its other fields."""
    fields = dump(row).removesuffix(b"}\n")
    return fields + f', "sha256": "{hashlib.sha256(fields).hexdigest()}"}}\n'.encode()


def load_row(text: bytes, where: str) -> Row:
    """Decode a line of `rows.jsonl`.

    Raises:
        UserError: it does not fit, or was written by another version of this program.
        CorruptError: it is not JSON, or was changed after it was written.
    """
    remedy = "delete that line, or use another run folder"
    sealed = _SEALED.fullmatch(text)
    if sealed and sealed[2] != hashlib.sha256(sealed[1]).hexdigest().encode():
        raise CorruptError(f"{where}: changed after it was written")
    fields = fit(dict[str, Any], parse(text, where), where, remedy)
    if (schema := fit(int, fields.get("schema"), where, remedy, "schema")) != SCHEMA:
        raise UserError(
            f"{where}: the row has schema {schema}, but this version reads schema {SCHEMA}; "
            + (
                "update the program"
                if schema > SCHEMA
                else "measure again, or use the older version"
            )
        )
    row = fit(Row, fields, where, remedy)
    for at, part in (("", row), ("condition.", row.condition), ("runtime.", row.runtime)):
        there = fields[at.rstrip(".")] if at else fields
        # Defaults serve code that makes rows; a file has every field but those that came late.
        late = {"lines_sha256", "decoder_options"}
        names = {field.name for field in dataclasses.fields(part)} - late
        if lacking := names - there.keys():
            raise UserError(_sentence(f"{where}, field {at}{min(lacking)}", "missing", remedy))
    # The other extras are only shown; msgspec refuses names with lone surrogates even there.
    known = {name: row.extras[name] for name in _Extras.__annotations__ if name in row.extras}
    fit(_Extras, known, where, remedy, "extras")
    return row


def load_environments(text: bytes, where: str, remedy: str) -> Mapping[str, Any]:
    """Decode `env.json`: records by hash, entries unknown to `Environment` included."""
    records = parse(text, where, remedy)
    fit(dict[str, Environment], records, where, remedy)
    return records


def _sentence(where: str, what: str, remedy: str) -> str:
    return f"{where}: {what}; {remedy}" if remedy else f"{where}: {what}"


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is not a finite number")
    return value
