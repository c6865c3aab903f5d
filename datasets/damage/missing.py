"""Ink that is gone: the same share of it, lost in pieces, characters, spans or as half a line.

Paper takes its place, so a reader cannot see that something is missing.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.types import Image, Line
from datasets.damage.base import Damaged
from datasets.damage.fields import smooth_field
from datasets.damage.fill import fill_paper
from datasets.damage.geometry import Float, Geometry, Mask, box_edges, equal_slots
from datasets.damage.recipe import INK_LOST, Recipe, ScoreRecipe, masked

GAPS = 2  # of span_erase


@dataclass(frozen=True)
class _PaperScore(ScoreRecipe):
    """A loss of an exact share of the ink that leaves paper.

    A margin of a quarter of a stroke goes with what is lost, so that no fringe of a cut stroke
    stays; it counts in the share.
    """

    family = "missing"

    def _score(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        steps = max(1, round(0.25 * geometry.stroke_width))
        grown: Float = cv2.dilate(self._order(geometry, rng), None, iterations=steps)
        return grown

    @abstractmethod
    def _order(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        """(H, W); what is higher is lost first, each pixel with its margin."""

    def _fill(self, geometry: Geometry, mask: Mask, rng: np.random.Generator) -> Image:
        return fill_paper(geometry, mask, rng)


@dataclass(frozen=True)
class StrokeBreaks(_PaperScore):
    """M1: strokes break into pieces; every character is touched, few are hidden.

    After the disconnection spots of Kieu et al. (ICPR 2012) and Kanungo et al. (TPAMI 2000).
    """

    name = "stroke_breaks"

    def _order(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        size = max(1.6 * geometry.stroke_width, 2.0)
        return smooth_field(rng, geometry.height, geometry.width, size / geometry.height)


@dataclass(frozen=True)
class CharErase(Recipe):
    """M2: whole characters are gone, here and there; their neighbours stay.

    After OST (Wang et al., ICCV 2021) and the missing characters of HDR28K (Yang et al., AAAI
    2025). A line without boxes gets slots of equal width, and its `box_source` says so.
    """

    family = "missing"
    name = "char_erase"

    def _damage(
        self, line: Line, geometry: Geometry, severity: int, rng: np.random.Generator
    ) -> Damaged:
        boxes = line.boxes
        if boxes is None:
            boxes = equal_slots(geometry, len(line.text))
            line = dataclasses.replace(line, boxes=boxes, box_source="equal-slots")
        order = rng.permutation(len(boxes))
        columns = erased_columns(geometry.ink, boxes[order], INK_LOST[severity - 1])
        mask = np.repeat(columns[None, :], geometry.height, axis=0)
        return masked(line, geometry, mask, fill_paper(geometry, mask, rng))


@dataclass(frozen=True)
class SpanErase(_PaperScore):
    """M3: two gaps with ragged edges grow in the line and swallow words and their context.

    After the lacunae of Borkar and Smith ("Mind the Gap", ICDAR workshops 2024), TACo
    (Easter2.0, 2022) and Random Erasing (Zhong et al., AAAI 2020).
    """

    name = "span_erase"

    def _order(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        left, right = geometry.left, geometry.right
        share = (np.arange(GAPS) + rng.uniform(0.2, 0.8, GAPS)) / GAPS
        columns = np.arange(geometry.width) + 0.5
        distance = np.abs(columns - (left + (right - left) * share)[:, None]).min(axis=0)
        edge = smooth_field(rng, geometry.height, geometry.width, 0.25)
        score: Float = edge * np.float32(0.175 * geometry.x_height) - distance.astype(np.float32)
        return score


@dataclass(frozen=True)
class HalfLine(_PaperScore):
    """M4: the line is torn away from the top or from the bottom, at a ragged edge.

    After tears and cropped scans, and the partial damage of FPHDR (Zhang et al., ACL 2025).
    """

    name = "half_line"

    def _order(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        from_top = rng.random() < 0.5
        edge = smooth_field(rng, geometry.height, geometry.width, 0.5)
        rows = np.arange(geometry.height, dtype=np.float32)[:, None]
        score: Float = edge * np.float32(0.18 * geometry.x_height) + (-rows if from_top else rows)
        return score


def erased_columns(ink: Mask, boxes: NDArray[np.float32], share: float) -> NDArray[np.bool_]:
    """Erase boxes in order until the share of the ink is lost; a last box must be worth half.

    Args:
        ink: (H, W) the clean ink.
        boxes: (N, 2) left and right column in pixels, in the order of erasure.
        share: of the ink that shall be lost.

    Returns:
        (W,) bool, the columns to clear. Prefixes of one order, hence nested in `share`.
    """
    left = np.cumsum(np.concatenate(([0], ink.sum(axis=0))))  # ink left of each column edge
    weight = np.diff(left)
    erased = np.zeros(ink.shape[1], np.bool_)
    target, lost = share * float(left[-1]), 0.0
    for a, b in box_edges(boxes, ink.shape[1]):
        if left[b] == left[a]:
            continue
        gain = float(weight[a:b][~erased[a:b]].sum())
        if erased.any() and lost + gain - target > gain / 2:
            break
        erased[a:b] = True
        lost += gain
        if lost >= target:
            break
    return erased
