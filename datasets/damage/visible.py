"""The share of each character's ink that a damage left visible.

A character under .2 is hidden: what a reader writes there comes from the context, not from the
ink. Loss in this sense separates language from ink.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Line, Lost
from datasets.damage.base import Damaged
from datasets.damage.geometry import box_edges, equal_slots, measure

Visibility = Literal["visible", "partial", "hidden", "none"]

VISIBLE = 0.8  # share of the ink; from here on a character is visible
HIDDEN = 0.2  # below it a character is hidden


def visible_shares(clean: Line, damaged: Damaged) -> NDArray[np.float32]:
    """The share of each character's clean ink that a damage left uncovered.

    The ink of a character is the ink in the columns of its box, so overhanging ink counts for both
    neighbours. Without boxes slots of equal width are an estimate (`box_source` "equal-slots").

    Returns:
        (len(text),) float32 from 0 to 1; NaN for a character without ink (a space), and for all
        if the line has no ink or the damage has no mask (signal damages).
    """
    shares = np.full(len(clean.text), np.nan, np.float32)
    geometry = measure(clean.image)
    if geometry is None or damaged.mask is None or not clean.text:
        return shares
    boxes = clean.boxes if clean.boxes is not None else equal_slots(geometry, len(clean.text))
    edges = box_edges(boxes, geometry.width)
    ink = _ink_between(geometry.ink, edges)
    left = _ink_between(geometry.ink & ~damaged.mask, edges)
    np.divide(left, ink, out=shares, where=ink > 0)
    return shares


def visibility(share: float) -> Visibility:
    """The class of a share: visible from .8 on, hidden below .2, "none" for NaN (no ink)."""
    if np.isnan(share):
        return "none"
    if share >= VISIBLE:
        return "visible"
    return "hidden" if share < HIDDEN else "partial"


def _ink_between(ink: NDArray[np.bool_], edges: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N,) ink pixels in the columns of each of (N, 2) boxes."""
    upto = np.concatenate(([0], np.cumsum(ink.sum(axis=0))))
    pixels: NDArray[np.float32] = (upto[edges[:, 1]] - upto[edges[:, 0]]).astype(np.float32)
    return pixels


def completed(text: str, shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give every character without ink the share of its more visible neighbour with ink.

    So a space is hidden only if the characters on both sides are.
    """
    inked = np.flatnonzero(~np.isnan(shares))
    if not inked.size:  # no ink on the line, so none is lost
        return np.ones(len(text), np.float32)
    places = np.arange(len(text))
    after = np.searchsorted(inked, places)
    right = shares[inked[np.minimum(after, inked.size - 1)]]
    left = shares[inked[np.maximum(np.searchsorted(inked, places, "right") - 1, 0)]]
    whole: NDArray[np.float32] = np.where(np.isnan(shares), np.maximum(left, right), shares)
    return whole


def lost_characters(line: Line, visible: NDArray[np.float32]) -> tuple[Lost, ...]:
    """Find the hidden characters of a line before its damage, neighbours together.

    `visible` are their `completed` shares, (len(text),).
    """
    hidden = np.concatenate(([False], visible < HIDDEN, [False]))
    borders = np.flatnonzero(hidden[1:] != hidden[:-1]).tolist()
    geometry = measure(line.image)
    if not borders or geometry is None:
        return ()
    boxes = equal_slots(geometry, len(line.text)) if line.boxes is None else line.boxes
    found = []
    for first, end in zip(borders[::2], borders[1::2], strict=True):
        left, right = line.text[:first].rstrip(), line.text[end:].lstrip()
        place = boxes[first:end] / geometry.width
        between = len(line.text) - len(left) - len(right)
        found.append(Lost(float(np.nanmin(place)), float(np.nanmax(place)), between))
    return tuple(found)
