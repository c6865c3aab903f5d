"""Synthetic handwriting from stroke fonts: text and writer to strokes with character boxes.

The glyphs are Dr. A. V. Hershey's (package Hershey-Fonts): two print faces and two script faces,
distorted by a personal style. A learned renderer can replace `write`: all else depends only on
`Writing`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from HersheyFonts import HersheyFonts
from numpy.typing import NDArray

from datasets.raster import Stroke
from datasets.seeds import stream

# Hershey's units: y downwards, capitals from -12 to 9, small letters from -5 to 9.
_BASELINE = 9.0
_X_HEIGHT = 14.0
_FACES = {"print": ("futural", "rowmans"), "script": ("cursive", "scripts")}


@dataclass(frozen=True, eq=False)
class Writing:
    """Strokes on an empty canvas.

    strokes: (N, 2) float32 points in pixels, y downwards.
    widths: pen width in pixels at each point, one (N,) array per stroke.
    boxes: (len(text), 2) float32, left and right column of each character.
    shape: (H, W) of the canvas that holds the ink and its margins.
    """

    strokes: tuple[Stroke, ...]
    widths: tuple[NDArray[np.float32], ...]
    boxes: NDArray[np.float32]
    shape: tuple[int, int]


@dataclass(frozen=True)
class Style:
    """A hand, constant for a writer, in Hershey's units unless stated otherwise."""

    kind: str
    script_capitals: bool
    scale: float  # pixels a unit
    width: float  # horizontal stretch
    slant: float  # shear, x a unit of height
    ascent: float  # stretch of what stands above the x-height
    descent: float  # stretch of what hangs below the baseline
    letter_gap: float
    word_gap: float
    join: float  # chance that two small print letters are joined
    slope: float  # of the baseline
    wave: float  # amplitude of the baseline's drift
    shape_jitter: float  # of control points, once a writer and letter
    hand_jitter: float  # of control points, at every letter anew
    pen: float  # mean width in pixels
    pressure: float  # share by which the width follows the direction of the stroke


def style_of(writer: str) -> Style:
    """Draw the hand of a writer from its own random stream."""
    rng = stream("kaidoku-hand-1", writer)
    kind = "script" if rng.random() < 0.5 else "print"
    return Style(
        kind=kind,
        script_capitals=bool(rng.random() < 0.6),
        scale=float(rng.uniform(1.15, 1.75)),
        width=float(rng.uniform(0.6, 1.12)),
        slant=float(rng.uniform(-0.18, 0.55 if kind == "print" else 0.3)),
        ascent=float(rng.uniform(0.7, 1.35)),
        descent=float(rng.uniform(0.7, 1.5)),
        letter_gap=float(rng.uniform(-1.2, 3.0) if kind == "print" else rng.uniform(-0.7, 0.9)),
        word_gap=float(rng.uniform(8.0, 22.0)),
        join=float(max(0.0, rng.uniform(-0.4, 0.7))),
        slope=float(rng.normal(0, 0.006)),
        wave=float(rng.uniform(0.0, 1.6)),
        shape_jitter=float(rng.uniform(0.25, 0.95)),
        hand_jitter=float(rng.uniform(0.12, 0.45)),
        pen=float(rng.uniform(1.3, 3.4)),
        pressure=float(rng.uniform(0.0, 0.45)),
    )


def write(text: str, writer: str, line: str) -> Writing:
    """Write a text (printable ASCII; any other character leaves no ink) in a writer's hand.

    The writer seeds the style, the line its variation.
    """
    style = style_of(writer)
    rng = stream("kaidoku-write-1", writer, line)
    phase, period = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(180, 500))
    strokes: list[NDArray[np.float64]] = []
    boxes = np.zeros((len(text), 2))
    cursor, size, previous_end = 0.0, 1.0, None
    for index, char in enumerate(text):
        if char == " ":
            advance = style.word_gap * float(rng.uniform(0.75, 1.3))
            size, previous_end = float(rng.uniform(0.93, 1.08)), None
            boxes[index] = cursor, cursor + advance
            cursor += advance
            continue
        glyph, advance = _glyph(writer, char)
        lift = style.wave * math.sin(phase + 2 * math.pi * cursor / period)
        lift += style.slope * cursor + float(rng.normal(0, 0.25))
        placed = [_place(points, cursor, lift, size, style, rng) for points in glyph]
        joined = style.kind == "print" and char.islower() and rng.random() < style.join
        if joined and previous_end is not None and placed:
            strokes.append(np.stack([previous_end, placed[0][0]]))
        strokes += placed
        small = char.islower() and bool(placed)
        previous_end = placed[-1][-1] if small else None
        step = advance * size * style.width + style.letter_gap * float(rng.uniform(0.6, 1.4))
        boxes[index] = cursor, cursor + max(step, 1.0)
        cursor += max(step, 1.0)
    return _lay_out(strokes, boxes, cursor, style, rng)


