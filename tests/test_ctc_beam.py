"""The prefix beam against every labelling, a textbook version and other programs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.core.types import Decoded
from decoders.ctc.beam import CTCBeamSpec
from decoders.ctc.greedy import CTCGreedySpec
from tests.ctc_doubles import (
    encoded,
    every_labelling,
    info,
    logs,
    matrices,
    plain_prefix_beam,
    random_matrix,
)

NAMES = ("", "a", "b", "c", "d", "e", "f", "g")
ALL = 400  # more prefixes than 5 frames of 3 symbols have


def decode(
    matrix: NDArray[np.float32], beam: int = 32, logp: float | None = None, nbest: int = 1
) -> Decoded:
    decoder = CTCBeamSpec(beam, logp, nbest, beam_prune_logp=None).open(info())
    (line,) = decoder.decode(encoded([matrix], NAMES[: matrix.shape[1]]))
    return line


@settings(max_examples=80, deadline=None)
@given(matrices())
def test_a_wide_beam_is_exact(matrix):
    truth = {label: p for label, p in every_labelling(matrix).items() if p > 1e-30}
    line = decode(matrix, ALL, nbest=ALL)
    assert len(line.nbest) >= len(truth)
    assert len({text for text, _ in line.nbest}) == len(line.nbest)  # every prefix once
    found = dict(line.nbest)
    for label, probability in truth.items():
        text = "".join(NAMES[symbol] for symbol in label)
        assert found[text] == pytest.approx(math.log(probability), abs=1e-6)
    scores = [score for _, score in line.nbest]
    assert scores == sorted(scores, reverse=True)
    assert (line.text, line.score) == line.nbest[0]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 40), st.integers(2, 8), st.integers(2, 12),
    st.floats(0.2, 3.0),
)  # fmt: skip
def test_a_narrow_beam_is_the_textbook_search(seed, steps, symbols, width, peaked):
    matrix = random_matrix(seed, steps, symbols, peaked)
    expected = plain_prefix_beam(matrix, width)
    found = decode(matrix, width, nbest=width).nbest
    assert [text for text, _ in found] == [
        "".join(NAMES[s] for s in label) for label, _ in expected
    ]
    for (_, score), (_, mass) in zip(found, expected, strict=True):
        assert score == pytest.approx(math.log(mass), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(matrices(), st.floats(-3.0, -0.1))
def test_pruned_symbols_open_no_prefix_but_give_their_mass(matrix, logp):
    pruned, whole = decode(matrix, ALL, logp, ALL), dict(decode(matrix, ALL, None, ALL).nbest)
    opens = {
        NAMES[symbol]
        for row in matrix
        for symbol in range(len(row))
        if row[symbol] >= logp or row[symbol] == row.max()
    }
    for text, score in pruned.nbest:
        assert set(text) <= opens
        assert score <= whole[text] + 1e-6
    assert decode(matrix, ALL, -1e9, ALL).nbest == tuple(whole.items())


def test_a_prefix_gets_the_mass_of_pruned_symbols():
    # "a" is opened in frame 0; in frame 1 it is below the threshold, yet both ways to stay count.
    matrix = logs([[0.3, 0.7], [0.9, 0.1]])
    assert decode(matrix, 4, math.log(0.5), 4).score == pytest.approx(math.log(0.7 + 0.3 * 0.1))


@settings(max_examples=60, deadline=None)
@given(matrices(), st.floats(-6.0, -0.1))
def test_pruned_prefixes_are_those_far_below_the_best(matrix, prune):
    names = NAMES[: matrix.shape[1]]
    (line,) = CTCBeamSpec(ALL, None, ALL, prune).open(info()).decode(encoded([matrix], names))
    whole = dict(decode(matrix, ALL, None, ALL).nbest)
    for text, score in line.nbest:
        assert score >= line.nbest[0][1] + prune - 1e-9
        assert score <= whole[text] + 1e-6
    assert (
        decode(matrix[:1], ALL, None, ALL).nbest[0]
        == CTCBeamSpec(ALL, None, ALL, prune)
        .open(info())
        .decode(encoded([matrix[:1]], names))[0]
        .nbest[0]
    )


def test_the_likeliest_symbol_opens_a_prefix_below_the_threshold():
    matrix = logs([[0.1, 0.3, 0.3, 0.3 - 1e-3, 1e-3]])
    assert decode(matrix, 8, -0.5, 8).text == "a"


# random_matrix(seed, 40, 8, 0.6) read by fast-ctc-decode 0.3.7 (Rust), beam_search with a beam of
# 200 and a cut threshold of 0. So flat a matrix has a best text far from its best path.
FAST_CTC_DECODE = {
    0: "eabeagegcfbadcbfadgdfgad",
    1: "cgecaefdadagabdeacedgebc",
    2: "bgagagbafbfefebfadacdc",
}


@pytest.mark.parametrize("seed", FAST_CTC_DECODE)
def test_reads_as_another_program_does(seed):
    matrix = random_matrix(seed, 40, 8, 0.6)
    assert decode(matrix, 200).text == FAST_CTC_DECODE[seed]
    assert (
        CTCGreedySpec().open(info()).decode(encoded([matrix], NAMES))[0].text
        != FAST_CTC_DECODE[seed]
    )


def test_masses_beyond_the_range_of_a_float():
    # 3,000 frames at p = 0.2: the text's probability is far below the smallest double.
    matrix = np.tile(logs([[0.2] * 5]), (3000, 1))
    line = decode(matrix, 16)
    assert line.score is not None and math.isfinite(line.score)
    assert 3000 * math.log(0.2) < line.score < 0
    impossible = logs([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]] * 400)
    assert decode(impossible, 4).text == "ab" * 400
    steep = np.full((30, 3), -700.0, np.float32)
    steep[range(30), [t % 3 for t in range(30)]] = 0.0
    assert decode(steep, 4).text == "ab" * 10


@settings(deadline=None)  # the first call loads compiled code
@given(matrices())
def test_the_best_path_merges_repeats_and_scores_at_most_its_text(matrix):
    names = NAMES[: matrix.shape[1]]
    batch = encoded([matrix], names)
    (line,) = CTCGreedySpec().open(info()).decode(batch)
    merged = [symbol for symbol, _ in itertools.groupby(matrix.argmax(1))]
    assert line.text == "".join(names[symbol] for symbol in merged if symbol)
    assert line.score == pytest.approx(float(matrix.max(1).sum()), abs=1e-5)
    (text,) = CTCBeamSpec(ALL, None).open(info(names)).decode(batch)
    assert line.score is not None and text.score is not None and line.score <= text.score + 1e-5
