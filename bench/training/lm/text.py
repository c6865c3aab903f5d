"""What the language model learns from: windows of running text that begin with a word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core.errors import UserError
from datasets.seeds import stream
from decoders.language.causal import PARAGRAPH, SPACE, SYMBOLS, encode

if TYPE_CHECKING:
    from typing import Self

_HELD_OUT = 10  # of text without a val split, one paragraph in so many


@dataclass(frozen=True)
class Paragraphs:
    """Text to learn from and text to judge by; whole paragraphs. name: as a row says it."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    name: str


def held_out(paragraphs: Sequence[str], name: str) -> Paragraphs:
    """Every tenth paragraph is to judge by.

    Raises:
        UserError: there are too few paragraphs.
    """
    if len(paragraphs) < _HELD_OUT:
        raise UserError(
            f"{name} has {len(paragraphs)} paragraphs (lines of the file that are not blank); "
            f"{_HELD_OUT} at least are needed, one of which is kept to judge by"
        )
    val = tuple(paragraphs[_HELD_OUT - 1 :: _HELD_OUT])
    train = tuple(p for i, p in enumerate(paragraphs) if i % _HELD_OUT != _HELD_OUT - 1)
    return Paragraphs(train, val, name)


@dataclass(frozen=True)
class Windows:
    """A batch: (B, context) characters and (B, context) those that follow."""

    inputs: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> Self:
        """The same batch, on a device."""
        return type(self)(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Draw:
    """How windows are drawn.

    noise: share of the characters read that are replaced by any other, so that the model finds
        its way again behind a misread one, and over-fits later; what follows them stays as it is.
    """

    context: int
    batch: int
    seed: int
    noise: float = 0.02


def windows(paragraphs: Sequence[str], draw: Draw, step: int) -> Iterator[Windows]:
    """Batches without end, from a step on; the same step has the same batch in every run.

    Raises:
        UserError: there is too little text.
    """
    text = joined(paragraphs)
    starts = np.flatnonzero((text == SPACE) | (text == PARAGRAPH))
    starts = starts[starts + draw.context < len(text)]
    if not len(starts):
        raise UserError(f"there is too little text: {draw.context} characters at least are needed")
    while True:
        rng = stream("kaidoku-lm-1", draw.seed, step)
        chosen = rng.choice(starts, draw.batch)
        drawn = text[chosen[:, None] + np.arange(draw.context + 1)]
        inputs, targets = drawn[:, :-1].copy(), drawn[:, 1:].copy()
        wrong = rng.random(inputs.shape) < draw.noise
        inputs[wrong] = rng.integers(len(SYMBOLS), size=int(wrong.sum()))
        yield Windows(torch.from_numpy(inputs), torch.from_numpy(targets))
        step += 1


def joined(paragraphs: Sequence[str]) -> NDArray[np.int64]:
    """(T,) characters of all paragraphs, the sign of a paragraph before, between and behind."""
    ids = [PARAGRAPH]
    for paragraph in paragraphs:
        ids += [*encode(" ".join(paragraph.split())), PARAGRAPH]
    return np.array(ids, np.int64)
