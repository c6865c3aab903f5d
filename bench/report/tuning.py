"""A tuning as a table: a slice of its grid."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bench.report.conditions import nouns
from bench.report.format import listing, percent, plural
from bench.report.language import say, say_name
from bench.report.results import marked
from bench.report.table import Cell, Column, Table, declared, keys, rate
from datasets.about import about
from decoders.tuned import FEW, Tuned

ALPHA = 0.05  # a point is worse than the best when its gap is less likely than this by chance


def table(tuned: Tuned) -> Table:
    """CER over the first two options of the grid that vary, the others at their best."""
    varying = [name for name, values in tuned.grid.items() if len(values) > 1]
    names = [*varying, *(name for name in tuned.grid if name not in varying)]
    down, across, *others = [*names, *([""] * (2 - len(names)))]  # "": only one is there
    best = tuned.best
    shown = {
        (point[down], point.get(across, 0.0)): point
        for point in tuned.cer_map
        if all(point[other] == best[other] for other in others)
    }

    def column(value: float) -> Column[float]:
        head = f"{value:g}" if across else say("CER %")
        return Column(head, lambda row: _cer(shown[row, value]))

    return declared(
        "tuning",
        say("Tuning of {decoder} behind {encoder}", decoder=tuned.decoder, encoder=tuned.encoder),
        _conditions(tuned),
        [
            *keys([f"{down}\\{across}" if across else down], lambda row: f"{row:g}"),
            *map(column, tuned.grid.get(across, (0.0,))),
        ],
        tuned.grid[down],
    )


def as_good(point: Mapping[str, float]) -> bool:
    """Whether a point is not significantly worse than the best; False if not tested."""
    return point.get("p", 0.0) >= ALPHA


def _conditions(tuned: Tuned) -> str:
    best = [f"{option} {value:g}" for option, value in tuned.best.items()]
    # A first pass that a model rescores may itself be without one.
    language = say("Language model {hash}. ", hash=tuned.lm_sha256[:8]) if tuned.lm_sha256 else ""
    level = ""
    if any("p" in point for point in tuned.cer_map):
        level = say(
            " Bold (in a terminal starred): the {flat} of {points} tried that are not "
            "significantly worse than the best (two-sided, {blocks} randomised, p of {alpha}).",
            flat=sum(map(as_good, tuned.cer_map)),
            points=plural(len(tuned.cer_map), "point"),
            blocks=nouns(about(tuned.dataset).block or "writer"),
            alpha=f"{ALPHA:g}",
        )
    return say(
        "CER % (micro) on {lines} of {set}, split {split}, read by {encoder}@{weights}: {under}. "
        "{language}Best: {best}, CER {cer} %; without language (greedy) {greedy} %.{level}",
        lines=plural(tuned.lines, "line"),
        set=marked(tuned.dataset),
        split=tuned.split,
        encoder=tuned.encoder,
        weights=tuned.weights[:8],
        under=listing(list(map(_condition, tuned.conditions))),
        language=language,
        best=listing(best),
        cer=percent(tuned.cer),
        greedy=percent(tuned.greedy_cer),
        level=level,
    )


def _condition(words: str) -> str:
    """A condition in the current language: "clean", or a damage with its severity."""
    damage, space, severity = words.partition(" ")
    return f"{say_name(damage)}{space}{severity}"


def notes(tuned: Tuned) -> Iterator[str]:
    """Warn of few lines, and of each option whose best value is at the edge of the grid."""
    if tuned.lines < FEW:
        words = (
            "{lines} are too few to choose weights by: another choice of lines would give others; "
            "tune on at least {least}"
        )
        yield say(words, lines=plural(tuned.lines, "line"), least=FEW)
    for option, values in tuned.grid.items():
        best = tuned.best[option]
        if len(values) > 1 and best in (min(values), max(values)):
            words = (
                "the best {option}, {best}, is at the edge of the grid; there may be a better one "
                "beyond: --grid {option}=..."
            )
            yield say(words, option=option, best=f"{best:g}")


def _cer(point: Mapping[str, float]) -> Cell:
    return rate(point["cer"], bold=as_good(point))


def stem(tuned: Tuned) -> str:
    """The stem of its file names, from the names of decoder and encoder."""
    return re.sub(r"[^\w.-]+", "_", f"tuning-{tuned.decoder}-{tuned.encoder}")
