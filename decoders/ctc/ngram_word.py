"""CTC beam search with a word n-gram: ctc-kenlm's texts and scores by a compiled search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.core.types import Encoded, EncoderInfo
from decoders import tuned
from decoders.base import Scores
from decoders.ctc.base import WordFusionSpec, worded_scores
from decoders.ctc.beam import CompiledSearch
from decoders.language.lm import check_embedded_order, ngram_lm, word_extras, writable_words

if TYPE_CHECKING:
    from decoders.ctc.word_tables import Weights


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

    def open(self, encoder: EncoderInfo) -> tuned.Tunable:
        """Read the model (the embedded one is built at first use) and compile the search."""
        return _CTCNGramWord(self, encoder)


class _CTCNGramWord(CompiledSearch, tuned.Tunable):
    spec: CTCNGramWordSpec

    def __init__(self, spec: CTCNGramWordSpec, encoder: EncoderInfo) -> None:
        from decoders.ctc.word_tables import word_tables

        self._lm = lm = ngram_lm(spec.lm, "word", spec.order)
        self._unwritable = len(lm.words) - len(writable_words(lm, encoder))
        names = ("ctc-ngram-word", "ctc-kenlm")
        super().__init__(spec, tuned.weights(spec, encoder, lm.identity, *names))
        self._tables = word_tables(lm.model, encoder.alphabet)
        self._space = encoder.alphabet.index(" ")
        self.start(len(encoder.alphabet))

    def kernel(self) -> tuple[Any, ...]:
        from decoders.ctc.word_beam import search_words

        return search_words, self._tables, self._weights(), self._space

    def score(self, encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[Scores] | None:
        symbols = {symbol: place for place, symbol in enumerate(encoded.alphabet)}
        return worded_scores(encoded, texts, partial(self._price, symbols))

    def extras(self) -> Mapping[str, Any]:
        return {
            **word_extras(self._lm, self._unwritable),
            **self.values,
            "tuned_on": self.source,
            **super().extras(),
        }

    def _weights(self) -> Weights:
        from decoders.ctc.word_tables import Weights

        unk_offset = self.values["unk_offset"]
        return Weights(
            alpha=self.values["alpha"],
            beta=self.values["beta"],
            unk_offset=unk_offset * math.log(10),
            partial=unk_offset,
            history=max(1, self._lm.order - 1) if self.spec.prune_history else 0,
            boundary=self.spec.score_boundary,
        )

    def _price(self, symbols: Mapping[str, int], text: str) -> float:
        """The words' part of the score of a text."""
        from decoders.ctc.word_tables import predict, word_of

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
