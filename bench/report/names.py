"""Names that tell the results of a run apart: as registered wherever that suffices."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bench.core.types import UNTRAINED, Row
from bench.report.format import plain

_USUAL = ("limit", "none")  # the whole set: told apart by the others' limits, it keeps its name
_ALWAYS = ("weights", UNTRAINED)


class Names(NamedTuple):
    """What the parts of a row are called in tables."""

    encoder: str
    decoder: str
    dataset: str
    damage: str


def names(rows: Sequence[Row]) -> list[Names]:
    """The names of each row, told apart among all rows."""
    encoders = _told_apart((row.encoder, _encoder_marks(row)) for row in rows)
    decoders = _told_apart((row.decoder, _decoder_marks(row)) for row in rows)
    datasets = _told_apart((row.condition.dataset, _dataset_marks(row)) for row in rows)
    contents = ({"sha256": row.dataset_sha256[:8]} for row in rows)
    datasets = _told_apart(zip(datasets, contents, strict=True))
    damages = _told_apart((row.condition.damage, _given("damage", row)) for row in rows)
    return [Names(*parts) for parts in zip(encoders, decoders, datasets, damages, strict=True)]


def _told_apart(things: Iterable[tuple[str, Mapping[str, str]]]) -> list[str]:
    """Each thing's name on one line, with those of its marks in which its namesakes differ.

    A mark that is "" or absent is not known (a failed row has no weights) and tells nothing.
    Untrained weights are always told.
    """
    things = list(things)
    seen: dict[tuple[str, str], set[str]] = {}
    for name, marks in things:
        for mark, value in marks.items():
            seen.setdefault((name, mark), set()).add(value)
    labels = []
    for name, marks in things:
        telling = [
            f"{mark}={value}"
            for mark, value in marks.items()
            if (value and (mark, value) != _USUAL and len(seen[name, mark] - {""}) > 1)
            or (mark, value) == _ALWAYS
        ]
        labels.append(plain(f"{name}[{','.join(telling)}]" if telling else name))
    return labels


def _encoder_marks(row: Row) -> dict[str, str]:
    weights = row.weights if row.weights == UNTRAINED else row.weights[:8]
    return {**_given("encoder", row), "weights": weights}


def _decoder_marks(row: Row) -> dict[str, str]:
    hashes = {
        name.removesuffix("_sha256"): str(value)[:8]
        for name, value in row.extras.items()
        if name.endswith("_sha256")
    }
    return {**_options(row.options), **hashes}


def _dataset_marks(row: Row) -> dict[str, str]:
    condition = row.condition
    limit = str(condition.limit or "none")
    return {**_given("dataset", row), "split": condition.split, "limit": limit}


def _given(kind: str, row: Row) -> dict[str, str]:
    """The options that the user gave a part as one mark: that there are none is known too."""
    given = _options(getattr(row, f"{kind}_options"))
    return {"options": " ".join(f"{name}={value}" for name, value in given.items()) or "default"}


def _options(options: Mapping[str, Any]) -> dict[str, str]:
    """Options as text."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in options.items()
    }
