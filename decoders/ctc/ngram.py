"""CTC prefix beam search with a character n-gram, the model held as dense tables.

A state of the tables is an n-gram that longer ones begin with, or that has a back-off weight of its
own. Its row is that of the next shorter state plus the back-off weight, overwritten by its own
n-grams; so the rows are built order by order, and a lookup never backs off. Source of the
automaton: C. Allauzen, M. Mohri, B. Roark, "Generalized algorithms for constructing statistical
language models" (ACL 2003), with the failure transitions taken out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.types import BLANK, Encoded, EncoderInfo
from decoders import tuned
from decoders.base import Scores
from decoders.ctc.base import FusionSpec, ctc_scores
from decoders.ctc.beam import CompiledSearch
from decoders.language.arpa import BOS, EOS, SPACE, UNK, NGramModel
from decoders.language.lm import check_embedded_order, ngram_lm
from decoders.language.units import missing_symbols

if TYPE_CHECKING:
    from decoders.ctc.beam_kit import Language

_MOST_BYTES = 4 << 30
# The smallest factor of one symbol, e^-69: smaller ones would underflow float32 and make unlikely
# texts impossible.
LEAST_FACTOR = 1e-30


@dataclass(frozen=True)
class CTCNGramSpec(FusionSpec):
    """Shallow fusion of CTC with a character n-gram: log p_ctc + alpha * log p_lm + beta * length.

    The search is that of ctc-beam, and equals it number for number at alpha = beta = 0: alpha is
    the dose of language.

    alpha, beta: none is the value tuned for the encoder, see `decoders/tuned.json`.
    score_boundary: without it a line begins after a space and ends anywhere.
    lm: a model of characters, its space as U+2581, <space>, | or itself.
    order: of the embedded model.
    """

    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "alpha": (0.35, 0.5, 0.7, 0.9, 1.2, 1.5),
        "beta": (0.0, 0.5, 1.0, 1.5, 2.0, 3.0),
    }
    untuned: ClassVar[Mapping[str, float]] = {"alpha": 0.5, "beta": 0.5}

    order: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_embedded_order(self.lm, self.order, type(self).order)

    def open(self, encoder: EncoderInfo) -> tuned.Tunable:
        """Read the model (the embedded one is built at first use) and compile the search."""
        return NGramSearch(self, encoder, "ctc-ngram")


class NGramSearch(CompiledSearch, tuned.Tunable):
    """The open search with its tables.

    Args:
        spec: its options.
        encoder: whose output is decoded.
        tuned_as: the decoders whose tuned weights count, the first that has any.
    """

    spec: CTCNGramSpec

    def __init__(self, spec: CTCNGramSpec, encoder: EncoderInfo, *tuned_as: str) -> None:
        self._lm = lm = ngram_lm(spec.lm, "char", spec.order)
        self._dense = dense_lm(lm.model, encoder.alphabet, str(lm.path))
        super().__init__(spec, tuned.weights(spec, encoder, lm.identity, *tuned_as))
        self.reweight({})
        self.start(len(encoder.alphabet))

    def kernel(self) -> tuple[Any, ...]:
        """See `CompiledSearch.kernel`."""
        from decoders.ctc.prefix_beam import no_gaps, search

        return search, self._language, no_gaps(self._language.steps.shape[1])

    def score(self, encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[Scores] | None:
        """See `Decoder.score`."""
        scores = ctc_scores(encoded, texts)
        for of_line, line in zip(scores, texts, strict=True):
            for place in np.flatnonzero(np.isfinite(of_line)):
                of_line[place] += self._price(line[place], encoded.alphabet)
        return scores

    def extras(self) -> Mapping[str, Any]:
        """The model, its weights and their origin."""
        return {
            **self._lm.extras(),
            "lm_states": len(self._dense.log_prob),
            "lm_missing": "".join(self._dense.missing),  # characters that count as <unk>
            **self.values,
            "tuned_on": self.source,
            **super().extras(),
        }

    def reweight(self, values: Mapping[str, float]) -> None:
        """See `Tunable.reweight`."""
        super().reweight(values)
        alpha, beta = self.values["alpha"], self.values["beta"]
        self._language = self._dense.language(alpha, beta, self.spec.score_boundary)

    def _price(self, text: str, alphabet: Sequence[str]) -> float:
        """Natural log of the model's factor for a text."""
        language, total = self._language, 0.0
        state = language.start
        for symbol in map(alphabet.index, text):
            factor, state = language.steps[state, symbol].item()
            total += math.log(factor)
        return total + math.log(language.final[state])


@dataclass(frozen=True, eq=False)
class DenseLM:
    """A model over the symbols of a CTC alphabet, L states by V symbols.

    log_prob: (L, V) float32, natural log; the blank's column holds the sentence's end.
    following: (L, V) int32, the state behind each symbol; 0 in the column of the blank.
    between: the state after a space, in which a line that is no sentence begins.
    beginning: the state after `<s>`.
    missing: symbols unknown to the model, which count as `<unk>`.
    """

    log_prob: NDArray[np.float32]
    following: NDArray[np.int32]
    between: int
    beginning: int
    missing: tuple[str, ...]

    def language(self, alpha: float, beta: float, score_boundary: bool) -> Language:
        """Make the factors p ** alpha * e ** beta of each symbol; exactly e ** beta at alpha 0.

        With `score_boundary` the line is a sentence: it begins after `<s>` and ends with `</s>`.
        """
        from decoders.ctc.beam_kit import STEP, Language

        factor = np.maximum(np.exp(np.float32(alpha) * self.log_prob), np.float32(LEAST_FACTOR))
        final = factor[:, BLANK].copy() if score_boundary else np.ones(len(factor), np.float32)
        factor *= np.float32(math.exp(beta))
        factor[:, BLANK] = 0  # the blank opens no prefix
        steps = np.empty(factor.shape, STEP)
        steps["factor"], steps["following"] = factor, self.following
        start = self.beginning if score_boundary else self.between
        return Language(steps, final, start, float(factor.max()))


