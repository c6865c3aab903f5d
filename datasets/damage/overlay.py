"""Ink that is covered: blots on the line, and words struck through."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.core.types import Image
from datasets.damage.base import Damaged
from datasets.damage.fill import fill_ink, to_image
from datasets.damage.geometry import Float, Geometry, Mask, words
from datasets.damage.missing import blobs
from datasets.damage.recipe import Recipe, ScoreRecipe, Task

WORDS_STRUCK = (0.10, 0.20, 0.35, 0.60, 1.00)  # share of the words at severity 1 to 5
SUPERSAMPLING = 4  # of the pen's path
JITTERS = 6  # drawn for each word

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Blot(ScoreRecipe):
    """O1: opaque blots in the colour of the ink.

    After the handwritten blots of StackMix (Shonenkov et al., 2021) and the blobs of ocrodeg
    (Breuel) and of RoDLA's speckle (Chen et al., CVPR 2024).
    """

    family = "overlay"
    name = "blot"

    def _score(self, geometry: Geometry, rng: np.random.Generator) -> Float:
        return blobs(geometry, rng)

    def _fill(self, geometry: Geometry, mask: Mask, rng: np.random.Generator) -> Image:
        return fill_ink(geometry, mask)


@dataclass(frozen=True)
class Strike(Recipe):
    """O2: words struck through with one line, two, a cross or a zig-zag, in the pen of the line.

    After the strike-through generator of Heil, Vats and Hast (ICDAR 2021).
    """

    family = "overlay"
    name = "strike"

    def _damage(self, task: Task, severity: int) -> Damaged:
        geometry, rng = task.geometry, task.rng
        spans = words(geometry)
        order = rng.permutation(len(spans))
        kinds = rng.integers(0, len(_STROKES), len(spans))
        jitters = rng.uniform(-1, 1, (len(spans), JITTERS))
        struck = max(1, round(WORDS_STRUCK[severity - 1] * len(spans)))
        coverage = np.zeros(geometry.grey.shape, np.float32)
        for word in order[:struck]:
            strokes = _STROKES[kinds[word]](geometry, spans[word], jitters[word])
            _draw(coverage, strokes, geometry.stroke_width)
        colour: Float = np.clip(geometry.background - np.float32(geometry.ink_darkness), 0, 1)
        blend = geometry.grey * (1 - coverage) + colour * coverage
        mask: Mask = coverage > 0.5
        return task.masked(mask, to_image(np.minimum(geometry.grey, blend)))


def _single(geometry: Geometry, span: tuple[int, int], j: NDArray[np.float64]) -> list[Points]:
    (a, b), y, reach = span, geometry.middle, _reach(geometry)
    return [[(a, y + 0.4 * reach * j[0]), (b, y + 0.4 * reach * j[1])]]


def _double(geometry: Geometry, span: tuple[int, int], j: NDArray[np.float64]) -> list[Points]:
    (a, b), y, reach = span, geometry.middle, _reach(geometry)
    upper, lower, wobble = y - 0.5 * reach, y + 0.5 * reach, 0.2 * reach
    return [
        [(a, upper + wobble * j[0]), (b, upper + wobble * j[1])],
        [(a, lower), (b, lower + wobble * j[2])],
    ]


def _cross(geometry: Geometry, span: tuple[int, int], j: NDArray[np.float64]) -> list[Points]:
    (a, b), y, reach = span, geometry.middle, 1.2 * _reach(geometry)
    return [[(a, y - reach), (b, y + reach)], [(a, y + reach), (b, y - reach)]]


def _zigzag(geometry: Geometry, span: tuple[int, int], j: NDArray[np.float64]) -> list[Points]:
    (a, b), y, reach = span, geometry.middle, 1.1 * _reach(geometry)
    count = max(3, int((b - a) / (0.6 * geometry.x_height)))
    columns = np.linspace(a, b, count)
    return [[(float(x), y - reach if i % 2 else y + reach) for i, x in enumerate(columns)]]


_STROKES = (_single, _double, _cross, _zigzag)


def _reach(geometry: Geometry) -> float:
    return 0.35 * geometry.x_height


def _draw(coverage: Float, strokes: list[Points], pen: float) -> None:
    """Draw pen strokes onto a coverage map in place, on a supersampled canvas about them."""
    height, width = coverage.shape
    left = max(0, int(min(x for stroke in strokes for x, _ in stroke) - pen - 2))
    right = min(width, int(max(x for stroke in strokes for x, _ in stroke) + pen + 3))
    size = ((right - left) * SUPERSAMPLING, height * SUPERSAMPLING)
    canvas = np.zeros(size[::-1], np.uint8)
    thickness = max(1, round(SUPERSAMPLING * pen))
    for stroke in strokes:
        # Four fractional bits; cv2 counts from pixel centres, we from pixel edges.
        points = (np.array(stroke) - (left, 0)) * SUPERSAMPLING - 0.5
        fixed = np.rint(points * 16).astype(np.int32)
        cv2.polylines(canvas, [fixed], False, 255, thickness, cv2.LINE_AA, 4)
    drawn = cv2.resize(
        canvas.astype(np.float32), (right - left, height), None, 0, 0, cv2.INTER_AREA
    )
    part = coverage[:, left:right]
    np.maximum(part, drawn / np.float32(255), out=part)
