"""`python -m bench train`: `mini` again or further, CTC heads, TrOCR fine-tuned, the LM."""

from __future__ import annotations

import argparse
from typing import Any

from bench.cli import train_ar, train_ctc, train_lm, train_mini

_EPILOG = """\
examples:
  python -m bench train encoder --out runs/mini                    mini's encoder with its CTC head
  python -m bench train ar --out runs/mini                         mini's AR head, encoder frozen
  python -m bench train ar --encoder trocr-base --dataset hooker   a TrOCR, fine-tuned
  python -m bench train ctc --encoder trocr-base --dataset hooker  a CTC head for a TrOCR
  python -m bench train lm --out runs/lm                           the embedded language model
  python -m bench train ar --help

Checkpoints are written atomically: stop with Ctrl-C or kill, and start the same command again.
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "train",
        help="train an encoder, its heads, a language model",
        description="Train mini, a TrOCR, a CTC head for one, or the embedded language model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = parser.add_subparsers(title="what to train", metavar="PART", required=True)
    train_mini.add(parts)
    train_ar.add(parts)
    train_ctc.add(parts)
    train_lm.add(parts)
