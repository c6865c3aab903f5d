"""Lines to train on: which of them a head can spell, and new looks of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.types import Image, Line
from models.alphabet import encode, frames_needed
from models.images import darkness
from models.training.augment import augment

_TALLEST = 128  # px; taller lines are scaled down first, which keeps augmentation cheap


@dataclass(frozen=True)
class Unfit:
    """A line that a head cannot spell, and why."""

    id: str
    reason: str


def sort_out(lines: Iterable[Line], frames: int) -> tuple[list[Line], list[Unfit]]:
    """The lines that CTC can spell in so many frames, and the others with the reason.

    A line needs a frame for each character and one between two equal neighbours. The loss alone
    would pass over what does not fit without a word (`zero_infinity`).
    """
    fit, unfit = [], []
    for line in lines:
        if reason := why_unfit(line.text, frames):
            unfit.append(Unfit(line.id, reason))
        else:
            fit.append(line)
    return fit, unfit


def why_unfit(text: str, frames: int) -> str:
    """Why a text cannot be spelled in so many frames; "" when it can."""
    symbols = encode(text)
    if symbols is None:
        foreign = sorted({char for char in text if encode(char) is None})
        return f"{''.join(foreign)!r} is not in the alphabet"
    if not symbols:
        return "it has no text"
    needed = frames_needed(symbols)
    return f"it needs {needed} frames and the head has {frames}" if needed > frames else ""


def new_look(image: Image, rng: np.random.Generator, strength: float) -> Image:
    """A line (H, W) uint8 as another hand might have put it on the same paper: (H', W').

    strength: 0 leaves the line alone, 1 is full.
    """
    if strength <= 0:
        return image
    if image.shape[0] > _TALLEST:
        width = max(1, round(image.shape[1] * _TALLEST / image.shape[0]))
        image = cv2.resize(image, (width, _TALLEST), interpolation=cv2.INTER_AREA)
    ink, paper = np.percentile(image, (1, 80))
    return on_paper(margins(augment(darkness(image), rng, strength), rng, strength), ink, paper)


def margins(
    ink: NDArray[np.float32], rng: np.random.Generator, strength: float
) -> NDArray[np.float32]:
    """Paper added to both sides, up to a tenth of the width each.

    Lines are squeezed into one width, so margins are what changes the width of their letters.
    """
    sides = rng.uniform(0, 0.1 * strength * ink.shape[1], 2).astype(int)
    return np.pad(ink, ((0, 0), (int(sides[0]), int(sides[1]))))


def on_paper(ink: NDArray[np.float32], black: float, white: float) -> Image:
    """Darkness (ink 1, paper 0) as grey levels between those of the ink and of the paper."""
    contrast = max(float(white - black), 24.0)  # as `models.images.darkness` takes it
    grey = np.float32(white) - ink * np.float32(contrast)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def summary(unfit: Sequence[Unfit], lines: int, frames: int) -> str:
    """One sentence on the lines that are left out; the first ones by name."""
    if not unfit:
        return f"all {lines} lines can be spelled in {frames} frames"
    named = "; ".join(f"{one.id}: {one.reason}" for one in unfit[:3])
    more = f"; and {len(unfit) - 3} more" if len(unfit) > 3 else ""
    return f"{len(unfit)} of {lines} lines cannot be spelled and are left out ({named}{more})"
