"""The lines of a training: of data sets' train splits, and what to validate on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.registry import did_you_mean
from bench.core.types import Line, LineSet
from datasets import DATASETS

Unfitness = Callable[[str], str]  # why a text cannot be learned; "" when it can


@dataclass(frozen=True)
class Wanted:
    """What to train and to validate on.

    datasets: registered names.
    options: of the data sets, by name.
    limit: first lines of each train split; None for all.
    validation: first lines of each val split; None for all.
    root: of the data that a mixture draws from; None for rendered lines alone.
    """

    datasets: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    limit: int | None = None
    validation: int | None = 100
    root: Path | None = None


@dataclass(frozen=True)
class Unfit:
    """A line that cannot be learned, and why."""

    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class Material:
    """Lines to train and to validate on.

    sets: by data set, the lines that can be learned; none where a mixture is drawn.
    unfit: those that cannot.
    validation: by data set, what cannot be learned included.
    name: of the data; sha256: of its lines.
    """

    sets: Mapping[str, Sequence[Line]]
    unfit: Sequence[Unfit]
    validation: Mapping[str, Sequence[Line]]
    name: str
    sha256: str

    @property
    def lines(self) -> list[Line]:
        """The lines to learn of all sets."""
        return [line for lines in self.sets.values() for line in lines]

    @property
    def count(self) -> int:
        """How many lines there were, unfit ones included."""
        return len(self.lines) + len(self.unfit)


def gather(wanted: Wanted, why_unfit: Unfitness, also: Sequence[str] = ()) -> Material:
    """The lines of the data sets, without those that cannot be learned.

    Args:
        wanted: which ones.
        why_unfit: tells them.
        also: what else could have been asked for, by name.

    Raises:
        UserError: an unknown data set, no line that fits, or none to validate on.
        Unavailable: a data set is not here.
    """
    for name in wanted.datasets:
        if name not in DATASETS.entries:
            hint = did_you_mean(name, [*DATASETS.names(), *also])
            raise UserError(f"no data set is called {name!r}{hint}")
    loaded = {name: load(wanted, name, "train", wanted.limit) for name in wanted.datasets}
    sets: dict[str, Sequence[Line]] = {}
    unfit: list[Unfit] = []
    for name, one in loaded.items():
        sets[name], others = sort_out(one.lines, why_unfit)
        unfit += others
    if not any(sets.values()):
        reason = f" ({unfit[0].id}: {unfit[0].reason})" if unfit else ""
        raise UserError(
            f"no line of {', '.join(wanted.datasets)} (train) can be trained on{reason}"
        )
    hashes = "".join(one.sha256 for one in loaded.values())
    return Material(
        sets,
        unfit,
        {name: load(wanted, name, "val", wanted.validation).lines for name in wanted.datasets},
        ", ".join(wanted.datasets),
        hashlib.sha256(hashes.encode()).hexdigest(),
    )


def load(wanted: Wanted, name: str, split: str, limit: int | None) -> LineSet:
    """A split of a data set.

    Raises:
        UserError: it has no line that can be read.
        Unavailable: the data set is not here.
    """
    dataset = DATASETS.create(name, wanted.options.get(name))
    if absent := dataset.missing():
        raise absent
    loaded: LineSet = dataset.load(split, limit)
    if not loaded.lines:
        raise UserError(f"{name} has no line that can be read in its split {split}")
    return loaded


def sort_out(lines: Iterable[Line], why_unfit: Unfitness) -> tuple[list[Line], list[Unfit]]:
    """The lines that can be learned, and the others with the reason."""
    fit, unfit = [], []
    for line in lines:
        if reason := why_unfit(line.text):
            unfit.append(Unfit(line.id, reason))
        else:
            fit.append(line)
    return fit, unfit


def named(unfit: Sequence[Unfit]) -> str:
    """The first ones with their reasons, and how many more there are."""
    first = "; ".join(f"{one.id}: {one.reason}" for one in unfit[:3])
    return f"{first}; and {len(unfit) - 3} more" if len(unfit) > 3 else first
