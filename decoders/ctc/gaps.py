"""Gaps of a line: stretches without ink that are wider than the line's own spacing.

The best path places each symbol. The distance between the middles of two characters, divided by the
frames of an average letter of the line, is modelled as normally distributed: its mean is half of
their widths plus the widths of all that stands between. Where lost characters make the distance
likelier than the spaces that were read there, the frames between are a gap.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.jit import compiled_part
from bench.core.types import BLANK

MOST_GAPS = 32  # of a line
_FEWEST = 4  # pairs of neighbours; the scale of a line with fewer is not known
_HALF = np.float32(np.log(0.5))
_LEAST = -7.0  # log-likelihood ratio, cost included, that a gap has to exceed


class GapModel(NamedTuple):
    """Widths of written symbols, and what a gap costs.

    widths: (V,) of each symbol; 1 is the average letter of a line.
    variance: of a distance between neighbours; what each letter and each space in a gap add to it.
    outlier: density of distances that no width explains.
    cost: natural logarithm, subtracted once a gap.
    bonus: of the language model a symbol, taken back in a gap.
    letters, spaces: the most that fill a gap.
    space_symbol: the index of the space.
    known: (B, G, 3) of an oracle, in place of gaps that are inferred: first and last frame of each
        gap of a line as numbers, and how many characters fill it, -1 for any; 0 ends the list.
        Without an oracle B is 0.
    """

    widths: NDArray[np.float64]
    variance: tuple[float, float, float]
    outlier: float
    cost: float
    bonus: float
    letters: int
    spaces: int
    space_symbol: int
    known: NDArray[np.float64]


class Gaps(NamedTuple):
    """Gaps of a line in order, and the buffers of `find`.

    begin, end: (G,) first frame of a gap, and first frame after it.
    excess: (G,) distance of the characters beside a gap beyond half of their widths.
    likelihood: (G,) of that distance with the spaces that were read between them.
    characters: (G,) that fill it: 0 where the gap is inferred, -1 for any number above 0.
    first, last, symbol: (T,) frames and index of each symbol of the best path.
    ratio: (T,) frames of an average letter by each pair of neighbours.
    """

    begin: NDArray[np.int32]
    end: NDArray[np.int32]
    excess: NDArray[np.float64]
    likelihood: NDArray[np.float64]
    characters: NDArray[np.int32]
    first: NDArray[np.int32]
    last: NDArray[np.int32]
    symbol: NDArray[np.int32]
    ratio: NDArray[np.float64]


@compiled_part
def find(log_probs: NDArray[np.float32], frames: int, model: GapModel, gaps: Gaps) -> int:
    """Find the gaps of a line from its log-probabilities, (T, V); returns their number."""
    count = _best_path(log_probs, frames, gaps)
    pitch = _pitch(model, gaps, count)
    if pitch <= 0.0:
        return 0
    found, left, spaces = 0, -1, 0
    for right in range(count):
        if gaps.symbol[right] == model.space_symbol:
            spaces += 1
            continue
        if left >= 0 and found < gaps.begin.size and gaps.first[right] > gaps.last[left] + 1:
            excess = _excess(model, gaps, left, right, pitch)
            likelihood = density(
                model, excess, spaces * model.widths[model.space_symbol], 0, spaces
            )
            if _worth(model, excess, likelihood):
                gaps.begin[found], gaps.end[found] = gaps.last[left] + 1, gaps.first[right]
                gaps.excess[found], gaps.likelihood[found] = excess, likelihood
                gaps.characters[found] = 0
                found += 1
        left, spaces = right, 0
    return found


@compiled_part
def place(
    log_probs: NDArray[np.float32],
    frames: int,
    known: NDArray[np.float64],
    model: GapModel,
    gaps: Gaps,
) -> int:
    """Place the gaps that an oracle knows, (G, 3), as `find` does; returns their number.

    A gap lies between the last character that is read before it and the first one behind it.
    """
    count = _best_path(log_probs, frames, gaps)
    pitch = _pitch(model, gaps, count)
    found, least = 0, 0
    for k in range(len(known)):
        if known[k, 2] == 0 or found == gaps.begin.size:
            break
        left, right = -1, count
        for i in range(count):
            if gaps.symbol[i] != model.space_symbol:
                if _middle(gaps, i) < known[k, 0]:
                    left = i
                elif _middle(gaps, i) > known[k, 1] and right == count:
                    right = i
        begin = max(gaps.last[left] + 1 if left >= 0 else 0, least)
        end = gaps.first[right] if right < count else frames - 1
        if begin >= end:
            continue
        width = known[k, 1] - known[k, 0]
        excess = width / pitch if pitch > 0.0 else 1.0
        if left >= 0 and right < count and pitch > 0.0:
            excess = _excess(model, gaps, left, right, pitch)
        gaps.begin[found], gaps.end[found], gaps.excess[found] = begin, end, excess
        gaps.likelihood[found], gaps.characters[found] = 1.0, int(known[k, 2])
        found, least = found + 1, end
    return found


@compiled_part
def _excess(model: GapModel, gaps: Gaps, left: int, right: int, pitch: float) -> float:
    """Distance of two characters beyond half of their widths, in average letters."""
    distance = (_middle(gaps, right) - _middle(gaps, left)) / pitch
    halves = 0.5 * (model.widths[gaps.symbol[left]] + model.widths[gaps.symbol[right]])
    return float(distance - halves)


@compiled_part
def _best_path(log_probs: NDArray[np.float32], frames: int, gaps: Gaps) -> int:
    """Write the symbols of the best path and their frames; returns their number."""
    count, before = 0, BLANK
    for t in range(frames):
        row = log_probs[t]
        symbol = BLANK
        if row[BLANK] < _HALF:  # a blank above one half is the likeliest symbol
            for other in range(1, row.size):
                if row[other] > row[symbol]:
                    symbol = other
        if symbol != BLANK and symbol == before:
            gaps.last[count - 1] = t
        elif symbol != BLANK:
            gaps.symbol[count], gaps.first[count], gaps.last[count] = symbol, t, t
            count += 1
        before = symbol
    return count


@compiled_part
def _middle(gaps: Gaps, place: int) -> float:
    return 0.5 * (gaps.first[place] + gaps.last[place])


@compiled_part
def _pitch(model: GapModel, gaps: Gaps, count: int) -> float:
    """Frames of an average letter: the median over neighbours without a space; 0 for too few."""
    pairs = 0
    for right in range(1, count):
        left = right - 1
        a, b = gaps.symbol[left], gaps.symbol[right]
        if model.space_symbol not in (a, b):
            widths = 0.5 * (model.widths[a] + model.widths[b])
            gaps.ratio[pairs] = (_middle(gaps, right) - _middle(gaps, left)) / widths
            pairs += 1
    if pairs < _FEWEST:
        return 0.0
    for i in range(1, pairs):  # insertion sort of a few dozen
        value, j = gaps.ratio[i], i - 1
        while j >= 0 and gaps.ratio[j] > value:
            gaps.ratio[j + 1] = gaps.ratio[j]
            j -= 1
        gaps.ratio[j + 1] = value
    return gaps.ratio[pairs // 2]


@compiled_part
def _worth(model: GapModel, excess: float, likelihood: float) -> bool:
    """Check whether some number of letters of average width makes a distance likely enough."""
    for letters in range(1, model.letters + 1):
        for spaces in range(model.spaces + 1):
            width = letters + spaces * model.widths[model.space_symbol]
            ratio = density(model, excess, width, letters, spaces) / likelihood
            if np.log(ratio) - model.cost > _LEAST:
                return True
    return False


@compiled_part
def density(model: GapModel, excess: float, width: float, letters: int, spaces: int) -> float:
    """Likelihood of a distance with lost letters and spaces of `width` in total."""
    variance = model.variance[0] + letters * model.variance[1] + spaces * model.variance[2]
    off = excess - width
    normal = np.exp(-0.5 * off * off / variance) / np.sqrt(2.0 * np.pi * variance)
    return normal + model.outlier


@compiled_part
def inkless(row: NDArray[np.float32], model: GapModel) -> float:
    """Log-probability of a frame, (V,), to be blank or space."""
    return np.logaddexp(np.float64(row[BLANK]), np.float64(row[model.space_symbol]))


@compiled_part
def highest(model: GapModel) -> float:
    """The largest value of `density` for any text with a letter."""
    return 1.0 / np.sqrt(2.0 * np.pi * (model.variance[0] + model.variance[1])) + model.outlier
