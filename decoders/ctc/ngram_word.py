"""CTC beam search with a word n-gram: what pyctcdecode and KenLM read, by a compiled search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import Unavailable
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders import tuned
from decoders.ctc.base import on_host
from decoders.ctc.fusion import WordFusionSpec
from decoders.ctc.prefix_search import Found, Limits, Threads, search_lines
from decoders.ctc.score import worded_scores
from decoders.ctc.word_beam import search_words
from decoders.ctc.word_tables import predict, word_of, word_tables
from decoders.ctc.word_trie import Weights
from decoders.language.arpa_lm import arpa_lm, check_embedded_order
from decoders.language.lm import writable_words


@dataclass(frozen=True)
class CTCNGramWordSpec(WordFusionSpec):
    """Shallow fusion of CTC with a word n-gram: log p_ctc + alpha * log p_lm + beta * words.

    Texts and scores are those of ctc-kenlm at the same options (pyctcdecode 0.5.0's search),
    without Python objects and without worker processes.

    order: of the embedded model.
    """

    order: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_embedded_order(self.lm, self.order, type(self).order)

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """Without a space there are no words, and words are spelt in single characters."""
        if long := next((symbol for symbol in encoder.alphabet if len(symbol) > 1), None):
            return Unavailable(
                f"the alphabet of {encoder.name} has {long!r}, which is more than one character"
            )
        return super().missing(encoder)

    def open(self, encoder: EncoderInfo) -> tuned.Tunable:
        """Read the model (the embedded one is built at first use) and compile the search.

        Raises:
            UserError: the model cannot be read, or shares no word with the encoder's alphabet.
        """
        return CTCNGramWord(self, encoder)


class CTCNGramWord(tuned.Tunable):
    """Searches prefixes with the tables of a word model."""

    spec: CTCNGramWordSpec

    def __init__(self, spec: CTCNGramWordSpec, encoder: EncoderInfo) -> None:
        self._lm = lm = arpa_lm(spec.lm, "word", spec.order)
        # Words of the model that the encoder's alphabet cannot write.
        self._foreign = len(lm.words) - len(writable_words(lm.words, lm.path, encoder))
        super().__init__(spec, spec.weights("ctc-ngram-word", encoder, (lm.name, lm.sha256)))
        self._tables = word_tables(lm.model, encoder.alphabet)
        self._space = encoder.alphabet.index(" ")
        self._threads = Threads()
        self._search(np.zeros((0, 0, len(encoder.alphabet)), np.float32), np.zeros(0, np.int64))

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """The score is that of the search: log-probability + language model + bonus of words.

        Raises:
            UserError: the log-probabilities are broken (NaN, not normalised).
        """
        return self._search(*on_host(encoded)).decoded(encoded.alphabet)

    def score(
        self, encoded: Encoded, texts: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]] | None:
        """The log-probability of each text, all its paths summed, and what its words add to it."""
        symbols = {symbol: place for place, symbol in enumerate(encoded.alphabet)}
        return worded_scores(encoded, texts, partial(self._price, symbols))

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def extras(self) -> Mapping[str, Any]:
        """The model, the weights in force and where they were tuned, the threads in use."""
        return {
            "lm": self._lm.name,
            "lm_sha256": self._lm.sha256,
            "lm_order": self._lm.model.order,
            "lm_trained_on": self._lm.trained_on,
            "lm_words": len(self._lm.words),
            "lm_words_foreign": self._foreign,
            **self.values,
            "tuned_on": self.source,
            "workers": self._threads.count,
        }

    def _price(self, symbols: Mapping[str, int], text: str) -> float:
        """What the words of a text add to its score; nothing can spell foreign ones."""
        tables, weights, words = self._tables, self._weights(), text.split()
        state, total = tables.beginning if weights.boundary else 0, 0.0
        for word in words:
            known = word_of(tables, [symbols.get(character, -1) for character in word])
            log_prob, state = predict(tables, state, known)
            unknown = weights.unk_offset if known < 0 else 0.0
            total += weights.alpha * (log_prob + unknown) + weights.beta
        if words and weights.boundary:
            total += weights.alpha * predict(tables, state, tables.end)[0]
        return total

    def _weights(self) -> Weights:
        unk_offset = self.values["unk_offset"]
        return Weights(
            alpha=self.values["alpha"],
            beta=self.values["beta"],
            unk_offset=unk_offset * math.log(10),
            partial=unk_offset,
            history=max(1, self._lm.model.order - 1) if self.spec.prune_history else 0,
            boundary=self.spec.score_boundary,
        )

    def _search(self, log_probs: NDArray[np.float32], frames: NDArray[np.int64]) -> Found:
        spec, weights = self.spec, self._weights()
        limits = Limits(spec.beam, spec.beam_prune_logp, spec.token_min_logp, spec.nbest)
        logp, prune = limits.token_logp, limits.prune
        return search_lines(
            self._threads, log_probs, frames, spec.nbest,
            lambda part, within, found: search_words(
                log_probs, frames, part, within, self._tables, weights, self._space, spec.beam,
                logp, prune, *found,
            ),
        )  # fmt: skip
