"""Batches for CTC: of the mixture of `mini`, and of cached states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.core.types import Image
from bench.training.augment import augment, margins, on_paper, ramped
from bench.training.batches import Batch, draws
from bench.training.losses import why_unfit
from bench.training.sources import MINI, Sample, Source, Texts, pick, sources
from datasets.seeds import stream
from models.images import Pictures

_ASPECT = 12.8  # mean width / height of the embedded lines
_PLACED = 2.0  # factor on `mini`'s share of lines with known places of letters


@dataclass(frozen=True, eq=False)
class Mixture:
    """Lines drawn anew from `mini`'s training sources (`bench.training.sources`).

    frames: T; lines that need more are replaced.
    ramp: steps over which texts grow to full length and augmentation to full strength; in its
        first half only lines whose letters have known places are drawn.
    """

    root: Path | None
    pictures: Pictures
    frames: int
    size: int
    seed: int
    ramp: int
    longest: int = 70
    _mixture: list[tuple[float, Source]] = field(default_factory=list)

    def batch(self, step: int) -> Batch:
        """The `size` lines of a step."""
        if not self._mixture:  # opened in the worker that draws
            self._mixture.extend(sources(self.root, MINI, Texts()))
        rng = stream("kaidoku-ctc-mixture-2", self.seed, step)
        samples: list[Sample] = []
        while len(samples) < self.size:
            sample = self._draw(rng, step)
            if not why_unfit(sample.text, self.frames):
                samples.append(sample)
        images = [_on_any_paper(sample.ink, rng) for sample in samples]
        return Batch(
            self.pictures.squeeze(images),
            tuple(sample.text for sample in samples),
            centres=tuple(sample.centres for sample in samples),
        )

    def _draw(self, rng: np.random.Generator, step: int) -> Sample:
        progress = min(1.0, step / max(1, self.ramp))
        # Short lines first, as for `mini`: an untrained encoder learns nothing from long ones.
        usable = [(w, s) for w, s in self._mixture if progress >= 0.5 or s.placed]
        source = pick([(w * (_PLACED if s.placed else 1.0), s) for w, s in usable], rng)
        sample = source.draw(rng, max(6, round(self.longest * progress)))
        strength = ramped(step, self.ramp)
        ink = augment(sample.ink, rng, strength)
        left, right = margins(ink.shape[1], rng, strength)
        # Pad the short lines of the beginning with paper, since stretched to the whole image their
        # letters would be far larger than a full line's.
        least = round((1 - progress) * rng.uniform(0.7, 1.1) * _ASPECT * ink.shape[0])
        right = max(right, least - left - ink.shape[1])
        padded = np.pad(ink, ((0, 0), (left, right)))
        if sample.centres is None:
            return Sample(padded, sample.text)
        # Augmentation stretches about the middle, so fractions of the width stay what they were.
        centres = (left + sample.centres * ink.shape[1]) / padded.shape[1]
        return Sample(padded, sample.text, centres.astype(np.float32))


def _on_any_paper(ink: NDArray[np.float32], rng: np.random.Generator) -> Image:
    """Darkness as grey levels of some ink on some paper."""
    black, white = rng.uniform(0, 110), rng.uniform(180, 255)
    return on_paper(ink, float(black), float(white))


@dataclass(frozen=True, eq=False)
class StateBatches:
    """Batches of cached states of a frozen encoder.

    states: (lines, S, D) float16.
    texts: of the lines.
    """

    states: NDArray[np.float16]
    texts: Sequence[str]
    size: int
    seed: int

    def batch(self, step: int) -> Batch:
        """The lines of a step."""
        places = [place for _, place in draws(step, len(self.texts), self.size, self.seed)]
        states = torch.from_numpy(self.states[places])
        return Batch(states, tuple(self.texts[place] for place in places))
