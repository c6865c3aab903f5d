"""CTC matrices for tests, and two slow decoders that are right by construction."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.core.types import Encoded, EncoderInfo

ALPHABET = ("", " ", *"abcdefghijklmnopqrstuvwxyz")


def encoded(
    matrices: Sequence[NDArray[Any]],
    alphabet: Sequence[str],
    frames: Sequence[int] | None = None,
    padding: float = math.nan,
) -> Encoded:
    """Matrices (T_i, V) of log-probabilities as a batch; what lies behind a line is `padding`."""
    steps = max((len(m) for m in matrices), default=0)
    batch = np.full((len(matrices), steps, len(alphabet)), padding, np.float32)
    for row, matrix in zip(batch, matrices, strict=True):
        row[: len(matrix)] = matrix
    return Encoded(
        states=torch.zeros(len(matrices), 1, 1),
        state_mask=torch.ones(len(matrices), 1, dtype=torch.bool),
        log_probs=torch.from_numpy(batch),
        frames=torch.tensor([len(m) for m in matrices] if frames is None else frames).long(),
        alphabet=tuple(alphabet),
    )


def info(alphabet: Sequence[str] = ALPHABET, **more: Any) -> EncoderInfo:
    fields = {"name": "e", "weights": "0" * 12, "parameters": {}, "has_ar": False, **more}
    return EncoderInfo(alphabet=tuple(alphabet), **fields)


def logs(rows: Iterable[Iterable[float]]) -> NDArray[np.float32]:
    """Probabilities to log-probabilities."""
    with np.errstate(divide="ignore"):
        return np.log(np.array(list(rows), np.float64)).astype(np.float32)


def random_matrix(seed: int, steps: int, symbols: int, peaked: float = 2.0) -> NDArray[np.float32]:
    """Normalised log-probabilities; the larger `peaked`, the surer."""
    logits = np.random.default_rng(seed).random((steps, symbols)) ** 2 * 4 * peaked
    matrix: NDArray[np.float64] = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return matrix.astype(np.float32)


def written(text: str, alphabet: Sequence[str] = ALPHABET, sure: float = 0.9) -> list[list[float]]:
    """Probabilities of a text, a frame a character, with a blank behind each."""
    rows = []
    for character in text:
        for symbol in (character, ""):
            row = [(1 - sure) / (len(alphabet) - 1)] * len(alphabet)
            row[alphabet.index(symbol)] = sure
            rows.append(row)
    return rows


@st.composite
def matrices(draw: st.DrawFn, max_steps: int = 5, max_symbols: int = 4) -> NDArray[np.float32]:
    """Small log-probability matrices (T, V), some with impossible symbols and equal ones."""
    steps, symbols = draw(st.integers(1, max_steps)), draw(st.integers(2, max_symbols))
    weight = st.one_of(st.integers(0, 4).map(float), st.floats(1e-4, 1.0))
    row = st.lists(weight, min_size=symbols, max_size=symbols).filter(lambda r: sum(r) > 1e-3)
    rows = draw(st.lists(row, min_size=steps, max_size=steps))
    return logs([w / sum(r) for w in r] for r in rows)


def every_labelling(matrix: NDArray[np.float32]) -> dict[tuple[int, ...], float]:
    """The probability of every labelling, by adding up every path."""
    steps, symbols = matrix.shape
    probabilities = np.exp(matrix.astype(np.float64))
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(symbols), repeat=steps):
        label = tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)
        found[label] += math.prod(float(probabilities[t, s]) for t, s in enumerate(path))
    return found


def plain_prefix_beam(
    matrix: NDArray[np.float32],
    width: int,
    price: Callable[[tuple[int, ...]], float] = lambda prefix: 1.0,
) -> list[tuple[tuple[int, ...], float]]:
    """Prefix beam search as textbooks write it, with a dictionary of prefixes; best first.

    `price` is the factor of a prefix's last symbol.
    """
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (1.0, 0.0)}
    for row in np.exp(matrix.astype(np.float64)):
        found: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for prefix, (blank, symbol) in beam.items():
            found[prefix][0] += (blank + symbol) * row[0]
            if prefix:
                found[prefix][1] += symbol * row[prefix[-1]]
            for new in range(1, len(row)):
                mass = blank if prefix[-1:] == (new,) else blank + symbol
                longer = (*prefix, new)
                found[longer][1] += mass * row[new] * price(longer)
        kept = sorted(found.items(), key=lambda item: -sum(item[1]))[:width]
        beam = {prefix: (masses[0], masses[1]) for prefix, masses in kept if sum(masses)}
    ranked = sorted(beam.items(), key=lambda item: -sum(item[1]))
    return [(prefix, sum(masses)) for prefix, masses in ranked]
