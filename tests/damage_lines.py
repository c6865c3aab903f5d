"""Lines of script with known boxes, and shorthands, for the tests of the damages."""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.core.types import Line
from datasets.damage import DAMAGES
from datasets.damage.base import SEVERITIES, Damaged, damaged_lines
from datasets.damage.geometry import Geometry, measure

NAMES = DAMAGES.names()
PAPER = ("stroke_breaks", "char_erase", "span_erase", "half_line")  # paper takes the ink's place
EXACT = ("stroke_breaks", "span_erase", "half_line", "holes", "blot")  # lose an exact share of it
MASKED = tuple(name for name in NAMES if DAMAGES.target(name).masks)
UNMASKED = tuple(name for name in NAMES if name not in MASKED)
LEVELS = SEVERITIES[1:]
TEXTS = (
    "The quick brown fox jumps over a lazy dog",
    "Sphinx of black quartz, judge my vow",
    "It was a bright cold day in April, and",
    "Pack my box with five dozen liquor jugs",
)
FONT, SCALE, PEN, CANVAS = cv2.FONT_HERSHEY_SCRIPT_COMPLEX, 5.5, 10, 256


def write(text: str, height: int = 64, grain: float = 0.012, seed: int = 0) -> Line:
    """A line of script with exact boxes, the same drawing at any height."""
    stops = [cv2.getTextSize(text[:i], FONT, SCALE, PEN)[0][0] for i in range(len(text) + 1)]
    canvas = np.zeros((CANVAS, stops[-1] + 80), np.uint8)
    cv2.putText(canvas, text, (40, 185), FONT, SCALE, 255, PEN, cv2.LINE_AA)
    width = round(canvas.shape[1] * height / CANVAS)
    ink = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(float) / 255
    grey = 0.85 - 0.5 * ink + np.random.default_rng(seed).normal(0, grain, ink.shape)
    image = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    edges = (np.array(stops) + 40) * width / canvas.shape[1]
    boxes = np.stack((edges[:-1], edges[1:]), axis=1).astype(np.float32)
    return Line(f"id-{seed}", image, text, "writer", "test", boxes, "renderer")


@cache
def written() -> tuple[Line, ...]:
    return tuple(write(text, seed=i) for i, text in enumerate(TEXTS))


def geometry(line: Line) -> Geometry:
    measured = measure(line.image)
    assert measured is not None
    return measured


def damage(name: str, line: Line, severity: int, seed: int = 0, **options: str) -> Damaged:
    result: Damaged = DAMAGES.create(name, options).apply(line, "set", severity, seed)
    return result


@cache
def damaged(name: str, severity: int) -> tuple[Damaged, ...]:
    return tuple(damaged_lines(DAMAGES.create(name), written(), "set", severity, 0))


def mask_of(result: Damaged) -> NDArray[np.bool_]:
    assert result.mask is not None
    return result.mask


def lost_of(result: Damaged) -> float:
    assert result.ink_lost is not None
    return result.ink_lost


def change(clean: Line, result: Damaged) -> float:
    """Mean absolute difference of the pixels, in grey levels."""
    return float(np.abs(clean.image.astype(float) - result.line.image).mean())


def leak(clean: Sequence[Line], results: Sequence[Damaged]) -> float:
    """Slope of the output's darkness on the original's, under the masks of all lines."""
    before, after = [], []
    for line, result in zip(clean, results, strict=True):
        g, mask = geometry(line), mask_of(result)
        before.append(g.darkness[mask])
        after.append((g.background - result.line.image / 255)[mask])
    x, y = np.concatenate(before).astype(float), np.concatenate(after).astype(float)
    return float(np.polyfit(x, y, 1)[0])
