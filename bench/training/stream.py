"""An endless stream of training batches, cut by a budget of columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from bench.training.augment import augment
from bench.training.background import in_background
from bench.training.sources import Sample, Source, sources
from datasets.seeds import stream
from models.images import to_batch
from models.mini_net import padded_width

_POOL = 96  # samples sorted by width together: little padding, and still mixed batches


@dataclass(frozen=True, eq=False)
class Batch:
    """images: (B, 1, 64, W) darkness; widths: (B,) columns without padding; texts: B strings."""

    images: torch.Tensor
    widths: torch.Tensor
    texts: tuple[str, ...]

    def to(self, device: torch.device) -> Batch:
        """The same batch with its images on a device."""
        return replace(self, images=self.images.to(device))


@dataclass(frozen=True)
class StreamConfig:
    """What the stream draws from, and how.

    columns: pixel columns of a batch, padding included; the memory and time of a step.
    ramp: steps over which texts grow to full length and augmentation to full strength.
    """

    root: Path | None
    english: bool
    seed: int = 0
    columns: int = 16_000
    ramp: int = 1500
    longest: int = 70


class SampleStream(IterableDataset[Batch]):
    """Draws samples in a worker; the same (seed, start, rank, worker) gives the same batches."""

    def __init__(self, config: StreamConfig, start: int, rank: int) -> None:
        super().__init__()
        self.config, self.start, self.rank = config, start, rank

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        config = self.config
        rng = stream("kaidoku-train-1", config.seed, self.start, self.rank, worker)
        mixture = sources(config.root, config.english)
        step = self.start
        while True:
            progress = min(1.0, step / max(1, config.ramp))
            # Short lines first: a reader that cannot find its place yet learns nothing from
            # long ones, and an AR head learns to go along a line on short ones.
            usable = [(w, s) for _, w, s in mixture if progress >= 0.5 or s.bounded]
            weights = np.array([weight for weight, _ in usable])
            picks = rng.choice(len(usable), _POOL, p=weights / weights.sum())
            pool = [_draw(usable[i][1], rng, progress, config.longest) for i in picks]
            for batch in _batches(pool, config.columns, rng):
                yield batch
                step += workers


def _draw(source: Source, rng: np.random.Generator, progress: float, longest: int) -> Sample:
    """One augmented sample that fits a batch; over-wide ones are drawn again."""
    while True:
        sample = source.draw(rng, max(6, round(longest * progress)))
        ink = augment(sample.ink, rng, 0.3 + 0.7 * progress)
        if sample.text and ink.shape[1] <= 3200:
            return Sample(ink, sample.text)


def _batches(pool: Sequence[Sample], columns: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Cut a pool, sorted by width, into batches of at most `columns`; in random order."""
    groups: list[list[Sample]] = [[]]
    for sample in sorted(pool, key=lambda s: s.ink.shape[1]):
        if groups[-1] and padded_width(sample.ink.shape[1]) * (len(groups[-1]) + 1) > columns:
            groups.append([])
        groups[-1].append(sample)
    for index in rng.permutation(len(groups)):
        inks = [sample.ink for sample in groups[index]]
        yield Batch(*to_batch(inks), tuple(sample.text for sample in groups[index]))


def loader(config: StreamConfig, start: int, rank: int, workers: int) -> Iterator[Batch]:
    """Batches from `workers` background processes, or from this one when 0."""
    return in_background(SampleStream(config, start, rank), workers, 6)
