"""Character positions by CTC forced alignment of the reference.

For lines whose source has no boxes. The model must not be one under test, since characters that it
aligns well it also reads well. `box_source` names it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.types import Encoded, Line
from bench.pipeline.measure import batches_of
from bench.pipeline.opening import Track
from bench.training.align import align
from datasets.damage.geometry import measure
from models.base import Encoder

REACH = 0.5  # of the way between two characters, in its middle, in which the border is looked for


def with_boxes(
    lines: Sequence[Line], encoder: Encoder, batch_size: int, track: Track
) -> tuple[Line, ...]:
    """Add a box for each character to lines that have none.

    The text is aligned to the frames of the model (the likeliest CTC path that spells it). Between
    the middles of two neighbours lies their border: the column with the least ink in the middle
    half of the way. A line that the model cannot spell (no ink, more characters than frames, none
    in its alphabet) stays without boxes.

    Args:
        lines: those that have boxes keep them.
        encoder: open, with a CTC head and trained weights.
        batch_size: lines to encode at once.
        track: draws the progress.

    Returns:
        The lines in order; of those with new boxes `box_source` is "ctc:" and the weights' hash.

    Raises:
        UserError: the encoder has no CTC head, or its weights are untrained.
    """
    info = encoder.info
    if not info.alphabet or not info.trained:
        lacks = "trained weights" if info.alphabet else "a CTC head"
        raise UserError(f"{info.name} cannot place characters: it lacks {lacks}; take mini")
    symbols = {symbol: place for place, symbol in enumerate(info.alphabet) if symbol}
    aligned = list(lines)
    bare = [place for place, line in enumerate(lines) if line.boxes is None]
    batches = batches_of([lines[place].image for place in bare], batch_size)
    for batch in track(batches, "placing characters"):
        places = [bare[index] for index in batch]
        encoded = encoder.encode(encoder.prepare([lines[place].image for place in places]))
        for row, place in enumerate(places):
            boxes = _boxes(lines[place], encoded, row, symbols)
            if boxes is not None:
                aligned[place] = dataclasses.replace(
                    lines[place], boxes=boxes, box_source=f"ctc:{info.weights}"
                )
    return tuple(aligned)


def _boxes(
    line: Line, encoded: Encoded, row: int, symbols: Mapping[str, int]
) -> NDArray[np.float32] | None:
    """(len(text), 2) boxes in pixels, or None when the text cannot be aligned."""
    geometry = measure(line.image)
    known = [place for place, char in enumerate(line.text) if char in symbols]
    if geometry is None or not known or encoded.log_probs is None or encoded.frames is None:
        return None
    frames = int(encoded.frames[row])
    log_probs = encoded.log_probs[row, :frames].float().cpu().numpy()
    spelled = np.array([symbols[line.text[place]] for place in known], np.int64)
    repeats = int(np.count_nonzero(spelled[1:] == spelled[:-1]))
    if frames < len(spelled) + repeats:
        return None
    spans = align(np.ascontiguousarray(log_probs), spelled)
    if (spans < 0).any():
        return None
    per_frame = geometry.width / frames
    middles = (spans[:, 0] + spans[:, 1] + 1) / 2 * per_frame
    return boxes_between(
        _filled(middles, known, len(line.text), geometry.left, geometry.right),
        geometry.ink.sum(axis=0),
        (geometry.left, geometry.right),
    )


def boxes_between(
    middles: NDArray[np.float64], ink: NDArray[np.int64], ends: tuple[int, int]
) -> NDArray[np.float32]:
    """Boxes from the middles of characters.

    Args:
        middles: (N,) columns in pixels, rising.
        ink: (W,) ink pixels in each column.
        ends: first column of ink and the one after the last.

    Returns:
        (N, 2) left and right edge of each; neighbours share an edge.
    """
    edges = [min(float(ends[0]), float(middles[0]))]
    for before, after in pairwise(middles):
        half, centre = REACH / 2 * (after - before), (before + after) / 2
        first, last = int(np.ceil(centre - half)), int(np.floor(centre + half))
        columns = np.arange(max(first, 0), min(last + 1, len(ink)))
        if len(columns):
            least = columns[ink[columns] == ink[columns].min()]
            column = float(least[np.argmin(np.abs(least + 0.5 - centre))]) + 0.5
            centre = min(max(column, before), after)  # nearer than a column to one another
        edges.append(max(centre, edges[-1]))
    edges.append(max(float(ends[1]), float(middles[-1]), edges[-1]))
    return np.stack((edges[:-1], edges[1:]), axis=1).astype(np.float32)


def _filled(
    middles: NDArray[np.float64], known: Sequence[int], count: int, left: int, right: int
) -> NDArray[np.float64]:
    """Middles of all characters; those that the model cannot spell are spaced evenly."""
    places = np.array([-1, *known, count])
    columns = np.concatenate(([min(left, middles[0])], middles, [max(right, middles[-1])]))
    return np.interp(np.arange(count), places, columns)
