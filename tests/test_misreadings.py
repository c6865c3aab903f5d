"""Every edit in its classes: worked by hand, and classes that add up to what the rows count."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import ROOT
from bench.analysis.evidence import Reading
from bench.analysis.misreadings import Sight, analyse, changes, profile, sight
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
    alike,
    core,
    misreadings,
    vocabulary,
)
from bench.core.errors import UserError
from bench.core.metrics import score_line, totals
from bench.core.types import Condition, LineResult
from datasets.damage import DAMAGES
from datasets.damage.base import SUITE, damaged_lines
from datasets.damage.visible import visible_shares
from datasets.lines import RenderedLines
from tests.run_rows import row

KNOWN = Vocabulary(frozenset({"the", "then", "cat", "form", "from"}), frozenset({"-"}), "a test")
SEEN = Sight()


def line(
    reference: str, text: str, name: str = "1", writer: str = "w", truncated: bool = False
) -> LineResult:
    score = score_line(reference, text)
    return LineResult(
        id=name,
        writer=writer,
        reference=reference,
        text=text,
        tokens=len(text),
        score=None,
        truncated=truncated,
        substitutions=score.substitutions,
        deletions=score.deletions,
        insertions=score.insertions,
        word_edits=score.word_edits,
        block=writer,
    )


def classed(view: View, reference: str, text: str, shares=None, **more) -> list[str]:
    """The class of each edit in a view, from left to right."""
    found = misreadings(line(reference, text, **more), KNOWN, shares)
    return [c.name for each in found for c in each.classes if c.view == view.name]


@pytest.mark.parametrize(
    ("reference", "text", "classes"),
    [
        ("the cat", "the cat", []),
        ("the cat", "thecat", ["spacing"]),
        ("the cat", "the ,cat", ["punctuation"]),
        ("x-y", "x y", ["spacing"]),  # before punctuation
        ("The", "the", ["case"]),
        ("Sir", "SIR", ["case"] * 2),
        ("in 1912", "in 1972", ["digit"]),
        ("l", "1", ["digit"]),  # it looks alike, but a digit is a digit
        ("sir.", "sir,", ["punctuation"]),
        ("5 £", "5 x", ["punctuation"]),
        ("sun", "snn", ["similar shape"]),
        ("sun", "szn", ["other letter"]),
        ("corn", "com", ["similar shape"] * 2),  # rn as m
        ("com", "corn", ["similar shape"] * 2),
        ("cart", "cat", ["other letter"]),
        ("café", "cafe", ["similar shape"]),
        ("cafe\u0301", "café", []),  # the same after the normaliser
        ("", "ab", ["other letter"] * 2),
    ],
)
def test_what_an_edit_is(reference, text, classes):
    assert classed(NATURE, reference, text) == classes


@pytest.mark.parametrize(
    ("reference", "text", "classes"),
    [
        ("one word here", "one werd here", ["within a word"]),
        ("one word here", "one here", ["whole word"] * 4 + ["between words"]),
        ("one word", "one x word", ["whole word", "between words"]),
        ("one word", "x one word", ["whole word", "between words"]),
        ("one word", "onex word", ["within a word"]),
        ("one word", "one xword", ["within a word"]),
        ("word", "wxyz", ["whole word"] * 3),
        ("word", "woxy", ["within a word"] * 2),  # half of it was read
        ("a b", "a c", ["whole word"]),
        ("the cat", "thecat", ["between words"]),
        ("", "new", ["whole word"] * 3),
        ("gone", "", ["whole word"] * 4),
    ],
)
def test_where_an_edit_is(reference, text, classes):
    assert sorted(classed(SCOPE, reference, text)) == sorted(classes)


@pytest.mark.parametrize(
    ("reference", "text", "classes"),
    [
        ("the cat", "then cat", ["real word"]),
        ("the cat", "tha cat", ["non-word"]),
        ("the cat", "The cat", ["letters right"]),
        ("the, cat", "the cat", ["letters right"]),
        ("the cat", "cat", ["left out"]),
        ("the cat", "the then, cat", ["real word"]),
        ("the cat", "the qx cat", ["non-word"]),
        ("the cat", "the - cat", ["real word"]),
        ("the cat", "the ; cat", ["non-word"]),
        ("form", '"From', ["real word"]),
    ],
)
def test_what_becomes_of_words(reference, text, classes):
    assert classed(WORD, reference, text) == classes


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


@settings(max_examples=300, deadline=None)
@given(st.text("abnmruC1,. é-", max_size=14), st.text("abnmruC1,. é-", max_size=14), st.booleans())
def test_the_classes_of_a_view_add_up_to_the_counted_edits(reference, text, truncated):
    read = line(reference, text, truncated=truncated)
    found = misreadings(read, KNOWN, UNSEEN)
    counts = {"character": totals([read]).edits, "word": read.word_edits}
    for view in VIEWS:
        classes = [c for each in found for c in each.classes if c.view == view.name]
        assert len(classes) == counts[view.unit]
        assert {c.name for c in classes} <= set(view.classes)
    assert all(a.edit.at <= b.edit.at for a, b in pairwise(found) if a.unit == b.unit)


@given(st.sampled_from("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"), st.sampled_from("nmuirlcdeoQ"))
def test_looks_are_mutual(one, other):
    assert alike(one, other) == alike(other, one)
    assert not alike(one, one)


def test_words_are_looked_up_without_case_and_ends():
    assert core("\"Don't,") == "don't" and core("--") == ""
    embedded = vocabulary()
    assert "Letter" in embedded and "letter," in embedded and "lettre" not in embedded
    assert "14,317 words" in embedded.source


def test_the_vocabulary_of_a_file(tmp_path: Path):
    arpa = tmp_path / "own.arpa"
    words = ["<unk>", "<s>", "</s>", "quux"]
    grams = "\n".join(f"-1\t{word}\t0" for word in words)
    arpa.write_text(f"\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n{grams}\n\n\\2-grams:\n"
                    "-1\t<s> quux\n\n\\end\\\n")  # fmt: skip
    own = vocabulary(arpa)
    assert "Quux!" in own and "the" not in own and own.source == "the 1 words of own.arpa"


# ---- systems ----


def reading(decoder: str, texts: dict[str, str], references: dict[str, str], **more) -> Reading:
    """A system's reading of lines, each by its own writer."""
    lines = [line(references[n], texts[n], n, f"writer-{n}") for n in references]
    counts = totals(lines)
    made = row(decoder, counts=counts, cer=counts.edits / counts.characters, **more)
    return Reading(made, tuple(lines))


