"""The check for over-fitting as a table and a verdict in words."""

from __future__ import annotations

import math

from bench.analysis.overfit import (
    FEWEST_LINES,
    HIGHEST,
    LEARNED,
    OVER,
    UNSEEN,
    OverfitCheck,
    SplitScore,
)
from bench.analysis.stats import ENOUGH, FEWEST, Interval
from bench.report.conditions import nouns
from bench.report.format import joined, number, plural
from bench.report.language import say
from bench.report.results import marked
from bench.report.table import RANGE, Column, Table, count, declared, keys, rate


def table(check: OverfitCheck) -> Table:
    """CER of each split, and its ratio to that of the training lines."""
    counts = {len(score.edits) for score in check.scores}
    lines = plural(counts.pop(), "line") if len(counts) == 1 else say("as many lines as there are")
    known = check.score(UNSEEN).blocks_counted
    blocks = nouns(known.noun)
    hands = ""
    if known.hands:
        hands = say(" All lines are of {hands}.", hands=plural(known.hands, "hand"))
    return declared(
        slug="overfit",
        title=say(
            "Over-fitting of {encoder} with {decoder} on {set}",
            encoder=check.encoder,
            decoder=check.decoder,
            set=marked(check.dataset),
        ),
        conditions=say(
            "CER % (micro) of {encoder}@{weights} with {decoder}, {lines} of each split, evenly "
            "spread over it, with 95 % intervals over {blocks} (a bootstrap from {enough} of them "
            "on, a t interval under that, none under {fewest}). Trained on: {trained_on}.{hands}",
            encoder=check.encoder,
            weights=check.weights[:8],
            decoder=check.decoder,
            lines=lines,
            blocks=blocks,
            enough=ENOUGH,
            fewest=FEWEST,
            trained_on=check.trained_on or say("the weights do not say"),
            hands=hands,
        ),
        columns=[
            *keys([say("split")], lambda score: score.split),
            Column(say("lines"), lambda score: count(len(score.edits))),
            Column(blocks, lambda score: count(score.blocks_counted.count)),
            Column(say("CER %"), lambda score: rate(score.cer, score.interval), RANGE),
            Column(
                say("times {split}", split=LEARNED),
                lambda score: _times_learned(check, score),
            ),
        ],
        rows=check.scores,
    )


def _times_learned(check: OverfitCheck, score: SplitScore) -> str:
    learned = check.score(LEARNED).cer
    return number(score.cer / learned if learned else None, 2)


def verdict(check: OverfitCheck) -> str:
    """The verdict in one or two plain sentences."""
    return joined([_conclusion(check), _knowledge(check)])


def _conclusion(check: OverfitCheck) -> str:
    ratio = check.ratio
    if check.doubt or ratio is None:
        return say("Cannot tell: {doubt}, so chance and learning look alike.", doubt=_doubt(check))
    values = {"unseen": UNSEEN, "learned": LEARNED, "times": _times(ratio)}
    if check.verdict == "over-fitted":
        return say(
            "Over-fitted: {unseen} lines have {times} the error rate of {learned} lines, surely "
            "more than {over}; the model has memorised its training lines, so train for less long, "
            "on more data or from other weights.",
            over=f"{OVER:g}",
            **values,
        )
    if check.verdict == "better on training lines":
        return say(
            "Better on training lines, as most models are, but not over-fitted: {unseen} lines "
            "have {times} the error rate of {learned} lines.",
            **values,
        )
    return say(
        "No sign of over-fitting: {unseen} lines have {times} the error rate of {learned} lines, "
        "which may be chance.",
        **values,
    )


def _doubt(check: OverfitCheck) -> str:
    assert check.doubt is not None  # asked for in its case only
    why, score = check.doubt
    if why == "mostly wrong":
        return say(
            "more than {percent} % of {split} is read wrongly",
            percent=f"{100 * HIGHEST:.0f}",
            split=score.split,
        )
    blocks = score.blocks_counted
    few, fewest = plural(len(score.edits), "line"), FEWEST_LINES
    if why == "few blocks":
        few, fewest = plural(blocks.count, blocks.noun), FEWEST
    return say("{split} has {few}, fewer than {fewest}", split=score.split, few=few, fewest=fewest)


def _knowledge(check: OverfitCheck) -> str:
    values = {"set": check.dataset, "learned": LEARNED, "unseen": UNSEEN}
    if check.known:
        return say(
            "The weights say that they were trained on {set}: its {learned} lines are no test, and "
            "new hands and texts are best taken from another set.",
            **values,
        )
    if not check.trained_on:
        return say("The weights do not say what they were trained on.")
    return say(
        "The weights do not name {set} among what they were trained on: if that is so, its "
        "{learned} split is as unseen as its {unseen} split.",
        **values,
    )


def _times(ratio: Interval) -> str:
    if math.isinf(ratio.low):  # the training lines have no error
        return say("infinitely many times")
    if math.isinf(ratio.high):
        return say("at least {low} times", low=number(ratio.low, 2))
    return say("{low} to {high} times", low=number(ratio.low, 2), high=number(ratio.high, 2))
