"""The options of every training that say where it computes, and their check."""

from __future__ import annotations

from typing import Any

from bench.core.errors import UserError


def add_machine(parser: Any) -> None:
    """The options that every training on lines has."""
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw lines")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")


def check_device(device: str) -> None:
    """Refuse a CUDA device that is not there.

    Raises:
        UserError: with what to do.
    """
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("there is no CUDA device here; leave --device out to train on the CPU")
