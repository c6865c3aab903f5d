"""An ideal reader: it reads each visible character nearly surely, and nothing of a hidden one.

Its decoders show what a search can fill in under its own knowledge of the gaps when the text around
them is read without an error: the ceiling of that search.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from bench.core.types import BLANK, Encoded, Line
from datasets.damage.visible import HIDDEN, lost_characters

NAME = "ideal reader"

_SURE = 0.99  # probability of what a frame shows
_WIDE = 14  # frames of a line as wide as it is high: as many as `mini` has


def encoded(
    lines: Sequence[Line], visible: Sequence[NDArray[np.float32]], alphabet: Sequence[str]
) -> Encoded:
    """Encode lines: a character in the frame at the middle of its box, blanks between.

    The lines are those before the damage, with boxes, and have the `completed` shares of their
    characters beside them; the alphabet begins with the blank.
    """
    paths = [_path(*pair, alphabet) for pair in zip(lines, visible, strict=True)]
    frames = torch.tensor([len(path) for path in paths])
    symbols = pad_sequence(
        list(map(torch.from_numpy, paths)), batch_first=True, padding_value=BLANK
    )
    rest = (1 - _SURE) / (len(alphabet) - 1)
    probs = torch.full((*symbols.shape, len(alphabet)), rest)
    probs.scatter_(2, symbols[..., None], _SURE)
    return Encoded(
        states=torch.zeros(*symbols.shape, 0),
        state_mask=torch.arange(symbols.shape[1])[None] < frames[:, None],
        log_probs=probs.log(),
        frames=frames,
        alphabet=tuple(alphabet),
        lost=tuple(lost_characters(*pair) for pair in zip(lines, visible, strict=True)),
    )


def _path(line: Line, visible: NDArray[np.float32], alphabet: Sequence[str]) -> NDArray[np.int64]:
    """(T,) the symbol of each frame; a character that the alphabet lacks is not read."""
    rows, columns = line.image.shape
    assert line.boxes is not None
    middles = line.boxes.mean(axis=1) * _WIDE / rows
    path = np.full(round(_WIDE * columns / rows) + 2 * len(line.text), BLANK, np.int64)
    free = 0
    for character, middle, share in zip(line.text, middles, visible, strict=True):
        frame = max(free, int(np.nan_to_num(middle)))
        if share >= HIDDEN and character in alphabet:
            path[frame] = alphabet.index(character)
            free = frame + 2  # a blank between equal neighbours
    return path[: max(free, round(_WIDE * columns / rows))]
