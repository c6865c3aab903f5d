"""The interface of a damage, its common steps, and the damaged lines of a set.

A new damage is a subclass in a file of its own or in that of its family, and a line in
`datasets/damage/__init__.py`; docs/extending.md shows a whole one. `StrengthDamage` changes
the whole line, `ScoreDamage` takes the same share of the ink as others do, `Damage` is free.
"""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
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
EQUAL_SLOTS = "equal-slots"  # box source of characters that a damage placed itself


def check_severities(severities: Iterable[int], least: int = 0) -> None:
    """Refuse numbers that are no severity; `least` is 1 where the clean set is none."""
    for severity in severities:
        if not least <= severity <= SEVERITIES[-1]:
            raise UserError(f"severity {severity} is not one of {least} to {SEVERITIES[-1]}")


@dataclass(frozen=True, eq=False)
class Damaged:
    """A damaged line.

    line: the line with its damaged image; text and id are unchanged, and so are the boxes, unless
        the damage moves the ink (`warp`) or estimates missing ones (`char_erase`).
    mask: (H, W) bool, pixels whose ink is removed or covered; None for a damage that weakens or
        moves the ink of the whole line.
    ink_lost: share of the clean ink under `mask`; None without a mask.
    """

    line: Line
    mask: NDArray[np.bool_] | None
    ink_lost: float | None


@dataclass(frozen=True, eq=False)
class Task:
    """A line with ink, to be damaged.

    geometry: its measurements.
    rng: its stream for this damage and seed. First draw all that is independent of severity, so
        that the severities share it.
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

    name: as registered; part of the random stream's name.
    family: the kind of harm, as a contact sheet names it.
    masks: whether it removes or covers ink under a mask.
    """

    name: ClassVar[str]
    family: ClassVar[Literal["missing", "overlay", "signal", "geometry"]]
    masks: ClassVar[bool] = True

    def apply(
        self, line: Line, dataset: str, severity: int, seed: int, other: Line | None = None
    ) -> Damaged:
        """Damage a line; severity 0 and lines without ink are returned unchanged.

        The result depends only on (suite, data set, line id, damage, seed, severity) and the image,
        and for `bleed_through` on `other`, another line of the set. Masks grow with severity.
        """
        check_severities([severity])
        task = self._task(line, dataset, seed, other) if severity else None
        return self._untouched(line) if task is None else self._damage(task, severity)

    @abstractmethod
    def _damage(self, task: Task, severity: int) -> Damaged:
        """Damage a line that has ink, severity 1 to 5."""

    def _task(self, line: Line, dataset: str, seed: int, other: Line | None) -> Task | None:
        """Measure a line and seed its stream; None if it has no ink."""
        geometry = measure(line.image)
        if geometry is None:
            return None
        # Common random numbers: severity is not part of the stream's name, it only moves a
        # threshold, so masks are nested and curves over severity have less noise.
        return Task(line, geometry, stream(SUITE, dataset, line.id, self.name, seed), other)

    def _untouched(self, line: Line) -> Damaged:
        if self.masks:
            return Damaged(line, np.zeros(line.image.shape, np.bool_), 0.0)
        return Damaged(line, None, None)


@dataclass(frozen=True)
class ScoreDamage(Damage):
    """A damage that removes an exact share of the ink, the pixels of highest score first."""

    def _damage(self, task: Task, severity: int) -> Damaged:
        score = self._score(task.geometry, task.rng)
        mask = threshold_mask(score, task.geometry.ink, INK_LOST[severity - 1])
        return task.masked(mask, self._fill(task.geometry, mask, task.rng))

    @abstractmethod
    def _score(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        """(H, W); pixels of higher score are lost first."""

    @abstractmethod
    def _fill(self, geometry: Geometry, mask: Mask, rng: np.random.Generator) -> Image:
        """The image with the ink under the mask replaced."""


@dataclass(frozen=True)
class StrengthDamage(Damage):
    """A damage of the whole line, controlled by one number, its strength.

    strengths: at severity 1 to 5; see docs/damage.md, "How the severities were set".
    """

    masks = False
    strengths: ClassVar[tuple[float, ...]]

    def at(
        self, line: Line, dataset: str, strength: float, seed: int, other: Line | None = None
    ) -> Damaged:
        """Damage a line with any strength."""
        task = self._task(line, dataset, seed, other)
        return self._untouched(line) if task is None else self._at(task, strength)

    def _damage(self, task: Task, severity: int) -> Damaged:
        return self._at(task, self.strengths[severity - 1])

    @abstractmethod
    def _at(self, task: Task, strength: float) -> Damaged:
        """Damage a line that has ink."""


def damaged_lines(
    damage: Damage,
    lines: Sequence[Line],
    dataset: str,
    severity: int,
    seed: int,
    places: Sequence[int] | None = None,
) -> Iterator[Damaged]:
    """Damage the lines of a set, in order; those at these places alone, unless None."""
    following = others(lines, dataset, seed)
    for place in range(len(lines)) if places is None else places:
        yield damage.apply(lines[place], dataset, severity, seed, following[place])


def others(lines: Sequence[Line], dataset: str, seed: int) -> list[Line | None]:
    """For each line another of the same set; None if there is no other.

    Each line gets the next one in a ring sorted by hash, so adding or removing a line changes few
    choices.
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
