"""The check for over-fitting as a table and a verdict in words."""

from __future__ import annotations

import math

from bench.analysis.overfit import OVER, OverfitCheck, SplitScore
from bench.analysis.stats import ENOUGH, FEWEST, Interval
from bench.report.format import number, plural
from bench.report.table import RANGE, Column, Table, count, declared, keys, rate
from datasets.about import named


def table(check: OverfitCheck) -> Table:
    """CER of each split, and its ratio to that of the training lines."""
    counts = {len(score.edits) for score in check.scores}
    lines = plural(counts.pop(), "line") if len(counts) == 1 else "as many lines as there are"
    blocks = check.score(check.unseen).blocks_counted
    noun = blocks.noun
    hands = f" All lines are of {plural(blocks.hands, 'hand')}." if blocks.hands else ""
    return declared(
        slug="overfit",
        title=f"Over-fitting of {check.encoder} with {check.decoder} on {named(check.dataset)}",
        conditions=(
            f"CER % (micro) of {check.encoder}@{check.weights[:8]} with {check.decoder}, {lines} "
            f"of each split, evenly spread over it, with 95 % intervals over {noun}s (a bootstrap "
            f"from {ENOUGH} of them on, a t interval under that, none under {FEWEST}). "
            f"Trained on: {check.trained_on or 'the weights do not say'}.{hands}"
        ),
        columns=[
            *keys(["split"], lambda score: score.split),
            Column("lines", lambda score: count(len(score.edits))),
            Column(f"{noun}s", lambda score: count(score.blocks_counted.count)),
            Column("CER %", lambda score: rate(score.cer, score.interval), RANGE),
            Column(f"times {check.learned}", lambda score: _times_learned(check, score)),
        ],
        rows=check.scores,
    )


def _times_learned(check: OverfitCheck, score: SplitScore) -> str:
    learned = check.score(check.learned).cer
    return number(score.cer / learned if learned else None, 2)


def verdict(check: OverfitCheck) -> str:
    """The verdict in one or two plain sentences."""
    return " ".join(filter(None, (_conclusion(check), _knowledge(check))))


def _conclusion(check: OverfitCheck) -> str:
    ratio = check.ratio
    if check.doubt or ratio is None:
        return f"Cannot tell: {check.doubt}, so chance and learning look alike."
    times = f"{check.unseen} lines have {_times(ratio)} the error rate of {check.learned} lines"
    if check.verdict == "over-fitted":
        return (
            f"Over-fitted: {times}, surely more than {OVER:g}; it has learned its training lines "
            "by heart, so train for less long, on more data or from other weights."
        )
    if check.verdict == "better on training lines":
        return f"Better on training lines, as most models are, but not over-fitted: {times}."
    return f"No sign of over-fitting: {times}, which may be chance."


def _knowledge(check: OverfitCheck) -> str:
    if check.known:
        return (
            f"The weights say that they were trained on {check.dataset}: its {check.learned} "
            "lines are no test, and new hands and texts are best taken from another set."
        )
    if not check.trained_on:
        return "The weights do not say what they were trained on."
    return (
        f"The weights do not name {check.dataset} among what they were trained on: if that is so, "
        f"its {check.learned} split is as unseen as its {check.unseen} split."
    )


def _times(ratio: Interval) -> str:
    if math.isinf(ratio.low):  # the training lines have no error
        return "infinitely many times"
    if math.isinf(ratio.high):
        return f"at least {number(ratio.low, 2)} times"
    return f"{number(ratio.low, 2)} to {number(ratio.high, 2)} times"
