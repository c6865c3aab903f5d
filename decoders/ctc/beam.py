"""CTC prefix beam search without a language model, and what all compiled searches share.

The compiled code and torch are imported where a decoder is opened: both take long to import.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders.base import Decoder, Scores
from decoders.ctc.base import (
    BeamSpec,
    check_frames,
    ctc_scores,
    decoded,
    frame_sums,
    join_symbols,
    on_host,
)


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
        texts = iter(join_symbols(self.symbols[written], counts.ravel(), alphabet))
        lines = [[(next(texts), score) for score in row] for row in self.scores.tolist()]
        found = (self.lengths >= 0).sum(axis=1).tolist()
        return [decoded(line[:n], len(line)) for line, n in zip(lines, found, strict=True)]


class CompiledSearch(Decoder):
    """A compiled search on the host, by as many threads as torch has.

    Compiled code releases the interpreter's lock, so that threads share the lines of a batch.
    """

    spec: Any

    @abstractmethod
    def kernel(self) -> tuple[Any, ...]:
        """The search, and its arguments for the language model."""

    def start(self, symbols: int) -> None:
        """Compile the search for V symbols (seconds, once a machine), and start the threads."""
        import torch

        self.threads, self._pool = 1, None
        self._search(np.zeros((0, 0, symbols), np.float32), np.zeros(0, np.int64))
        self.threads = torch.get_num_threads()
        # The caller's thread takes a share as well.
        self._pool = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """Decode; the score is log-probability + language model + bonus."""
        return self._search(*on_host(encoded)).decoded(encoded.alphabet)

    def extras(self) -> Mapping[str, Any]:
        """The number of threads that share the lines of a batch."""
        return {"workers": self.threads}

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _search(self, log_probs: NDArray[np.float32], frames: NDArray[np.int64]) -> Hypotheses:
        spec: BeamSpec = self.spec
        lines, steps, _ = log_probs.shape
        results = Hypotheses(
            np.empty((lines, spec.nbest, steps), np.int32),
            np.empty((lines, spec.nbest), np.int64),
            np.empty((lines, spec.nbest), np.float64),
        )
        limits = spec.beam, spec.token_logp, spec.prune
        kernel, *model = self.kernel()

        def work(part: NDArray[np.int64]) -> bool:
            sound: bool = kernel(log_probs, frames, part, *model, *limits, *results)
            return sound

        # A thread takes every n-th line, since neighbours in a batch are of like length.
        own, *others = [np.arange(first, lines, self.threads) for first in range(self.threads)]
        running = (
            [self._pool.submit(work, part) for part in others] if self._pool and lines > 1 else []
        )
        if not all([work(own), *(one.result() for one in running)]):
            check_frames(frame_sums(log_probs), frames)
        return results


@dataclass(frozen=True)
class CTCBeamSpec(BeamSpec):
    """CTC prefix beam search for the likeliest text, summed over its paths."""

    # On synthetic posteriors these options read 380 of 384 lines as a beam of 200 without a
    # threshold did, at thousands of lines a second on one core.
    def open(self, encoder: EncoderInfo) -> Decoder:
        """Compile the search and start its threads."""
        return _CTCBeam(self, encoder)


class _CTCBeam(CompiledSearch):
    def __init__(self, spec: CTCBeamSpec, encoder: EncoderInfo) -> None:
        from decoders.ctc.prefix_beam import no_gaps, no_language, search

        super().__init__(spec)
        symbols = len(encoder.alphabet)
        self._kernel = search, no_language(symbols), no_gaps(symbols)
        self.start(len(encoder.alphabet))

    def kernel(self) -> tuple[Any, ...]:
        return self._kernel

    def score(self, encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[Scores] | None:
        return ctc_scores(encoded, texts)
