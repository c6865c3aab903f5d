"""`python -m bench train`: the shipped encoder again, or further."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import add_data_root
from bench.errors import UserError

if TYPE_CHECKING:
    from models.training.loop import Progress
    from models.training.validate import Score

_EPILOG = """\
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
        description="Train mini: the encoder with CTC, then the AR head on the frozen encoder.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", choices=("encoder", "ar"), help="what to train")
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
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Train, with a progress bar and TensorBoard curves."""
    import torch

    from datasets.root import data_root
    from models.training.run import TrainOptions, Watcher, join_processes, train_ar, train_encoder

    if args.steps < 1:
        raise UserError("--steps wants a number above 0")
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("there is no CUDA device here; leave --device out to train on the CPU")
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
    with _Curves(args.out, args.steps) as curves:
        train = train_encoder if args.part == "encoder" else train_ar
        weights = train(options, Watcher(curves.step, curves.scores))
    print(f"weights: {weights}")
    return 0


class _Curves:
    """A progress bar on stderr and scalars for TensorBoard, where that is installed."""

    def __init__(self, out: Path, steps: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        from models.training.loop import rank

        self.console = Console(stderr=True, quiet=rank() != 0)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
        )
        self.task = self.bar.add_task("loss -", total=steps)
        self.writer = _summary_writer(out) if rank() == 0 else None

    def __enter__(self) -> _Curves:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
        if self.writer is not None:
            self.writer.close()

    def step(self, progress: Progress) -> None:
        """One step done."""
        self.bar.update(self.task, completed=progress.step, description=f"loss {progress.loss:.3f}")
        if self.writer is not None:
            self.writer.add_scalar("loss", progress.loss, progress.step)
            self.writer.add_scalar("rate", progress.rate, progress.step)

    def scores(self, step: int, scores: Mapping[str, Score]) -> None:
        """One validation done."""
        for name, score in scores.items():
            self.console.print(
                f"step {step}  {name} val CER {100 * score.cer:.2f} %  "
                f"[{score.reference!r} -> {score.text!r}]",
                markup=False,
                highlight=False,
            )
            if self.writer is not None:
                self.writer.add_scalar(f"cer/{name}", score.cer, step)


def _summary_writer(out: Path) -> Any | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # TensorBoard is optional
        return None
    return SummaryWriter(out)
