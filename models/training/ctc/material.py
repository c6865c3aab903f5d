"""The lines of a training: of data sets' train splits, or a mixture that is drawn anew."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.registry import did_you_mean
from bench.types import Line, LineSet
from datasets import DATASETS
from models.training.ctc.lines import Unfit, sort_out
from models.training.run import VALIDATION, data_hash

MIXTURE = "mixture"  # what `mini` is trained on: rendered and joined lines, UNIPEN, Hooker, Copiste


@dataclass(frozen=True)
class Wanted:
    """What to train and to validate on.

    datasets: registered names, or MIXTURE alone.
    options: of the data sets, by name.
    limit: first lines of each train split; None for all.
    validation: first lines of each val split.
    root: of the data that the mixture draws from; None for rendered lines alone.
    """

    datasets: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    limit: int | None = None
    validation: int = 100
    root: Path | None = None


@dataclass(frozen=True, eq=False)
class Material:
    """Lines to train and to validate on.

    lines: those that the head can spell; none where a mixture is drawn.
    unfit: those that it cannot.
    validation: by data set, what the head cannot spell included.
    name: of the data; sha256: of its lines.
    """

    lines: Sequence[Line]
    unfit: Sequence[Unfit]
    validation: Mapping[str, Sequence[Line]]
    name: str
    sha256: str


def gather(wanted: Wanted, frames: int) -> Material:
    """The lines of the data sets, sorted out for a head of so many frames.

    Raises:
        UserError: an unknown data set, a set without a line that fits, or none to validate on.
        Unavailable: a data set is not here.
    """
    if wanted.datasets == (MIXTURE,):
        return _mixture(wanted)
    for name in wanted.datasets:
        if name == MIXTURE:
            raise UserError(f"{MIXTURE} cannot be joined with other data sets; give it alone")
        if name not in DATASETS.entries:
            hint = did_you_mean(name, [*DATASETS.names(), MIXTURE])
            raise UserError(f"no data set is called {name!r}{hint}")
    sets = [_load(wanted, name, "train", wanted.limit) for name in wanted.datasets]
    lines, unfit = sort_out([line for one in sets for line in one.lines], frames)
    if not lines:
        raise UserError(f"no line of {', '.join(wanted.datasets)} (train) can be trained on")
    hashes = "".join(one.sha256 for one in sets)
    return Material(
        lines,
        unfit,
        {name: _load(wanted, name, "val", wanted.validation).lines for name in wanted.datasets},
        ", ".join(wanted.datasets),
        hashlib.sha256(hashes.encode()).hexdigest(),
    )


def _mixture(wanted: Wanted) -> Material:
    here = [name for name in VALIDATION if DATASETS.create(name).missing() is None]
    validation = {name: _load(wanted, name, "val", wanted.validation).lines for name in here}
    return Material((), (), validation, MIXTURE, data_hash(wanted.root))


def _load(wanted: Wanted, name: str, split: str, limit: int | None) -> LineSet:
    dataset = DATASETS.create(name, wanted.options.get(name))
    if absent := dataset.missing():
        raise absent
    loaded: LineSet = dataset.load(split, limit)
    if not loaded.lines:
        raise UserError(f"{name} has no line that can be read in its split {split}")
    return loaded
