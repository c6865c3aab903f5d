"""The options of `python -m bench run` that say what is measured and how, as a `Selection`."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.cli import PROGRAM
from bench.cli.runtime import add_runtime, runtime_of
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options, words

if TYPE_CHECKING:
    from bench.pipeline.plan import Rounds, Selection


def add_choices(group: argparse._ArgumentGroup) -> None:
    """The options that say what is measured."""
    group.add_argument(
        "--all", action="store_true", help="the main job; the options below narrow it"
    )
    for flag, what, default in (
        ("--encoder", "encoders, also owner/name or ./folder", "the first of `list`"),
        ("--decoder", "decoders, also with a corrector (ctc-greedy+lm)", "all"),
        ("--dataset", "data sets", "the first of `list`"),
        ("--damage", "damages, and none for the clean set", "none"),
    ):
        group.add_argument(
            flag, action="append", metavar="NAMES", help=f"{what}; default without --all: {default}"
        )
    group.add_argument(
        "--llm-url", metavar="URL",
        help="OpenAI-compatible endpoint of the corrector llm (decoder+llm), such as "
        "http://localhost:11434/v1; its key comes from KAIDOKU_LLM_KEY or OPENAI_API_KEY",
    )  # fmt: skip
    group.add_argument("--llm-model", metavar="NAME", help="as that server names it")
    group.add_argument(
        "--severity", action="append", metavar="N", help="1 to 5 (0 is clean); default: 3"
    )
    group.add_argument("--split", default="test", help="of the data sets; default: %(default)s")
    group.add_argument("--limit", type=int, metavar="N", help="the first N lines of a set only")
    group.add_argument("--seed", type=int, default=0, help="of the damages; default: %(default)s")
    group.add_argument(
        "--strict", action="store_true",
        help="stop at a data set with a line that cannot be used (exit code 2)",
    )  # fmt: skip
    group.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option of anything above; `list NAME` shows which; may be repeated",
    )  # fmt: skip


def add_how(group: argparse._ArgumentGroup) -> None:
    """The options that say where and how it runs."""
    add_runtime(group)
    group.add_argument(
        "--rounds", type=int, metavar="N",
        help="passes over each clean set; default: at least 3, fewer where one takes over 10 s",
    )  # fmt: skip


def selection(args: argparse.Namespace) -> Selection:
    """What the options choose.

    Raises:
        UserError: an unknown name or option, or a value of a wrong type.
    """
    from bench.pipeline.plan import CLEAN, Registries, Selection

    names = Registries()
    registries = (
        names.encoders, names.decoders, names.datasets, names.damages, names.correctors,
    )  # fmt: skip
    if not (args.all or named(args)):
        raise UserError(
            "say what to measure: --all, or --encoder, --decoder, --dataset, --damage "
            f"({PROGRAM} list shows what there is)"
        )
    base = Selection.all(names) if args.all else Selection(
        encoders=(names.encoders.names()[0],),
        decoders=tuple(names.decoders.names()),
        datasets=(names.datasets.names()[0],),
    )  # fmt: skip
    damages = _names(args.damage, (CLEAN, *names.damages.names())) or base.damages
    if damages == (CLEAN,) and (args.severity or args.seed):
        raise UserError("--severity and --seed are of damages; add --damage NAMES")
    datasets = _names(args.dataset, names.datasets.names()) or base.datasets
    options = typed_options(parse_options([*args.options, *_of_llm(args)]), registries)
    if args.strict:
        options |= {name: {**options.get(name, {}), "strict": True} for name in datasets}
    return dataclasses.replace(
        base,
        encoders=_names(args.encoder, names.encoders.names()) or base.encoders,
        decoders=_names(args.decoder, names.decoders.names()) or base.decoders,
        datasets=datasets,
        damages=damages,
        severities=_severities(args.severity) or base.severities,
        swept=tuple(name for name in base.swept if name in damages and not args.severity),
        # A damage that is asked for by name falls on every set that is read.
        damaged=None if args.damage else base.damaged,
        split=args.split,
        limit=args.limit,
        seed=args.seed,
        runtime=runtime_of(args),
        options=options,
        # An encoder that is asked for by name does the whole job, with the weights that it has.
        samples={} if args.encoder else base.samples,
        stand_ins={} if args.encoder else base.stand_ins,
        rounds=base.rounds if args.rounds is None else _rounds(args.rounds),
    )


def named(args: argparse.Namespace) -> list[str]:
    """The things that the user chose by name."""
    chosen = (args.encoder, args.decoder, args.dataset, args.damage)
    return [name for values in chosen for name in words(values)]


def _names(values: Sequence[str] | None, everything: Sequence[str]) -> tuple[str, ...]:
    """The names that were chosen; `all` stands for every one; () when nothing was."""
    chosen = words(values)
    return tuple(everything) if "all" in chosen else chosen


def _of_llm(args: argparse.Namespace) -> list[str]:
    """`--llm-url` and `--llm-model` as the options that they are."""
    given = (("url", args.llm_url), ("model", args.llm_model))
    return [f"llm.{option}={value}" for option, value in given if value is not None]


def _severities(values: Sequence[str] | None) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words(values))
    except ValueError:
        raise UserError(f"--severity takes whole numbers, not {','.join(values or ())}") from None


def _rounds(count: int) -> Rounds:
    """Exactly so many rounds, however long they take."""
    from bench.pipeline.plan import Rounds

    if count < 1:
        raise UserError(f"--rounds {count} measures nothing; take 1 or more")
    return Rounds(least=count, least_s=0.0, most_s=math.inf)