REFERENCES = {f"{n}": "the sun, the moon" for n in range(12)}
INK = dict.fromkeys(REFERENCES, "the snn, tha moon")  # two shapes
LANGUAGE = dict.fromkeys(REFERENCES, "the sun, the morn")  # neither; a letter instead


def test_a_profile_counts_what_the_row_counts():
    found = profile(reading("ctc-greedy", INK, REFERENCES), KNOWN, SEEN)
    assert found.kinds == {"substitution": 24}
    assert found.pairs("character") == {("u", "n"): 12, ("e", "a"): 12}
    assert found.pairs("word") == {("sun,", "snn,"): 12, ("the", "tha"): 12}
    assert found.classes[NATURE["similar shape"]] == 24  # a and e are in one group, too
    assert found.classes[WORD["non-word"]] == 24
    assert found.of_class(WORD["non-word"]).tolist() == [2] * 12
    assert (found.truncated, found.looping) == (0, 0)


def test_changes_tell_what_language_removes_and_what_it_adds():
    ink = reading("ctc-greedy", INK, REFERENCES)
    language = reading("ctc-ngram", LANGUAGE, REFERENCES)
    found = analyse([language, ink], KNOWN)
    assert found.against is found.profiles[1]
    (changed,) = found.changes.values()
    shape = changed[NATURE["similar shape"]]
    assert (shape.removed, shape.added) == (24, 0)
    assert shape.net == pytest.approx(-24 / (12 * 17))
    assert shape.interval is not None and shape.interval.high < 0
    assert shape.p is not None and shape.p < 0.05
    letter = changed[NATURE["other letter"]]
    assert (letter.removed, letter.added) == (0, 12)
    word = changed[WORD["non-word"]]
    assert (word.removed, word.added) == (24, 12)
    assert word.net == pytest.approx(-12 / (12 * 4))  # over words


