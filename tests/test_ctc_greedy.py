"""Best path decoding, and what all CTC decoders check of an encoding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.types import Decoded, Encoded
from decoders.ctc.base import join_symbols
from decoders.ctc.beam import CTCBeamSpec
from decoders.ctc.greedy import CTCGreedySpec
from tests.ctc_doubles import encoded, info, logs, matrices, random_matrix

SOUND = random_matrix(0, 6, 4)
BOTH = [spec.open(info()) for spec in (CTCGreedySpec(), CTCBeamSpec())]


def by_hand(matrix: NDArray[np.float32]) -> str:
    path = matrix.argmax(1)
    merged = [symbol for symbol, _ in itertools.groupby(path)]
    return "".join(("", "a", "b", "c")[symbol] for symbol in merged if symbol)


def test_repeats_merge_and_a_blank_parts_them():
    path = [1, 1, 0, 1, 2, 2, 0, 0, 3]
    matrix = np.full((9, 4), 0.1)
    matrix[range(9), path] = 0.7
    (line,) = CTCGreedySpec().open(info()).decode(encoded([logs(matrix)], ("", "a", "b", "c")))
    assert line.text == "aabc"
    assert line.tokens == 4
    assert line.score == pytest.approx(9 * np.log(0.7), rel=1e-6)


@given(matrices())
def test_equals_the_definition_line_by_line(matrix):
    names = ("", "a", "b", "c")[: matrix.shape[1]]
    (line,) = CTCGreedySpec().open(info()).decode(encoded([matrix], names))
    assert line.text == by_hand(matrix)
    assert line.score == pytest.approx(float(matrix.max(1).sum()), abs=1e-5)


def test_lines_of_a_batch_do_not_see_each_other_nor_the_padding():
    lines = [random_matrix(seed, 3 + seed % 9, 4) for seed in range(40)]
    names = ("", "a", "b", "c")
    alone = [CTCGreedySpec().open(info()).decode(encoded([line], names))[0] for line in lines]
    order = np.random.default_rng(1).permutation(40)
    together = CTCGreedySpec().open(info()).decode(encoded([lines[i] for i in order], names))
    assert [(d.text, d.tokens) for d in together] == [
        (alone[i].text, alone[i].tokens) for i in order
    ]


def test_symbols_of_several_characters_are_one_token_each():
    (line,) = (
        CTCGreedySpec()
        .open(info())
        .decode(encoded([logs([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])], ("", "ß", "e\u0301")))
    )
    assert (line.text, line.tokens) == ("ße\u0301", 2)


def test_join_symbols_of_any_code_point():
    odd = ("", "\ufeff", "\ud800", "\U0001f600", "a")  # a byte order mark, half a pair, two units
    assert join_symbols(np.array([1, 4, 2, 3, 4]), np.array([2, 0, 3]), odd) == [
        "\ufeffa", "", "\ud800\U0001f600a",
    ]  # fmt: skip


def test_join_symbols_of_nothing():
    assert join_symbols(np.array([], int), np.array([0, 0]), ("", "a")) == ["", ""]
    assert join_symbols(np.array([], int), np.array([], int), ("", "a")) == []


@pytest.mark.parametrize("decoder", BOTH, ids=["greedy", "beam"])
def test_nothing_to_read(decoder):
    assert decoder.decode(encoded([], ("", "a"))) == []
    no_frames = encoded([SOUND, SOUND], ("", "a", "b", "c"), frames=[0, 6])
    assert decoder.decode(no_frames)[0] == Decoded("", 0, 0.0)
    only_padding = encoded([np.zeros((0, 2), np.float32)] * 2, ("", "a"))
    assert decoder.decode(only_padding) == [Decoded("", 0, 0.0)] * 2


@pytest.mark.parametrize("decoder", BOTH, ids=["greedy", "beam"])
def test_all_blank_and_one_frame(decoder):
    sure = logs([[1.0, 0.0]] * 50)
    one = logs([[0.2, 0.8]])
    assert [d.text for d in decoder.decode(encoded([sure, one], ("", "a")))] == ["", "a"]


@pytest.mark.parametrize("decoder", BOTH, ids=["greedy", "beam"])
@pytest.mark.parametrize(
    "break_it",
    [
        lambda m: m[2].fill(np.nan),
        lambda m: m.__setitem__((2, 3), np.nan),
        lambda m: m[2].fill(-np.inf),
        lambda m: m.__setitem__((2, 0), np.inf),
        lambda m: np.exp(m, out=m),
        lambda m: np.subtract(m, 50, out=m),
    ],
    ids=["NaN column", "one NaN", "-inf column", "+inf", "probabilities", "not normalised"],
)
def test_broken_frames_are_named(decoder, break_it):
    broken = SOUND.copy()
    break_it(broken)
    names = ("", "a", "b", "c")
    with pytest.raises(UserError, match=r"frame \d of line 1 of a batch .* --dtype float32"):
        decoder.decode(encoded([SOUND, broken], names))
    # Behind the end of a line anything may stand.
    assert len(decoder.decode(encoded([SOUND, broken], names, frames=[6, 0]))) == 2


@pytest.mark.parametrize("decoder", BOTH, ids=["greedy", "beam"])
def test_an_encoding_that_breaks_the_contract(decoder):
    names = ("", "a", "b", "c")
    with pytest.raises(ValueError, match="4 CTC outputs do not fit an alphabet of 3"):
        decoder.decode(_with(names[:3]))
    with pytest.raises(ValueError, match="begins with the blank"):
        decoder.decode(_with(("a", "b", "c", "")))
    with pytest.raises(ValueError, match="frame counts"):
        decoder.decode(encoded([SOUND], names, frames=[7]))
    with pytest.raises(ValueError, match="no CTC output"):
        decoder.decode(Encoded(torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool)))


def _with(alphabet: tuple[str, ...]) -> Encoded:
    good = encoded([SOUND], ("", "a", "b", "c"))
    return Encoded(good.states, good.state_mask, good.log_probs, good.frames, alphabet)


def test_needs_a_ctc_head():
    absent = CTCGreedySpec().missing(info((), name="trocr-base"))
    assert absent is not None and "trocr-base has no CTC head" in str(absent)
    assert CTCGreedySpec().missing(info()) is None


@settings(max_examples=20)
@given(matrices())
def test_the_score_is_at_most_that_of_the_text(matrix):
    names = ("", "a", "b", "c")[: matrix.shape[1]]
    batch = encoded([matrix], names)
    # All paths of the best text weigh at least as much as the best path.
    specs = (CTCGreedySpec(), CTCBeamSpec(400, None))
    best, text = (spec.open(info(names)).decode(batch)[0].score for spec in specs)
    assert best is not None and text is not None and best <= text + 1e-5
