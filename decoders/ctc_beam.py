"""CTC prefix beam search without any language: what the search alone adds to the best path."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.types import Decoded, Encoded, EncoderInfo
from decoders.ctc import CTCDecoder, check_beam, check_threshold, join_symbols, on_host
from decoders.prefix_beam import search


@dataclass(frozen=True)
class CTCBeam(CTCDecoder):
    """The likeliest text, all its paths summed, as far as a beam of prefixes finds it.

    beam: prefixes kept after each frame.
    token_min_logp: a symbol with a lower log-probability opens no new prefix in that frame,
        unless it is the frame's likeliest; none: every symbol may.
    nbest: texts given for each line; with 1 the best one alone.
    """

    # On synthetic posteriors this read 380 of 384 lines as a beam of 200 without a threshold did,
    # at thousands of lines a second on one core. The threshold is that of ctc-kenlm, so that the
    # two prune symbols alike.
    beam: int = 32
    token_min_logp: float | None = -5.0
    nbest: int = 1
    _workers: int = field(default=1, init=False, repr=False, compare=False)
    _threads: ThreadPoolExecutor | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_beam(self.beam, self.nbest)
        check_threshold("token_min_logp", self.token_min_logp)

    def open(self, encoder: EncoderInfo) -> None:
        """Compile the search (seconds, once a machine) and start as many threads as torch has."""
        self._search(np.zeros((1, 1, 1), np.float32), np.ones(1, np.int64))
        object.__setattr__(self, "_workers", torch.get_num_threads())
        if self._workers > 1:
            object.__setattr__(self, "_threads", ThreadPoolExecutor(self._workers))

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """The score is the log-probability of the text, of its paths inside the beam.

        Raises:
            UserError: the log-probabilities are broken (NaN, not normalised).
        """
        log_probs, frames = on_host(encoded)
        symbols, lengths, scores = self._search(log_probs, frames)
        counts = np.maximum(lengths, 0)
        written = np.arange(symbols.shape[2]) < counts[:, :, None]
        texts = join_symbols(symbols[written], counts.ravel(), encoded.alphabet)
        decoded = []
        for line, found in enumerate((lengths >= 0).sum(axis=1).tolist()):
            first = line * self.nbest
            ranked = zip(texts[first : first + found], scores[line, :found].tolist(), strict=True)
            nbest = tuple(ranked)
            text, score = nbest[0]
            kept = nbest if self.nbest > 1 else ()
            decoded.append(Decoded(text, int(counts[line, 0]), score, kept))
        return decoded

    def close(self) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.shutdown()
            object.__setattr__(self, "_threads", None)
            object.__setattr__(self, "_workers", 1)

    def extras(self) -> Mapping[str, Any]:
        """How many threads share the lines of a batch."""
        return {"workers": self._workers}

    def _search(
        self, log_probs: NDArray[np.float32], frames: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
        """Symbols (B, N, T), lengths (B, N) and scores (B, N) of the N best prefixes of a line."""
        lines, steps = log_probs.shape[:2]
        symbols = np.empty((lines, self.nbest, steps), np.int32)
        lengths = np.empty((lines, self.nbest), np.int64)
        scores = np.empty((lines, self.nbest), np.float64)
        logp = -math.inf if self.token_min_logp is None else self.token_min_logp

        def share(part: NDArray[np.int64]) -> None:
            search(log_probs, frames, part, self.beam, logp, symbols, lengths, scores)

        if self._threads is None:
            share(np.arange(lines))
        else:  # every n-th line, since neighbours in a batch are of like length
            parts = [np.arange(first, lines, self._workers) for first in range(self._workers)]
            list(self._threads.map(share, parts))
        return symbols, lengths, scores
