"""Back-off n-gram models: their tables, and how they are written as an ARPA file.

Format: the ARPA MIT-LL layout that SRILM, IRSTLM, lmplz and KenLM share
(http://www.speech.sri.com/projects/srilm/manpages/ngram-format.5.html).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.core.files import write_atomically

UNK, BOS, EOS = "<unk>", "<s>", "</s>"
MARKS = (UNK, BOS, EOS)
SPACE = "▁"  # U+2581, the space as a word of a character model; ARPA words cannot be blank

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class NGrams:
    """All n-grams of one order, N of them, in the order of the file.

    context: (N,) int64, row of the first n-1 words among the n-grams of the order below;
        zeros for unigrams, whose context is empty.
    word: (N,) int64, index of the last word in the vocabulary.
    log10_prob: (N,) float32.
    log10_backoff: (N,) float32, 0 where the n-gram is the context of nothing.
    """

    context: Rows
    word: Rows
    log10_prob: Floats
    log10_backoff: Floats

    def __len__(self) -> int:
        return len(self.word)


@dataclass(frozen=True, eq=False)
class NGramModel:
    """A back-off model. `orders[0]` lists the unigrams in the order of `vocabulary`.

    vocabulary: every word, the marks `<unk>`, `<s>`, `</s>` included.
    """

    vocabulary: tuple[str, ...]
    orders: tuple[NGrams, ...]

    @property
    def order(self) -> int:
        """Length of the longest n-grams."""
        return len(self.orders)

    @property
    def counts(self) -> tuple[int, ...]:
        """How many n-grams of each order there are, unigrams first."""
        return tuple(len(grams) for grams in self.orders)

    def texts(self) -> Iterator[list[str]]:
        """Of each order, unigrams first: every n-gram as its words with spaces between."""
        texts = list(self.vocabulary)
        yield texts
        for grams in self.orders[1:]:
            pairs = zip(grams.context.tolist(), grams.word.tolist(), strict=True)
            texts = [f"{texts[context]} {self.vocabulary[word]}" for context, word in pairs]
            yield texts


def write_arpa(model: NGramModel, path: Path, step: Callable[[], object] = lambda: None) -> None:
    """Write a model as lmplz would, so that a broken-off writing leaves no half file.

    Args:
        model: what to write.
        path: where to.
        step: called once an order, for a progress bar.

    Raises:
        UserError: the folder does not exist or may not be written to.
    """
    head = [f"ngram {n}={count}" for n, count in enumerate(model.counts, 1)]
    parts = ["\\data\\\n" + "\n".join(head) + "\n"]
    for n, (grams, texts) in enumerate(zip(model.orders, model.texts(), strict=True), 1):
        columns = [_decimals(grams.log10_prob), texts]
        if n < model.order:  # the highest order backs off to nothing
            columns.append(_decimals(grams.log10_backoff))
        lines = "".join("\t".join(fields) + "\n" for fields in zip(*columns, strict=True))
        parts.append(f"\\{n}-grams:\n{lines}")
        step()
    write_atomically(path, ("\n".join(parts) + "\n\\end\\\n").encode())


def _decimals(values: Floats) -> list[str]:
    """Shortest texts that give back the same float32, written as lmplz writes them."""
    distinct, which = np.unique(values, return_inverse=True)
    texts = [_decimal(value) for value in distinct]
    return [texts[i] for i in which.tolist()]


def _decimal(value: np.float32) -> str:
    if 0 < abs(value) < 1e-6:
        return np.format_float_scientific(value, trim="-", exp_digits=1)
    return np.format_float_positional(value, trim="-")
