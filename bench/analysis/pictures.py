"""Line images of a row, reproduced from the row alone.

A run keeps texts and no images. A data set with its options and a damage with its severity and
seed reproduce the pixels, and the row's hash of the data verifies them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.options import restored
from bench.core.types import Condition, Image, Line, LineSet, Row
from bench.pipeline.signature import damage_name
from datasets import DATASETS
from datasets.damage import DAMAGES
from datasets.damage.base import SUITE, Damage, Damaged, others
from datasets.damage.visible import visible_shares
from datasets.root import data_root


@dataclass(frozen=True, eq=False)
class Picture:
    """A line image as the system read it.

    image: (H, W) uint8, dark ink on light paper, damaged where the row's condition says so.
    text: the reference, as the data set has it.
    boxes: (len(text), 2) float32, left and right column of each character in pixels of `image`;
        None where the source does not know them.
    visible: (len(text),) float32, share of each character's ink that is left, NaN for a character
        without ink; None on a clean line and under a damage that hides no part of the ink. Without
        boxes of the source it is an estimate.
    """

    image: Image
    text: str
    boxes: NDArray[np.float32] | None
    visible: NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures by line id.

    absent: the reason if there are none, else "".
    """

    by_id: Mapping[str, Picture] = field(default_factory=dict)
    absent: str = ""


def pictures(row: Row, ids: Collection[str]) -> Pictures:
    """The pictures of some lines of a row, one for each id that its set has.

    The set is loaded whole, since its hash is over all lines; the set of the last call is kept,
    so rows of one set should follow one another. Where the data is not here, or not what was read,
    there are none, and the reason.
    """
    try:
        damage = _damage(row) if row.condition.severity else None
    except UserError as error:
        return Pictures(absent=_absent(row, error))
    options = json.dumps(dict(row.dataset_options), sort_keys=True)
    condition = row.condition
    loaded = _loaded(
        condition.dataset,
        condition.split,
        condition.limit,
        options,
        row.dataset_sha256,
        data_root(),
    )
    if isinstance(loaded, Exception):
        return Pictures(absent=_absent(row, loaded))
    there = (line for line in ids if line in loaded.places)
    return Pictures({line: _picture(loaded, line, damage, condition) for line in there})


def _absent(row: Row, error: Exception) -> str:
    return f"no pictures of {row.condition.dataset}: {error}"


def _picture(loaded: _Loaded, line_id: str, damage: Damage | None, condition: Condition) -> Picture:
    place = loaded.places[line_id]
    clean = loaded.clean.lines[place]
    drawn = Damaged(clean, None, None)
    if damage is not None:
        other = loaded.others(condition.seed)[place]
        severity, seed = condition.severity, condition.seed
        drawn = damage.apply(clean, condition.dataset, severity, seed, other)
    visible = None if drawn.mask is None else visible_shares(clean, drawn)
    return Picture(drawn.line.image, clean.text, drawn.line.boxes, visible)


def _damage(row: Row) -> Damage:
    if row.suite != SUITE:
        raise UserError(
            f"the row was read under {damage_name(row)}, and this version draws {SUITE}"
        )
    name = row.condition.damage
    damage: Damage = DAMAGES.create(name, restored(DAMAGES.options(name), row.damage_options))
    return damage


@dataclass(eq=False)
class _Loaded:
    name: str
    clean: LineSet
    places: dict[str, int]
    _others: dict[int, list[Line | None]] = field(default_factory=dict)

    def others(self, seed: int) -> list[Line | None]:
        if seed not in self._others:
            self._others[seed] = others(self.clean.lines, self.name, seed)
        return self._others[seed]


@functools.lru_cache(maxsize=1)  # one set of scanned lines may be some hundred megabytes
def _loaded(
    name: str, split: str, limit: int | None, options: str, sha256: str, _root: Path | None
) -> _Loaded | Exception:
    """The set of a row, or the error of loading it (cached as well)."""
    try:
        return _load(name, split, limit, json.loads(options), sha256)
    except (UserError, OSError, ImportError) as error:
        return error


def _load(
    name: str, split: str, limit: int | None, options: Mapping[str, Any], sha256: str
) -> _Loaded:
    if not sha256:
        raise UserError("the set did not load when the cell ran")
    dataset = DATASETS.create_here(name, restored(DATASETS.options(name), options))
    clean: LineSet = dataset.load(split, limit)
    if clean.sha256 != sha256:
        raise UserError(
            f"its {split} split has changed since it was read "
            f"(then {sha256[:8]}, now {clean.sha256[:8]})"
        )
    return _Loaded(name, clean, {line.id: place for place, line in enumerate(clean.lines)})
