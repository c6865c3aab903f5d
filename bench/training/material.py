"""Recipes on lines of data sets, and the loading of these lines."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.errors import UserError
from bench.core.types import Line, LineSet
from bench.training.recipes import LineRecipe
from datasets import DATASETS

Options = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Material:
    """Lines to train and to validate on.

    sets: by data set, the lines that can be learned; empty where lines are drawn without end.
    unfit: ids of the others, and why.
    validation: by data set, unfit lines included.
    name: of the data; sha256: of its lines.
    """

    sets: Mapping[str, Sequence[Line]]
    unfit: Sequence[tuple[str, str]]
    validation: Mapping[str, Sequence[Line]]
    name: str
    sha256: str

    @property
    def lines(self) -> list[Line]:
        """The lines to learn of all sets."""
        return [line for lines in self.sets.values() for line in lines]

    @property
    def count(self) -> int:
        """All train lines, unfit ones included."""
        return len(self.lines) + len(self.unfit)

    @property
    def left_out(self) -> str:
        """The first unfit lines with their reasons, and how many more there are."""
        first = "; ".join(f"{line}: {reason}" for line, reason in self.unfit[:3])
        more = len(self.unfit) - 3
        return f"{first}; and {more} more" if more > 0 else first


def gather(
    recipe: LineRecipe,
    why_unfit: Callable[[str], str],
    validation: int | None = None,
) -> Material:
    """Load the lines of a recipe's data sets, and at most `validation` lines of each val split.

    `why_unfit` says why a text cannot be learned; "" when it can.

    Raises:
        UserError: an unknown data set, no line that fits, or none to validate on.
        Unavailable: a data set is not here.
    """
    options = recipe.typed
    loaded = {name: load(name, "train", recipe.limit, options) for name in recipe.sets}
    sets: dict[str, Sequence[Line]] = {}
    unfit: list[tuple[str, str]] = []
    for name, one in loaded.items():
        reasons = {line.id: why_unfit(line.text) for line in one.lines}
        sets[name] = [line for line in one.lines if not reasons[line.id]]
        unfit += [(line, reason) for line, reason in reasons.items() if reason]
    if not any(sets.values()):
        first = next((f" ({line}: {reason})" for line, reason in unfit), "")
        raise UserError(f"no line of {', '.join(recipe.sets)} (train) can be trained on{first}")
    return Material(
        sets,
        unfit,
        {name: load(name, "val", validation, options).lines for name in recipe.sets},
        ", ".join(recipe.sets),
        hashlib.sha256("".join(one.sha256 for one in loaded.values()).encode()).hexdigest(),
    )


def load(name: str, split: str, limit: int | None, options: Options) -> LineSet:
    """Load a split of a data set.

    Raises:
        UserError: it has no line that can be read.
        Unavailable: the data set is not here.
    """
    loaded: LineSet = DATASETS.create_here(name, options.get(name)).load(split, limit)
    if not loaded.lines:
        raise UserError(f"{name} has no line that can be read in its split {split}")
    return loaded
