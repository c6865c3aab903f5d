"""The order of work that all damages share: check, measure, draw, damage."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.errors import UserError
from bench.types import Image, Line
from datasets.damage.base import SEVERITIES, SUITE, Damage, Damaged
from datasets.damage.fill import threshold_mask
from datasets.damage.geometry import Float, Geometry, Mask, measure
from datasets.seeds import stream

INK_LOST = (0.05, 0.10, 0.20, 0.35, 0.50)  # share of the ink at severity 1 to 5, in all of M and O1


@dataclass(frozen=True)
class Recipe(Damage):
    """A damage whose sizes come from the clean line and whose chance comes from its stream.

    name: as registered; part of the text that the random stream is made of.
    """

    name: ClassVar[str]

    def apply(self, line: Line, dataset: str, severity: int, seed: int) -> Damaged:
        """Damage a line; severity 0 and a line without ink come back untouched.

        Raises:
            UserError: the severity is not one of 0 to 5.
        """
        if severity not in SEVERITIES:
            raise UserError(f"severity {severity} does not exist; take one of 0 to 5")
        geometry = measure(line.image) if severity else None
        if geometry is None:
            return self._untouched(line)
        # Common random numbers: severity is no part of the stream's name, it only moves a
        # threshold, so masks are nested and curves over severity carry less noise.
        rng = stream(SUITE, dataset, line.id, self.name, seed)
        return self._damage(line, geometry, severity, rng)

    @abstractmethod
    def _damage(
        self, line: Line, geometry: Geometry, severity: int, rng: np.random.Generator
    ) -> Damaged:
        """Damage a line that has ink, severity 1 to 5.

        What does not depend on severity is drawn first, so that all severities share it.
        """

    def _untouched(self, line: Line) -> Damaged:
        if self.family in ("missing", "overlay"):
            return Damaged(line, np.zeros(line.image.shape, np.bool_), 0.0)
        return Damaged(line, None, None)


@dataclass(frozen=True)
class ScoreRecipe(Recipe):
    """A damage that takes an exact share of the ink, in the order of a score over the pixels."""

    def _damage(
        self, line: Line, geometry: Geometry, severity: int, rng: np.random.Generator
    ) -> Damaged:
        score = self._score(geometry, rng)
        mask = threshold_mask(score, geometry.ink, INK_LOST[severity - 1])
        return masked(line, geometry, mask, self._fill(geometry, mask, rng))

    @abstractmethod
    def _score(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        """(H, W); pixels of higher score are lost first."""

    @abstractmethod
    def _fill(self, geometry: Geometry, mask: Mask, rng: np.random.Generator) -> Image:
        """The image with something else under the mask."""


def masked(line: Line, geometry: Geometry, mask: Mask, image: Image) -> Damaged:
    """The result of a damage that removes or covers the ink under a mask."""
    return Damaged(dataclasses.replace(line, image=image), mask, geometry.lost(mask))
