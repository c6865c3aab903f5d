"""Characters as dense tables: against KenLM, every labelling and ctc-beam."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.errors import UserError
from bench.core.types import BLANK
from decoders.ctc.beam import CTCBeamSpec
from decoders.ctc.ngram import CTCNGramSpec, dense_lm
from decoders.language.arpa import BOS, EOS, SPACE, NGramModel, read_arpa, write_arpa
from decoders.language.ngram import characters_of, estimate
from decoders.language.perplexity import score_arpa
from decoders.tuned import Tunable
from tests.ctc_doubles import encoded, every_labelling, info, logs, matrices, random_matrix

ALPHABET = ("", " ", "a", "b", "c")
TEXT = ("abc ab a", "cab cab ab", "a ba ac", "bb abba cab", "ca ca abc a", "b")
ORDERS = (1, 2, 3, 5)


def model(order: int) -> NGramModel:
    return estimate(map(characters_of, TEXT), order).model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An ARPA file of each order."""
    folder = tmp_path_factory.mktemp("lm")
    for order in ORDERS:
        write_arpa(model(order), folder / f"{order}.arpa")
    return {order: str(folder / f"{order}.arpa") for order in ORDERS}


pytestmark = pytest.mark.usefixtures("untuned")


def opened(lm: str, alphabet=ALPHABET, **options) -> Tunable:
    return CTCNGramSpec(lm=lm, **options).open(info(alphabet))


def walk(tables, state: int, text: str) -> tuple[float, int]:
    """Log-probability of a text by the tables, and the state behind it."""
    total = 0.0
    for character in text:
        symbol = ALPHABET.index(character)
        total += float(tables.log_prob[state, symbol])
        state = int(tables.following[state, symbol])
    return total, state


# The tables


def test_tables_say_what_kenlm_says(files):
    kenlm = pytest.importorskip("kenlm")
    other = kenlm.Model(files[5])
    tables = dense_lm(read_arpa(Path(files[5])), ALPHABET, "m")
    rng = np.random.default_rng(0)
    for length in rng.integers(1, 20, 60):
        text = "".join(rng.choice(list(" abc"), length))
        words = " ".join(SPACE if character == " " else character for character in text)
        found, state = walk(tables, tables.beginning, text)
        expected = other.score(words, bos=True, eos=False) * math.log(10)
        assert found == pytest.approx(expected, abs=1e-4)
        ended = other.score(words, bos=True, eos=True) * math.log(10)
        assert found + tables.log_prob[state, BLANK] == pytest.approx(ended, abs=1e-4)
        behind_space, _ = walk(tables, tables.between, text)
        state_a, state_b = kenlm.State(), kenlm.State()
        other.NullContextWrite(state_a)
        other.BaseScore(state_a, SPACE, state_b)
        total = 0.0
        for word in words.split():
            total += other.BaseScore(state_b, word, state_a)
            state_a, state_b = state_b, state_a
        assert behind_space == pytest.approx(total * math.log(10), abs=1e-4)


PRUNED = f"""\\data\\
ngram 1=6
ngram 2=3
ngram 3=2

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.3
-1.2\t</s>
-0.8\ta\t-0.3
-0.7\tb\t-0.2
-1.0\t{SPACE}\t-0.4

\\2-grams:
-0.2\ta b\t-0.5
-0.9\tb a\t-0.1
-0.5\t<s> b\t-0.6

\\3-grams:
-0.1\ta b {SPACE}
-0.3\t<s> b a

\\end\\
"""


def test_a_pruned_model_whose_shorter_ngrams_are_gone(tmp_path):
    # "b _" is not there, although "a b _" is: the context behind it is "_".
    path = tmp_path / "pruned.arpa"
    path.write_text(PRUNED)
    pruned = read_arpa(path)
    tables = dense_lm(pruned, ("", " ", "a", "b"), "m")
    for text in ("ab a", "ab", "ba", "bab b", "aab ab"):
        tokens = [SPACE if character == " " else character for character in text]
        scores, _ = score_arpa(pruned, [tokens])
        total, state = walk(tables, tables.beginning, text)
        total += float(tables.log_prob[state, BLANK])
        assert total == pytest.approx(float(scores.sum()) * math.log(10), abs=1e-5)


# The search


@settings(max_examples=50, deadline=None)
@given(matrices(), st.floats(0, 2), st.floats(-1, 2), st.booleans(), st.sampled_from(ORDERS))
def test_a_wide_beam_is_every_labelling_with_its_price(files, matrix, alpha, beta, boundary, order):
    names = (*ALPHABET[: matrix.shape[1]],)
    decoder = opened(
        files[order], names, alpha=alpha, beta=beta, beam=400, beam_prune_logp=None,
        token_min_logp=None, score_boundary=boundary, nbest=400,
    )  # fmt: skip
    (line,) = decoder.decode(encoded([matrix], names))
    decoder.close()
    tables = dense_lm(model(order), ALPHABET, "m")
    truth = {}
    for label, probability in every_labelling(matrix).items():
        if probability > 1e-30:
            text = "".join(names[symbol] for symbol in label)
            language, state = walk(tables, tables.beginning if boundary else tables.between, text)
            language += float(tables.log_prob[state, BLANK]) if boundary else 0.0
            truth[text] = math.log(probability) + alpha * language + beta * len(label)
    found = dict(line.nbest)
    assert found.keys() >= truth.keys()
    for text, score in truth.items():
        assert found[text] == pytest.approx(score, abs=1e-4)
    assert line.score == max(found.values())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(0.2, 3.0))
def test_no_dose_is_the_beam_without_language(files, seed, steps, peaked):
    batch = encoded([random_matrix(seed, steps, 5, peaked)], ALPHABET)
    decoder = opened(files[3], alpha=0.0, beta=0.0, nbest=8)
    assert decoder.decode(batch) == CTCBeamSpec(nbest=8).open(info()).decode(batch)
    decoder.close()


# Bad input


def test_characters_that_the_model_does_not_know(files, tmp_path):
    alphabet = (*ALPHABET, "7", "§")
    decoder = opened(files[3], alphabet, alpha=0.3, beta=0.0)
    assert decoder.extras()["lm_missing"] == "7§"
    matrix = logs([[0.01, 0, 0, 0, 0, 0.99, 0], [0.9, 0, 0, 0, 0, 0.1, 0], [0, 0, 0, 0, 0, 0, 1]])
    assert decoder.decode(encoded([matrix], alphabet))[0].text == "7§"
    decoder.close()
    text = Path(files[1]).read_text().replace("ngram 1=7", "ngram 1=6")
    lines = [line for line in text.split("\n") if "<unk>" not in line]
    path = tmp_path / "closed.arpa"
    path.write_text("\n".join(lines))
    opened(str(path), alpha=0.5, beta=0.0).close()
    with pytest.raises(UserError, match="does not know 2 characters of the alphabet: 7 §"):
        opened(str(path), alphabet)


def test_models_that_cannot_be_used(tmp_path, files):
    binary = tmp_path / "model.bin"
    binary.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + b"\0" * 200)
    with pytest.raises(UserError, match="is a KenLM binary"):
        opened(str(binary))
    with pytest.raises(UserError, match=r"absent\.arpa"):
        opened(str(tmp_path / "absent.arpa"))
    for mark in (BOS, EOS):
        text = Path(files[1]).read_text().replace("ngram 1=7", "ngram 1=6")
        path = tmp_path / "markless.arpa"
        path.write_text("\n".join(line for line in text.split("\n") if mark not in line))
        with pytest.raises(UserError, match=f"has no {mark}"):
            opened(str(path))
