"""`python -m bench train ar`: the AR head of `mini`, or a TrOCR fine-tuned on lines."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM, add_data_root, train_mini
from bench.cli.curves import Curves
from bench.cli.guard import add_guard, guard_training
from bench.cli.train_machine import add_machine, check_device
from bench.core.errors import UserError
from bench.core.files import write_atomically
from bench.core.options import parse_options, typed_options, words

if TYPE_CHECKING:
    from bench.training.ar.curve import Epoch
    from bench.training.ar.job import AROptions, Reading

_MINI = "mini"
_EPILOG = f"""\
examples:
  {PROGRAM} train ar --encoder trocr-base --dataset hooker --device cuda
  {PROGRAM} train ar --encoder trocr-base --dataset hooker,unipen-bb --freeze-encoder
  {PROGRAM} train ar --encoder trocr-small --dataset hooker --epochs 20 --patience 5 --out runs/hooker
  {PROGRAM} train ar --encoder ./runs/hooker/model --dataset unipen    goes on from its own model
  {PROGRAM} train ar --encoder tiny --dataset lines --epochs 100       from random weights
  {PROGRAM} run --encoder ./runs/hooker/model --decoder ar-greedy,ar-beam --dataset hooker
  {PROGRAM} check overfit --system ./runs/hooker/model:ar-greedy --dataset hooker
  {PROGRAM} train ar --steps 4000 --out runs/mini                      mini's AR head
  tensorboard --logdir runs/hooker

A TrOCR learns whole epochs. Before the first and after every one the same lines of train and of
val are read by --decoder, and their CER stands in history.jsonl and in curves.png: where train
falls and val rises, it learns by heart. The weights with the lowest CER on val become OUT/model, a
folder like the Hub's. A shape (tiny, small, base, large) in the place of an encoder has random
weights. On a CPU, base and large take seconds a line.
Without a data root (see {PROGRAM} data) mini trains on rendered lines alone.
Checkpoints are written atomically: stop with Ctrl-C or kill, and start the same command again.
"""  # noqa: E501

_OF_MINI = ("steps", "init", "columns")
_OF_TROCR = (
    "dataset", "limit", "options", "epochs", "batch", "freeze_encoder", "layer_decay", "augment",
    "sample", "decoder", "patience",
)  # fmt: skip


def add(parts: Any) -> None:
    """Register the command under `train`."""
    parser = parts.add_parser(
        "ar",
        help="mini's AR head on the frozen encoder, or a TrOCR fine-tuned",
        description="Train mini's AR head on the frozen encoder, or fine-tune a TrOCR.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--encoder", default=_MINI, metavar="NAME",
        help="mini, a TrOCR, a folder or Hub id of one, or a shape; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="default: runs/mini, of a TrOCR runs/NAME-ar"
    )
    parser.add_argument(
        "--rate", type=float, metavar="F",
        help="peak learning rate; default: 1.2e-3, of a TrOCR 2e-5, of random weights 5e-4",
    )  # fmt: skip
    parser.add_argument(
        "--save-every", type=int, metavar="STEPS",
        help="between checkpoints; default: 400, of a TrOCR 200 and every epoch",
    )  # fmt: skip
    add_guard(parser)
    add_machine(parser)
    add_data_root(parser)
    _add_what(parser.add_argument_group("what a TrOCR learns"))
    _add_how(parser.add_argument_group("how a TrOCR learns"))
    train_mini.add_options(parser.add_argument_group("of mini alone"))
    parser.set_defaults(handler=run)


def _add_what(group: Any) -> None:
    group.add_argument(
        "--dataset", action="append", metavar="NAMES",
        help="data sets whose train lines are learned; default: lines",
    )  # fmt: skip
    group.add_argument("--limit", type=int, metavar="N", help="the first N train lines of each set")
    group.add_argument(
        "-o", dest="options", action="append", metavar="NAME.OPTION=VALUE",
        help="set an option of a data set; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--freeze-encoder", action="store_true", default=None, help="train the decoder alone"
    )


def _add_how(group: Any) -> None:
    group.add_argument("--epochs", type=int, metavar="N", help="at most; default: 10")
    group.add_argument("--batch", type=int, metavar="LINES", help="default: 8")
    group.add_argument(
        "--layer-decay", type=float, metavar="F",
        help="of the rate, from each layer of the encoder to the one below; default: 0.9, "
        "from random weights 1",
    )  # fmt: skip
    group.add_argument(
        "--augment", type=float, metavar="F",
        help="strength of the new looks that lines get, 0 for none; default: 1",
    )  # fmt: skip
    group.add_argument(
        "--sample", type=int, metavar="N",
        help="lines of train and of val, of each set, that are read after every epoch; "
        "default: 100",
    )  # fmt: skip
    group.add_argument(
        "--decoder", metavar="NAME",
        help="it reads them, and the best weights are chosen by its CER on val; "
        "default: ar-greedy",
    )  # fmt: skip
    group.add_argument(
        "--patience", type=int, metavar="N",
        help="stop after N epochs without a better CER on val, 0 for never; default: 3",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Train the head of `mini`, or fine-tune a TrOCR."""
    if args.encoder == _MINI:
        _refuse(args, _OF_TROCR, "is of a TrOCR; give one with --encoder")
        return train_mini.run(args, "ar")
    _refuse(args, _OF_MINI, f"is of mini alone, and --encoder is {args.encoder}; leave it out")
    return _fine_tune(args)


