"""Batches by their step: the batch of a step is the same whenever and wherever it is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from bench.core.types import Line
from bench.training.background import in_background
from bench.training.looks import new_look
from datasets.seeds import stream
from models.images import Pictures


@dataclass(frozen=True, eq=False)
class LineBatch:
    """A batch of lines.

    inputs: (B, height, width) uint8 pictures, or (B, S, D) float16 states.
    texts: B strings.
    left_out: drawn lines that could not be learned from and that others replaced.
    centres: of each line's characters as fractions of the picture's width, (len(text),); None for
        a line where they are not known. Empty: known of no line.
    """

    inputs: torch.Tensor
    texts: tuple[str, ...]
    left_out: int = 0
    centres: tuple[NDArray[np.float32] | None, ...] = ()

    def to(self, device: torch.device) -> LineBatch:
        """The same batch with its inputs on a device."""
        return replace(self, inputs=self.inputs.to(device, non_blocking=True))


class Supply(Protocol):
    """Makes the batch of a step."""

    def batch(self, step: int) -> LineBatch:
        """The batch of a step, always the same."""


@dataclass(frozen=True, eq=False)
class Shuffled:
    """Lines, all once an epoch in random order; each draw has a look of its own."""

    lines: Sequence[Line]
    pictures: Pictures
    seed: int

    def batch(self, draws: Iterable[int], strength: float) -> LineBatch:
        """The lines of some draws, with looks of this strength."""
        chosen = [(draw, self.lines[place(draw, len(self.lines), self.seed)]) for draw in draws]
        looks = [
            new_look(line.image, stream("kaidoku-ctc-line-1", self.seed, draw), strength)
            for draw, line in chosen
        ]
        return LineBatch(self.pictures.squeeze(looks), tuple(line.text for _, line in chosen))


class _Steps(IterableDataset[LineBatch]):
    """Every `stride`-th batch from a step on; worker w of W makes every W-th of them."""

    def __init__(self, supply: Supply, start: int, stride: int) -> None:
        super().__init__()
        self.supply, self.start, self.stride = supply, start, stride

    def __iter__(self) -> Iterator[LineBatch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        step = self.start + worker * self.stride
        while True:
            yield self.supply.batch(step)
            step += workers * self.stride


def batches(supply: Supply, start: int, workers: int, stride: int = 1) -> Iterator[LineBatch]:
    """Every `stride`-th batch from step `start` on, made by so many worker processes."""
    # Its own generator, so that a resumed dropout goes on as it was.
    return in_background(_Steps(supply, start, stride), workers, 4, torch.Generator())


def place(draw: int, lines: int, seed: int) -> int:
    """Which line a draw takes: every line once an epoch, each epoch in its own order."""
    return int(_order(draw // lines, lines, seed)[draw % lines])


@lru_cache(maxsize=4)
def _order(epoch: int, lines: int, seed: int) -> NDArray[np.int64]:
    return stream("kaidoku-ctc-epoch-1", seed, epoch).permutation(lines)
