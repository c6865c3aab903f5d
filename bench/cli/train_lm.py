"""`python -m bench train lm`: the embedded language model over characters."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM, add_data_root
from bench.cli.curves import Curves
from bench.cli.guard import add_guard, guard_text
from bench.cli.train_machine import check_device
from bench.core.errors import UserError

if TYPE_CHECKING:
    from bench.training.lm.run import Validation
    from bench.training.lm.text import Paragraphs

_EPILOG = f"""\
examples:
  {PROGRAM} train lm --out runs/lm                     from the embedded corpus, as shipped
  {PROGRAM} train lm --text letters.txt --out runs/my-lm
  {PROGRAM} run --decoder ctc-rescore+lm -o lm.model=runs/my-lm/lm.safetensors
  tensorboard --logdir runs/lm

A causal transformer over characters. Every --save-every steps the averaged weights predict the
val documents (of --text: every tenth paragraph), and the weights with the fewest bits a character
are kept as OUT/lm.safetensors; the training ends when that number has stopped to fall. At the end
it stands beside that of a character n-gram model of the same text.
Checkpoints are written atomically: stop with Ctrl-C or kill, and start the same command again.
"""


def add(parts: Any) -> None:
    """Register `lm` under `train`."""
    parser = parts.add_parser(
        "lm",
        help="the embedded language model over characters",
        description="Train a small causal transformer over characters.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/lm"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--text", type=Path, nargs="+", metavar="FILE",
        help="UTF-8 text files, a paragraph a line; default: the train documents of the embedded "
        "corpus",
    )  # fmt: skip
    _add_how(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    add_guard(parser)
    add_data_root(parser)
    parser.set_defaults(handler=run)


def _add_how(parser: Any) -> None:
    for flag, default, what in (
        ("--steps", 3000, "at most, resumed ones too"),
        ("--batch", 32, "windows of a step"),
        ("--width", 256, "of the network"),
        ("--layers", 6, "of the network"),
        ("--context", 128, "characters that the network sees at once"),
        ("--save-every", 100, "steps between checkpoints, each with a validation"),
    ):
        parser.add_argument(
            flag, type=int, default=default, metavar="N", help=f"{what}; default: %(default)s"
        )
    parser.add_argument(
        "--patience", type=int, default=6, metavar="N",
        help="stop after N validations without a better one, 0 for never; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--rate", type=float, default=1e-3, metavar="F",
        help="peak learning rate; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--dropout", type=float, default=0.2, metavar="F", help="default: %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    """Train, with TensorBoard curves."""
    import torch

    from bench.training.lm.run import BASELINE_ORDER, LMOptions, LMWatcher, baseline, train_lm
    from decoders.language.causal import CharConfig

    _check(args)
    check_device(args.device)
    torch.set_num_threads(args.threads)
    text = _text(args)
    guard_text(text.train, None, args.allow_leak)
    options = LMOptions(
        out=args.out,
        text=text,
        config=CharConfig(width=args.width, layers=args.layers, context=args.context),
        **{
            name: getattr(args, name)
            for name in ("steps", "rate", "batch", "dropout", "seed", "save_every", "patience",
                         "device")
        },
    )  # fmt: skip
    with Curves(options.out, options.steps) as curves:

        def validated(point: Validation) -> None:
            curves.say(
                f"step {point.step}  bits a character: train {point.train:.3f}, val {point.val:.3f}"
            )
            curves.scalar("bits/train", point.train, point.step)
            curves.scalar("bits/val", point.val, point.step)

        result = train_lm(options, LMWatcher(curves.step, validated))
    ngram = baseline(text)
    print(
        f"weights: {result.weights}\n"
        f"step {result.best.step}: {result.best.val:.3f} bits a character of the val text "
        f"(perplexity {2**result.best.val:.2f}); an n-gram model of order {BASELINE_ORDER} of the "
        f"same text: {ngram:.3f} ({2**ngram:.2f})"
    )
    return 0


def _check(args: argparse.Namespace) -> None:
    for flag in ("steps", "batch", "width", "layers", "save_every"):
        if getattr(args, flag) < 1:
            raise UserError(f"--{flag.replace('_', '-')} wants a number above 0")
    if args.context < 16:
        raise UserError("--context wants 16 characters at least")
    if args.width % 8:
        raise UserError("--width wants a multiple of 8, for 4 heads of an even width each")
    if not 0 <= args.dropout < 1:
        raise UserError(f"--dropout lies from 0 to below 1, not {args.dropout}")
    if args.rate <= 0:
        raise UserError(f"--rate lies above 0, not {args.rate}")
    if args.patience < 0:
        raise UserError("--patience wants a number of validations, 0 for never")


def _text(args: argparse.Namespace) -> Paragraphs:
    from bench.analysis.lm import read_text
    from bench.training.lm.text import Paragraphs, held_out
    from datasets.corpus import documents
    from decoders.language.lm import EMBEDDED_TEXT, train_text

    if args.text:
        return held_out(read_text(args.text), ", ".join(path.name for path in args.text))
    val = tuple(p for document in documents("val") for p in document.paragraphs)
    return Paragraphs(train_text(), val, EMBEDDED_TEXT)
