"""The compiled prefix search over a batch: its threads, and its findings as texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bench.types import Decoded
from decoders.ctc import join_symbols
from decoders.prefix_beam import Language, no_language, search


class Limits(NamedTuple):
    """What a search keeps; None keeps all.

    beam: prefixes after each frame.
    beam_prune_logp: prefixes worse than the best by more than this are dropped.
    token_min_logp: symbols below it open no new prefix in a frame, unless likeliest.
    nbest: prefixes told of each line.
    """

    beam: int
    beam_prune_logp: float | None
    token_min_logp: float | None
    nbest: int


class Found(NamedTuple):
    """The N best prefixes of each line, best first.

    symbols: (B, N, T); lengths: (B, N), -1 where there are fewer than N; scores: (B, N).
    """

    symbols: NDArray[np.int32]
    lengths: NDArray[np.int64]
    scores: NDArray[np.float64]

    def decoded(self, alphabet: Sequence[str]) -> list[Decoded]:
        """As texts; alternatives only where more than one was asked for."""
        counts = np.maximum(self.lengths, 0)
        written = np.arange(self.symbols.shape[2]) < counts[:, :, None]
        texts = join_symbols(self.symbols[written], counts.ravel(), alphabet)
        wanted = self.lengths.shape[1]
        decoded = []
        for line, found in enumerate((self.lengths >= 0).sum(axis=1).tolist()):
            first = line * wanted
            scores = self.scores[line, :found].tolist()
            nbest = tuple(zip(texts[first : first + found], scores, strict=True))
            kept = nbest if wanted > 1 else ()
            decoded.append(Decoded(nbest[0][0], int(counts[line, 0]), nbest[0][1], kept))
        return decoded


class PrefixSearch:
    """The search, compiled, and the threads that share the lines of a batch."""

    def __init__(self, threads: int | None = None) -> None:
        """Compile the search (seconds, once a machine).

        Args:
            threads: as many as torch has by default.
        """
        self.threads = threads or torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        self.run(
            np.zeros((1, 1, 1), np.float32), np.ones(1, np.int64), no_language(1),
            Limits(1, None, None, 1),
        )  # fmt: skip

    def run(
        self,
        log_probs: NDArray[np.float32],
        frames: NDArray[np.int64],
        language: Language,
        limits: Limits,
    ) -> Found:
        """Search all lines of a batch: log_probs (B, T, V), frames (B,)."""
        lines, steps = log_probs.shape[:2]
        found = Found(
            np.empty((lines, limits.nbest, steps), np.int32),
            np.empty((lines, limits.nbest), np.int64),
            np.empty((lines, limits.nbest), np.float64),
        )
        least_token = _off(limits.token_min_logp)
        prune = math.exp(_off(limits.beam_prune_logp))

        def share(part: NDArray[np.int64]) -> None:
            search(log_probs, frames, part, language, limits.beam, least_token, prune, *found)

        if self._pool is None:
            share(np.arange(lines))
        else:  # every n-th line, since neighbours in a batch are of like length
            parts = [np.arange(first, lines, self.threads) for first in range(self.threads)]
            list(self._pool.map(share, parts))
        return found

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def _off(threshold: float | None) -> float:
    return -math.inf if threshold is None else threshold
