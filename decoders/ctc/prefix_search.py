"""What the compiled searches share: their limits, their threads, and their findings as texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bench.core.types import Decoded
from decoders.ctc.base import bounds, check_frames, join_symbols
from decoders.ctc.prefix_beam import Language, search


class Limits(NamedTuple):
    """What a search keeps; None keeps all.

    beam: hypotheses after each frame.
    beam_prune_logp: hypotheses worse than the best by more than this are dropped.
    token_min_logp: symbols below it open no new prefix in a frame, unless likeliest.
    nbest: texts told of each line.
    """

    beam: int
    beam_prune_logp: float | None
    token_min_logp: float | None
    nbest: int

    @property
    def prune(self) -> float:
        """The share of the best one's mass below which a hypothesis is dropped."""
        return 0.0 if self.beam_prune_logp is None else math.exp(self.beam_prune_logp)

    @property
    def token_logp(self) -> float:
        """`token_min_logp` as a number: the smallest in float32 that is not below it."""
        if self.token_min_logp is None:
            return -math.inf
        rounded = np.float32(self.token_min_logp)
        return float(
            np.nextafter(rounded, np.float32(np.inf)) if rounded < self.token_min_logp else rounded
        )


class Found(NamedTuple):
    """The N best texts of each line, best first.

    symbols: (B, N, T); lengths: (B, N), -1 where there are fewer than N; scores: (B, N).
    """

    symbols: NDArray[np.int32]
    lengths: NDArray[np.int64]
    scores: NDArray[np.float64]

    @classmethod
    def room(cls, lines: int, nbest: int, steps: int) -> Found:
        """Arrays for a search to write to."""
        return cls(
            np.empty((lines, nbest, steps), np.int32),
            np.empty((lines, nbest), np.int64),
            np.empty((lines, nbest), np.float64),
        )

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


class Threads:
    """Threads that share the lines of a batch; compiled code holds no lock that they need."""

    def __init__(self, count: int | None = None) -> None:
        """Start them.

        Args:
            count: as many as torch has by default.
        """
        self.count = count or torch.get_num_threads()
        # The thread that asks takes a share as well.
        self._pool = ThreadPoolExecutor(self.count - 1) if self.count > 1 else None

    def share(self, work: Callable[[NDArray[np.int64]], bool], lines: int) -> bool:
        """Have lines 0 to `lines` worked on, each thread being given some of their numbers.

        Returns:
            Whether the work was done, for each of them.
        """
        if self._pool is None or lines < 2:
            return work(np.arange(lines))
        # Every n-th line, since neighbours in a batch are of like length.
        own, *others = [np.arange(first, lines, self.count) for first in range(self.count)]
        given = [self._pool.submit(work, part) for part in others]
        return all([work(own), *(one.result() for one in given)])

    def close(self) -> None:
        """End them."""
        if self._pool is not None:
            self._pool.shutdown()


def search_lines(
    threads: Threads,
    log_probs: NDArray[np.float32],
    frames: NDArray[np.int64],
    nbest: int,
    work: Callable[[NDArray[np.int64], tuple[float, float], Found], bool],
) -> Found:
    """Search all lines of a batch on several threads.

    Args:
        threads: share the lines between them.
        log_probs: (B, T, V).
        frames: number of frames of each line, (B,).
        nbest: hypotheses kept of each line.
        work: searches some lines, given their indices, the bounds of valid log-probabilities and
            the arrays for the results; False where a line is not valid.

    Raises:
        UserError: see `decoders.ctc.base.check_frames`.
    """
    lines, steps, symbols = log_probs.shape
    found, within = Found.room(lines, nbest, steps), bounds(symbols)
    if not threads.share(lambda part: work(part, within, found), lines):
        check_frames(log_probs.max(axis=2), frames, symbols)
    return found


def search_prefixes(
    threads: Threads,
    log_probs: NDArray[np.float32],
    frames: NDArray[np.int64],
    language: Language,
    limits: Limits,
) -> Found:
    """Search all lines of a batch for prefixes: see `search_lines`."""
    beam, logp, prune = limits.beam, limits.token_logp, limits.prune
    return search_lines(
        threads, log_probs, frames, limits.nbest,
        lambda part, within, found: search(
            log_probs, frames, part, within, language, beam, logp, prune, *found
        ),
    )  # fmt: skip


def compile_search(symbols: int, language: Language) -> None:
    """Compile the search, seconds once a machine, so that no measured time holds it.

    Args:
        symbols: V.
        language: any one over V symbols.
    """
    nothing = np.zeros((0, 0, symbols), np.float32)
    search_prefixes(Threads(1), nothing, np.zeros(0, np.int64), language, Limits(1, None, None, 1))
