"""Words by the compiled search: what pyctcdecode reads, text for text and score for score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.core.types import Runtime
from datasets import DATASETS
from datasets.damage import DAMAGES
from decoders.ctc.ngram_word import CTCNGramWordSpec
from decoders.ctc.word_tables import predict, word_tables
from decoders.language.arpa import read_arpa, write_arpa
from decoders.language.lm import ngram_lm
from decoders.language.ngram import estimate, words_of
from models import ENCODERS
from tests.ctc_doubles import ALPHABET, encoded, info, logs, random_matrix, written

pytest.importorskip("pyctcdecode")
pytest.importorskip("kenlm")

from decoders.ctc.kenlm import CTCKenLMSpec

TEXT = (
    "the cat and the dog", "a cat sat", "the dog sat on a cat", "on and on the cot",
    "a dog and a cot", "the cat sat on the cot",
)  # fmt: skip
SMALL = ("", " ", "a", "c", "o", "t")
# Of pyctcdecode's own arithmetic: it normalises in float32 what is normalised already.
CLOSE = 1e-4


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An ARPA file of words of each order, and one of the words' first halves alone."""
    folder = tmp_path_factory.mktemp("words")
    for order in (2, 3, 4):
        write_arpa(estimate(map(words_of, TEXT), order).model, folder / f"{order}.arpa")
    return {order: str(folder / f"{order}.arpa") for order in (2, 3, 4)}


pytestmark = pytest.mark.usefixtures("untuned")


def both(matrices: list[NDArray[np.float32]], alphabet=ALPHABET, **options):
    """What pyctcdecode and we read from the same matrices with the same options."""
    batch = encoded(matrices, alphabet)
    read = []
    for spec in (CTCKenLMSpec(**options, workers=1), CTCNGramWordSpec(**options)):
        decoder = spec.open(info(alphabet))
        read.append(decoder.decode(batch))
        decoder.close()
    return read


def test_the_automaton_says_what_kenlm_says(files):
    import kenlm

    for order, path in files.items():
        tables = word_tables(read_arpa(Path(path)), ALPHABET)
        other = kenlm.Model(path)
        ids = {word: i for i, word in enumerate(read_arpa(Path(path)).vocabulary)}
        rng = np.random.default_rng(order)
        for _ in range(60):
            words = rng.choice([*list(ids)[3:], "zebra"], 8).tolist()
            state, total = tables.beginning, 0.0
            for word in words:
                log_prob, state = predict(tables, state, ids.get(word, -1))
                total += log_prob
            total += predict(tables, state, tables.end)[0]
            assert total / np.log(10) == pytest.approx(other.score(" ".join(words)), abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 40), st.floats(0.3, 3.0),
    st.fixed_dictionaries({
        "alpha": st.floats(0.0, 2.0), "beta": st.floats(-1.0, 3.0),
        "unk_offset": st.floats(-12.0, 0.0), "beam": st.sampled_from([3, 20, 100]),
        "beam_prune_logp": st.sampled_from([None, -4.0, -10.0]),
        "token_min_logp": st.sampled_from([-3.0, -5.0]), "prune_history": st.booleans(),
        "score_boundary": st.booleans(),
    }),
    st.sampled_from([2, 3, 4]),
)  # fmt: skip
def test_random_matrices_are_read_as_pyctcdecode_reads_them(
    files, seed, steps, peaked, options, order
):
    matrix = random_matrix(seed, steps, len(SMALL), peaked)
    (theirs,), (ours,) = both([matrix], SMALL, lm=files[order], nbest=3, **options)
    assert ours.score == pytest.approx(theirs.score, abs=CLOSE)
    tied = any(abs(score - theirs.score) < CLOSE for _, score in theirs.nbest[1:])
    assert tied or ours.text == theirs.text
    if not tied:
        assert ours.tokens == theirs.tokens


def spoken(text: str, seed: int) -> NDArray[np.float32]:
    """A matrix of a text in which every symbol has a rival now and then."""
    rows = np.array(written(text, sure=0.9))
    rng = np.random.default_rng(seed)
    for row in rows[rng.random(len(rows)) < 0.4]:
        row[rng.integers(len(row))] += rng.random()
    return logs(rows / rows.sum(1, keepdims=True))


@pytest.mark.parametrize("prune_history", [True, False])
def test_spaces_and_words_that_nobody_knows(files, prune_history):
    texts = [" the  cat ", "  ", "a zebra sat", "thecatandthedog", "t h e", "on", "cat  ", "a"]
    matrices = [spoken(text, seed) for seed, text in enumerate(texts * 3)]
    theirs, ours = both(
        matrices, lm=files[3], alpha=0.6, beta=1.0, unk_offset=-4.0, prune_history=prune_history,
        nbest=2,
    )  # fmt: skip
    for one, other in zip(theirs, ours, strict=True):
        assert other.text == one.text
        assert other.score == pytest.approx(one.score, abs=CLOSE)


@pytest.mark.parametrize("damaged", [False, True])
def test_real_lines_are_read_as_pyctcdecode_reads_them(damaged):
    # A few of the lines; all 300 of the test split, clean and damaged, were compared once at a
    # beam of 100: 600 of 600 texts were the same, scores to 1.4e-5.
    lines = DATASETS.create("lines").load("val", 6).lines
    if damaged:
        lines = tuple(
            DAMAGES.create(name).apply(line, "lines", 3, 0).line
            for name, line in zip(DAMAGES.names(), lines, strict=False)
        )
    encoder = ENCODERS.create("mini").open(Runtime())
    batch = encoder.encode(encoder.prepare([line.image for line in lines]))
    lm = str(ngram_lm("", "word", 3).path)
    read = []
    weights: dict[str, Any] = {"alpha": 0.5, "beta": 1.5, "unk_offset": -10.0}
    kenlm = CTCKenLMSpec(lm=lm, workers=1, **weights)
    for spec in (kenlm, CTCNGramWordSpec(lm=lm, **weights)):
        decoder = spec.open(encoder.info)
        read.append(decoder.decode(batch))
        decoder.close()
    for theirs, ours in zip(*read, strict=True):
        assert ours.text == theirs.text
        assert ours.score == pytest.approx(theirs.score, abs=CLOSE)


def test_symbols_of_several_characters_are_refused():
    assert "more than one character" in str(CTCNGramWordSpec().missing(info(("", " ", "ch"))))
