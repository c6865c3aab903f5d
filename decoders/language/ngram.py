"""Modified Kneser-Ney estimation of n-gram models, number for number as lmplz does it.

Source: S. Chen, J. Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling"
(1998), and K. Heafield et al., "Scalable Modified Kneser-Ney Language Model Estimation" (ACL
2013), with the arithmetic of lmplz (KenLM, lm/builder): interpolated, unpruned, float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench.core.errors import UserError
from decoders.language.arpa import BOS, EOS, MARKS, SPACE, Floats, NGramModel, NGrams, Rows

MAX_ORDER = 6  # KenLM is compiled for orders up to 6 unless one asks for more
FALLBACK = (0.5, 1.0, 1.5)  # lmplz --discount_fallback

_UNK_ID, _BOS_ID, _EOS_ID = range(len(MARKS))

Discounts = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Estimate:
    """An estimated model and how it was smoothed.

    discounts: of each order, unigrams first, for the counts 1, 2, and 3 or more.
    fallback_orders: the orders whose counts are too few or too odd for Kneser-Ney's closed form,
        so that FALLBACK stands in (of small texts and of the unigrams of characters).
    """

    model: NGramModel
    discounts: tuple[Discounts, ...]
    fallback_orders: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Table:
    """The distinct n-grams of one order in suffix order: by last word, then the one before, ...

    suffix, context: row of the last and of the first n-1 words in the order below.
    first, word: index of the first and of the last word.
    raw: how often the n-gram occurs.
    """

    suffix: Rows
    context: Rows
    first: Rows
    word: Rows
    raw: Rows


def words_of(line: str) -> list[str]:
    """The words of a line for a word model, punctuation attached."""
    return line.split()


def characters_of(line: str) -> list[str]:
    """The characters of a line for a character model, `SPACE` between words."""
    return list(SPACE.join(line.split()))


def check_order(order: int) -> None:
    """Refuse an order that KenLM is not compiled for."""
    if not 1 <= order <= MAX_ORDER:
        raise UserError(f"the order of a language model is 1 to {MAX_ORDER}, not {order}")


def estimate(
    sentences: Iterable[Sequence[str]], order: int, step: Callable[[], object] = lambda: None
) -> Estimate:
    """Estimate a model of n-grams up to `order`, 1 to 6.

    Sentences come without `<s>` and `</s>`, which are set around each. `step` is called `order`
    times on the way.

    Raises:
        UserError: no words, a word that an ARPA file cannot hold, or an order that KenLM cannot.
    """
    check_order(order)
    vocabulary, ids, position = _index(sentences)
    tables = _tables(ids, position, len(vocabulary), order, step)
    adjusted = _adjusted_counts(tables)
    discounts = [_closed_form(counts) for counts in _statistics(tables, adjusted)]
    used = [closed or FALLBACK for closed in discounts]
    return Estimate(
        model=NGramModel(vocabulary, _interpolated(tables, adjusted, used)),
        discounts=tuple(used),
        fallback_orders=tuple(n for n, closed in enumerate(discounts, 1) if closed is None),
    )


def _index(sentences: Iterable[Sequence[str]]) -> tuple[tuple[str, ...], Rows, Rows]:
    """Vocabulary in order of first use, and every sentence as `<s>` words `</s>`.

    Returns:
        vocabulary; (T,) word indices; (T,) place of each in its sentence, 0 for `<s>`.
    """
    known = {mark: index for index, mark in enumerate(MARKS)}
    ids: list[int] = []
    lengths: list[int] = []
    for sentence in sentences:
        ids.append(_BOS_ID)
        ids.extend(known.setdefault(word, len(known)) for word in sentence)
        ids.append(_EOS_ID)
        lengths.append(len(sentence) + 2)
    indices = np.array(ids, np.int64)
    _check_words(known, np.bincount(indices, minlength=len(MARKS)), len(lengths))
    ends = np.cumsum(lengths, dtype=np.int64)
    position = np.arange(len(ids)) - np.repeat(ends - lengths, lengths)
    return tuple(known), indices, position


def _check_words(known: Iterable[str], uses: Rows, sentences: int) -> None:
    if len(uses) == len(MARKS):
        raise UserError("the text has no words, so no language model can be built from it")
    own = {BOS: sentences, EOS: sentences}
    used = dict(zip(known, uses.tolist(), strict=True))
    for mark in (*MARKS, "<UNK>"):  # KenLM takes the last for <unk>
        if used.get(mark, 0) > own.get(mark, 0):
            raise UserError(f"the text has {mark} as a word, which the model keeps for itself")
    for word in known:
        if not word or any(blank in word for blank in " \t\r\n\0"):
            raise UserError(f"{word!r} cannot be a word of a language model: spaces part words")


def _tables(
    ids: Rows, position: Rows, words: int, order: int, step: Callable[[], object]
) -> list[_Table]:
    """Count the n-grams inside sentences by order; `<s>` occurs as first word only."""
    everything = np.arange(words)
    raw = np.bincount(ids[position > 0], minlength=words)
    none = np.zeros(words, np.int64)
    tables = [_Table(none, none, everything, everything, raw)]
    step()
    row = ids  # of each place: the row of the n-gram that ends there
    for n in range(2, order + 1):
        ends = np.flatnonzero(position >= n - 1)
        key = row[ends] * words + ids[ends - n + 1]
        distinct, example, which, raw = np.unique(
            key, return_index=True, return_inverse=True, return_counts=True
        )
        at = ends[example]
        tables.append(_Table(distinct // words, row[at - 1], distinct % words, ids[at], raw))
        row = np.full_like(ids, -1)
        row[ends] = which
        step()
    return tables


def _adjusted_counts(tables: Sequence[_Table]) -> list[Rows]:
    """Kneser-Ney's counts: below the highest order, the number of different words before.

    Nothing comes before `<s>`, so n-grams that begin with it keep how often they occur.
    """
    adjusted = []
    for table, above in pairwise(tables):
        befores = np.bincount(above.suffix, minlength=len(table.raw))
        adjusted.append(np.where(table.first == _BOS_ID, table.raw, befores))
    return [*adjusted, tables[-1].raw]


def _statistics(tables: Sequence[_Table], adjusted: Sequence[Rows]) -> list[Rows]:
    """Counts of counts: numbers of n-grams of each order with adjusted count 0, 1, ... 5 or more.

    lmplz' stream of n-grams in suffix order closes with one n-gram of each lower order (each the
    suffix of the next) that it enters with the raw count (`AdjustCounts::Run`, "outputs the last
    n-grams"). It moves the discounts of characters' bigrams by up to 2e-3, so it is kept.
    """
    statistics = []
    last_is_open = len(tables) > 1
    for n, (table, counts) in enumerate(zip(tables, adjusted, strict=True), 1):
        if n > 1 and last_is_open:
            last_is_open = len(counts) > 0 and table.suffix[-1] == len(adjusted[n - 2]) - 1
        entered = counts.copy()
        if last_is_open and n < len(tables):
            entered[-1] = table.raw[-1]
        statistics.append(np.bincount(np.minimum(entered, 5), minlength=6))
    return statistics


def _closed_form(statistics: Rows) -> Discounts | None:
    """Discounts by equation (26) of Chen and Goodman; None where it gives none in range."""
    n = statistics.astype(np.float32)
    if not n[1:4].all():
        return None
    y = n[1] / np.float32(statistics[1] + 2 * statistics[2])
    first, second, third = (
        np.float32(j) - np.float32(j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3)
    )
    if not (0 <= first <= 1 and 0 <= second <= 2 and 0 <= third <= 3):
        return None
    return float(first), float(second), float(third)


def _interpolated(
    tables: Sequence[_Table], adjusted: Sequence[Rows], discounts: Sequence[Discounts]
) -> tuple[NGrams, ...]:
    """Probabilities, each order mixed with the one below, and the back-off weights."""
    words = len(tables[0].raw)
    shares = [
        _shares(table, counts, amounts, 1 if n == 0 else len(adjusted[n - 1]))
        for n, (table, counts, amounts) in enumerate(zip(tables, adjusted, discounts, strict=True))
    ]
    # `<s>` is never predicted: it is no part of the uniform distribution and has log10 1 = 0.
    prob = np.full(1, 1 / np.float32(words - 1), np.float32)
    orders = []
    for n, (table, (own, left)) in enumerate(zip(tables, shares, strict=True)):
        prob = own + left[table.context] * prob[table.suffix]
        if n == 0:
            prob[_BOS_ID] = 1
        ahead = shares[n + 1][1] if n + 1 < len(tables) else np.ones(len(prob), np.float32)
        orders.append(NGrams(table.context, table.word, _log10(prob), _log10(ahead)))
    return tuple(orders)


def _log10(values: Floats) -> Floats:
    """Logarithms of an ARPA file, which has -99 for the logarithm of 0.

    Taken in float64: numpy's float32 logarithm gives other last digits on other CPUs.
    """
    logs: Floats = np.log10(np.maximum(values.astype(np.float64), 1e-99)).astype(np.float32)
    return np.minimum(logs, np.float32(0))


def _shares(
    table: _Table, counts: Rows, discounts: Discounts, contexts: int
) -> tuple[Floats, Floats]:
    """Discounted shares (N,) of the n-grams, and (contexts,) shares left to lower orders.

    The latter is 1 where nothing follows a context.
    """
    amounts = np.array((0, *discounts), np.float32)
    capped = np.minimum(counts, 3)
    total = np.bincount(table.context, weights=counts, minlength=contexts).astype(np.float32)
    left = np.zeros(contexts, np.float32)
    for count in (1, 2, 3):
        having = np.bincount(table.context[capped == count], minlength=contexts)
        left += amounts[count] * having.astype(np.float32)
    follows = total > 0
    left = np.divide(left, total, out=np.ones_like(left), where=follows)
    return (counts.astype(np.float32) - amounts[capped]) / total[table.context], left
