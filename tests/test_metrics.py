"""Edit counts against independent programs and a table-filling distance, and the stated rules."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.metrics import (
    Edit,
    cer,
    character_edits,
    is_looping,
    lenient_edits,
    macro_cer,
    median_cer,
    normalise,
    score_line,
    totals,
    visible,
    wer,
    word_edits,
)
from bench.core.types import LineResult

# reference, hypothesis, (S, D, I) and word edits by jiwer 4.0.0's process_characters and
# process_words; their sums and the word edits agree with editdistance 0.8.1, a program of its own.
# jiwer over all pairs together: CER 0.4, WER 0.6410256410256411.
ORACLE = [
    ("the quick brown fox", "the quick brown fox", (0, 0, 0), 0),
    ("the quick brown fox", "teh quick brwn foxes", (0, 2, 3), 3),
    ("kitten", "sitting", (2, 0, 1), 1),
    ("Dear Sir, I have", "dear sir i hve", (3, 2, 0), 4),
    ("flaw", "lawn", (0, 1, 1), 1),
    ("a", "bcdefg", (1, 0, 5), 1),
    ("handwriting is language", "", (0, 23, 0), 3),
    ("café au lait", "cafe au lait", (1, 0, 0), 1),
    ("intention", "execution", (5, 0, 0), 1),
    ("word word word", "word word word word word", (0, 0, 10), 2),
    ("æon \N{EM DASH} 😀 end", "aeon - end", (2, 2, 1), 3),
    (
        "To be, or not to be: that is the question",
        "To be or not too be: that's the questions",
        (1, 2, 2),
        5,
    ),
]


def result(reference: str, text: str, **more: object) -> LineResult:
    score = score_line(reference, text)
    line = LineResult(
        id="1",
        writer="w",
        reference=reference,
        text=text,
        tokens=3,
        score=None,
        truncated=False,
        substitutions=score.substitutions,
        deletions=score.deletions,
        insertions=score.insertions,
        word_edits=score.word_edits,
        block="w",
    )
    return replace(line, **more)  # type: ignore[arg-type]


def distance(a: list[str], b: list[str]) -> int:
    """Wagner and Fischer's table, the definition itself."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        above, row = row, [i]
        for j, right in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (left != right)))
    return row[-1]


@pytest.mark.parametrize(("reference", "text", "edits", "words"), ORACLE)
def test_counts_agree_with_independent_programs(reference, text, edits, words):
    score = score_line(reference, text)
    # the split into S, D, I is unique only up to ties, so sums are compared, and I - D, which
    # every shortest script shares
    assert score.edits == sum(edits)
    assert score.insertions - score.deletions == edits[2] - edits[1]
    assert score.word_edits == words


def test_characters_that_nobody_sees_are_shown_by_their_numbers():
    assert visible("e\u0301 é ك 字") == "e\u0301 é ك 字"
    hidden = "\u200b\u00a0\u00ad\ufeff\ufe0f\u3164\u034f\ue000\n"
    assert visible(hidden) == "".join(f"U+{ord(c):04X}" for c in hidden)
    assert visible("\u0301") == "U+0301"


def test_rates_of_a_corpus_agree_with_jiwer():
    counts = totals(result(reference, text) for reference, text, _, _ in ORACLE)
    assert cer(counts) == 0.4
    assert wer(counts) == 0.6410256410256411


words = st.text(alphabet="abc é\u0301\t", max_size=12)


@settings(deadline=None)  # a busy machine is no failure
@given(words, words)
def test_counts_are_a_shortest_script(reference, text):
    score = score_line(reference, text)
    truth, read = normalise(reference), normalise(text)
    assert score.edits == distance(list(truth), list(read))
    assert score.word_edits == distance(truth.split(), read.split())
    assert len(truth) - score.deletions + score.insertions == len(read)
    assert score.characters == len(truth)
    assert score.words == len(truth.split())