def _refuse(args: argparse.Namespace, names: tuple[str, ...], reason: str) -> None:
    """Refuse options that would have no effect."""
    for name in names:
        if getattr(args, name) is not None:
            flag = "-o" if name == "options" else f"--{name.replace('_', '-')}"
            raise UserError(f"{flag} {reason}")


def _fine_tune(args: argparse.Namespace) -> int:
    import torch

    from bench.report.epochs import line, outcome, warning
    from bench.training.ar.run import ARWatcher, fine_tune

    options = _options(args)
    check_device(args.device)
    torch.set_num_threads(args.threads)
    guard_training(options.wanted.datasets, options.wanted.options, args.allow_leak)
    with Curves(options.out) as curves, _plotted(options) as seen:

        def epoch(epochs: Sequence[Epoch], reading: Reading) -> None:
            seen[:], last = epochs, epochs[-1]
            curves.say(line(epochs, options.epochs, options.decoder))
            if said := warning(epochs):
                curves.say(said)
            curves.scalar("cer/train", last.train_cer, last.step)
            curves.scalar("cer/val", last.cer, last.step)
            for split, scores in (("train", reading.train), ("val", reading.val)):
                for name, score in scores.items():
                    curves.scalar(f"cer-{split}/{name}", score.cer, last.step)

        watcher = ARWatcher(curves.say, curves.report, curves.step, epoch)
        result = fine_tune(options, watcher)
    print(f"model: {result.model}\n{outcome(result.epochs, result.best, options.decoder)}")
    return 0


@contextmanager
def _plotted(options: AROptions) -> Iterator[list[Epoch]]:
    """A list of epochs whose curves are drawn at the end, also when that came early."""
    from bench.report.epochs import curves_plot

    epochs: list[Epoch] = []
    try:
        yield epochs
    finally:
        if epochs:
            what = f"{options.encoder} on {', '.join(options.wanted.datasets)}"
            conditions = f"{options.decoder}, at most {options.sample} lines of each split and set"
            plot = curves_plot(epochs, what, conditions)
            write_atomically(options.out / "curves.png", plot.png)
            write_atomically(options.out / "curves.svg", plot.svg)


def _options(args: argparse.Namespace) -> AROptions:
    """What the options choose.

    Raises:
        UserError: a value that makes no sense, or an option that has no effect here.
    """
    from bench.training.ar.job import AROptions
    from bench.training.material import Wanted
    from datasets import DATASETS
    from models.trocr_shapes import SHAPES

    for flag in ("limit", "epochs", "batch", "sample", "save_every"):
        if (value := getattr(args, flag)) is not None and value < 1:
            raise UserError(f"--{flag.replace('_', '-')} wants a number above 0")
    for flag, most in (("layer_decay", 1.0), ("augment", 1.0), ("rate", 1.0)):
        value, lowest = getattr(args, flag), flag == "augment"
        if value is not None and not (0 < value <= most or (lowest and value == 0)):
            span = "from 0 to 1" if lowest else "above 0 and up to 1"
            raise UserError(f"--{flag.replace('_', '-')} lies {span}, not {value}")
    if args.patience is not None and args.patience < 0:
        raise UserError("--patience wants a number of epochs, 0 for never")
    if args.freeze_encoder and args.layer_decay is not None:
        raise UserError("--layer-decay is of an encoder that learns; leave out --freeze-encoder")
    sets = words(args.dataset) or ("lines",)
    typed = typed_options(parse_options(args.options or []), (DATASETS,))
    for name in typed:
        if name not in sets:
            raise UserError(f"options are given for {name!r}, which is not trained on here")
    random = args.encoder in SHAPES
    suiting = {"rate": 5e-4, "layer_decay": 1.0} if random else {}
    names = (
        "epochs", "batch", "rate", "layer_decay", "augment", "patience", "sample", "decoder",
        "save_every",
    )  # fmt: skip
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return AROptions(
        encoder=args.encoder,
        out=args.out or Path("runs") / f"{Path(args.encoder).name}-ar",
        wanted=Wanted(sets, typed, args.limit, None),
        frozen=bool(args.freeze_encoder),
        seed=args.seed,
        workers=args.workers,
        device=args.device,
        **{**suiting, **given},
    )
