"""CTC beam search with a word n-gram model: pyctcdecode and KenLM."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders import tuned
from decoders.ctc.base import checked_on_host
from decoders.ctc.fusion import WordFusionSpec
from decoders.ctc.kenlm_pool import (
    Ranked,
    WordSearch,
    WorkerPool,
    build_decoder,
    can_fork,
    decode_line,
    word_price,
)
from decoders.ctc.score import worded_scores
from decoders.language.arpa_lm import EMBEDDED
from decoders.language.kenlm_files import load_kenlm
from decoders.language.lm import read_word_lm, word_lm, writable_words


@dataclass(frozen=True)
class CTCKenLMSpec(WordFusionSpec):
    """Shallow fusion of CTC with a word n-gram: log p_ctc + alpha * log p_lm + beta * words.

    Source: pyctcdecode 0.5.0, https://github.com/kensho-technologies/pyctcdecode; its search is
    taken as it is. Its texts have no white space at the ends and single spaces inside.

    lm: a KenLM binary is read, too.
    workers: processes that share the lines of a batch; 0 for as many as torch has threads.
    """

    # One worker a thread: a row says how many threads it had, and the other decoders keep to them.
    workers: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers < 0:
            raise UserError(f"workers is 0 (one a thread) or more, not {self.workers}")

    def open(self, encoder: EncoderInfo) -> tuned.Tunable:
        """Load the language model (the embedded one is built at first use), then fork the workers.

        Raises:
            UserError: the model cannot be read, or shares no word with the encoder's alphabet.
        """
        return CTCKenLM(self, encoder)


class CTCKenLM(tuned.Tunable):
    """pyctcdecode's search, in this process or in workers."""

    spec: CTCKenLMSpec

    def __init__(self, spec: CTCKenLMSpec, encoder: EncoderInfo) -> None:
        self._lm = lm = read_word_lm(Path(spec.lm)) if spec.lm else word_lm()
        # Weights are tuned for the embedded model, whatever its text, or for one very file.
        self._name = lm.sha256 if spec.lm else EMBEDDED
        # Words of the model that the encoder's alphabet cannot write.
        self._foreign = len(lm.unigrams) - len(writable_words(lm.unigrams, lm.path, encoder))
        super().__init__(spec, spec.weights("ctc-kenlm", encoder, (self._name, lm.sha256)))
        self._decoder = build_decoder(encoder.alphabet, load_kenlm(lm.path), lm.unigrams)
        workers = (spec.workers or torch.get_num_threads()) if can_fork() else 1
        self._pool = WorkerPool(self._decoder, workers) if workers > 1 else None

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """The score is that of the search: log-probability + language model + bonus of words.

        Raises:
            UserError: the log-probabilities are broken, or a worker died.
        """
        log_probs, frames = checked_on_host(encoded)
        places = np.flatnonzero(frames)
        lines = [log_probs[place, : frames[place]] for place in places]
        found = dict(zip(places.tolist(), self._search(lines), strict=True))
        return [self._decoded(found.get(place, [("", 0.0)])) for place in range(len(frames))]

    def score(
        self, encoded: Encoded, texts: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]] | None:
        """The log-probability of each text, all its paths summed, and what its words add to it."""
        weights = (self.values[name] for name in ("alpha", "beta", "unk_offset"))
        self._decoder.reset_params(*weights, self.spec.score_boundary)
        return worded_scores(encoded, texts, partial(word_price, self._decoder))

    def close(self) -> None:
        """End the workers and let go of the model, which pyctcdecode holds in a class variable."""
        if self._pool is not None:
            self._pool.close()
        if self._decoder is not None:
            self._decoder.cleanup()
            self._decoder = None

    def extras(self) -> Mapping[str, Any]:
        """The model, the weights in force and where they were tuned, the workers in use."""
        return {
            "lm": self._name,
            "lm_sha256": self._lm.sha256,
            "lm_order": self._lm.order,
            "lm_trained_on": self._lm.trained_on,
            "lm_words": len(self._lm.unigrams),
            "lm_words_foreign": self._foreign,
            **self.values,
            "tuned_on": self.source,
            "workers": self._pool.workers if self._pool else 1,
        }

    def _search(self, lines: Sequence[NDArray[np.float32]]) -> list[Ranked]:
        spec = self.spec
        search = WordSearch(
            alpha=self.values["alpha"],
            beta=self.values["beta"],
            unk_score_offset=self.values["unk_offset"],
            score_boundary=spec.score_boundary,
            beam_width=spec.beam,
            beam_prune_logp=_off(spec.beam_prune_logp),
            token_min_logp=_off(spec.token_min_logp),
            prune_history=spec.prune_history,
            nbest=spec.nbest,
        )
        # A single line has nobody to share with.
        if self._pool is not None and len(lines) > 1:
            return self._pool.decode(search, lines)
        return [decode_line(self._decoder, search, line) for line in lines]

    def _decoded(self, ranked: Ranked) -> Decoded:
        text, score = ranked[0]
        return Decoded(text, len(text), score, tuple(ranked) if self.spec.nbest > 1 else ())


def _off(threshold: float | None) -> float:
    return -math.inf if threshold is None else threshold
