"""`python -m bench lm`: build and inspect n-gram language models."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from cyclopts import App
from rich.console import Console

from bench.analysis.lm import ModelFile, open_model
from bench.cli import PROGRAM
from bench.cli.bars import bars
from bench.cli.guard import guard_text
from bench.cli.options import AllowLeak, DataRoot, Files, Json, Lang, Names, print_json
from bench.core.bounds import Count
from bench.core.errors import UserError
from bench.core.files import read_text
from bench.pipeline.leaks.leak import overlap
from bench.report.format import plural
from bench.report.language import say, say_name
from bench.report.lm import discounts_table, fit_table, model_table
from bench.report.render import printed
from datasets import DATASETS
from decoders.language.arpa import write_arpa
from decoders.language.lm import EMBEDDED_TEXT, UNITS, embedded_arpa, train_text
from decoders.language.ngram import check_order, estimate

app = App(
    name="lm",
    help="N-gram language models for the CTC decoders, as ARPA files.",
    help_epilogue=f"""\
examples:
  {PROGRAM} lm build --text letters.txt diary.txt --order 3 --unit word --out my.arpa
  {PROGRAM} lm build --order 6 --unit char --out chars.arpa     from the embedded corpus
  {PROGRAM} lm inspect my.arpa                                  order, size, n-grams
  {PROGRAM} lm inspect my.arpa --dataset lines --split val      and how it fits a set
  {PROGRAM} lm inspect my.arpa --dataset lines --text letters.txt diary.txt
  {PROGRAM} lm inspect --dataset lines --json                   the embedded model
""",
)


@app.command
def build(
    *,
    out: Path,
    text: Files = (),
    order: int = 3,
    unit: Literal["word", "char"] = "word",
    against: Names = (),
    allow_leak: AllowLeak = False,
    data_root: DataRoot = None,
    lang: Lang = None,
    as_json: Json = False,
) -> int:
    """Estimate a model from text.

    Modified Kneser-Ney as KenLM's lmplz estimates it (interpolated, unpruned, with fall-back
    discounts for small texts). One sentence a line; blank lines are left out. A text that holds
    more than 1 % of the test lines of a data set, or of their runs of 8 words, is refused.

    Args:
        out: ARPA file to write
        text: UTF-8 text files; default: the train documents of the embedded corpus
        order: 1 to 6
        unit: what stands between blanks, punctuation attached; or characters, with U+2581 for a
            blank
        against: data sets whose test lines must not stand in the text, or none; default: those
            of run --all that are here
    """
    lines = read_text(text) if text else list(train_text())
    check_order(order)
    guard_text(lines, (() if against == ("none",) else against) if against else None, allow_leak)
    sentences = [UNITS[unit](line) for line in lines]
    with bars(Console(stderr=True), transient=True) as bar:
        task = bar.add_task("estimating and writing", total=2 * order)
        made = estimate(sentences, order, lambda: bar.advance(task))
        write_arpa(made.model, out, lambda: bar.advance(task))
    model = dataclasses.replace(open_model(out), unit=unit)
    trained_on = _names(text) or EMBEDDED_TEXT
    smoothing = {"discounts": made.discounts, "fallback_orders": made.fallback_orders}
    words = "trained on {text}, {lines}"
    about = say(words, text=say_name(trained_on), lines=plural(len(lines), "line"))
    if as_json:
        own = {"trained_on": trained_on, "lines": len(lines)}
        print_json({**_facts(model), **own, **smoothing})
    else:
        print(printed([model_table(model, about), discounts_table(made)]))
    return 0


@app.command
def inspect(
    model: Path | None = None,
    /,
    *,
    dataset: str | None = None,
    split: str = "test",
    limit: Count | None = None,
    text: Files = (),
    data_root: DataRoot = None,
    lang: Lang = None,
    as_json: Json = False,
) -> int:
    """Show what a model holds, and how it fits a data set.

    With --dataset: perplexity on the references of that split, the share of unknown words, and
    where the model's text is known (the embedded model, or --text) how much of the split it holds.

    Args:
        model: ARPA file or KenLM binary; default: the embedded model
        dataset: see `list`
        limit: the first N lines only
        text: the text behind the model
    """
    if dataset is None and limit is not None:
        raise UserError("--limit says how many lines of a data set; name one with --dataset")
    if model is None and text:
        raise UserError("--text says what a model of yours was trained on; name the model's file")
    file = open_model(embedded_arpa() if model is None else model.expanduser())
    trained_on = EMBEDDED_TEXT if model is None else _names(text) or "unknown text"
    facts = {**_facts(file), "trained_on": trained_on}
    tables = [model_table(file, say("trained on {text}", text=say_name(trained_on)))]
    if dataset is not None:
        lines = [line.text for line in DATASETS.create_here(dataset).load(split, limit).lines]
        fit = file.fit(lines)
        known = train_text() if model is None else read_text(text) if text else None
        seen = None if known is None else overlap(lines, known)
        facts["test"] = {
            "dataset": dataset,
            "split": split,
            **dataclasses.asdict(fit),
            "unknown_rate": fit.unknown_rate,
            "overlap": dataclasses.asdict(seen) if seen else None,
        }
        tables.append(fit_table(f"{dataset} ({split})", file.unit, fit, seen))
    if as_json:
        print_json(facts)
    else:
        print(printed(tables))
    return 0


def _facts(model: ModelFile) -> dict[str, Any]:
    return {
        "path": str(model.path),
        "order": len(model.counts),
        "unit": model.unit,
        "bytes": model.size,
        "sha256": model.sha256,
        "counts": model.counts,
    }


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)