def _place(
    points: NDArray[np.float64],
    x: float,
    y: float,
    size: float,
    style: Style,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Place a glyph's stroke on the line, relative to a baseline at 0, and smooth it."""
    bent = points + rng.normal(0, style.hand_jitter, points.shape)
    height = -bent[:, 1] * size  # above the baseline
    height = np.where(height > _X_HEIGHT, _X_HEIGHT + (height - _X_HEIGHT) * style.ascent, height)
    height = np.where(height < 0, height * style.descent, height)
    column = x + bent[:, 0] * size * style.width + height * style.slant
    return _smooth(np.stack([column, y - height], 1))


def _smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two rounds of Chaikin's corner cutting, ends kept (CGIP 3(4), 1974)."""
    for _ in range(2):
        if len(points) < 3:
            return points
        near, far = points[:-1], points[1:]
        cut = np.empty((2 * len(near), 2))
        cut[0::2], cut[1::2] = 0.75 * near + 0.25 * far, 0.25 * near + 0.75 * far
        points = np.concatenate([points[:1], cut, points[-1:]])
    return points


def _lay_out(
    strokes: list[NDArray[np.float64]],
    boxes: NDArray[np.float64],
    length: float,
    style: Style,
    rng: np.random.Generator,
) -> Writing:
    """Scale to pixels and add the margins of a line segmenter."""
    margins = rng.uniform(2.0, 9.0, 4)  # left, right, top, bottom, in pixels
    points = np.concatenate([*strokes, np.array([[0.0, 0.0], [length, -_X_HEIGHT]])])
    low, high = points.min(0) * style.scale, points.max(0) * style.scale
    origin = np.array([margins[0], margins[2]]) + style.pen - low
    size = origin + high + style.pen + np.array([margins[1], margins[3]])
    ink = [(s * style.scale + origin).astype(np.float32) for s in strokes]
    return Writing(
        strokes=tuple(ink),
        widths=tuple(_pressure(s, style, rng) for s in ink),
        boxes=(boxes * style.scale + origin[0]).astype(np.float32),
        shape=(math.ceil(size[1]), math.ceil(size[0])),
    )


def _pressure(points: Stroke, style: Style, rng: np.random.Generator) -> NDArray[np.float32]:
    """Pen width at each point: down strokes are wider, and strokes vary."""
    if len(points) < 2:
        return np.full(len(points), style.pen, np.float32)
    step = np.diff(points, axis=0, append=points[-1:])
    length = np.sqrt((step**2).sum(1)) + 1e-3
    down = np.clip(step[:, 1] / length, -1, 1)
    down[-1] = down[-2]
    width = style.pen * (1 + style.pressure * down) * rng.uniform(0.88, 1.12)
    return np.maximum(width, 0.8).astype(np.float32)


@lru_cache(maxsize=4)
def _face(name: str) -> HersheyFonts:
    font = HersheyFonts()
    font.load_default_font(name)
    return font


@lru_cache(maxsize=80_000)
def _glyph(writer: str, char: str) -> tuple[tuple[NDArray[np.float64], ...], float]:
    """A writer's own form of a character: strokes from x = 0, y = 0 on the baseline; advance."""
    style = style_of(writer)
    rng = stream("kaidoku-glyph-1", writer, char)
    script = style.kind == "script" and (style.script_capitals or not char.isupper())
    face = _FACES["script" if script else "print"][int(rng.integers(2))]
    glyph = _face(face).all_glyphs.get(char)
    if glyph is None:
        return (), 0.0
    stretch = rng.uniform(0.9, 1.12, 2)
    strokes = []
    for raw in glyph.strokes:
        points = np.array(list(raw), np.float64)
        points[:, 0] -= glyph.left_offset
        points[:, 1] -= _BASELINE
        points = points * stretch + rng.normal(0, style.shape_jitter, points.shape)
        strokes.append(_densify(points))
    return tuple(strokes), float(glyph.char_width * stretch[0])


def _densify(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points at most 6 units apart, so that jitter can bend Hershey's long straight lines."""
    pieces = [points[:1]]
    for start, end in pairwise(points):
        count = max(1, math.ceil(float(np.abs(end - start).max()) / 6.0))
        pieces.append(start + (end - start) * (np.arange(1, count + 1) / count)[:, None])
    return np.concatenate(pieces)
