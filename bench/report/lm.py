"""What `bench lm` says of a language model, as tables."""

from __future__ import annotations

from bench.analysis.lm import ModelFile
from bench.pipeline.leaks.leak import GRAM, Overlap
from bench.report.format import DASH, number, percent, significant
from bench.report.table import Cell, Column, Table, name
from decoders.language.ngram import Estimate
from decoders.language.perplexity import Perplexity


def model_table(model: ModelFile, about: str) -> Table:
    """What a model file holds, n-grams by order; `about` is what else is known of it."""
    size = significant(model.size / 1e6, 2)
    return Table(
        slug="language-model",
        title=f"Language model {model.path.name}",
        conditions=f"{len(model.counts)}-gram model of {_units(model.unit)}, {size} MB, {about}; "
        f"sha256 {model.sha256[:16]}.",
        columns=(Column("order", key=True), Column("n-grams")),
        rows=tuple(
            (Cell(str(order)), Cell(number(count, 0), values=(count,)))
            for order, count in enumerate(model.counts, 1)
        ),
    )


def discounts_table(estimate: Estimate) -> Table:
    """How a model was smoothed."""
    rows = []
    for order, discounts in enumerate(estimate.discounts, 1):
        marks = (1,) if order in estimate.fallback_orders else ()
        numbers = [Cell(significant(value), values=(value,)) for value in discounts]
        rows.append((Cell(str(order), marks=marks), *numbers))
    note = (
        "The text has too few or too regular n-grams of this order to estimate its discounts; "
        "lmplz' fall-back stands in."
    )
    return Table(
        slug="discounts",
        title="Discounts",
        conditions="Modified Kneser-Ney: what is taken off the counts 1, 2, and 3 or more.",
        columns=(Column("order", key=True), Column("D1"), Column("D2"), Column("D3+")),
        rows=tuple(rows),
        notes=(note,) if estimate.fallback_orders else (),
    )


def fit_table(title: str, unit: str, fit: Perplexity, seen: Overlap | None) -> Table:
    """How a model fits a test set, and how much of the set it has seen."""
    units = _units(unit)
    unknown = f"{number(fit.unknown, 0)} ({percent(fit.unknown_rate)} %)"
    rows = [
        ("lines", number(fit.sentences, 0)),
        (f"{units} and </s>", number(fit.tokens, 0)),
        (f"unknown {units}", unknown),
        ("perplexity, unknown ones as <unk>", significant(fit.with_unknown, 4)),
        ("perplexity, unknown ones left out", significant(fit.without_unknown, 4)),
    ]
    if seen is not None:
        rows += [
            ("lines in the model's text", _part(seen.lines_seen, seen.lines)),
            (f"{GRAM}-word runs in the model's text", _part(seen.grams_seen, seen.grams)),
        ]
    return Table(
        slug="language-model-fit",
        title=title,
        conditions="Each line is a sentence; perplexities are per token, </s> included.",
        columns=(Column("", key=True), Column("value")),
        rows=tuple((name(label), Cell(value)) for label, value in rows),
    )


def _part(count: int, of: int) -> str:
    share = f"{percent(count / of)} %" if of else DASH
    return f"{number(count, 0)} of {number(of, 0)} ({share})"


def _units(unit: str) -> str:
    return "characters" if unit == "char" else f"{unit}s"
