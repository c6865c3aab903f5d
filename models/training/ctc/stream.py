"""Batches by their step: the batch of a step is the same whenever and wherever it is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from bench.types import Image, Line
from datasets.seeds import stream
from models.pictures import Pictures
from models.training.augment import augment
from models.training.ctc.lines import margins, new_look, on_paper, why_unfit
from models.training.sources import Source, sources

_ASPECT = 12.8  # mean width / height of the embedded lines
_FIRST = 1 / 3  # of the augmentation's strength; heb-ocr's cure for heads that say only blanks


@dataclass(frozen=True, eq=False)
class LineBatch:
    """A batch for a head.

    inputs: (B, height, width) uint8 pictures, or (B, S, D) float16 states.
    texts: B strings.
    left_out: drawn lines that the head could not spell and that others replaced.
    """

    inputs: torch.Tensor
    texts: tuple[str, ...]
    left_out: int = 0

    def to(self, device: torch.device) -> LineBatch:
        """The same batch with its inputs on a device."""
        return replace(self, inputs=self.inputs.to(device, non_blocking=True))


class Supply(Protocol):
    """Makes the batch of a step."""

    def batch(self, step: int) -> LineBatch:
        """The batch of a step, always the same."""


@dataclass(frozen=True, eq=False)
class LinesSupply:
    """The lines of data sets, all once an epoch in random order, with new looks.

    ramp: steps over which augmentation grows from a third to full strength; None leaves the
        lines as they are.
    """

    lines: Sequence[Line]
    pictures: Pictures
    size: int
    seed: int
    ramp: int | None

    def batch(self, step: int) -> LineBatch:
        """The next `size` lines."""
        images: list[Image] = []
        texts: list[str] = []
        for draw in range(step * self.size, (step + 1) * self.size):
            line = self.lines[place(draw, len(self.lines), self.seed)]
            rng = stream("kaidoku-ctc-line-1", self.seed, draw)
            images.append(new_look(line.image, rng, ramped(step, self.ramp)))
            texts.append(line.text)
        return LineBatch(self.pictures.squeeze(images), tuple(texts))


@dataclass(frozen=True, eq=False)
class MixtureSupply:
    """Lines drawn anew from what `mini` is trained on (`models.training.sources`).

    frames: T; lines that need more are replaced and counted.
    ramp: steps over which texts grow to full length and augmentation to full strength.
    """

    root: Path | None
    pictures: Pictures
    frames: int
    size: int
    seed: int
    ramp: int
    longest: int = 70
    _mixture: list[tuple[float, Source]] = field(default_factory=list)

    def batch(self, step: int) -> LineBatch:
        """The `size` lines of a step."""
        if not self._mixture:  # in the process that draws, which is not the one that trains
            self._mixture.extend((w, s) for _, w, s in sources(self.root, english=False))
        rng = stream("kaidoku-ctc-mixture-1", self.seed, step)
        images: list[Image] = []
        texts: list[str] = []
        left_out = 0
        while len(images) < self.size:
            image, text = self._draw(rng, step)
            if why_unfit(text, self.frames):
                left_out += 1
                continue
            images.append(image)
            texts.append(text)
        return LineBatch(self.pictures.squeeze(images), tuple(texts), left_out)

    def _draw(self, rng: np.random.Generator, step: int) -> tuple[Image, str]:
        progress = min(1.0, step / max(1, self.ramp))
        # Short lines first, as for `mini`: a reader that cannot find its place learns nothing
        # from long ones.
        usable = [(w, s) for w, s in self._mixture if progress >= 0.5 or s.bounded]
        weights = np.array([weight for weight, _ in usable])
        source = usable[int(rng.choice(len(usable), p=weights / weights.sum()))][1]
        ink, text = source.draw(rng, max(6, round(self.longest * progress)))
        strength = ramped(step, self.ramp)
        ink = margins(augment(ink, rng, strength), rng, strength)
        # Paper behind the short lines of the beginning, so that their letters have the size of
        # a full line's: squeezed into the image alone, they would be giants.
        least = round((1 - progress) * rng.uniform(0.7, 1.1) * _ASPECT * ink.shape[0])
        ink = np.pad(ink, ((0, 0), (0, max(0, least - ink.shape[1]))))
        black, white = rng.uniform(0, 110), rng.uniform(180, 255)
        return on_paper(ink, float(black), float(white)), text


@dataclass(frozen=True, eq=False)
class StatesSupply:
    """States that a frozen encoder gave, from a file; one view of every line an epoch.

    states: (views, lines, S, D) float16.
    texts: of the lines.
    """

    states: NDArray[np.float16]
    texts: Sequence[str]
    size: int
    seed: int

    def batch(self, step: int) -> LineBatch:
        """The next `size` lines."""
        views, lines = self.states.shape[:2]
        draws = range(step * self.size, (step + 1) * self.size)
        places = [place(draw, lines, self.seed) for draw in draws]
        chosen = [(draw // lines) % views for draw in draws]
        states = np.stack([self.states[v, p] for v, p in zip(chosen, places, strict=True)])
        return LineBatch(torch.from_numpy(states), tuple(self.texts[p] for p in places))


class _Steps(IterableDataset[LineBatch]):
    """The batches from a step on; worker w of W makes every W-th."""

    def __init__(self, supply: Supply, start: int) -> None:
        super().__init__()
        self.supply, self.start = supply, start

    def __iter__(self) -> Iterator[LineBatch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        step = self.start + worker
        while True:
            yield self.supply.batch(step)
            step += workers


def batches(supply: Supply, start: int, workers: int) -> Iterator[LineBatch]:
    """The batches from step `start` on, in order, made by so many worker processes."""
    return iter(
        DataLoader(
            _Steps(supply, start),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_single_thread if workers else None,
            generator=torch.Generator(),  # its own, so that a resumed dropout goes on as it was
        )
    )


def ramped(step: int, ramp: int | None) -> float:
    """Strength of the augmentation: a third at first, full after `ramp` steps; 0 without one."""
    if ramp is None:
        return 0.0
    return _FIRST + (1 - _FIRST) * min(1.0, step / max(1, ramp))


def place(draw: int, lines: int, seed: int) -> int:
    """Which line a draw takes: every line once an epoch, each epoch in its own order."""
    return int(_order(draw // lines, lines, seed)[draw % lines])


@lru_cache(maxsize=4)
def _order(epoch: int, lines: int, seed: int) -> NDArray[np.int64]:
    return stream("kaidoku-ctc-epoch-1", seed, epoch).permutation(lines)


def _single_thread(_: int) -> None:
    torch.set_num_threads(1)
