"""Which systems are as good as the best of a condition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.errors import UserError
from bench.evidence import Reading
from bench.significance import standing
from bench.stats import holm, rate_difference
from bench.types import LineResult
from tests import run_rows

WRITERS = 12


def reading(decoder: str, edits: list[int], cer: float | None = 0.0, **more: Any) -> Reading:
    """A line a writer with so many edits in 50 characters."""
    lines = tuple(
        LineResult(f"l{w}", f"w{w:02}", "a" * 50, "b", 1, None, False, n, 0, 0, 1)
        for w, n in enumerate(edits)
    )
    rate = None if cer is None else sum(edits) / (50 * len(edits))
    return Reading(run_rows.row(decoder, cer=rate, **more), lines)


BEST = [3, 4, 5, 3, 4, 5, 3, 4, 5, 3, 4, 5]
ALIKE = [4, 3, 5, 4, 3, 5, 4, 3, 5, 4, 3, 6]  # one edit more, by turns better and worse
WORSE = [n + 4 for n in BEST]
MUCH_WORSE = [n + 20 for n in BEST]


def test_the_best_and_what_is_not_significantly_worse():
    readings = [
        reading("ctc-beam", WORSE),
        reading("ar-beam", ALIKE),
        reading("ctc-greedy", BEST),
        reading("ar-greedy", MUCH_WORSE),
    ]
    found = standing(readings)
    assert found is not None
    assert found.best == readings[2].row.key
    assert found.not_worse == {readings[1].row.key, readings[2].row.key}
    keys = [readings[i].row.key for i in (0, 1, 3)]
    assert list(found.p_values) == keys
    raw = []
    for other in (WORSE, ALIKE, MUCH_WORSE):
        names = [f"w{w:02}" for w in range(WRITERS)]
        difference = rate_difference(other, BEST, np.full(WRITERS, 50), names)
        assert difference is not None
        raw.append(difference.p)
    assert [found.p_values[key] for key in keys] == holm(raw)
    assert found.p_values[keys[0]] == pytest.approx(3 * 2 / 2**12)  # both extremes, of three tests


def test_many_comparisons_make_one_of_them_less_sure():
    slightly = [*(n + 1 for n in BEST[:6]), *BEST[6:]]  # six writers worse: p = 2 / 64
    pair = standing([reading("a", BEST), reading("b", slightly)])
    assert pair is not None and len(pair.not_worse) == 1
    assert list(pair.p_values.values()) == [2 / 64]
    family = [reading(f"c{i}", [*(n + 1 for n in BEST[:6]), *BEST[6:]]) for i in range(3)]
    found = standing([reading("a", BEST), *family])
    assert found is not None and len(found.not_worse) == 4
    assert min(found.p_values.values()) == 6 / 64


def test_untrained_weights_take_no_part():
    untrained = reading("u", [0] * WRITERS, cer=None)
    found = standing([untrained, reading("a", BEST), reading("b", MUCH_WORSE)])
    assert found is not None and untrained.row.key not in {found.best, *found.p_values}
    assert standing([untrained]) is None and standing([]) is None


def test_of_one_writer_nothing_is_significantly_worse():
    found = standing([reading("a", [1]), reading("b", [40])])
    assert found is not None and len(found.not_worse) == 2


def test_of_equals_the_first_is_the_best_and_both_are_told():
    found = standing([reading("a", BEST), reading("b", BEST)])
    assert found is not None and found.best == run_rows.row("a").key
    assert len(found.not_worse) == 2 and list(found.p_values.values()) == [1.0]


def test_readings_of_other_conditions_are_refused():
    with pytest.raises(UserError, match="cannot be compared: the data set differs"):
        standing([reading("a", BEST), reading("b", BEST, dataset="hooker")])
