"""Score texts by an n-gram model, as KenLM's `query` does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decoders.language.arpa import BOS, EOS, NO_UNK, UNK, Floats, NGramModel, NGrams, Rows

Log10 = NDArray[np.float64]
Unknown = NDArray[np.bool_]


def score_arpa(model: NGramModel, sentences: Sequence[Sequence[str]]) -> tuple[Log10, Unknown]:
    """Scores of every word and `</s>` of each sentence, all at once.

    Returns:
        (T,) log10 probability of each token after those before it; (T,) whether it is unknown.
    """
    ids, position, unknown = _index(model, sentences)
    before = np.roll(np.arange(len(ids)), 1)
    row = ids  # of each place: the row of the n-gram that ends there, -1 where there is none
    log10 = _at(model.orders[0].log10_prob, row, NO_UNK)
    for n in range(2, model.order + 1):
        lower, grams = model.orders[n - 2], model.orders[n - 1]
        # A context ends at the sentence's <s>.
        context = np.where(position >= n - 1, row[before], -1)
        backoff = _at(lower.log10_backoff, context, 0)
        row = _find(grams, context, ids, len(model.vocabulary))
        log10 = _at(grams.log10_prob, row, log10 + backoff)
    scored = position > 0
    return log10[scored], unknown[scored]


def _index(
    model: NGramModel, sentences: Sequence[Sequence[str]]
) -> tuple[Rows, NDArray[np.int64], Unknown]:
    """Index of each token (-1 for none), its place in the sentence, whether it is unknown."""
    known = {word: index for index, word in enumerate(model.vocabulary)}
    unk = known.pop(UNK, -1)
    marked = [(BOS, *sentence, EOS) for sentence in sentences]
    ids = np.array([known.get(word, -1) for sentence in marked for word in sentence], np.int64)
    position = np.array([place for sentence in marked for place in range(len(sentence))], np.int64)
    unknown = ids < 0
    return np.where(unknown, unk, ids), position, unknown


def _at(values: Floats, rows: Rows, otherwise: Log10 | float) -> Log10:
    """The values at rows; `otherwise` where a row is -1."""
    chosen = np.broadcast_to(np.asarray(otherwise, np.float64), rows.shape).copy()
    there = rows >= 0
    chosen[there] = values[rows[there]]
    return chosen


def _find(grams: NGrams, context: Rows, word: Rows, words: int) -> Rows:
    """Rows of the n-grams `context` + `word`; -1 where a model has none."""
    if not len(grams):
        return np.full_like(context, -1)
    keys = grams.context * words + grams.word
    by_key = np.argsort(keys)
    sought = context * words + word
    at = by_key[np.minimum(np.searchsorted(keys, sought, sorter=by_key), len(keys) - 1)]
    return np.where((context >= 0) & (word >= 0) & (keys[at] == sought), at, -1)
