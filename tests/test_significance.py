"""Which systems are as good as the best of a condition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.analysis.evidence import Reading
from bench.analysis.significance import Standing, not_worse, standing
from bench.analysis.stats import Difference, Interval, rate_difference
from bench.core.errors import UserError
from bench.core.types import LineResult
from tests import run_rows

WRITERS = 12


def reading(decoder: str, edits: list[int], cer: float | None = 0.0, **more: Any) -> Reading:
    """A line a writer with so many edits in 50 characters."""
    lines = tuple(
        LineResult(f"l{w}", f"w{w:02}", "a" * 50, "b", 1, None, False, n, 0, 0, 1, block=f"w{w:02}")
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
    assert not_worse([found]) == {readings[1].row.key, readings[2].row.key}
    assert list(found.behind) == [readings[i].row.key for i in (0, 1, 3)]
    for other, key in zip((WORSE, ALIKE, MUCH_WORSE), found.behind, strict=True):
        names = [f"w{w:02}" for w in range(WRITERS)]
        assert found.behind[key] == rate_difference(other, BEST, np.full(WRITERS, 50), names)


SLIGHTLY = [*(n + 1 for n in BEST[:6]), *BEST[6:]]  # six writers worse: p = 2 / 64


def test_many_comparisons_make_one_of_them_less_sure():
    pair = standing([reading("a", BEST), reading("b", SLIGHTLY)])
    assert pair is not None and len(not_worse([pair])) == 1
    assert [gap.p for gap in pair.behind.values()] == [2 / 64]
    family = [reading(f"c{i}", SLIGHTLY) for i in range(3)]
    found = standing([reading("a", BEST), *family])
    assert found is not None and len(not_worse([found])) == 4


def test_the_family_is_the_whole_table_and_not_the_condition():
    pairs = [
        standing([reading("a", BEST, dataset=name), reading("b", SLIGHTLY, dataset=name)])
        for name in ("lines", "unipen", "hooker")
    ]
    alone = [not_worse([pair]) for pair in pairs if pair]
    assert [len(keys) for keys in alone] == [1, 1, 1]
    assert len(not_worse([pair for pair in pairs if pair])) == 6


def test_a_small_p_beside_an_interval_with_0_is_no_finding():
    gap = Difference(0.01, Interval(-0.001, 0.02, 12), 0.001)
    assert not_worse([Standing("best", {"other": gap})]) == {"best", "other"}
    clear = Difference(0.01, Interval(0.001, 0.02, 12), 0.001)
    assert not_worse([Standing("best", {"other": clear})]) == {"best"}


def test_untrained_weights_take_no_part():
    untrained = reading("u", [0] * WRITERS, cer=None)
    found = standing([untrained, reading("a", BEST), reading("b", MUCH_WORSE)])
    assert found is not None and untrained.row.key not in {found.best, *found.behind}
    assert standing([untrained]) is None and standing([]) is None


@pytest.mark.parametrize("writers", [1, 4, 5])
def test_of_few_writers_nothing_is_said_not_even_which_is_the_best(writers):
    assert standing([reading("a", [1] * writers), reading("b", [40] * writers)]) is None


def test_of_equals_the_first_is_the_best_and_both_are_told():
    found = standing([reading("a", BEST), reading("b", BEST)])
    assert found is not None and found.best == run_rows.row("a").key
    assert len(not_worse([found])) == 2 and [gap.p for gap in found.behind.values()] == [1.0]


def test_readings_of_other_conditions_are_refused():
    with pytest.raises(UserError, match="cannot be compared: the data set differs"):
        standing([reading("a", BEST), reading("b", BEST, dataset="hooker")])
