"""A CER as a cell: what has to be said of it in a footnote, and whether it stands in bold."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import cache

from bench.analysis.evidence import Store
from bench.analysis.significance import Standing, not_worse, standing
from bench.analysis.stats import ALPHA, ENOUGH, RESAMPLES
from bench.core.errors import UserError
from bench.core.types import UNTRAINED
from bench.pipeline.leaks.leak import MOST
from bench.report.captions import say
from bench.report.conditions import blocks
from bench.report.format import DASH, UNKNOWN, bracket, percent, plain, plural, short
from bench.report.results import Result, collect
from bench.report.table import Cell, Notes
from datasets.about import about

_BRIEF = 28


def cer_cell(result: Result | None, notes: Notes, said: Collection[str] = ()) -> Cell:
    """The CER of a result with its interval; a word in place of a number that is not there.

    Args:
        result: None for a cell that was not run.
        notes: takes the footnotes.
        said: remarks that the column's head already carries.
    """
    if result is None:
        return Cell(say("not run"))
    marks = tuple(notes.mark(text) for text in remarks(result) if text not in said)
    row = result.row
    if row.status == "failed":
        return failed_cell(result, marks)
    if not trained(result):
        return Cell(DASH, marks=marks)
    if row.cer is None or result.interval is None:
        text = UNKNOWN if row.cer is None else percent(row.cer)
        return Cell(text, values=(_percentage(row.cer),), marks=marks)
    bounds = (result.interval.low, result.interval.high)
    values = tuple(map(_percentage, (row.cer, *bounds)))
    return Cell(percent(row.cer), bracket(result.interval), values, marks)


def failed_cell(result: Result, marks: tuple[int, ...]) -> Cell:
    """A failure in a few words; the footnote and the spreadsheet have all of them."""
    reason = failure(result)
    head = say("failed: {reason}", reason="")
    brief = re.sub(rf"^{re.escape(head)}the [a-z ]+: ", head, reason)  # the harness's own words
    return Cell(short(brief, _BRIEF), values=(reason,), marks=marks)


def failure(result: Result) -> str:
    """Why a result is not there."""
    return say("failed: {reason}", reason=plain(result.row.reason) or say("no reason given"))


def trained(result: Result) -> bool:
    """Whether the weights may be given a CER; whatever the row says, untrained ones may not."""
    return result.row.weights != UNTRAINED


def remarks(result: Result) -> list[str]:
    """The footnotes that a result's CER needs."""
    row = result.row
    texts = []
    texts += [f"{result.names.dataset}: {plain(note)}" for note in row.extras.get("set_notes", ())]
    if row.unreadable:
        texts.append(
            say(
                "{lines} of {set} could not be read and is left out"
                if row.unreadable == 1
                else "{lines} of {set} could not be read and are left out",
                lines=plural(row.unreadable, "line"),
                set=result.names.dataset,
            )
        )
    if row.status == "failed":
        return [*texts, failure(result)]
    if not trained(result):
        return [*texts, say("{dash}: untrained weights have a speed but no CER", dash=DASH)]
    if row.foreign:
        texts.append(
            say(
                "{characters} of {set} lies outside of the decoder's alphabet and counts as an "
                "error"
                if row.foreign == 1
                else "{characters} of {set} lie outside of the decoder's alphabet and count as "
                "errors",
                characters=plural(row.foreign, "reference character"),
                set=result.names.dataset,
            )
        )
    if changed := row.extras.get("lines_changed_between_rounds"):
        texts.append(
            say(
                "{count} of its lines read otherwise in a later round; the first counts",
                count=changed,
            )
        )
    if not about(row.condition.dataset).punctuation:
        texts.append(
            say(
                "the references of {set} have no punctuation, so that every mark that is read "
                "counts as an error; see the table without punctuation",
                set=result.names.dataset,
            )
        )
    return [*texts, *_of_leaks(result), *_of_interval(result)]


def _of_leaks(result: Result) -> list[str]:
    """What of the lines was seen before, where that is more than chance would have it."""
    row, name = result.row, result.names.dataset
    lines = row.counts.lines if row.counts else 0
    shared = (row.leak and row.leak["train"]) or {}
    texts = [
        say(
            "{count} of the {lines} test lines of {set} have the {kind} of one of its train lines",
            count=count,
            lines=lines,
            set=name,
            kind=say(kind),
        )
        for kind in ("text", "image", "near image")
        if (count := shared.get(kind, 0)) > MOST * lines
    ]
    share = ((row.leak and row.leak["lm"]) or {}).get("lines") or 0.0
    if share > MOST:
        texts.append(
            say(
                "{share} % of the lines of {set} stand in the language model's text",
                share=percent(share),
                set=name,
            )
        )
    return texts


def _of_interval(result: Result) -> list[str]:
    if result.row.cer is None:
        return [say("{unknown}: no reference characters", unknown=UNKNOWN)]
    if result.blocks is None:
        return [say("no interval: its lines are not stored any more")]
    counted = plural(result.blocks.count, result.blocks.noun)
    if result.interval is None:
        return [say("{blocks}: too few for an interval or a test", blocks=counted)]
    if result.interval.blocks < ENOUGH:
        return [say("{blocks}: the interval is Student's t on a jackknife", blocks=counted)]
    return []


def _percentage(fraction: float | None) -> float | None:
    return None if fraction is None else 100.0 * fraction


# Which results of a condition stand in bold: the best, and all not significantly worse


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
