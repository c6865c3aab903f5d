"""Real pen ink joined into any text: words and characters of one writer set on a baseline.

UNIPEN's isolated words and characters have no baseline; it is inferred from the letters that reach
above the x-height or below the baseline.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.raster import Stroke
from datasets.sources import SOURCES
from datasets.splits import may_learn, split_of
from datasets.unipen import read_pieces

WORDS, CHARACTERS = (pieces.file for pieces in SOURCES["unipen"].pieces)

# How far characters reach, in x-heights above the baseline: (bottom, top).
_REACH = {
    **dict.fromkeys("acemnorsuvwxz", (0.0, 1.0)),
    **dict.fromkeys("bdfhkl", (0.0, 1.8)),
    **dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789&%#!?", (0.0, 1.7)),
    **dict.fromkeys("gpqy", (-0.8, 1.0)),
    **dict.fromkeys("it", (0.0, 1.5)),
    **dict.fromkeys("()[]{}|/$", (-0.2, 1.8)),
    **dict.fromkeys("'\"`^", (1.2, 1.8)),
    **dict.fromkeys("<>+", (0.1, 1.0)),
    "j": (-0.8, 1.5),
    ".": (0.0, 0.12),
    ",": (-0.35, 0.15),
    ":": (0.0, 0.9),
    ";": (-0.35, 0.9),
    "-": (0.45, 0.55),
    "_": (-0.25, -0.15),
    "=": (0.35, 0.7),
    "~": (0.4, 0.7),
    "*": (0.8, 1.6),
    "@": (-0.2, 1.6),
}


@dataclass(frozen=True, eq=False)
class Ink:
    """A written piece in units of its x-height: left edge at 0, baseline at y = 0, y downwards."""

    strokes: tuple[Stroke, ...]
    width: float


@dataclass(frozen=True, eq=False)
class Bank:
    """The pieces of the writers of a split, by writer and text."""

    words: dict[str, dict[str, list[Ink]]]
    characters: dict[str, dict[str, list[Ink]]]

    @cached_property
    def word_writers(self) -> list[str]:
        """Writers of at least 20 different words."""
        return sorted(w for w, texts in self.words.items() if len(texts) >= 20)

    @cached_property
    def character_writers(self) -> list[str]:
        """Writers of at least 20 different characters, small letters among them."""
        small = set("abcdefghijklmnopqrstuvwxyz")
        return sorted(
            w for w, t in self.characters.items() if len(t) >= 20 and len(small & set(t)) >= 18
        )


def read_bank(root: Path) -> Bank:
    """Read the isolated words and characters of the train split's writers from the data root."""
    return Bank(read_inks(root / WORDS, "train"), read_inks(root / CHARACTERS, "train"))


def read_inks(path: Path, split: str) -> dict[str, dict[str, list[Ink]]]:
    """Read isolated words or characters of the writers of a split, by writer and text.

    Of train, those who are of val or test under another contributor are left out.
    """
    raw: dict[str, list[tuple[str, list[NDArray[np.float32]]]]] = defaultdict(list)
    for piece in read_pieces(path):
        mine = may_learn(piece.writer) if split == "train" else split_of(piece.writer) == split
        if mine and all(char in _REACH for char in piece.text):
            raw[piece.writer].append((piece.text, piece.strokes()))
    return {writer: _on_baseline(pieces) for writer, pieces in raw.items()}


def spaced(
    text: str,
    forms: Mapping[str, Sequence[Ink]],
    letter_gap: float,
    word_gap: float,
    rng: np.random.Generator,
) -> list[tuple[Ink, float]]:
    """Draw a form of each character, and the gap before it in x-heights; for `join`."""
    pieces: list[tuple[Ink, float]] = []
    gap = 0.0
    for char in text:
        if char == " ":
            gap = word_gap * float(rng.uniform(0.8, 1.3))
            continue
        pieces.append((forms[char][int(rng.integers(len(forms[char])))], gap))
        gap = letter_gap + float(rng.normal(0.05, 0.08))
    return pieces


def join(
    pieces: list[tuple[Ink, float]], rng: np.random.Generator
) -> tuple[list[Stroke], list[tuple[float, float]]]:
    """Set pieces side by side on a slightly wandering baseline, each after a gap in x-heights.

    Returns:
        The strokes, and the left and right end of each piece.
    """
    slope, cursor, lift = float(rng.normal(0, 0.008)), 0.0, 0.0
    out: list[Stroke] = []
    spans: list[tuple[float, float]] = []
    for ink, gap in pieces:
        cursor += gap
        lift = 0.8 * lift + float(rng.normal(0, 0.05))
        size = float(np.exp(rng.normal(0, 0.05)))
        shift = np.array([cursor, lift + slope * cursor], np.float32)
        out += [stroke * np.float32(size) + shift for stroke in ink.strokes]
        spans.append((cursor, cursor + ink.width * size))
        cursor += ink.width * size
    return out, spans


def _on_baseline(
    pieces: list[tuple[str, list[NDArray[np.float32]]]],
) -> dict[str, list[Ink]]:
    """Scale a writer's pieces to an x-height of 1 and find their baselines."""
    usual = float(np.median([s for s in (_x_height(t, p) for t, p in pieces) if s] or [1.0]))
    inks: dict[str, list[Ink]] = defaultdict(list)
    for text, strokes in pieces:
        points = np.concatenate(strokes)
        low, high = points.min(0), points.max(0)
        bottom, top = _reach(text)
        own = _x_height(text, strokes)
        # A single character's own height is noisy: lean on the writer's usual size.
        size = usual if own is None else (own if len(text) > 1 else float(np.sqrt(own * usual)))
        middle = (low[1] + high[1]) / 2 + (bottom + top) / 2 * size
        origin = np.array([low[0], middle], np.float32)
        width = float(high[0] - low[0]) / size
        tall = float(high[1] - low[1]) / size > 1.3 * (top - bottom) + 0.6
        slip = tall or (own is not None and not 0.4 < own / usual < 2.5)
        if not slip and width < 0.8 * len(text) + 3:  # a slip of the pen or of the recording
            scaled = tuple((s - origin) / np.float32(size) for s in strokes)
            inks[text].append(Ink(scaled, width))
    return dict(inks)


def _reach(text: str) -> tuple[float, float]:
    reaches = [_REACH[c] for c in text]
    return min(r[0] for r in reaches), max(r[1] for r in reaches)


def _x_height(text: str, strokes: list[NDArray[np.float32]]) -> float | None:
    """The x-height in device units; None for a flat text such as a dash."""
    bottom, top = _reach(text)
    points = np.concatenate(strokes)
    height = float(points[:, 1].max() - points[:, 1].min())
    return height / (top - bottom) if top - bottom >= 0.9 and height > 2 else None
