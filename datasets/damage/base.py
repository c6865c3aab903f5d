"""The contract of a damage, the steps that all share, and the damaged lines of a set.

A new damage is a subclass of `StrengthDamage`, `ScoreDamage` or `Damage` in the file of its family,
and a line in `datasets/damage/__init__.py`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.types import Image, Line
from datasets.damage.geometry import Float, Geometry, Mask, measure
from datasets.damage.paint import threshold_mask
from datasets.seeds import stream

SUITE = "kaidoku-damage-1"
SEVERITIES = (0, 1, 2, 3, 4, 5)
INK_LOST = (0.05, 0.10, 0.20, 0.35, 0.50)  # share of the ink at severity 1 to 5: M1 to M5 and O1
EQUAL_SLOTS = "equal-slots"  # box source of characters that a damage had to place by itself


@dataclass(frozen=True, eq=False)
class Damaged:
    """A damaged line.

    line: the line with its damaged image; text and id as before, and so are the boxes, unless the
        damage moves the ink (`warp`) or had to make them up (`char_erase`).
    mask: (H, W) bool, pixels whose ink is removed or covered; None for a damage that weakens or
        moves the ink of the whole line and hides no part of it.
    ink_lost: share of the clean ink under `mask`; None without a mask.
    """

    line: Line
    mask: NDArray[np.bool_] | None
    ink_lost: float | None


@dataclass(frozen=True, eq=False)
class Task:
    """A line that has ink and is to be damaged.

    geometry: the measurements of it.
    rng: its stream for this damage and seed. Draw first what does not depend on severity, so that
        all severities share it.
    other: another line of the set; None when there is none.
    """

    line: Line
    geometry: Geometry
    rng: np.random.Generator
    other: Line | None

    def masked(self, mask: Mask, image: Image) -> Damaged:
        """The result of a damage that removes or covers the ink under a mask."""
        line = dataclasses.replace(self.line, image=image)
        return Damaged(line, mask, self.geometry.lost(mask))

    def changed(self, image: Image) -> Damaged:
        """The result of a damage that hides no part of the ink."""
        return Damaged(dataclasses.replace(self.line, image=image), None, None)


@dataclass(frozen=True)
class Damage(ABC):
    """A registered damage; its fields are its options.

    name: as registered; part of the text that the random stream is made of.
    masks: whether it takes or covers ink under a mask.
    """

    name: ClassVar[str]
    family: ClassVar[Literal["missing", "overlay", "signal", "geometry"]]
    masks: ClassVar[bool] = True

    def apply(
        self, line: Line, dataset: str, severity: int, seed: int, other: Line | None = None
    ) -> Damaged:
        """Damage a line; severity 0 and a line without ink come back untouched.

        The result is a function of (suite, data set, line id, damage, seed, severity) and of the
        image alone; with severity, masks only grow. Of the damages one, `bleed_through`, also
        looks at `other`, another line of the set: `damaged_lines` chooses it.

        Raises:
            UserError: the severity is not one of 0 to 5.
        """
        if severity not in SEVERITIES:
            raise UserError(f"severity {severity} does not exist; take one of 0 to 5")
        task = self._task(line, dataset, seed, other) if severity else None
        return self._untouched(line) if task is None else self._damage(task, severity)

    @abstractmethod
    def _damage(self, task: Task, severity: int) -> Damaged:
        """Damage a line that has ink, severity 1 to 5."""

    def _task(self, line: Line, dataset: str, seed: int, other: Line | None) -> Task | None:
        """The line measured, with its stream; None when there is no ink on it."""
        geometry = measure(line.image)
        if geometry is None:
            return None
        # Common random numbers: severity is no part of the stream's name, it only moves a
        # threshold, so masks are nested and curves over severity carry less noise.
        return Task(line, geometry, stream(SUITE, dataset, line.id, self.name, seed), other)

    def _untouched(self, line: Line) -> Damaged:
        if self.masks:
            return Damaged(line, np.zeros(line.image.shape, np.bool_), 0.0)
        return Damaged(line, None, None)


@dataclass(frozen=True)
class ScoreDamage(Damage):
    """A damage that takes an exact share of the ink, in the order of a score over the pixels."""

    def _damage(self, task: Task, severity: int) -> Damaged:
        score = self._score(task.geometry, task.rng)
        mask = threshold_mask(score, task.geometry.ink, INK_LOST[severity - 1])
        return task.masked(mask, self._fill(task.geometry, mask, task.rng))

    @abstractmethod
    def _score(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        """(H, W); pixels of higher score are lost first."""

    @abstractmethod
    def _fill(self, geometry: Geometry, mask: Mask, rng: np.random.Generator) -> Image:
        """The image with something else under the mask."""


@dataclass(frozen=True)
class StrengthDamage(Damage):
    """A damage of the whole line that one number makes stronger.

    strengths: that number at severity 1 to 5; see docs/damage.md, "How the severities were set".
    """

    masks = False
    strengths: ClassVar[tuple[float, ...]]

    def at(
        self, line: Line, dataset: str, strength: float, seed: int, other: Line | None = None
    ) -> Damaged:
        """Damage a line with a strength that need not be that of a severity."""
        task = self._task(line, dataset, seed, other)
        return self._untouched(line) if task is None else self._at(task, strength)

    def _damage(self, task: Task, severity: int) -> Damaged:
        return self._at(task, self.strengths[severity - 1])

    @abstractmethod
    def _at(self, task: Task, strength: float) -> Damaged:
        """Damage a line that has ink."""


def damaged_lines(
    damage: Damage, lines: Sequence[Line], dataset: str, severity: int, seed: int
) -> Iterator[Damaged]:
    """Damage the lines of a set, in order.

    Raises:
        UserError: the severity is not one of 0 to 5.
    """
    for line, other in zip(lines, others(lines, dataset, seed), strict=True):
        yield damage.apply(line, dataset, severity, seed, other)


def others(lines: Sequence[Line], dataset: str, seed: int) -> list[Line | None]:
    """For each line another of the same set; None when there is no other.

    The lines stand in a ring in the order of their hashes and each gets the next, so that a line
    more or less in the set changes the choice for few.
    """
    if len(lines) < 2:
        return [None] * len(lines)
    place = sorted(range(len(lines)), key=lambda i: (_hash(dataset, lines[i].id, seed), i))
    chosen: list[Line | None] = [None] * len(lines)
    for here, following in zip(place, [*place[1:], place[0]], strict=True):
        chosen[here] = lines[following]
    return chosen


def _hash(dataset: str, line: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{SUITE}|{dataset}|{line}|other|{seed}".encode()).digest()
