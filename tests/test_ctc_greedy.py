"""Best path decoding, and what all CTC decoders check of an encoding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from decoders.ctc.beam import CTCBeamSpec
from decoders.ctc.greedy import CTCGreedySpec
from tests.ctc_doubles import encoded, info, logs, matrices


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


@settings(max_examples=20, deadline=None)  # the first call loads compiled code
@given(matrices())
def test_the_score_is_at_most_that_of_the_text(matrix):
    names = ("", "a", "b", "c")[: matrix.shape[1]]
    batch = encoded([matrix], names)
    # All paths of the best text weigh at least as much as the best path.
    specs = (CTCGreedySpec(), CTCBeamSpec(400, None))
    best, text = (spec.open(info(names)).decode(batch)[0].score for spec in specs)
    assert best is not None and text is not None and best <= text + 1e-5
