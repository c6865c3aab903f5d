"""Rows and line results to JSON and back, exactly.

JSON is what other programs read, so there is one object a line, UTF-8, no NaN and no infinity.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from bench.core.errors import UserError
from bench.core.types import Condition, EditCounts, LineResult, Row, Runtime, Spread, Timing

SCHEMA = 1

_PARTS = {"condition": Condition, "runtime": Runtime, "counts": EditCounts}
_SPREADS = ("decode_s", "lines_per_s", "decode_lines_per_s")


def dump(record: Row | LineResult) -> bytes:
    """One line of JSON with its line feed.

    Raises:
        ValueError: a number is not finite, which JSON cannot hold.
    """
    fields = dataclasses.asdict(record)
    try:
        return (json.dumps(fields, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except UnicodeEncodeError:  # a lone surrogate in a text: valid in JSON only when escaped
        return (json.dumps(fields, allow_nan=False) + "\n").encode()


def load_row(text: bytes) -> Row:
    """The row of a line.

    Raises:
        UserError: the row was written by another version of this program.
        ValueError: the line is not the JSON of a row.
    """
    fields = _object(text)
    if "schema" not in fields:
        raise ValueError("not a row: it names no schema")
    if (schema := fields["schema"]) != SCHEMA:
        raise UserError(
            f"the rows have schema {schema}, but this version reads schema {SCHEMA}; "
            f"{'update the program' if _is_newer(schema) else 'measure again'} or use another run "
            "folder"
        )
    try:
        for name, kind in _PARTS.items():
            if fields[name] is not None:
                fields[name] = kind(**fields[name])
        if fields["timing"] is not None:
            fields["timing"] = _timing(fields["timing"])
        return Row(**fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a row: {error}") from error


def load_line(text: bytes) -> LineResult:
    """The line result of a line.

    Raises:
        ValueError: the line is not the JSON of a line result.
    """
    try:
        return LineResult(**_object(text))
    except TypeError as error:
        raise ValueError(f"not a line result: {error}") from error


def _object(text: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except RecursionError:
        raise ValueError("JSON of too many levels") from None
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    return fields


def _is_newer(schema: object) -> bool:
    return isinstance(schema, int) and schema > SCHEMA


def _timing(fields: Mapping[str, Any]) -> Timing:
    spreads = {name: Spread(**fields[name]) for name in _SPREADS}
    latencies = tuple(fields.get("latencies_s", ()))  # absent in older rows
    batches = tuple(map(tuple, fields.get("batches", ())))
    if fields.get("correct_s") is not None:
        spreads["correct_s"] = Spread(**fields["correct_s"])
    return Timing(**{**fields, **spreads, "latencies_s": latencies, "batches": batches})
