"""Which results of a condition stand in bold: the best, and all not significantly worse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from bench.analysis.evidence import Store
from bench.analysis.significance import Standing, not_worse, standing
from bench.analysis.stats import ALPHA, RESAMPLES
from bench.core.errors import UserError
from bench.report.captions import say
from bench.report.conditions import blocks
from bench.report.remarks import trained
from bench.report.results import Result, collect

Judge = Callable[[frozenset[str]], Standing | None]  # of the keys of one condition's rows


def nobody(keys: frozenset[str]) -> Standing | None:
    """A judge that sets nothing in bold."""
    return None


def judge_of(store: Store) -> Judge:
    """A judge that tests the lines of a run.

    Raises:
        UserError: the rows cannot be read.
    """
    return judge_among(collect(store))


def judge_among(results: Sequence[Result]) -> Judge:
    """A judge that tests the lines of these results."""
    found = {result.row.key: result.reading for result in results if result.reading}

    @cache
    def judge(keys: frozenset[str]) -> Standing | None:
        if not keys <= set(found):  # one whose lines are gone may be the best
            return None
        try:
            return standing([found[key] for key in sorted(keys)])
        except UserError:  # not of the same lines after all
            return None

    return judge


def leaders(results: Sequence[Result], judge: Judge) -> frozenset[str]:
    """Keys of the results of a table that stand in bold, each judged among those of its condition.

    A result that nothing is compared with is not bold, nor is one of too few blocks for a test.
    """
    conditions: dict[object, set[str]] = {}
    for result in results:
        if trained(result) and result.row.cer is not None:
            condition = (result.names.dataset, result.names.damage, result.row.condition)
            conditions.setdefault(condition, set()).add(result.row.key)
    several = (frozenset(keys) for keys in conditions.values() if len(keys) > 1)
    return not_worse(stand for keys in several if (stand := judge(keys)))


def test_in_words(results: Sequence[Result]) -> str:
    """What bold means, in words."""
    return say(
        "in bold the best of each condition and all that are not significantly worse (two-sided "
        "approximate randomisation by {blocks} against the best, {resamples} choices, Holm over "
        "the table, alpha {alpha}, and an interval of the difference without 0)",
        blocks=blocks(results),
        resamples=f"{RESAMPLES:,}",
        alpha=f"{ALPHA:g}",
    )
