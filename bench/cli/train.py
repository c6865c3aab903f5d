"""`python -m bench train`: `mini` again or further, and CTC heads for TrOCR's encoders."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import add_data_root, train_ctc
from bench.cli.curves import Curves
from bench.errors import UserError

if TYPE_CHECKING:
    from models.training.validate import Score

_EPILOG = """\
examples:
  python -m bench train encoder --out runs/mini                    mini's encoder with its CTC head
  python -m bench train ar --out runs/mini                         mini's AR head, encoder frozen
  python -m bench train ctc --encoder trocr-base --dataset hooker  a CTC head for a TrOCR
  python -m bench train ctc --help

Checkpoints are written atomically: stop with Ctrl-C or kill, and start the same command again.
"""

_MINI_EPILOG = """\
examples:
  python -m bench train encoder --steps 20000 --out runs/mini
  python -m bench train encoder --steps 30000 --out runs/mini      goes on from its checkpoint
  python -m bench train encoder --init models/weights/mini.safetensors --steps 5000
  python -m bench train ar --steps 4000 --out runs/mini            the AR head, encoder frozen
  torchrun --nproc-per-node 2 -m bench train encoder --out runs/mini
  python -m bench run --all -o mini.weights=runs/mini/mini.safetensors
  tensorboard --logdir runs/mini

Without a data root (see python -m bench data) it trains on rendered lines alone.
Checkpoints are written atomically: stop with Ctrl-C or kill, and start the same command again.
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "train",
        help="train an encoder and its heads",
        description="Train mini, or a CTC head for a TrOCR.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = parser.add_subparsers(title="what to train", metavar="PART", required=True)
    _add_mini(parts, "encoder", "mini's encoder with its CTC head")
    _add_mini(parts, "ar", "mini's AR head on the frozen encoder")
    train_ctc.add(parts)


def _add_mini(parts: Any, part: str, what: str) -> None:
    parser = parts.add_parser(
        part,
        help=what,
        description=f"Train {what}.",
        epilog=_MINI_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("runs/mini"), help="folder to write to")
    parser.add_argument("--steps", type=int, default=20_000, help="steps in all, resumed ones too")
    parser.add_argument("--init", type=Path, help="safetensors weights to start from")
    parser.add_argument("--rate", type=float, default=1.2e-3, help="peak learning rate")
    parser.add_argument("--columns", type=int, default=12_500, help="pixel columns of a batch")
    parser.add_argument("--save-every", type=int, default=400, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw lines")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    add_data_root(parser)
    parser.set_defaults(handler=run, part=part)


def run(args: argparse.Namespace) -> int:
    """Train a part of mini, with a progress bar and TensorBoard curves."""
    import torch

    from datasets.root import data_root
    from models.training.run import TrainOptions, Watcher, join_processes, train_ar, train_encoder

    if args.steps < 1:
        raise UserError("--steps wants a number above 0")
    train_ctc.check_device(args.device)
    torch.set_num_threads(args.threads)
    join_processes()
    options = TrainOptions(
        out=args.out,
        steps=args.steps,
        root=data_root(),
        init=args.init,
        rate=args.rate,
        columns=args.columns,
        seed=args.seed,
        workers=args.workers,
        save_every=args.save_every,
        device=args.device,
    )
    with Curves(args.out, args.steps) as curves:

        def scores(step: int, found: Mapping[str, Score]) -> None:
            for name, score in found.items():
                curves.validated(step, name, score.cer, score.reference, score.text)

        train = train_encoder if args.part == "encoder" else train_ar
        weights = train(options, Watcher(curves.step, scores))
    print(f"weights: {weights}")
    return 0
