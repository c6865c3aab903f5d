"""The prefix beam against every labelling, a textbook version and other programs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.core.types import Decoded
from decoders.ctc.base import bounds
from decoders.ctc.beam import CTCBeamSpec
from decoders.ctc.beam_kit import Openings, read_ahead, tokens_of
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


def test_two_frames_by_hand():
    # Paths: "" .36; "a" = a- + -a + aa = .24 + .24 + .16 = .64. The best path is the blank one.
    matrix = logs([[0.6, 0.4], [0.6, 0.4]])
    line = decode(matrix, nbest=5)
    assert line.text == "a"
    assert line.tokens == 1
    assert [text for text, _ in line.nbest] == ["a", ""]
    assert [score for _, score in line.nbest] == pytest.approx([math.log(0.64), math.log(0.36)])
    assert CTCGreedySpec().open(info()).decode(encoded([matrix], ("", "a")))[0].text == ""
    assert decode(matrix, beam=1).text == ""  # after one frame "" is the better prefix


def test_a_repeated_symbol_by_hand():
    # Only a-a spells "aa": .5 * .2 * .9 = .09. All else but the two certain symbols is "a".
    matrix = logs([[0.5, 0.5], [0.2, 0.8], [0.1, 0.9]])
    found = dict(decode(matrix, nbest=9).nbest)
    assert found["aa"] == pytest.approx(math.log(0.09))
    assert found[""] == pytest.approx(math.log(0.01))
    assert found["a"] == pytest.approx(math.log(0.9))


@settings(max_examples=150, deadline=None)
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


@settings(max_examples=100, deadline=None)
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


# (seed, width, symbols, peaked) of matrices in whose search a prefix leaves the beam and comes
# back while a longer one that grew out of it has stayed: the two have to find each other again.
RETURNING = [(0, 5, 5, 0.6), (0, 8, 5, 0.6), (1, 8, 3, 1.5), (2, 5, 3, 0.6), (3, 5, 3, 1.5)]


@pytest.mark.parametrize(("seed", "width", "symbols", "peaked"), RETURNING)
def test_a_prefix_that_comes_back_meets_its_descendants(seed, width, symbols, peaked):
    matrix = random_matrix(seed, 30, symbols, peaked)
    expected = plain_prefix_beam(matrix, width)
    found = decode(matrix, width, nbest=width).nbest
    assert [text for text, _ in found] == [
        "".join(NAMES[s] for s in label) for label, _ in expected
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60))
def test_width_one_on_peaked_input_is_the_best_path(seed, steps):
    path = np.random.default_rng(seed).integers(0, 8, steps)
    matrix = np.full((steps, 8), 0.01)
    matrix[range(steps), path] = 0.93
    batch = encoded([logs(matrix)], NAMES)
    assert (
        CTCBeamSpec(1).open(info()).decode(batch)[0].text
        == CTCGreedySpec().open(info()).decode(batch)[0].text
    )


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
    3: "bgeafgdfedgdadegdgdfga",
    4: "becgeafbcabdbafgagfae",
    5: "afdagdefdcgegfbagdcgebdca",
    6: "debdedadgedacabgdfaedegag",
    7: "acfabdacdgabecafgdgebgd",
}


@pytest.mark.parametrize("seed", FAST_CTC_DECODE)
def test_reads_as_another_program_does(seed):
    matrix = random_matrix(seed, 40, 8, 0.6)
    assert decode(matrix, 200).text == FAST_CTC_DECODE[seed]
    assert (
        CTCGreedySpec().open(info()).decode(encoded([matrix], NAMES))[0].text
        != FAST_CTC_DECODE[seed]
    )


@pytest.mark.parametrize("seed", range(4))
def test_reads_as_pyctcdecode_without_a_language_model(seed):
    pyctcdecode = pytest.importorskip("pyctcdecode")
    matrix = random_matrix(seed, 10, 5, 3.0)
    other = pyctcdecode.BeamSearchDecoderCTC(pyctcdecode.Alphabet(list(NAMES[:5]), False))
    # It keeps an end in a blank and an end in a symbol as two hypotheses, so twice the beam.
    beams = other.decode_beams(matrix, 240, beam_prune_logp=-1e9, token_min_logp=-1e9)
    other.cleanup()
    line = decode(matrix, 120)
    assert line.text == beams[0][0]
    assert line.score == pytest.approx(beams[0][-1], abs=0.01)


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


@given(st.floats(-20.0, 0.0))
def test_a_threshold_in_float32_parts_the_same_numbers(threshold):
    logp = CTCBeamSpec(token_min_logp=threshold).token_logp
    near = np.float32(threshold)
    beside = [np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf)]
    assert np.float32(logp) == logp
    assert all((value >= logp) == (float(value) >= threshold) for value in (near, *beside))


@pytest.mark.parametrize("symbols", [2, 15, 16, 17, 33, 96, 130])
def test_one_look_tells_what_opens_a_prefix(symbols):
    matrix = random_matrix(symbols, 60, symbols)
    glance = Openings(np.zeros(60, np.int32), np.zeros(60, np.int32))
    assert read_ahead(matrix, 60, bounds(symbols), -4.0, glance)
    tokens = np.zeros(symbols, np.int32)
    for row, above, place in zip(matrix, *glance, strict=True):
        count = tokens_of(row, -4.0, above, place, tokens)
        wanted = np.flatnonzero(row[1:] >= -4.0) + 1
        if not wanted.size and row[0] < -4.0:  # the likeliest, unless it is the blank
            wanted = np.flatnonzero(np.arange(symbols) == row.argmax())
        assert tokens[:count].tolist() == wanted[wanted > 0].tolist()
