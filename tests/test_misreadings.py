"""Every edit in its classes: worked by hand, and classes that add up to what the rows count."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import ROOT
from bench.analysis.evidence import Reading
from bench.analysis.misreadings import analyse
from bench.analysis.misreadings.classes import (
    ENDING,
    NATURE,
    SCOPE,
    SIGHT,
    UNSEEN,
    VIEWS,
    WORD,
    View,
    Vocabulary,
    misreadings,
)
from bench.core.errors import UserError
from bench.core.metrics import totals
from tests.run_rows import read_line, row

KNOWN = Vocabulary(frozenset({"the", "then", "cat", "form", "from"}), frozenset({"-"}), 5, "a test")


def classed(view: View, reference: str, text: str, shares=None, **more) -> list[str]:
    """The class of each edit in a view, from left to right."""
    found = misreadings(read_line("1", reference, text, **more), KNOWN, shares)
    return [c.name for each in found for c in each.classes if c.view == view.name]


@pytest.mark.parametrize(
    ("view", "reference", "text", "classes"),
    [
        (NATURE, "the cat", "thecat", ["spacing"]),
        (NATURE, "the cat", "the ,cat", ["punctuation"]),
        (NATURE, "x-y", "x y", ["spacing"]),  # before punctuation
        (NATURE, "Sir", "SIR", ["case"] * 2),
        (NATURE, "in 1912", "in 1972", ["digit"]),
        (NATURE, "l", "1", ["digit"]),  # it looks alike, but a digit is a digit
        (NATURE, "sir.", "sir,", ["punctuation"]),
        (NATURE, "sun", "snn", ["similar shape"]),
        (NATURE, "corn", "com", ["similar shape"] * 2),  # rn as m
        (NATURE, "cart", "cat", ["other letter"]),
        (NATURE, "café", "cafe", ["similar shape"]),
        (NATURE, "cafe\u0301", "café", []),  # the same after the normaliser
        (NATURE, "", "ab", ["other letter"] * 2),
        (SCOPE, "one word here", "one werd here", ["within a word"]),
        (SCOPE, "one word here", "one here", ["whole word"] * 4 + ["between words"]),
        (SCOPE, "one word", "one x word", ["whole word", "between words"]),
        (SCOPE, "one word", "onex word", ["within a word"]),
        (SCOPE, "word", "wxyz", ["whole word"] * 3),
        (SCOPE, "word", "woxy", ["within a word"] * 2),  # half of it was read
        (SCOPE, "the cat", "thecat", ["between words"]),
        (SCOPE, "", "new", ["whole word"] * 3),
        (WORD, "the cat", "then cat", ["real word"]),
        (WORD, "the cat", "tha cat", ["non-word"]),
        (WORD, "the cat", "The cat", ["letters right"]),
        (WORD, "the, cat", "the cat", ["letters right"]),
        (WORD, "the cat", "cat", ["left out"]),
        (WORD, "the cat", "the then, cat", ["real word"]),
        (WORD, "the cat", "the - cat", ["real word"]),
        (WORD, "form", '"From', ["real word"]),
    ],
)
def test_the_class_of_an_edit(view, reference, text, classes):
    assert sorted(classed(view, reference, text)) == sorted(classes)


def test_what_is_read_in_hidden_places_is_a_hallucination():
    shares = np.array([1, 1, 0.1, 0.0, 0.5, 1], np.float32)
    assert classed(SIGHT, "abcdef", "abxyef", shares) == ["hallucination"] * 2
    assert classed(SIGHT, "abcdef", "abef", shares) == ["left out, hidden"] * 2
    assert classed(SIGHT, "abcdef", "axcdzf", shares) == ["visible", "partly visible"]
    # What was put in belongs to the less visible neighbour, at the ends to the only one.
    assert classed(SIGHT, "abcdef", "abXcdef", shares) == ["hallucination"]
    assert classed(SIGHT, "abcdef", "abcdXef", shares) == ["hallucination"]
    assert classed(SIGHT, "abcdef", "aXbcdef", shares) == ["visible"]
    assert classed(SIGHT, "abcdef", "XabcdefX", shares) == ["visible", "visible"]
    assert classed(SIGHT, "abcdef", "abxdef", np.array([1, 1, 0.2, 1, 1, 1], np.float32)) == [
        "partly visible"  # hidden is under a fifth
    ]


def test_without_a_mask_nothing_is_said_of_sight_and_without_shares_that_it_is_not_known():
    assert classed(SIGHT, "abc", "abx", None) == []
    assert classed(SIGHT, "abc", "abx", UNSEEN) == ["not known"]
    assert classed(SIGHT, "", "x", UNSEEN) == ["not known"]


def test_how_the_line_ended():
    assert classed(ENDING, "abc", "abx") == ["other line"]
    assert classed(ENDING, "abc", "ab", truncated=True) == ["truncated line"]
    looping = "ab" + " la" * 10
    assert set(classed(ENDING, "abc", looping)) == {"looping line"}
    assert set(classed(ENDING, "abc", looping, truncated=True)) == {"truncated line"}


@settings(max_examples=100, deadline=None)
@given(st.text("abnmruC1,. é-", max_size=14), st.text("abnmruC1,. é-", max_size=14), st.booleans())
def test_the_classes_of_a_view_add_up_to_the_counted_edits(reference, text, truncated):
    read = read_line("1", reference, text, truncated=truncated)
    found = misreadings(read, KNOWN, UNSEEN)
    counts = {"character": totals([read]).edits, "word": read.word_edits}
    for view in VIEWS:
        classes = [c for each in found for c in each.classes if c.view == view.name]
        assert len(classes) == counts[view.unit]
        assert {c.name for c in classes} <= set(view.classes)
    assert all(a.edit.at <= b.edit.at for a, b in pairwise(found) if a.unit == b.unit)


def test_systems_of_other_lines_are_not_compared():
    one, other = (
        Reading(row(decoder), (read_line(reference, reference, reference),))
        for decoder, reference in (("ctc-greedy", "a"), ("ctc-beam", "b"))
    )
    with pytest.raises(UserError, match="did not read the same lines"):
        analyse([one, other], KNOWN)


def test_every_class_is_defined_in_the_documentation():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for view in VIEWS:
        section = text.partition(f"\n### {view.name} (")[2].partition("\n### ")[0]
        assert section.startswith(view.unit), view.name
        defined = "".join(f"| {name} | {meaning} |\n" for name, meaning in view.classes.items())
        assert defined in section
