"""Compiled searches on a batch: threads that share its lines, and results as texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bench.core.types import Decoded, Encoded
from decoders.ctc.base import BeamSpec, bounds, check_frames, join_symbols, on_host


class Hypotheses(NamedTuple):
    """The N best texts of each line, best first.

    symbols: (B, N, T); lengths: (B, N), -1 where there are fewer than N; scores: (B, N).
    """

    symbols: NDArray[np.int32]
    lengths: NDArray[np.int64]
    scores: NDArray[np.float64]

    def decoded(self, alphabet: Sequence[str]) -> list[Decoded]:
        """Texts of all lines; alternatives only where N is more than 1."""
        counts = np.maximum(self.lengths, 0)
        written = np.arange(self.symbols.shape[2]) < counts[:, :, None]
        texts = join_symbols(self.symbols[written], counts.ravel(), alphabet)
        width = self.lengths.shape[1]
        decoded = []
        for line, count in enumerate((self.lengths >= 0).sum(axis=1).tolist()):
            first = line * width
            scores = self.scores[line, :count].tolist()
            nbest = tuple(zip(texts[first : first + count], scores, strict=True))
            kept = nbest if width > 1 else ()
            decoded.append(Decoded(nbest[0][0], int(counts[line, 0]), nbest[0][1], kept))
        return decoded


class Threads:
    """Threads that share the lines of a batch; compiled code releases the interpreter's lock."""

    def __init__(self, count: int | None = None) -> None:
        """Start `count` threads, by default as many as torch has."""
        self.count = count or torch.get_num_threads()
        # The caller's thread takes a share as well.
        self._pool = ThreadPoolExecutor(self.count - 1) if self.count > 1 else None

    def share(self, work: Callable[[NDArray[np.int64]], bool], lines: int) -> bool:
        """Distribute line numbers over the threads; returns whether all succeeded."""
        if self._pool is None or lines < 2:
            return work(np.arange(lines))
        # A thread takes every n-th line, since neighbours in a batch are of like length.
        own, *others = [np.arange(first, lines, self.count) for first in range(self.count)]
        running = [self._pool.submit(work, part) for part in others]
        return all([work(own), *(one.result() for one in running)])

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def search_batch(
    threads: Threads,
    encoded: Encoded,
    spec: BeamSpec,
    kernel: Callable[..., bool],
    *model: Any,
) -> list[Decoded]:
    """Search all lines of a batch on several threads of the host.

    Args:
        threads: that share the lines.
        encoded: B lines, with log-probabilities on any device.
        spec: the limits of the search.
        kernel: `prefix_beam.search` or `word_beam.search_words`.
        model: the kernel's arguments for its language model.

    Raises:
        UserError: see `decoders.ctc.base.check_frames`.
    """
    log_probs, frames = on_host(encoded)
    return search_arrays(threads, log_probs, frames, spec, kernel, *model).decoded(encoded.alphabet)


def search_arrays(
    threads: Threads,
    log_probs: NDArray[np.float32],
    frames: NDArray[np.int64],
    spec: BeamSpec,
    kernel: Callable[..., bool],
    *model: Any,
) -> Hypotheses:
    """Search (B, T, V) log-probabilities with (B,) frame counts; see `search_batch`."""
    lines, steps, symbols = log_probs.shape
    results = Hypotheses(
        np.empty((lines, spec.nbest, steps), np.int32),
        np.empty((lines, spec.nbest), np.int64),
        np.empty((lines, spec.nbest), np.float64),
    )
    limits, within = (spec.beam, spec.token_logp, spec.prune), bounds(symbols)

    def work(part: NDArray[np.int64]) -> bool:
        return kernel(log_probs, frames, part, within, *model, *limits, *results)

    if not threads.share(work, lines):
        check_frames(log_probs.max(axis=2), frames, symbols)
    return results


def compile_search(symbols: int, spec: BeamSpec, kernel: Callable[..., bool], *model: Any) -> None:
    """Compile a search for V symbols (seconds, once a machine), outside of the measured time."""
    nothing = np.zeros((0, 0, symbols), np.float32), np.zeros(0, np.int64)
    search_arrays(Threads(1), *nothing, spec, kernel, *model)
