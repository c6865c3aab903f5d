"""Batches for training: by their step, or cut from pools of about one width; in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from bench.core.types import Line
from bench.training.augment import augment_image, ramped
from bench.training.recipes import rank, world
from bench.training.sources import Sample
from datasets.seeds import stream
from models.images import Pictures

Item = TypeVar("Item", covariant=True)

_AHEAD = 4  # items that each worker makes in advance


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of lines.

    inputs: (B, height, width) uint8 pictures, (B, S, D) float16 states, or (B, 1, height, width)
        darkness.
    texts: B strings.
    widths: (B,) columns without padding, of darkness.
    centres: of each line's characters as fractions of the picture's width, (len(text),); None for a
        line where they are not known. Empty when known of no line.
    """

    inputs: Tensor
    texts: tuple[str, ...]
    widths: Tensor | None = None
    centres: tuple[NDArray[np.float32] | None, ...] = ()

    def to(self, device: torch.device) -> Batch:
        """The same batch with its inputs on a device."""
        return replace(self, inputs=self.inputs.to(device, non_blocking=True))


class BatchSource(Protocol[Item]):
    """Makes the batch of a step, the same one at every call and in every process."""

    def batch(self, step: int) -> Item:
        """The batch of a step."""


class StepStream(IterableDataset[Item]):
    """The batches of a source from a step on; each process and each worker has steps of its own."""

    def __init__(self, source: BatchSource[Item], start: int) -> None:
        super().__init__()
        self.source, self.first, self.stride = source, start * world() + rank(), world()

    def __iter__(self) -> Iterator[Item]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        step = self.first + worker * self.stride
        while True:
            yield self.source.batch(step)
            step += workers * self.stride


class Pools(IterableDataset[Batch]):
    """Batches of a budget of columns, cut from pools of samples that are sorted by width."""

    def __init__(
        self,
        words: Sequence[object],
        start: int,
        size: int,
        columns: int,
        source: Callable[[np.random.Generator], Callable[[int], Sample]],
        collate: Callable[[Sequence[Sample], np.random.Generator], Batch],
    ) -> None:
        """Set up a stream; equal (words, start, process, worker) give equal batches.

        Args:
            words: name of the stream of random numbers.
            start: first step.
            size: samples of a pool.
            columns: pixel columns of a batch at its widest line.
            source: opens the sources in the worker; gives a function that draws a sample of a step.
            collate: makes the batch of some samples.
        """
        super().__init__()
        self.words, self.start, self.size, self.columns = words, start, size, columns
        self.source, self.collate = source, collate

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        rng = stream(*self.words, self.start, rank(), worker)
        draw, step = self.source(rng), self.start
        while True:
            groups: list[list[Sample]] = [[]]
            for sample in sorted((draw(step) for _ in range(self.size)), key=_columns):
                if groups[-1] and _columns(sample) * (len(groups[-1]) + 1) > self.columns:
                    groups.append([])
                groups[-1].append(sample)
            for index in rng.permutation(len(groups)):
                yield self.collate(groups[index], rng)
                step += workers


def _columns(sample: Sample) -> int:
    return int(sample.ink.shape[1])


def in_background(items: IterableDataset[Item], workers: int) -> Iterator[Item]:
    """Yield the items of a stream, made by single-threaded workers, or by this process when 0."""
    return iter(
        DataLoader(
            items,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=_AHEAD if workers else None,
            worker_init_fn=_single_thread if workers else None,
            generator=torch.Generator(),  # its own, so that a resumed dropout goes on as it was
        )
    )


def _single_thread(_: int) -> None:
    torch.set_num_threads(1)


@dataclass(frozen=True, eq=False)
class LineBatches:
    """Batches of lines, all once an epoch in random order, each draw augmented anew.

    strength: of the augmentation; 0 leaves the lines as they are.
    ramp: steps over which the strength grows from a third.
    """

    lines: Sequence[Line]
    pictures: Pictures
    size: int
    seed: int
    strength: float = 1.0
    ramp: int | None = None

    def batch(self, step: int) -> Batch:
        """The lines of a step."""
        strength = self.strength * (1.0 if self.ramp is None else ramped(step, self.ramp))
        chosen = [
            (draw, self.lines[place])
            for draw, place in draws(step, len(self.lines), self.size, self.seed)
        ]
        images = [
            augment_image(line.image, stream("kaidoku-ctc-line-1", self.seed, draw), strength)
            for draw, line in chosen
        ]
        return Batch(self.pictures.squeeze(images), tuple(line.text for _, line in chosen))


def epoch_steps(lines: int, size: int) -> int:
    """Batches of an epoch; the last one has the remaining lines."""
    return -(-lines // size)


def draws(step: int, lines: int, size: int, seed: int) -> list[tuple[int, int]]:
    """The draws of a step, counted over all epochs, and the place of the line of each.

    Every line comes once an epoch, each epoch in its own order.
    """
    epoch, at = divmod(step, epoch_steps(lines, size))
    order = _order(epoch, lines, seed)
    places = range(at * size, min((at + 1) * size, lines))
    return [(epoch * lines + place, int(order[place])) for place in places]


@lru_cache(maxsize=4)
def _order(epoch: int, lines: int, seed: int) -> NDArray[np.int64]:
    return stream("kaidoku-ctc-epoch-1", seed, epoch).permutation(lines)
