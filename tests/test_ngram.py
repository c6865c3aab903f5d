"""The estimator against KenLM's lmplz, against Kneser-Ney written out, and by its laws."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bench.core.errors import UserError
from decoders.language.arpa import BOS, EOS, SPACE, UNK, NGramModel, read_arpa, write_arpa
from decoders.language.kenlm_files import load_kenlm
from decoders.language.ngram import characters_of, estimate, words_of
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


def test_discounts_are_those_of_lmplz_where_they_are_not_the_textbooks() -> None:
    cases = [json.loads(x) for x in (FIXTURES / "discounts.jsonl").read_text().splitlines()]
    for case in cases:
        ours = estimate([words_of(line) for line in case["text"]], case["order"]).discounts
        np.testing.assert_allclose(ours, case["discounts"], rtol=0, atol=1e-5)
    assert len(cases) == 32


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
@given(
    text=_texts,
    order=st.integers(2, 5),
    tested=st.lists(st.lists(_words | st.just("new")), max_size=5),
)
def test_kenlm_scores_sentences_alike(
    tmp_path: Path, text: list[list[str]], order: int, tested: list[list[str]]
) -> None:
    made = estimate(text, order)
    assume(all(min(discounts) > 0 for discounts in made.discounts))  # 0 has a test of its own
    write_arpa(made.model, tmp_path / "x.arpa")
    model = load_kenlm(tmp_path / "x.arpa")
    for sentence in [*tested, *text]:
        log10, unknown = score_arpa(made.model, [sentence])
        assert math.isclose(log10.sum(), model.score(" ".join(sentence)), abs_tol=1e-4)
        assert list(unknown) == [word not in made.model.vocabulary for word in [*sentence, EOS]]


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


def test_units_of_a_line() -> None:
    assert words_of('  "Have you,"  she asked.\t') == ['"Have', 'you,"', "she", "asked."]
    assert characters_of(" to  be\n") == ["t", "o", SPACE, "b", "e"]
    assert characters_of("  ") == []


@pytest.mark.parametrize(
    ("text", "order", "sentence"),
    [
        ([[], []], 3, "no words"),
        ([["a", "<UNK>", "b"]], 2, "has <UNK> as a word"),
        ([["a", "a b"]], 2, "cannot be a word"),
        ([["a"]], 7, "1 to 6"),
    ],
)
def test_text_and_orders_that_make_no_model_are_refused(
    text: list[list[str]], order: int, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        estimate(text, order)
