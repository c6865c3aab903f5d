"""Forced alignment against every path."""

from itertools import groupby, product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.training.align import align


def _best_path(log_probs, symbols):
    steps, size = log_probs.shape
    best, path = -np.inf, None
    for candidate in product(range(size), repeat=steps):
        read = [symbol for symbol, _ in groupby(candidate) if symbol]
        if read == list(symbols):
            score = sum(log_probs[t, s] for t, s in enumerate(candidate))
            if score > best:
                best, path = score, candidate
    return best, path


@given(st.integers(0, 10_000), st.integers(1, 6), st.lists(st.integers(1, 2), max_size=3))
@settings(max_examples=60, deadline=None)
def test_the_likeliest_path_that_spells_the_text(seed, steps, symbols):
    rng = np.random.default_rng(seed)
    log_probs = np.log(rng.dirichlet(np.ones(3), steps)).astype(np.float32)
    spans = align(log_probs, np.array(symbols, np.int64))
    _, path = _best_path(log_probs, symbols)
    if path is None:
        assert len(symbols) and (spans == -1).all()
        return
    expected, start = [], 0
    for symbol, frames in groupby(path):
        length = len(list(frames))
        if symbol:
            expected.append((start, start + length - 1))
        start += length
    assert [tuple(span) for span in spans.tolist()] == expected


def test_equal_neighbours_need_a_blank_between():
    log_probs = np.log(np.full((2, 2), 0.5, np.float32))
    assert (align(log_probs, np.array([1, 1])) == -1).all()
    assert align(log_probs, np.array([], np.int64)).shape == (0, 2)
