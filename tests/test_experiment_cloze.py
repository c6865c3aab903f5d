"""The cloze ceiling, against brute force over all fillings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.experiment.cloze import Cloze
from decoders.ctc.dense_lm import DenseLM, dense_lm
from decoders.language.ngram import characters_of, estimate

ALPHABET = ("", " ", "a", "b", "c")
TEXT = ["abc cab", "ab ab ab c", "cab cab", "a b c", "bca abc", "cc ba ab"]


def dense(order: int = 3) -> DenseLM:
    return dense_lm(estimate(map(characters_of, TEXT), order).model, ALPHABET, "tiny")


def likelihood(lm: DenseLM, text: str) -> float:
    state, total = lm.between, 0.0
    for character in text:
        symbol = ALPHABET.index(character)
        total += float(lm.log_prob[state, symbol])
        state = int(lm.following[state, symbol])
    return float(np.exp(total))


def brute_force(lm: DenseLM, text: str, hidden: list[bool]) -> list[str]:
    """The likeliest character at each blank, every filling of the others tried."""
    blanks = [i for i, is_hidden in enumerate(hidden) if is_hidden]
    mass = {i: dict.fromkeys(ALPHABET[1:], 0.0) for i in blanks}
    for filling in itertools.product(ALPHABET[1:], repeat=len(blanks)):
        letters = list(text)
        for place, letter in zip(blanks, filling, strict=True):
            letters[place] = letter
        weight = likelihood(lm, "".join(letters))
        for place, letter in zip(blanks, filling, strict=True):
            mass[place][letter] += weight
    return [max(mass[i], key=mass[i].__getitem__) for i in blanks]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_guesses_are_those_of_all_fillings(data):
    text = data.draw(st.text("abc ", min_size=1, max_size=5))
    hidden = data.draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text)))
    lm = dense()
    right = Cloze.of(lm, ALPHABET).right(text, np.array(hidden))
    guesses = brute_force(lm, text, hidden)
    blanks = np.flatnonzero(hidden)
    assert right[blanks].tolist() == [g == text[i] for g, i in zip(guesses, blanks, strict=True)]
    assert not right[~np.array(hidden)].any()


def test_nothing_hidden_and_everything_hidden():
    cloze = Cloze.of(dense(), ALPHABET)
    assert not cloze.right("abc", np.zeros(3, bool)).any()
    assert cloze.right("abc cab", np.ones(7, bool)).shape == (7,)


def test_a_character_outside_of_the_alphabet_is_never_guessed():
    hidden = np.array([False, True, False])
    assert not Cloze.of(dense(), ALPHABET).right("axc", hidden).any()


@pytest.mark.parametrize("states", [1, 2, 64])
def test_a_narrow_beam_is_exact_where_few_contexts_are_open(states):
    lm = dense()
    for text in TEXT:
        hidden = np.zeros(len(text), bool)
        hidden[-1] = True  # one context alone lies before it
        guessed = Cloze.of(lm, ALPHABET, states).right(text, hidden)[-1]
        assert guessed == (brute_force(lm, text, hidden.tolist()) == [text[-1]])