def test_the_net_change_is_the_difference_of_the_counts_and_places_matter():
    references = {"1": "abcabc", "2": "abcabc"}
    first = profile(reading("a", {"1": "xbcabc", "2": "abcabc"}, references), KNOWN, SEEN)
    second = profile(reading("b", {"1": "abcxbc", "2": "abcxbc"}, references), KNOWN, SEEN)
    (found,) = changes(first, [second])
    change = found[NATURE["other letter"]]
    assert (change.removed, change.added) == (1, 2)
    assert change.net == pytest.approx(1 / 12)


def test_a_decoder_that_reads_the_same_changes_nothing():
    one, same = (reading(name, INK, REFERENCES) for name in ("ctc-greedy", "ctc-beam"))
    (found,) = analyse([one, same], KNOWN).changes.values()
    assert {(c.removed, c.added, c.net, c.p) for c in found.values()} == {(0, 0, 0.0, 1.0)}


def test_systems_of_other_lines_are_not_compared():
    one = reading("ctc-greedy", INK, REFERENCES)
    other = reading("ctc-beam", {"1": "a"}, {"1": "b"})
    with pytest.raises(UserError, match="did not read the same lines"):
        analyse([one, other], KNOWN)


def test_confusions_are_ordered_by_the_system_that_has_most_of_them():
    ink = reading("ctc-greedy", INK, REFERENCES)
    references = {"1": "aaaa bb", "2": "cc"}
    first = reading("ctc-greedy", {"1": "xxxx bb", "2": "zz"}, references)
    second = reading("ctc-ngram", {"1": "aaaa yy", "2": "zz"}, references)
    assert analyse([first, second], KNOWN).confusions("character") == [
        (("a", "x"), [4, 0]),
        (("c", "z"), [2, 2]),  # more often than the next over both
        (("b", "y"), [0, 2]),
    ]
    assert analyse([ink], KNOWN).confusions("word", 1) == [(("sun,", "snn,"), [12])]


def test_what_was_hidden_comes_from_the_pictures():
    clean = RenderedLines().load("test", 3)
    condition = Condition("lines", "test", "char_erase", 4, seed=0, limit=3)
    made = row(condition=condition, dataset_sha256=clean.sha256, suite=SUITE)
    lines = tuple(line(each.text, "x", each.id) for each in clean.lines)
    found = sight(Reading(made, lines))
    assert not found.absent and not found.estimated
    damaged = list(damaged_lines(DAMAGES.create("char_erase"), clean.lines, "lines", 4, 0))
    for each, hurt in zip(clean.lines, damaged, strict=True):
        wanted = visible_shares(each, hurt)
        got = found.of(each.id)
        assert got is not None and not np.isnan(got).any()
        inked = ~np.isnan(wanted)
        np.testing.assert_array_equal(got[inked], wanted[inked])
        assert (got < 0.2).any()
    assert found.of("nobody") is UNSEEN
    changed = dataclasses.replace(made, dataset_sha256="0" * 64)
    assert "changed" in sight(Reading(changed, lines)).absent
    unharmed = dataclasses.replace(made, condition=Condition("lines"))
    assert sight(Reading(unharmed, lines)).of(clean.lines[0].id) is None


def test_every_class_is_defined_in_the_documentation():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for view in VIEWS:
        section = text.partition(f"\n### {view.name} (")[2].partition("\n### ")[0]
        assert section.startswith(view.unit), view.name
        defined = "".join(f"| {name} | {meaning} |\n" for name, meaning in view.classes.items())
        assert defined in section
