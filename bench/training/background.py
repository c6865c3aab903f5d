"""Batches made by worker processes while the last ones are learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, IterableDataset

Item = TypeVar("Item")


def in_background(
    stream: IterableDataset[Item],
    workers: int,
    ahead: int,
    generator: torch.Generator | None = None,
) -> Iterator[Item]:
    """The items of a stream, from `workers` processes, or from this one when 0.

    Args:
        stream: its items are whole batches.
        workers: processes, of one torch thread each.
        ahead: items that each of them makes in advance.
        generator: what the loader draws its seed from; torch's own by default.
    """
    return iter(
        DataLoader(
            stream,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=ahead if workers else None,
            worker_init_fn=_single_thread if workers else None,
            generator=generator,
        )
    )


def _single_thread(_: int) -> None:
    torch.set_num_threads(1)
