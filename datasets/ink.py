"""The embedded data set `ink`: real pen strokes of many hands, composed into lines of any text.

UNIPEN's isolated characters of one writer are set side by side on a baseline, so a line has exact
character boxes and any text. A hash of the writer's name determines the split, and no training
source draws from writers of val and test (`datasets.splits.may_learn`). `mini` and `mini-torn`
learned words by 6 hands of val and 8 of test, who wrote them for another contributor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Image, Line, LineSet
from datasets.joined import CHARACTERS, Ink, join, read_inks, spaced
from datasets.levels import LevelSet, line_texts
from datasets.raster import draw_strokes, fit_strokes
from datasets.seeds import stream
from datasets.sources import EMBEDDED, SOURCES
from datasets.unipen import HEIGHT, MARGIN, PEN

Hands = dict[str, dict[str, list[Ink]]]  # forms of a character, by writer and character
_NEAR = 3  # how many characters a line of another level may be longer or shorter


@dataclass(frozen=True)
class InkLines(LevelSet):
    """Lines of 20 to 70 characters in the hands of UNIPEN's writers: 19 of test, 19 of val.

    Every line of a level has an English counterpart in the same hand, of about the same length.
    """

    splits: ClassVar[tuple[str, ...]] = ("val", "test")

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Compose and draw the first `limit` lines of val or test."""
        self.check_split(split)
        hands = _hands(split)
        english = assign(line_texts(split, "english"), hands, self.size, split)
        lines = english
        if self.level != "english":
            lines = beside(english, line_texts(split, self.level), hands)
        count = len(lines) if limit is None else min(limit, len(lines))
        source = SOURCES["unipen"]
        return self.gathered(
            self.at_level("ink"),
            split,
            (self._line(split, place, lines[place], hands) for place in range(count)),
            total=count,
            source=f"{source.url} @ {source.commit[:12]}; real strokes, composed lines",
            licence=source.licence,
            references="corpus",
        )

    def _line(self, split: str, place: int, line: tuple[str, str], hands: Hands) -> Line:
        writer, text = line
        name = f"{self.level}-{split}-{place:03d}"
        image, boxes = draw(text, writer, name, hands[writer])
        return Line(name, image, text, writer, split, boxes, "strokes")


@cache
def _hands(split: str) -> Hands:
    return read_inks(EMBEDDED / CHARACTERS, split)


def assign(texts: Sequence[str], hands: Hands, size: int, split: str) -> list[tuple[str, str]]:
    """Assign texts to writers: the one with fewest lines so far who has all the letters."""
    order = stream("kaidoku-ink-1", split).permutation(len(texts))
    lines = dict.fromkeys(sorted(hands), 0)
    out: list[tuple[str, str]] = []
    for text in (texts[i] for i in order):
        able = [writer for writer in lines if _can_write(text, hands[writer])]
        if able:
            writer = min(able, key=lines.__getitem__)
            lines[writer] += 1
            out.append((writer, text))
        if len(out) == size:
            break
    return out


def beside(
    english: Sequence[tuple[str, str]], texts: Sequence[str], hands: Hands
) -> list[tuple[str, str]]:
    """For each line, the next text of about its length that its writer has all the letters for.

    If none is left, letters that the writer lacks are left out.
    """
    left, out = list(texts), []
    for writer, model in english:
        forms = hands[writer]
        near = (text for text in left if abs(len(text) - len(model)) <= _NEAR)
        text = next((text for text in near if _can_write(text, forms)), "")
        if text:
            left.remove(text)
        else:
            closest = left.pop(min(range(len(left)), key=lambda i: abs(len(left[i]) - len(model))))
            text = " ".join("".join(c for c in closest if c == " " or c in forms).split())
        out.append((writer, text))
    return out


def draw(
    text: str, writer: str, line: str, forms: dict[str, list[Ink]]
) -> tuple[Image, NDArray[np.float32]]:
    """Set characters on a baseline: (64, W) uint8 image and (len(text), 2) boxes in pixels.

    The writer seeds the gaps, so that a hand's spacing is its own, and `line` the choice of forms
    and all else that differs from line to line. `forms` are the writer's, by character.
    """
    habit, rng = stream("kaidoku-gaps-1", writer), stream("kaidoku-ink-line-1", writer, line)
    letter_gap, word_gap = float(habit.uniform(0.05, 0.35)), float(habit.uniform(0.8, 1.6))
    strokes, spans = join(spaced(text, forms, letter_gap, word_gap, rng), rng)
    placed, shape = fit_strokes(strokes, HEIGHT, MARGIN)
    paper = np.rint(255 * (1 - draw_strokes(placed, shape, PEN))).astype(np.uint8)
    across = np.concatenate([stroke[:, 0] for stroke in strokes])
    scale = (shape[1] - 2 * MARGIN) / max(float(np.ptp(across)), 1e-6)
    return paper, _boxes(text, (np.array(spans) - across.min()) * scale + MARGIN)


def _boxes(text: str, spans: NDArray[np.float64]) -> NDArray[np.float32]:
    """The spans of all characters; a space lies between its neighbours."""
    boxes = np.zeros((len(text), 2), np.float32)
    boxes[[place for place, char in enumerate(text) if char != " "]] = spans
    for place, char in enumerate(text):
        if char == " ":
            boxes[place] = sorted((boxes[place - 1][1], boxes[place + 1][0]))
    return boxes


def _can_write(text: str, forms: dict[str, list[Ink]]) -> bool:
    return all(char == " " or char in forms for char in text)
