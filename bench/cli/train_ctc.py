"""`python -m bench train ctc`: a CTC head for a TrOCR, its encoder frozen or trained along."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM, add_data_root
from bench.cli.curves import Curves
from bench.cli.guard import add_guard, guard_training
from bench.cli.train_machine import add_machine, check_device
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options, words

if TYPE_CHECKING:
    from bench.training.ctc.run import CTCOptions
    from bench.training.ctc.validate import CTCScore

_EPILOG = f"""\
examples:
  {PROGRAM} train ctc --encoder trocr-base --dataset hooker
  {PROGRAM} train ctc --encoder trocr-base --dataset hooker,unipen --head grid-linear --allow-leak
  {PROGRAM} train ctc --encoder trocr-base --dataset hooker --unfreeze --layer-decay 0.8
  {PROGRAM} train ctc --encoder tiny --dataset mixture --unfreeze --steps 20000 --out runs/tiny
  torchrun --nproc-per-node 2 -m bench train ctc --encoder tiny --head wide --unfreeze
  {PROGRAM} train ctc --encoder trocr-base --dataset lines --sanity
  {PROGRAM} run --encoder ./runs/tiny/model -o ./runs/tiny/model.head=runs/tiny/model/grid-subcol.safetensors
  tensorboard --logdir runs/tiny

