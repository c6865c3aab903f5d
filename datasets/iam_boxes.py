"""Where the characters of a line of IAM stand, as far as its XML tells.

IAM knows the connected components of every word, on the form. Word borders are therefore measured.
Where a word has as many groups of components as letters (printed hands), so are the letters;
otherwise the letters share the word by their usual widths, which is an estimate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datasets.iam_text import Box, Word, Written

SOURCE = "iam-xml"

_SLACK = 2  # pixels by which an image may differ from its line's box on the form
_OVERLAP = 0.5  # of the narrower of two components, from which on they are one letter
_NARROW, _WIDE = "iljtfrI1.,;:'!|()`", "mwMW&"
_WIDTHS = {**dict.fromkeys(_NARROW, 0.55), **dict.fromkeys(_WIDE, 1.5)}
_CAPITAL = 1.25  # of a small letter's width

Span = tuple[float, float]  # left and right column


def character_boxes(
    text: str, written: Written, shape: tuple[int, ...]
) -> NDArray[np.float32] | None:
    """The columns of each character of a line on its image.

    Args:
        text: the reference, normalised.
        written: of the line; its tokens without spaces have to be the text without spaces.
        shape: (H, W) of the image, which has to be that of the line's box on the form.

    Returns:
        (len(text), 2) float32 in pixels of the image; None where the XML does not tell, or not
        for this image.
    """
    words = written.words
    if not words or not written.correct or not all(word.components for word in words):
        return None
    if "".join(_bare(word.text) for word in words) != _bare(text):
        return None
    left = _left(written, shape)
    if left is None:
        return None
    letters = [span for word in words for span in _letters(word)]
    boxes = np.array(_with_spaces(text, letters), np.float32) - left
    return np.clip(boxes, 0, shape[1]).astype(np.float32)


def _left(written: Written, shape: tuple[int, ...]) -> int | None:
    """The column of the form at which the image begins; None where no box has its size."""
    ink = _around([box for word in written.words for box in word.components])
    for box in (written.box, ink):
        if box and abs(box.width - shape[1]) <= _SLACK and abs(box.height - shape[0]) <= _SLACK:
            return box.left
    return None


def _around(boxes: Sequence[Box]) -> Box:
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    right = max(box.right for box in boxes)
    bottom = max(box.top + box.height for box in boxes)
    return Box(left, top, right - left, bottom - top)


def _letters(word: Word) -> list[Span]:
    """A span for each character of a word that is no space."""
    text = _bare(word.text)
    if not text:
        return []
    groups = _groups(word.components)
    if len(groups) == len(text):
        return groups
    around = _around(word.components)
    shares = np.array([_WIDTHS.get(c, _CAPITAL if c.isupper() else 1.0) for c in text])
    ends = around.left + np.concatenate([[0.0], np.cumsum(shares)]) * around.width / shares.sum()
    return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))


def _groups(components: Sequence[Box]) -> list[Span]:
    """Components from left to right; what lies above another (the dot of an i) belongs to it."""
    groups: list[Span] = []
    for box in sorted(components, key=lambda box: box.left):
        if groups:
            left, right = groups[-1]
            shared = min(right, box.right) - box.left
            if shared >= _OVERLAP * min(right - left, box.width):
                groups[-1] = (left, max(right, box.right))
                continue
        groups.append((box.left, box.right))
    return groups


def _with_spaces(text: str, letters: Sequence[Span]) -> list[Span]:
    """The letters with a span for each space: what is between its neighbours, if anything is."""
    spans: list[Span] = []
    place = 0
    for char in text:
        if char.isspace():
            left, right = letters[place - 1][1], letters[place][0]
            middle = (left + right) / 2
            spans.append((left, right) if left < right else (middle, middle))
        else:
            spans.append(letters[place])
            place += 1
    return spans


def _bare(text: str) -> str:
    return "".join(text.split())
