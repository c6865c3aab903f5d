"""`python -m bench lm`: build n-gram language models, and look into them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.analysis.lm import ModelFile, open_model, read_text
from bench.cli import PROGRAM, add_data_root
from bench.cli.bars import bars
from bench.cli.guard import add_guard, guard_text
from bench.core.errors import UserError
from bench.core.options import words
from bench.pipeline.leaks.overlap import overlap
from bench.report.lm import discounts_table, fit_table, model_table
from bench.report.render import terminal
from bench.report.table import Table
from datasets import DATASETS
from decoders.language.arpa import write_arpa
from decoders.language.kenlm_files import lmplz
from decoders.language.lm import EMBEDDED_TEXT, UNITS, embedded_arpa, train_text
from decoders.language.ngram import MAX_ORDER, check_order, estimate

_SLOW_CHARACTERS = 5_000_000  # of text; about two seconds, from here on with a progress bar

_EPILOG = f"""\
examples:
  {PROGRAM} lm build --text letters.txt diary.txt --order 3 --unit word --out my.arpa
  {PROGRAM} lm build --order 6 --unit char --out chars.arpa     from the embedded corpus
  {PROGRAM} lm inspect my.arpa                                  order, size, n-grams
  {PROGRAM} lm inspect my.arpa --dataset lines --split val      and how it fits a set
  {PROGRAM} lm inspect my.arpa --dataset lines --text letters.txt diary.txt
  {PROGRAM} lm inspect --dataset lines --json                   the embedded model
"""

_BUILD = """\
Modified Kneser-Ney as KenLM's lmplz estimates it (interpolated, unpruned, with fall-back
discounts for small texts). One sentence a line; blank lines are left out.
A text that holds more than 1 % of the test lines of a data set, or of their runs of 8 words, is
refused.
"""

_INSPECT = """\
With --dataset: perplexity on the references of that split, the share of unknown words, and
where the model's text is known (the embedded model, or --text) how much of the split it holds.
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "lm",
        help="build and inspect n-gram language models",
        description="N-gram language models for the CTC decoders, as ARPA files.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_build(actions)
    _add_inspect(actions)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    return int(args.action(args))


def _add_build(actions: Any) -> None:
    parser = actions.add_parser(
        "build",
        help="estimate a model from text",
        description=_BUILD,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--text",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="UTF-8 text files (default: the train documents of the embedded corpus)",
    )
    parser.add_argument(
        "--order", type=int, default=3, metavar="N", help=f"1 to {MAX_ORDER} (default: %(default)s)"
    )
    parser.add_argument(
        "--unit",
        choices=list(UNITS),
        default="word",
        help="word: what stands between blanks, punctuation attached; char: characters, with "
        "U+2581 for a blank (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="X.arpa", help="file to write")
    parser.add_argument(
        "--against", action="append", metavar="NAMES",
        help="data sets whose test lines must not stand in the text, or none; default: those of "
        "run --all that are here",
    )  # fmt: skip
    add_guard(parser)
    add_data_root(parser)
    parser.add_argument(
        "--lmplz", action="store_true", help="let KenLM's lmplz on PATH estimate instead"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(handler=run, action=_build)


def _add_inspect(actions: Any) -> None:
    parser = actions.add_parser(
        "inspect",
        help="what a model holds, and how it fits a data set",
        description=_INSPECT,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        type=Path,
        nargs="?",
        help="ARPA file or KenLM binary (default: the embedded model)",
    )
    parser.add_argument("--dataset", metavar="NAME", help=f"see {PROGRAM} list")
    parser.add_argument("--split", default="test", help="default: %(default)s")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N lines only")
    parser.add_argument(
        "--text", type=Path, nargs="+", metavar="FILE", help="the text behind the model"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(handler=run, action=_inspect)


def _build(args: argparse.Namespace) -> int:
    text = read_text(args.text) if args.text else list(train_text())
    check_order(args.order)
    guard_text(text, _against(args.against), args.allow_leak)
    sentences = [UNITS[args.unit](line) for line in text]
    made = None
    if args.lmplz:
        lmplz(sentences, args.order, args.out)
    else:
        shown = sum(map(len, text)) >= _SLOW_CHARACTERS
        with _progress("estimating and writing", 2 * args.order, shown) as step:
            made = estimate(sentences, args.order, step)
            write_arpa(made.model, args.out, step)
    model = dataclasses.replace(open_model(args.out), unit=args.unit)
    trained_on = _names(args.text) or EMBEDDED_TEXT
    facts = {**_facts(model), "trained_on": trained_on, "lines": len(text)}
    tables = [model_table(model, f"trained on {trained_on}, {len(text):,} lines")]
    if made is not None:
        facts["discounts"] = made.discounts
        facts["fallback_orders"] = made.fallback_orders
        tables.append(discounts_table(made))
    _print(facts, tables, args.json)
    return 0


def _against(given: list[str] | None) -> tuple[str, ...] | None:
    """The data sets that were asked for; () for "none", None where nothing was said."""
    names = words(given)
    return None if not names else () if names == ("none",) else names


def _inspect(args: argparse.Namespace) -> int:
    if args.dataset is None and args.limit is not None:
        raise UserError("--limit says how many lines of a data set; name one with --dataset")
    embedded = args.model is None
    if embedded and args.text:
        raise UserError("--text says what a model of yours was trained on; name the model's file")
    model = open_model(embedded_arpa() if embedded else args.model.expanduser())
    text = train_text() if embedded else read_text(args.text) if args.text else None
    trained_on = EMBEDDED_TEXT if embedded else _names(args.text) or "unknown text"
    facts = {**_facts(model), "trained_on": trained_on}
    tables = [model_table(model, f"trained on {trained_on}")]
    if args.dataset is not None:
        lines = _references(args.dataset, args.split, args.limit)
        fit = model.fit(lines)
        seen = overlap(lines, text) if text is not None else None
        facts["test"] = {
            "dataset": args.dataset,
            "split": args.split,
            **dataclasses.asdict(fit),
            "unknown_rate": fit.unknown_rate,
            "overlap": dataclasses.asdict(seen) if seen else None,
        }
        tables.append(fit_table(f"{args.dataset} ({args.split})", model.unit, fit, seen))
    _print(facts, tables, args.json)
    return 0


def _references(dataset: str, split: str, limit: int | None) -> list[str]:
    source = DATASETS.create(dataset)
    missing = source.missing()
    if missing is not None:
        raise missing
    return [line.text for line in source.load(split, limit).lines]


def _facts(model: ModelFile) -> dict[str, Any]:
    return {
        "path": str(model.path),
        "order": len(model.counts),
        "unit": model.unit,
        "bytes": model.size,
        "sha256": model.sha256,
        "counts": model.counts,
    }


def _names(paths: list[Path] | None) -> str:
    return ", ".join(path.name for path in paths or [])


def _print(facts: dict[str, Any], tables: list[Table], as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    width = shutil.get_terminal_size((100, 24)).columns
    print("\n".join(terminal(table, width) for table in tables), end="")


@contextmanager
def _progress(doing: str, steps: int, shown: bool) -> Iterator[Callable[[], object]]:
    """A bar on stderr; yields what advances it by one step."""
    with bars(Console(stderr=True, quiet=not shown), transient=True) as bar:
        task = bar.add_task(doing, total=steps)
        yield lambda: bar.advance(task)
