"""The order of work that all damages share: check, measure, draw, damage."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.core.errors import UserError
from bench.core.types import Image, Line
from datasets.damage.base import SEVERITIES, SUITE, Damage, Damaged
from datasets.damage.fill import threshold_mask
from datasets.damage.geometry import Float, Geometry, Mask, measure
from datasets.seeds import stream

INK_LOST = (0.05, 0.10, 0.20, 0.35, 0.50)  # share of the ink at severity 1 to 5: M1 to M5 and O1


@dataclass(frozen=True, eq=False)
class Task:
    """A line that has ink and is to be damaged.

    geometry: what was measured on it.
    rng: its stream for this damage and seed. What does not depend on severity is drawn first, so
        that all severities share it.
    other: another line of the set; None when there is none.
    """

    line: Line
    geometry: Geometry
    rng: np.random.Generator
    other: Line | None

    def masked(self, mask: Mask, image: Image) -> Damaged:
        """The result of a damage that removes or covers the ink under a mask."""
        return Damaged(self._with(image), mask, self.geometry.lost(mask))

    def changed(self, image: Image) -> Damaged:
        """The result of a damage that hides no part of the ink."""
        return Damaged(self._with(image), None, None)

    def _with(self, image: Image) -> Line:
        return dataclasses.replace(self.line, image=image)


@dataclass(frozen=True)
class Recipe(Damage):
    """A damage whose sizes come from the clean line and whose chance comes from its stream.

    name: as registered; part of the text that the random stream is made of.
    masks: whether it takes or covers ink under a mask.
    """

    name: ClassVar[str]
    masks: ClassVar[bool] = True

    def apply(
        self, line: Line, dataset: str, severity: int, seed: int, other: Line | None = None
    ) -> Damaged:
        """Damage a line; severity 0 and a line without ink come back untouched.

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
class ScoreRecipe(Recipe):
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
class StrengthRecipe(Recipe):
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