def dense_lm(model: NGramModel, alphabet: Sequence[str], name: str) -> DenseLM:
    """Make the tables of a character model, without n-grams that the alphabet cannot write.

    Raises:
        UserError: the model lacks the space or many letters, has no `<unk>` for the symbols that
            it does not know (each is named), or is too large.
    """
    column, missing = _columns(model, alphabet, name)
    tables = _Tables(model, column, len(alphabet), name)
    for order in range(1, model.order + 1):
        tables.add(order)
    log_prob, following = tables.log_prob[: tables.rows], tables.following[: tables.rows]
    unknown = len(alphabet)  # the last column, of <unk>
    places = [place for place, symbol in enumerate(alphabet) if symbol in missing]
    log_prob[:, places] = log_prob[:, [unknown]]
    following[:, places] = following[:, [unknown]]
    space = alphabet.index(" ") if " " in alphabet else unknown
    return DenseLM(
        log_prob=np.ascontiguousarray(log_prob[:, :unknown]),
        following=np.ascontiguousarray(following[:, :unknown]),
        between=int(following[0, space]) if " " in alphabet else 0,
        beginning=tables.beginning,
        missing=missing,
    )


def _columns(
    model: NGramModel, alphabet: Sequence[str], name: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Map each word of the model to its column, -1 for none; returns missing symbols too."""
    words = {word: index for index, word in enumerate(model.vocabulary)}
    missing = missing_symbols(words, alphabet, name)
    if missing and UNK not in words:
        raise UserError(
            f"{name} has no {UNK} and does not know {len(missing)} characters of the alphabet: "
            f"{' '.join(missing)}; build it from text that has them"
        )
    column = np.full(len(words), -1, np.int64)
    column[words[EOS]] = BLANK
    if UNK in words:
        column[words[UNK]] = len(alphabet)
    for place, symbol in enumerate(alphabet[1:], 1):
        if (word := words.get(SPACE if symbol == " " else symbol)) is not None:
            column[word] = place
    return column, missing


class _Tables:
    """Growing rows, shortest states first; state 0 is the empty context.

    Of the n-grams added last: `state` (-1 for none) and `shorter`, the longest state that is a
    proper suffix.
    """

    def __init__(
        self, model: NGramModel, column: NDArray[np.int64], symbols: int, name: str
    ) -> None:
        self.model = model
        self.column = column
        self.bos = model.vocabulary.index(BOS)
        self.beginning = 0
        self.state = np.zeros(1, np.int64)
        self.shorter = np.zeros(1, np.int64)
        states = 1 + sum(int(self._states(n).sum()) for n in range(1, model.order))
        size = states * (symbols + 1) * 12  # log-probabilities, states, and factors of them
        if size > _MOST_BYTES:
            raise UserError(
                f"{name} would take {size >> 20} MiB as tables; give a model of a lower order"
            )
        self.rows = 1
        self.log_prob = np.zeros((states, symbols + 1), np.float32)
        self.following = np.zeros((states, symbols + 1), np.int32)

    def add(self, order: int) -> None:
        """Add the n-grams of an order and the rows of their states."""
        grams = self.model.orders[order - 1]
        column = self.column[grams.word]
        context = self.state[grams.context]
        begins = (grams.word == self.bos) & (order == 1)
        reachable = (column >= 0) & (context >= 0)
        shorter = np.zeros(len(grams), np.int64)
        if order > 1:
            below = self.shorter[grams.context]
            shorter[reachable] = self.following[below[reachable], column[reachable]]
        state = np.full(len(grams), -1, np.int64)
        if order < self.model.order:
            is_state = (reachable & (column != BLANK) | begins) & self._states(order)
            state[is_state] = np.arange(self.rows, self.rows + is_state.sum())
        own = np.flatnonzero(reachable)
        self.log_prob[context[own], column[own]] = grams.log10_prob[own] * math.log(10)
        own = np.flatnonzero(reachable & (state >= 0))
        self.following[context[own], column[own]] = state[own]
        new = np.flatnonzero(state >= 0)
        backoff = grams.log10_backoff[new, None] * np.float32(math.log(10))
        rows = slice(self.rows, self.rows + len(new))
        self.log_prob[rows] = self.log_prob[shorter[new]] + backoff
        self.following[rows] = self.following[shorter[new]]
        self.rows = rows.stop
        if begins.any():
            self.beginning = max(int(state[begins][0]), 0)
        self.state, self.shorter = state, shorter

    def _states(self, order: int) -> NDArray[np.bool_]:
        """Mark the n-grams of an order below the highest that become states."""
        grams, above = self.model.orders[order - 1], self.model.orders[order]
        marked: NDArray[np.bool_] = grams.log10_backoff != 0
        marked[above.context] = True
        return marked
