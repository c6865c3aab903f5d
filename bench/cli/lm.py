"""`python -m bench lm`: build n-gram language models."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cyclopts import App
from rich.console import Console

from bench.cli import PROGRAM
from bench.cli.bars import bars
from bench.cli.guard import guard_text
from bench.cli.options import AllowLeak, DataRoot, Files, Json, Lang, Names, print_json
from bench.core.bounds import Whole
from bench.core.files import content_hash, read_text
from bench.report.format import plural, significant
from bench.report.language import say, say_name
from bench.report.render import printed
from bench.report.table import Cell, Column, Table, count, declared, figure
from decoders.language.arpa import write_arpa
from decoders.language.lm import EMBEDDED_TEXT, UNITS, train_text
from decoders.language.ngram import Estimate, check_order, estimate

app = App(
    name="lm",
    help="N-gram language models for the CTC decoders, as ARPA files.",
    help_epilogue=f"""\
examples:
  {PROGRAM} lm build --text letters.txt diary.txt --order 3 --unit word --out my.arpa
  {PROGRAM} lm build --order 6 --unit char --out chars.arpa     from the embedded corpus
""",
)


@app.command
def build(
    *,
    out: Path,
    text: Files = (),
    order: Whole = 3,
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
        unit: what stands between spaces, punctuation attached; or characters, with U+2581 for a
            space
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
    trained_on = ", ".join(path.name for path in text) or EMBEDDED_TEXT
    sha256, size = content_hash(out, 64), out.stat().st_size
    if as_json:
        print_json(
            {
                "path": str(out),
                "order": order,
                "unit": unit,
                "bytes": size,
                "sha256": sha256,
                "counts": made.model.counts,
                "trained_on": trained_on,
                "lines": len(lines),
                "discounts": made.discounts,
                "fallback_orders": made.fallback_orders,
            }
        )
        return 0
    conditions = say(
        "{order}-gram model of {units}, {size} MB, trained on {text}, {lines}; sha256 {hash}. "
        "Modified Kneser-Ney: D1, D2 and D3+ are the discounts of counts 1, 2, and 3 or more.",
        order=order,
        units=say("characters") if unit == "char" else say("words"),
        size=significant(size / 1e6, 2),
        text=say_name(trained_on),
        lines=plural(len(lines), "line"),
        hash=sha256[:16],
    )
    print(printed([_table(say("Language model {name}", name=out.name), conditions, made)]))
    return 0


def _table(title: str, conditions: str, made: Estimate) -> Table:
    """The n-grams of a model by order, and its smoothing."""
    note = say(
        "The text has too few or too regular n-grams of this order to estimate its discounts; "
        "those that lmplz falls back to are used."
    )

    def order(n: int) -> Cell:
        return Cell(str(n), notes=(note,) if n in made.fallback_orders else ())

    def discount(head: str, place: int) -> Column[int]:
        return Column(head, lambda n: figure(made.discounts[n - 1][place]))

    columns: list[Column[int]] = [
        Column(say("order"), order, key=True),
        Column(say("n-grams"), lambda n: count(made.model.counts[n - 1])),
        *(discount(head, place) for place, head in enumerate(("D1", "D2", "D3+"))),
    ]
    return declared("language-model", title, conditions, columns, range(1, made.model.order + 1))
