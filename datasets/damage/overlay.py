"""Ink over the line: blots, words struck through, and the other side of the paper."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.core.types import Image
from datasets.damage.base import Damage, Damaged, ScoreDamage, StrengthDamage, Task
from datasets.damage.geometry import Float, Geometry, Mask, measure, words
from datasets.damage.missing import blobs
from datasets.damage.paint import fill_ink, to_image

WORDS_STRUCK = (0.10, 0.20, 0.35, 0.60, 1.00)  # share of the words at severity 1 to 5
SUPERSAMPLING = 4  # of the pen's path
JITTERS = 6  # drawn for each word
SHIFT = 0.35  # x-heights by which the verso may lie higher or lower

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Blot(ScoreDamage):
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
class Strike(Damage):
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


@dataclass(frozen=True)
class BleedThrough(StrengthDamage):
    """O3: another line of the set shines through, mirrored and blurred.

    After Kieu et al. (ICPR 2012), DocCreator (Journet et al., J. Imaging 2017) and Augraphy's
    BleedThrough (Groleau et al., ICDAR 2023). A single line is its own verso.
    """

    family = "overlay"
    name = "bleed_through"
    strengths = (0.20, 0.35, 0.50, 0.70, 0.90)  # darkness of the verso over that of the ink

    def _at(self, task: Task, strength: float) -> Damaged:
        g = task.geometry
        shift = round(float(task.rng.uniform(-SHIFT, SHIFT)) * g.x_height)
        back = None if task.other is None else measure(task.other.image)
        verso = np.float32(strength) * _verso(g, back or g, shift)
        return task.changed(to_image(g.background - np.maximum(g.background - g.grey, verso)))


def _verso(front: Geometry, back: Geometry, shift: int) -> Float:
    """(H, W) darkness of the back's mirrored line, at its darkest as dark as the front's ink.

    It is scaled to the height of the front, repeated or cut to its width, and blurred by half a
    stroke.
    """
    height, width = front.height, front.width
    mirrored = np.ascontiguousarray(back.darkness[:, ::-1])
    scaled_width = max(1, round(back.width * height / back.height))
    method = cv2.INTER_AREA if height < back.height else cv2.INTER_LINEAR
    scaled = cv2.resize(mirrored, (scaled_width, height), interpolation=method)
    filled = np.tile(scaled, (1, -(-width // scaled_width)))[:, :width]
    moved = np.zeros_like(filled)
    rows = slice(max(0, shift), height + min(0, shift))
    moved[rows] = filled[max(0, -shift) : height - max(0, shift)]
    blurred = cv2.GaussianBlur(moved, (0, 0), max(0.5, 0.5 * front.stroke_width))
    verso: Float = blurred * np.float32(front.ink_darkness / max(float(blurred.max()), 1e-6))
    return verso
