"""Where edits fall: as many as metrics counts, and never to the credit of what is hidden."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.experiment.counts import place
from bench.core.metrics import normalise, score_line

WORDS = st.text("ab c", min_size=1, max_size=9).map(normalise).filter(bool)


@settings(deadline=None)  # the first example compiles
@given(WORDS, st.text("ab c", max_size=9), st.integers(0, 2**32 - 1))
def test_the_edits_are_those_of_metrics(reference, text, seed):
    visible = np.random.default_rng(seed).random(len(reference)).astype(np.float32)
    placed = place(reference, text, visible)
    assert placed.edits.sum() == score_line(reference, text).edits
    assert not (placed.right & placed.wrong).any()


def test_what_is_visible_is_right_before_what_is_hidden():
    visible = np.array([1, 1, 1, 0, 1], np.float32)
    assert place("hello", "helo", visible).right.tolist() == [True, True, True, False, True]
    visible = np.array([1, 1, 0, 1, 1], np.float32)
    assert place("hello", "helo", visible).right.tolist() == [True, True, False, True, True]


def test_a_wrong_character_and_an_added_one():
    placed = place("cat", "cot", np.ones(3, np.float32))
    assert placed.wrong.tolist() == [False, True, False]
    placed = place("cat", "caxt", np.array([1, 0.1, 1], np.float32))
    assert placed.added.tolist() == [0, 1, 0]
    assert placed.right.all()


def test_nothing_read_is_all_left_out():
    placed = place("cat", "", np.ones(3, np.float32))
    assert not placed.right.any()
    assert not placed.wrong.any()
    assert placed.added.sum() == 0


@pytest.mark.parametrize("reference", ["", "two  spaces", " before"])
def test_references_that_the_normaliser_changes_are_refused(reference):
    with pytest.raises(ValueError, match="normaliser"):
        place(reference, "x", np.ones(len(reference), np.float32))


def test_every_character_needs_its_share():
    with pytest.raises(ValueError, match="visible share"):
        place("cat", "cat", np.ones(2, np.float32))
    with pytest.raises(ValueError, match="visible share"):
        place("cat", "cat", np.array([1, np.nan, 1], np.float32))