def test_empty_reference_counts_insertions_and_no_characters():
    score = score_line(" ", "ab c")
    assert (score.insertions, score.characters, score.word_edits) == (4, 0, 2)
    alone = totals([result("", "ab")])
    assert alone.edits == 2
    assert cer(alone) is None and wer(alone) is None
    assert macro_cer([result("", "ab")]) is None and median_cer([]) is None
    together = [result("", "ab"), result("abcd", "abcd")]
    assert cer(totals(together)) == 0.5
    assert macro_cer(together) == median_cer(together) == 0.0


def test_rates_are_never_clipped_and_differ_as_averages_do():
    lines = [result("a", "bcdefg"), result("abcdefgh", "abcdefgh"), result("abcd", "abcx")]
    assert cer(totals(lines[:1])) == 6.0
    assert cer(totals(lines)) == 7 / 13
    assert macro_cer(lines) == (6 + 0 + 0.25) / 3
    assert median_cer(lines) == 0.25


def test_totals_count_lines_of_every_kind():
    loop = "of the " * 6
    counts = totals(
        [
            result("ab", "  "),
            result("", ""),
            result("abcd", "ab"),  # exactly half is not over half
            result("abcd", "a", truncated=True),
            result("of the", loop, tokens=40),
        ]
    )
    assert (counts.lines, counts.empty, counts.over_half) == (5, 1, 3)
    assert (counts.truncated, counts.looping, counts.tokens) == (1, 1, 52)
    assert counts.characters == 2 + 0 + 4 + 4 + 6
    assert counts.output_characters == 0 + 0 + 2 + 1 + len(loop.strip())


@pytest.mark.parametrize(
    ("text", "looping"),
    [
        ("", False),
        ("ha ha ha ha", False),
        ("Dear Sir, I have the honour to be", False),
        ("Chapter 1 ..............", False),  # 14 dots
        ("a" * 20, True),
        ("a" * 19, False),
        ("He went to the of the of the of the of th", True),  # cut off in the last unit
        ("a beginning that goes on for long the end the end the end", False),  # three times
        ("a beginning that goes on for long the end the end the end the end", True),
        ("the end the end the end the end and then he went home to his wife", False),
    ],
)
def test_looping_is_a_tail_that_repeats(text, looping):
    assert is_looping(text) is looping


def carried_out(truth: list[str], edits: list[Edit]) -> list[str]:
    """The units after the edits."""
    read, done = [], 0
    for edit in edits:
        read += truth[done : edit.at]
        assert len(read) == edit.read_at
        done = edit.at + (edit.kind != "insertion")
        assert edit.truth == ("" if edit.kind == "insertion" else truth[edit.at])
        read += [edit.read] if edit.read else []
    return read + truth[done:]


@settings(max_examples=200)
@given(st.text("ab \u0301é", max_size=12), st.text("ab \u0301é", max_size=12))
def test_edits_turn_the_reference_into_what_was_read_and_are_those_that_are_counted(truth, text):
    score = score_line(truth, text)
    edits = character_edits(truth, text)
    kinds = [edit.kind for edit in edits]
    assert "".join(carried_out(list(normalise(truth)), edits)) == normalise(text)
    assert kinds.count("substitution") == score.substitutions
    assert kinds.count("deletion") == score.deletions
    assert kinds.count("insertion") == score.insertions
    edits = word_edits(truth, text)
    assert carried_out(normalise(truth).split(), edits) == normalise(text).split()
    assert len(edits) == score.word_edits


# What does not have to count


@pytest.mark.parametrize(
    ("ignored", "reference", "text", "edits", "characters"),
    [
        ("case", "The MAN", "the man", 0, 7),
        ("spaces at punctuation", "start . Then ,go", "start. Then, go", 0, 13),
        ("spaces at punctuation", 'he said "no"', 'he said " no "', 0, 11),
        ("spaces at punctuation", "a b", "ab", 1, 3),
        ("punctuation", "We'll say, no: 3 £", "well say no 3", 1, 13),
    ],
)
def test_what_is_let_count_on_neither_side(ignored, reference, text, edits, characters):
    assert lenient_edits(reference, text, ignored) == (edits, characters)
