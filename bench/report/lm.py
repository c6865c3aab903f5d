"""A language model as tables: its n-grams, its smoothing, and its fit to a test set."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.lm import ModelFile
from bench.pipeline.leaks.leak import GRAM, Overlap
from bench.report.format import DASH, number, percent, significant
from bench.report.language import say
from bench.report.table import Cell, Column, Table, count, declared, figure, keys
from decoders.language.ngram import Estimate
from decoders.language.perplexity import Perplexity


def model_table(model: ModelFile, about: str) -> Table:
    """The n-grams of a model file by order; `about` is further information."""
    size = significant(model.size / 1e6, 2)
    return declared(
        slug="language-model",
        title=say("Language model {name}", name=model.path.name),
        conditions=say(
            "{order}-gram model of {units}, {size} MB, {about}; sha256 {hash}.",
            order=len(model.counts),
            units=_units(model.unit),
            size=size,
            about=about,
            hash=model.sha256[:16],
        ),
        columns=[
            *keys([say("order")], lambda line: line[0]),
            Column(say("n-grams"), lambda line: count(line[1])),
        ],
        rows=enumerate(model.counts, 1),
    )


def discounts_table(estimate: Estimate) -> Table:
    """The smoothing of a model."""
    note = say(
        "The text has too few or too regular n-grams of this order to estimate its discounts; "
        "lmplz' fall-back stands in."
    )

    def order(line: tuple[int, Sequence[float]]) -> Cell:
        return Cell(str(line[0]), notes=(note,) if line[0] in estimate.fallback_orders else ())

    def discount(head: str, place: int) -> Column[tuple[int, Sequence[float]]]:
        return Column(head, lambda line: figure(line[1][place]))

    return declared(
        slug="discounts",
        title=say("Discounts"),
        conditions=say("Modified Kneser-Ney: what is taken off the counts 1, 2, and 3 or more."),
        columns=[
            Column(say("order"), order, key=True),
            *(discount(head, place) for place, head in enumerate(("D1", "D2", "D3+"))),
        ],
        rows=enumerate(estimate.discounts, 1),
    )


def fit_table(title: str, unit: str, fit: Perplexity, seen: Overlap | None) -> Table:
    """The fit of a model to a test set, and how much of the set it has seen."""
    units = _units(unit)
    unknown = f"{number(fit.unknown, 0)} ({percent(fit.unknown_rate)} %)"
    rows = [
        (say("lines"), number(fit.sentences, 0)),
        (say("{units} and </s>", units=units), number(fit.tokens, 0)),
        (say("unknown {units}", units=units), unknown),
        (say("perplexity, unknown ones as <unk>"), significant(fit.with_unknown, 4)),
        (say("perplexity, unknown ones left out"), significant(fit.without_unknown, 4)),
    ]
    if seen is not None:
        rows += [
            (say("lines in the model's text"), _part(seen.lines_seen, seen.lines)),
            (
                say("{words}-word runs in the model's text", words=GRAM),
                _part(seen.grams_seen, seen.grams),
            ),
        ]
    return declared(
        slug="language-model-fit",
        title=title,
        conditions=say("Each line is a sentence; perplexities are per token, </s> included."),
        columns=[*keys([""], lambda line: line[0]), Column(say("value"), lambda line: line[1])],
        rows=rows,
    )


def _part(seen: int, of: int) -> str:
    share = f"{percent(seen / of)} %" if of else DASH
    words = "{part} of {whole} ({share})"
    return say(words, part=number(seen, 0), whole=number(of, 0), share=share)


def _units(unit: str) -> str:
    return say("characters") if unit == "char" else say("words")
