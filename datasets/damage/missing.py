"""Ink that is gone: lost in pieces, characters, spans, half a line or holes, or faded.

It is replaced by paper, so nothing shows that it is missing, or with `fill=mark` by a dark hole,
which shows the place.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.core.options import check_least
from bench.core.types import Image
from datasets.damage.base import (
    EQUAL_SLOTS,
    INK_LOST,
    Damage,
    Damaged,
    ScoreDamage,
    StrengthDamage,
    Task,
)
from datasets.damage.geometry import Float, Geometry, Mask, box_edges, equal_slots
from datasets.damage.paint import Fill, fill_mark, fill_missing, smooth_field, to_image

GAPS = 2  # of span_erase
BLOB = 0.9  # correlation length of holes and blots in x-heights
PATCH = 1.2  # correlation length of paler and darker stretches in image heights
EVEN = 0.6  # share of the loss that is the same everywhere; the rest follows the patches
GRAIN, GRAIN_SIZE = 0.02, 0.03  # standard deviation, and correlation length in image heights


@dataclass(frozen=True)
class _Missing(ScoreDamage):
    """A loss of an exact share of the ink.

    The share includes a margin of a quarter of a stroke, so that no fringe of a cut stroke stays.

    fill: the replacement of the ink.
    """

    family = "missing"
    fill: Fill = "paper"

    def _score(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        steps = max(1, round(0.25 * geometry.stroke_width))
        grown: Float = cv2.dilate(self._order(geometry, rng), None, iterations=steps)
        return grown

    @abstractmethod
    def _order(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        """(H, W); higher values are lost first, each pixel with its margin."""

    def _fill(self, geometry: Geometry, mask: Mask, rng: np.random.Generator) -> Image:
        return fill_missing(self.fill, geometry, mask, rng)


@dataclass(frozen=True)
class StrokeBreaks(_Missing):
    """M1: strokes break into pieces; every character is touched, few are hidden.

    After the disconnection spots of Kieu et al. (ICPR 2012) and Kanungo et al. (TPAMI 2000).

    fill: bare paper in the place of the ink, or a dark hole.
    """

    name = "stroke_breaks"

    def _order(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        size = max(1.6 * geometry.stroke_width, 2.0)
        return smooth_field(rng, geometry.height, geometry.width, size / geometry.height)


@dataclass(frozen=True)
class CharErase(Damage):
    """M2: whole characters are gone, here and there; their neighbours stay.

    After OST (Wang et al., ICCV 2021) and the missing characters of HDR28K (Yang et al., AAAI
    2025). A line without boxes gets slots of equal width, and its `box_source` says so.

    fill: bare paper in the place of the ink, or a dark hole.
    count: characters to erase, at every severity; 0 for the severity's share of the ink.
        Borkar and Smith (arXiv:2407.00250) erase one of each line.
    """

    family = "missing"
    name = "char_erase"
    fill: Fill = "paper"
    count: int = 0

    def __post_init__(self) -> None:
        """Refuse fewer characters than none."""
        check_least(self, 0, "count")

    def _damage(self, task: Task, severity: int) -> Damaged:
        geometry, boxes = task.geometry, task.line.boxes
        if boxes is None:
            boxes = equal_slots(geometry, len(task.line.text))
            line = dataclasses.replace(task.line, boxes=boxes, box_source=EQUAL_SLOTS)
            task = dataclasses.replace(task, line=line)
        order = task.rng.permutation(len(boxes))
        share = INK_LOST[severity - 1]
        columns = erased_columns(geometry.ink, boxes[order], share, self.count)
        mask = np.repeat(columns[None, :], geometry.height, axis=0)
        return task.masked(mask, fill_missing(self.fill, geometry, mask, task.rng))


@dataclass(frozen=True)
class SpanErase(_Missing):
    """M3: two gaps with ragged edges grow in the line and swallow words and their context.

    After the lacunae of Borkar and Smith ("Mind the Gap", ICDAR workshops 2024), TACo
    (Easter2.0, 2022) and Random Erasing (Zhong et al., AAAI 2020).

    fill: bare paper in the place of the ink, or a dark hole.
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
class HalfLine(_Missing):
    """M4: the line is torn away from the top or from the bottom, at a ragged edge.

    After tears and cropped scans, and the partial damage of FPHDR (Zhang et al., ACL 2025).

    fill: bare paper in the place of the ink, or a dark hole.
    """

    name = "half_line"

    def _order(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        from_top = rng.random() < 0.5
        edge = smooth_field(rng, geometry.height, geometry.width, 0.5)
        rows = np.arange(geometry.height, dtype=np.float32)[:, None]
        score: Float = edge * np.float32(0.18 * geometry.x_height) + (-rows if from_top else rows)
        return score


@dataclass(frozen=True)
class Holes(ScoreDamage):
    """M5: the paper has holes, through which the dark bed of the scanner is seen.

    After the holes of DocCreator (Journet et al., J. Imaging 2017), the blobs of ocrodeg (Breuel)
    and the paper damage of HDR28K (Yang et al., AAAI 2025).
    """

    family = "missing"
    name = "holes"

    def _score(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        return blobs(geometry, rng)

    def _fill(self, geometry: Geometry, mask: Mask, rng: np.random.Generator) -> Image:
        return fill_mark(geometry, mask, rng)


@dataclass(frozen=True)
class Fade(StrengthDamage):
    """M6: the ink fades unevenly; the strength is the share of contrast that is kept.

    After the ink erosion of HDR28K (Yang et al., AAAI 2025), ImageNet-C's contrast (Hendrycks and
    Dietterich, ICLR 2019) and Augraphy's LowInk (Groleau et al., ICDAR 2023).
    Stretching could restore the contrast, so grain is added and the result is 8 bit.
    """

    family = "missing"
    name = "fade"
    strengths = (0.385, 0.325, 0.288, 0.225, 0.15)

    def _at(self, task: Task, strength: float) -> Damaged:
        g = task.geometry
        hills = smooth_field(task.rng, g.height, g.width, PATCH)
        patches = 1 / (1 + np.exp(np.float32(-1.2) * hills))
        patches /= np.float32(patches[g.ink].mean(dtype=np.float64))
        grain = np.float32(GRAIN) * smooth_field(task.rng, g.height, g.width, GRAIN_SIZE)
        gone = np.float32(1 - strength) * (np.float32(EVEN) + np.float32(1 - EVEN) * patches)
        kept = 1 - np.clip(gone, 0, 1)
        return task.changed(to_image(g.background - (g.background - g.grey) * kept + grain))


def blobs(geometry: Geometry, rng: np.random.Generator) -> Float:
    """(H, W) random field for holes and blots, with hills about as large as a letter."""
    size = BLOB * geometry.x_height / geometry.height
    return smooth_field(rng, geometry.height, geometry.width, size)


def erased_columns(
    ink: Mask, boxes: NDArray[np.float32], share: float, count: int = 0
) -> NDArray[np.bool_]:
    """Erase boxes in order until the share of the ink is lost, the last if that is nearer to it.

    Takes (H, W) ink and (N, 2) boxes in the order of erasure; returns (W,) columns to clear, nested
    in `share`. A `count` other than 0 erases that many boxes with ink instead.
    """
    left = np.cumsum(np.concatenate(([0], ink.sum(axis=0))))  # ink left of each column edge
    weight = np.diff(left)
    erased = np.zeros(ink.shape[1], np.bool_)
    target, lost, done = share * float(left[-1]), 0.0, 0
    for a, b in box_edges(boxes, ink.shape[1]):
        if left[b] == left[a]:
            continue
        gain = float(weight[a:b][~erased[a:b]].sum())
        if not count and erased.any() and lost + gain - target > gain / 2:
            break
        erased[a:b] = True
        lost, done = lost + gain, done + 1
        if done == count or (not count and lost >= target):
            break
    return erased
