"""CER cells with interval, footnotes and bold."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from bench.analysis.evidence import not_worse
from bench.analysis.stats import ALPHA, ENOUGH, RESAMPLES
from bench.pipeline.leaks.leak import MOST
from bench.report.conditions import blocks
from bench.report.format import DASH, UNKNOWN, percent, plain, plural, short
from bench.report.language import say, say_text
from bench.report.results import Result
from bench.report.table import RANGE, Cell, Column, keys, rate
from datasets.about import about

_BRIEF = 28


def key_columns(*heads: str) -> list[Column[Result]]:
    """Columns that name a result, by their English heads."""
    of: dict[str, Callable[[Result], object]] = {
        "Set": lambda result: result.names.dataset,
        "Damage": lambda result: result.damage,
        "Severity": lambda result: result.row.condition.severity,
        "Encoder": lambda result: result.names.encoder,
        "Decoder": lambda result: result.names.decoder,
    }
    return keys([say(head) for head in heads], *(of[head] for head in heads))


def cer_column(head: str = "CER %") -> Column[Result]:
    """The CER of a result."""
    return Column(say(head), cer_cell, RANGE)


def cer_cell(result: Result | None, shared: Collection[str] = (), bold: bool = False) -> Cell:
    """The CER of a result with its interval, or a word in place of a missing number.

    A result of None was not run; `shared` are remarks that the column's head has already.
    """
    if result is None:
        return Cell(say("not run"))
    notes = tuple(text for text in remarks(result) if text not in shared)
    row = result.row
    if row.status == "failed":
        return failed_cell(result, notes)
    if row.cer is None or not result.trained:
        return Cell(UNKNOWN if result.trained else DASH, values=(None,), notes=notes)
    return rate(row.cer, result.interval, notes=notes, bold=bold)


def failed_cell(result: Result, notes: tuple[str, ...] | None = None) -> Cell:
    """A failure in a few words; footnote and spreadsheet have the full reason."""
    reason = failure(result)
    why = re.sub("^the [a-z ]+: ", "", plain(result.row.reason))  # without the runner's prefix
    brief = short(_failed(why), _BRIEF)
    return Cell(brief, values=(reason,), notes=(reason,) if notes is None else notes)


def failure(result: Result) -> str:
    """The reason of a failure."""
    return _failed(plain(result.row.reason))


def _failed(why: str) -> str:
    return say("failed: {reason}", reason=say_text(why) or say("no reason given"))


def failed_since(result: Result) -> list[str]:
    """The remark on a good row whose cell failed when it was last run."""
    if not result.failed_since:
        return []
    reason = plain(say_text(result.failed_since))
    return [say("measured before; when it was last run it failed: {reason}", reason=reason)]


def remarks(result: Result) -> list[str]:
    """The footnotes of a result's CER."""
    row, name = result.row, result.names.dataset
    texts = [f"{name}: {plain(say_text(note))}" for note in row.extras.get("set_notes", ())]
    encoder = result.names.encoder
    texts += [f"{encoder}: {plain(say_text(note))}" for note in row.extras.get("encoder_notes", ())]
    if row.unreadable:
        one = "{lines} of {set} could not be read and is left out"
        more = "{lines} of {set} could not be read and are left out"
        lines = plural(row.unreadable, "line")
        texts.append(say(one if row.unreadable == 1 else more, lines=lines, set=name))
    if row.status == "failed":
        return [*texts, failure(result)]
    texts += failed_since(result)
    if result.reading is None:
        texts.append(
            say("its file of lines is missing or was changed, so it has no interval; run it again")
        )
    if not result.trained:
        return [*texts, say("{dash}: untrained weights have a speed but no CER", dash=DASH)]
    if row.foreign:
        one = "{characters} of {set} lies outside of the decoder's alphabet and counts as an error"
        more = "{characters} of {set} lie outside of the decoder's alphabet and count as errors"
        characters = plural(row.foreign, "reference character")
        texts.append(say(one if row.foreign == 1 else more, characters=characters, set=name))
    if changed := row.extras.get("lines_changed_between_rounds"):
        texts.append(
            say("{count} of its lines read otherwise in a later round; the first counts",
                count=changed)
        )  # fmt: skip
    if size := row.extras.get("halved_batch"):
        texts.append(say("read in batches of {size} for lack of memory", size=size))
    if not about(row.condition.dataset).punctuation:
        texts.append(
            say(
                "the references of {set} have no punctuation, so that every mark that is read "
                "counts as an error; see the table without punctuation",
                set=name,
            )
        )
    return [*texts, *_of_leaks(result), *_of_interval(result)]


def _of_leaks(result: Result) -> list[str]:
    """Remarks on leaked lines, if they are more than expected by chance."""
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
        words = "{share} % of the lines of {set} stand in the language model's text"
        texts.append(say(words, share=percent(share), set=name))
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


def leaders(results: Sequence[Result]) -> frozenset[str]:
    """Keys of the results of a table to print in bold.

    The best of each condition, and all that are not significantly worse. A condition of a single
    result, of too few blocks, or with a result whose lines are gone has none.
    """
    conditions: dict[object, dict[str, Result]] = {}
    for result in results:
        if result.trained and result.row.cer is not None:
            condition = (result.names.dataset, result.names.damage, result.row.condition)
            conditions.setdefault(condition, {})[result.row.key] = result
    several = ([of[key].reading for key in sorted(of)] for of in conditions.values() if len(of) > 1)
    return not_worse(
        [reading for reading in readings if reading] for readings in several if all(readings)
    )


def test_in_words(results: Sequence[Result]) -> str:
    """The meaning of bold."""
    return say(
        "in bold the best of each condition and all that are not significantly worse (two-sided "
        "approximate randomisation by {blocks} against the best, {resamples} choices, Holm over "
        "the table, alpha {alpha}, and an interval of the difference without 0)",
        blocks=blocks(results),
        resamples=f"{RESAMPLES:,}",
        alpha=f"{ALPHA:g}",
    )
