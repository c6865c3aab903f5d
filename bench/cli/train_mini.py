"""`python -m bench train encoder`, and `train ar` for `mini`: its encoder and its AR head."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import add_data_root
from bench.cli.curves import Curves
from bench.cli.guard import add_guard, guard_training
from bench.cli.train_machine import add_machine, check_device
from bench.core.errors import UserError

if TYPE_CHECKING:
    from bench.training.score import ReadScore

# What stands for an option that was not given. `train ar` needs to know which ones were.
DEFAULTS: Mapping[str, Any] = {
    "out": Path("runs/mini"),
    "steps": 20_000,
    "init": None,
    "rate": 1.2e-3,
    "columns": 12_500,
    "save_every": 400,
}

_EPILOG = """\
examples:
  python -m bench train encoder --steps 20000 --out runs/mini
  python -m bench train encoder --steps 30000 --out runs/mini      goes on from its checkpoint
  python -m bench train encoder --init models/weights/mini.safetensors --steps 5000
  torchrun --nproc-per-node 2 -m bench train encoder --out runs/mini
  python -m bench run --all -o mini.weights=runs/mini/mini.safetensors
  tensorboard --logdir runs/mini

Without a data root (see python -m bench data) it trains on rendered lines alone.
Checkpoints are written atomically: stop with Ctrl-C or kill, and start the same command again.
"""


def add(parts: Any) -> None:
    """Register `encoder` under `train`."""
    parser = parts.add_parser(
        "encoder",
        help="mini's encoder with its CTC head",
        description="Train mini's encoder with its CTC head.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"folder to write to; default: {DEFAULTS['out']}"
    )
    parser.add_argument(
        "--rate", type=float, metavar="F", help=f"peak learning rate; default: {DEFAULTS['rate']}"
    )
    parser.add_argument(
        "--save-every", type=int, metavar="STEPS",
        help=f"between checkpoints; default: {DEFAULTS['save_every']}",
    )  # fmt: skip
    add_options(parser)
    add_guard(parser)
    add_machine(parser)
    add_data_root(parser)
    parser.set_defaults(handler=lambda args: run(args, "encoder"))


def add_options(parser: Any) -> None:
    """The options that only a training of `mini` has; each is None when it is not given."""
    parser.add_argument(
        "--steps", type=int, metavar="N",
        help=f"steps in all, resumed ones too; default: {DEFAULTS['steps']}",
    )  # fmt: skip
    parser.add_argument("--init", type=Path, help="safetensors weights to start from")
    parser.add_argument(
        "--columns", type=int, metavar="N",
        help=f"pixel columns of a batch; default: {DEFAULTS['columns']}",
    )  # fmt: skip


def run(args: argparse.Namespace, part: str) -> int:
    """Train the encoder ("encoder") or the AR head ("ar"), with TensorBoard curves."""
    import torch

    from bench.training.ctc.material import MIXTURE
    from bench.training.run import TrainOptions, Watcher, join_processes, train_ar, train_encoder
    from datasets.root import data_root

    given = {name: getattr(args, name) for name in DEFAULTS if getattr(args, name) is not None}
    chosen = {**DEFAULTS, **given}
    if chosen["steps"] < 1:
        raise UserError("--steps wants a number above 0")
    check_device(args.device)
    torch.set_num_threads(args.threads)
    join_processes()
    guard_training((MIXTURE,), {}, args.allow_leak)
    options = TrainOptions(
        root=data_root(), seed=args.seed, workers=args.workers, device=args.device, **chosen
    )
    with Curves(options.out, options.steps) as curves:

        def scores(step: int, found: Mapping[str, ReadScore]) -> None:
            for name, score in found.items():
                curves.validated(step, name, score.cer, score.reference, score.text)

        train = train_encoder if part == "encoder" else train_ar
        weights = train(options, Watcher(curves.step, scores))
    print(f"weights: {weights}")
    return 0
