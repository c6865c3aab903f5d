"""The estimator against KenLM's lmplz, against Kneser-Ney written out, and by its laws."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bench.core.errors import UserError
from datasets.corpus import documents
from decoders.language.arpa import BOS, EOS, SPACE, UNK, NGramModel, read_arpa, write_arpa
from decoders.language.kenlm_files import lmplz, load_kenlm
from decoders.language.ngram import FALLBACK, Estimate, characters_of, estimate, words_of
from decoders.language.perplexity import score_arpa

FIXTURES = Path(__file__).parent / "fixtures" / "lmplz"
FLOAT32 = 2e-6  # the last digits of a log10 probability stored as float32

_words = st.sampled_from(["a", "b", "c", "d", "ä", "nan", "<x>"])
_texts = st.lists(st.lists(_words, max_size=7), min_size=1, max_size=8).filter(any)
_orders = st.integers(1, 5)
_relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

Tables = dict[tuple[str, ...], tuple[float, float]]


def tables_of(model: NGramModel) -> Tables:
    """Every n-gram with its log10 probability and back-off weight, as a plain dict."""
    tables: Tables = {}
    for grams, texts in zip(model.orders, model.texts(), strict=True):
        values = zip(texts, grams.log10_prob, grams.log10_backoff, strict=True)
        tables |= {tuple(text.split(" ")): (float(p), float(b)) for text, p, b in values}
    return tables


def backed_off(tables: Tables, context: tuple[str, ...], word: str) -> float:
    """Log10 probability by the definition of a back-off model."""
    gram = (*context, word)
    if gram in tables:
        return tables[gram][0]
    if not context:
        return tables[(UNK,)][0]
    return tables.get(context, (0.0, 0.0))[1] + backed_off(tables, context[1:], word)


@pytest.mark.parametrize("arpa", sorted(FIXTURES.glob("*.arpa")), ids=lambda path: path.stem)
def test_numbers_are_those_of_lmplz(arpa: Path) -> None:
    name, order = arpa.stem.split("-")
    text = (FIXTURES / f"{name}.txt").read_text(encoding="utf-8")
    ours = estimate([words_of(line) for line in text.splitlines()], int(order)).model
    theirs = read_arpa(arpa)
    assert ours.vocabulary == theirs.vocabulary
    for mine, other in zip(ours.orders, theirs.orders, strict=True):
        np.testing.assert_array_equal(mine.context, other.context)
        np.testing.assert_array_equal(mine.word, other.word)
        np.testing.assert_allclose(mine.log10_prob, other.log10_prob, rtol=0, atol=FLOAT32)
        np.testing.assert_allclose(mine.log10_backoff, other.log10_backoff, rtol=0, atol=FLOAT32)


def test_discounts_are_those_that_lmplz_prints() -> None:
    sentences = [words_of(line) for line in (FIXTURES / "quirk.txt").read_text().splitlines()]
    made = estimate(sentences, 3)
    assert made.fallback_orders == (1,)
    np.testing.assert_allclose(made.discounts[1], (0.607362, 1.1459, 1.38037), rtol=1e-5)
    np.testing.assert_allclose(made.discounts[2], (0.769231, 0.205128, 1.9011), rtol=1e-5)


@pytest.mark.skipif(shutil.which("lmplz") is None, reason="KenLM's lmplz is not on PATH")
@pytest.mark.parametrize(("unit", "order"), [(words_of, 3), (characters_of, 6)])
def test_the_whole_corpus_as_lmplz_does_it(
    unit: Callable[[str], list[str]], order: int, tmp_path: Path
) -> None:
    sentences = [unit(p) for document in documents("train") for p in document.paragraphs]
    lmplz(sentences, order, tmp_path / "theirs.arpa")
    ours, theirs = estimate(sentences, order).model, read_arpa(tmp_path / "theirs.arpa")
    for mine, other in zip(ours.orders, theirs.orders, strict=True):
        np.testing.assert_array_equal(mine.word, other.word)
        np.testing.assert_allclose(mine.log10_prob, other.log10_prob, rtol=0, atol=FLOAT32)


@_relaxed
@given(_texts, _orders)
def test_probabilities_of_every_context_sum_to_one(text: list[list[str]], order: int) -> None:
    model = estimate(text, order).model
    tables = tables_of(model)
    predicted = [word for word in model.vocabulary if word != BOS]
    contexts = {gram for gram in tables if len(gram) < order and gram[-1] not in (EOS, UNK)}
    for context in contexts | {(), ("d", "never seen", "d")[: order - 1]}:
        total = sum(10 ** backed_off(tables, context, word) for word in predicted)
        assert math.isclose(total, 1, abs_tol=1e-5), context


@_relaxed
@given(_texts, _orders)
def test_probabilities_are_kneser_neys_written_out(text: list[list[str]], order: int) -> None:
    made = estimate(text, order)
    written_out = KneserNey(text, order, made)
    for gram, (log10_prob, _) in tables_of(made.model).items():
        if gram != (BOS,):
            assert math.isclose(10**log10_prob, written_out(gram), rel_tol=1e-4), gram


@_relaxed
@given(
    text=_texts,
    order=st.integers(2, 5),
    tested=st.lists(st.lists(_words | st.just("new")), max_size=5),
)
def test_kenlm_scores_sentences_by_the_same_interpolation(
    tmp_path: Path, text: list[list[str]], order: int, tested: list[list[str]]
) -> None:
    made = estimate(text, order)
    assume(all(min(discounts) > 0 for discounts in made.discounts))  # 0 has a test of its own
    write_arpa(made.model, tmp_path / "x.arpa")
    model = load_kenlm(tmp_path / "x.arpa")
    written_out = KneserNey(text, order, made)
    for sentence in [*tested, *text]:
        expected = written_out.sentence(sentence)
        assert math.isclose(model.score(" ".join(sentence)), expected, abs_tol=1e-4)
        log10, unknown = score_arpa(made.model, [sentence])
        assert math.isclose(log10.sum(), expected, abs_tol=1e-4)
        assert list(unknown) == [word not in made.model.vocabulary for word in [*sentence, EOS]]


def test_fallback_discounts_are_reported() -> None:
    made = estimate([["one"]], 3)
    assert made.fallback_orders == (1, 2, 3)
    assert made.discounts == (FALLBACK,) * 3
    assert made.model.counts == (4, 2, 1)


def test_sentences_shorter_than_the_order_are_kept_whole() -> None:
    model = estimate([["a"], ["a", "b"]], 6).model
    assert model.counts == (5, 4, 3, 1, 0, 0)
    assert list(model.texts())[3] == ["<s> a b </s>"]


def test_a_context_that_leaves_nothing_has_a_finite_weight(tmp_path: Path) -> None:
    # Bigrams with the counts 1, 2, 3, 3 have D2 = 0; lmplz writes -inf, which KenLM refuses.
    made = estimate([["d"], ["d", "b"], ["d", "c", "b"]], 2)
    assert made.discounts[1][1] == 0
    tables = tables_of(made.model)
    assert tables[("b",)][1] == -99
    write_arpa(made.model, tmp_path / "x.arpa")
    assert math.isclose(
        load_kenlm(tmp_path / "x.arpa").score("b b", bos=False, eos=False),
        tables[("b",)][0] * 2 - 99,
        rel_tol=1e-5,
    )


@pytest.mark.parametrize("text", [[], [[]], [[], []]])
def test_a_text_without_words_is_refused(text: list[list[str]]) -> None:
    with pytest.raises(UserError, match="no words"):
        estimate(text, 3)


@pytest.mark.parametrize("word", [BOS, EOS, UNK, "<UNK>"])
def test_the_marks_are_no_words(word: str) -> None:
    with pytest.raises(UserError, match=f"has {word} as a word"):
        estimate([["a", word, "b"]], 2)


@pytest.mark.parametrize("word", ["", "a b", "a\tb", "a\n", "\0"])
def test_a_word_that_no_arpa_file_can_hold_is_refused(word: str) -> None:
    with pytest.raises(UserError, match="cannot be a word"):
        estimate([["a", word]], 2)


@pytest.mark.parametrize("order", [-1, 0, 7])
def test_orders_that_kenlm_cannot_read_are_refused(order: int) -> None:
    with pytest.raises(UserError, match="1 to 6"):
        estimate([["a"]], order)


def test_units_of_a_line() -> None:
    assert words_of('  "Have you,"  she asked.\t') == ['"Have', 'you,"', "she", "asked."]
    assert characters_of(" to  be\n") == ["t", "o", SPACE, "b", "e"]
    assert characters_of("  ") == []


class KneserNey:
    """Interpolated modified Kneser-Ney by its recursive definition (Chen and Goodman, 1998).

    Takes the discounts of the estimate; those have lmplz' numbers as their oracle.
    """

    def __init__(self, text: list[list[str]], order: int, made: Estimate) -> None:
        self.order = order
        self.discounts = made.discounts
        self.words = set(made.model.vocabulary) - {BOS}
        marked = [(BOS, *sentence, EOS) for sentence in text]
        self.raw = Counter(
            tuple(s[i : i + n])
            for s in marked
            for n in range(1, order + 1)
            for i in range(len(s) - n + 1)
            if s[i : i + n] != (BOS,)
        )
        self.counts = {gram: self._count(gram) for gram in self.raw}

    def _count(self, gram: tuple[str, ...]) -> int:
        if len(gram) == self.order or gram[0] == BOS:
            return self.raw[gram]
        return sum(1 for longer in self.raw if longer[1:] == gram)

    def __call__(self, gram: tuple[str, ...]) -> float:
        if not gram:
            return 1 / len(self.words)
        followers = [
            count
            for other, count in self.counts.items()
            if len(other) == len(gram) and other[:-1] == gram[:-1]
        ]
        if not followers:
            return self(gram[1:])
        left = sum(self._discount(len(gram), count) for count in followers)
        count = self.counts.get(gram, 0)
        kept = count - self._discount(len(gram), count)
        return (kept + left * self(gram[1:])) / sum(followers)

    def _discount(self, order: int, count: int) -> float:
        return (0.0, *self.discounts[order - 1])[min(count, 3)]

    def sentence(self, words: list[str]) -> float:
        """Log10 probability of a sentence and its end."""
        history: tuple[str, ...] = (BOS,)
        total = 0.0
        for word in [*words, EOS]:
            known = word if word in self.words else UNK
            total += math.log10(self((*history, known)[-self.order :]))
            history = (*history, known)
        return total
