"""How sure a decoder is of a line, from 0 to 1: what a gate goes by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.core.types import BLANK, Encoded
from decoders.ar.base import ARDecoder
from decoders.correctors.base import Read
from decoders.ctc.base import ctc_output, inside_frames


def confidences(read: Read) -> NDArray[np.float64]:
    """(B,) geometric mean of the probabilities of what was said of each line.

    Of a CTC decoder over the emitting frames of the best path: blanks are likely wherever there is
    paper, and would make wide images look sure. Of an autoregressive one over the tokens.
    """
    if isinstance(read.decoder, ARDecoder):
        return _of_tokens(read, read.decoder.length_penalty)
    return _of_frames(read.encoded)


def _of_frames(encoded: Encoded) -> NDArray[np.float64]:
    """A line without an emitting frame is as unsure as can be."""
    log_probs, frames = ctc_output(encoded)
    best, symbols = (found.cpu().numpy() for found in log_probs.max(dim=2))
    emitting = inside_frames(frames, best.shape[1]) & (symbols != BLANK)
    counts = emitting.sum(axis=1)
    mean = np.where(emitting, best.astype(np.float64), 0.0).sum(axis=1) / np.maximum(counts, 1)
    sure: NDArray[np.float64] = np.where(counts > 0, np.exp(np.minimum(mean, 0.0)), 0.0)
    return sure


def _of_tokens(read: Read, length_penalty: float) -> NDArray[np.float64]:
    """The search's score is log-probability / tokens ** length_penalty."""
    scores = np.array([-np.inf if x.score is None else x.score for x in read.lines], np.float64)
    tokens = np.array([max(line.tokens, 1) for line in read.lines], np.float64)
    sure: NDArray[np.float64] = np.exp(np.minimum(scores * tokens ** (length_penalty - 1), 0.0))
    return sure