Frozen, the encoder's states are computed once and kept as float16 in --features; with --unfreeze
the encoder learns too, each layer slower than the one above. A shape (tiny, small, base, large)
in the place of an encoder has random weights and wants --unfreeze and much data: mixture is drawn
anew for ever from what mini is trained on.
Checkpoints are written atomically: stop with Ctrl-C or kill, and start the same command again.
"""  # noqa: E501


def add(parts: Any) -> None:
    """Register the command under `train`."""
    parser = parts.add_parser(
        "ctc",
        help="a CTC head for a TrOCR",
        description="Train a CTC head for a TrOCR, its encoder frozen or trained along.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_what(parser.add_argument_group("what"))
    _add_how(parser.add_argument_group("how"))
    _add_where(parser.add_argument_group("where"))
    add_data_root(parser)
    parser.set_defaults(handler=run)


def _add_what(group: Any) -> None:
    group.add_argument(
        "--encoder", required=True, metavar="NAME", help="a TrOCR, a folder or Hub id, or a shape"
    )
    group.add_argument("--head", default="grid-subcol", metavar="NAME", help="default: %(default)s")
    group.add_argument(
        "--dataset", action="append", metavar="NAMES",
        help="data sets to train on, or mixture; default: lines, from random weights mixture",
    )  # fmt: skip
    group.add_argument("--limit", type=int, metavar="N", help="the first N train lines of each set")
    group.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option of the head or of a data set; may be repeated",
    )  # fmt: skip
    add_guard(group)
    group.add_argument(
        "--sanity", action="store_true",
        help="learn 32 lines by heart and keep nothing; exit code 0 when CER 0 is reached, else 1",
    )  # fmt: skip


def _add_how(group: Any) -> None:
    group.add_argument("--unfreeze", action="store_true", help="train the encoder along")
    group.add_argument("--steps", type=int, default=3000, help="default: %(default)s")
    group.add_argument(
        "--batch", type=int, default=32, metavar="LINES", help="default: %(default)s"
    )
    group.add_argument("--rate", type=float, default=1e-3, help="of the head; default: %(default)s")
    group.add_argument(
        "--encoder-share", type=float, metavar="F",
        help="of the rate, for the encoder's last layer; default: 0.1, from random weights 1",
    )  # fmt: skip
    group.add_argument(
        "--layer-decay", type=float, metavar="F",
        help="of the rate, from each layer to the one below; default: 0.8, from random weights 1",
    )  # fmt: skip
    group.add_argument(
        "--views", type=int, default=1, metavar="N",
        help="looks of each line that a frozen encoder caches; default: the line as it is",
    )  # fmt: skip
    group.add_argument(
        "--val-lines", type=int, default=100, metavar="N", help="of each set; default: %(default)s"
    )
    group.add_argument(
        "--decoder", default="ctc-greedy", metavar="NAME",
        help="the best weights are chosen by its CER on val; default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--patience", type=int, default=10, metavar="N",
        help="stop after N validations without a better CER, 0 for never; default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--save-every", type=int, default=200, metavar="STEPS",
        help="between checkpoints with validation; default: %(default)s",
    )  # fmt: skip


def _add_where(group: Any) -> None:
    group.add_argument("--out", type=Path, help="default: runs/ENCODER-HEAD")
    group.add_argument(
        "--features", type=Path, default=Path("runs/features"), metavar="DIR",
        help="where states of frozen encoders are kept; default: %(default)s",
    )  # fmt: skip
    add_machine(group)


def run(args: argparse.Namespace) -> int:
    """Train a head, or put one to the self-test."""
    import torch

    from bench.training.ctc.run import CTCWatcher, learn_by_heart, train_ctc
    from bench.training.run import join_processes

    options = _options(args)
    check_device(args.device)
    torch.set_num_threads(args.threads)
    join_processes()
    if not args.sanity:
        guard_training(options.wanted.datasets, options.wanted.options, args.allow_leak)
    out = None if args.sanity else options.out
    with Curves(out, args.steps) as curves:

        def scores(step: int, found: Mapping[str, CTCScore]) -> None:
            for name, score in found.items():
                curves.validated(step, name, score.cer, score.reference, score.text)
                curves.scalar(f"blank/{name}", score.blanks / score.frames, step)

        watcher = CTCWatcher(curves.say, curves.report, curves.step, scores)
        if args.sanity:
            last = learn_by_heart(options, watcher)
            passed = last.cer == 0
        else:
            result = train_ctc(options, watcher)
    if args.sanity:
        verdict = "passed" if passed else "not passed: raise --steps, or look for a fault"
        print(f"sanity: CER {100 * last.cer:.2f} % after {last.step} steps, {verdict}")
        return 0 if passed else 1
    if result is not None:
        best = result.best
        said = f"val CER {100 * best.cer:.2f} % ({options.decoder}) at step {best.step}"
        print(f"head: {result.head}\n{said}")
    return 0


def _options(args: argparse.Namespace) -> CTCOptions:
    """What the options choose.

    Raises:
        UserError: a value that makes no sense, or an option that has no effect here.
    """
    from bench.training.ctc.material import MIXTURE
    from bench.training.ctc.run import CTCOptions
    from bench.training.material import Wanted
    from datasets import DATASETS
    from datasets.root import data_root
    from models.heads import HEADS
    from models.trocr_shapes import SHAPES

    for flag in ("steps", "batch", "views", "val_lines", "save_every"):
        if getattr(args, flag) < 1:
            raise UserError(f"--{flag.replace('_', '-')} wants a number above 0")
    random = args.encoder in SHAPES
    for flag in ("encoder_share", "layer_decay"):
        value = getattr(args, flag)
        if value is not None and not args.unfreeze:
            raise UserError(f"--{flag.replace('_', '-')} is of an encoder that learns; --unfreeze")
        if value is not None and not 0 < value <= 1:
            raise UserError(f"--{flag.replace('_', '-')} lies above 0 and up to 1, not {value}")
    if args.views > 1 and args.unfreeze:
        raise UserError("--views is of a frozen encoder; with --unfreeze each line looks new")
    sets = words(args.dataset) or ((MIXTURE,) if random and not args.sanity else ("lines",))
    HEADS.entry(args.head)  # says so here when it does not exist
    typed = typed_options(parse_options(args.options), (HEADS, DATASETS))
    for name in typed:
        if name not in (args.head, *sets):
            raise UserError(f"options are given for {name!r}, which is not trained here")
    return CTCOptions(
        encoder=args.encoder,
        head=args.head,
        out=args.out or Path("runs") / f"{Path(args.encoder).name}-{args.head}",
        wanted=Wanted(sets, typed, args.limit, args.val_lines, data_root()),
        features=args.features,
        head_options=typed.get(args.head, {}),
        steps=args.steps,
        batch=args.batch,
        rate=args.rate,
        unfreeze=args.unfreeze,
        share=_or(args.encoder_share, 1.0 if random else 0.1),
        layer_decay=_or(args.layer_decay, 1.0 if random else 0.8),
        views=args.views,
        patience=args.patience,
        decoder=args.decoder,
        save_every=args.save_every,
        seed=args.seed,
        workers=args.workers,
        device=args.device,
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
