"""Where the batches of CTC training come from: lines, a mixture, or cached states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.types import Image, Line
from datasets.seeds import stream
from models.pictures import Pictures
from models.training.augment import augment
from models.training.ctc.material import why_unfit
from models.training.looks import margins, on_paper, ramped
from models.training.sources import Source, sources
from models.training.supply import LineBatch, Shuffled, place

_ASPECT = 12.8  # mean width / height of the embedded lines


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
        shuffled = Shuffled(self.lines, self.pictures, self.seed)
        draws = range(step * self.size, (step + 1) * self.size)
        return shuffled.batch(draws, ramped(step, self.ramp))


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
