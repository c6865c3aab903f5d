"""The contract of a damage: a clean line to a damaged one, nested in severity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Line

SUITE = "kaidoku-damage-1"
SEVERITIES = (0, 1, 2, 3, 4, 5)
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


@dataclass(frozen=True)
class Damage(ABC):
    """A registered damage; its fields are its options."""

    family: ClassVar[Literal["missing", "overlay", "signal", "geometry"]]

    @abstractmethod
    def apply(
        self, line: Line, dataset: str, severity: int, seed: int, other: Line | None = None
    ) -> Damaged:
        """Damage a line; severity 0 returns it untouched.

        The result is a function of (suite, data set, line id, damage, seed, severity) and of the
        image alone; with severity, masks only grow. Of the damages one, `bleed_through`, also
        looks at `other`, another line of the set: `datasets.damage.lines.damaged_lines` chooses it.
        """
