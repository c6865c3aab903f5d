"""How well a reader reads lines, with a decoder of the registry; in float32, as rows are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.types import BLANK, Encoded, EncoderInfo, Line
from bench.training.score import ReadScore, micro_cer, scored
from decoders import DECODERS
from models.alphabet import ALPHABET
from models.heads.base import Reader
from models.images import Pictures

_BATCH = 16
COLLAPSE = 3  # validations of blanks alone that are worth a word


@dataclass(frozen=True)
class CTCScore(ReadScore):
    """How lines were read, and from what.

    blanks, frames: those whose best symbol is the blank, and all.
    """

    blanks: int
    frames: int


@dataclass(frozen=True)
class Point:
    """One validation.

    loss: mean training loss since the point before.
    cer: of the validation lines, a fraction.
    blank: share of frames whose best symbol is the blank.
    """

    step: int
    loss: float
    cer: float
    blank: float

    @property
    def error(self) -> float:
        """What the best point has least of."""
        return self.cer


def collapsed(points: Sequence[Point]) -> bool:
    """Whether the last points say nothing but blanks."""
    last = points[-COLLAPSE:]
    return len(last) == COLLAPSE and all(point.blank == 1 for point in last)


def total(scores: Iterable[CTCScore]) -> tuple[float, float]:
    """Micro CER over all lines of several sets, and the share of blanks (1: a collapsed head)."""
    scores = list(scores)
    blanks, frames = sum(s.blanks for s in scores), sum(s.frames for s in scores)
    return micro_cer(scores), blanks / max(1, frames)


class Judge:
    """Reads lines with one decoder, opened once.

    A context manager.
    """

    def __init__(self, decoder: str) -> None:
        """Take up a decoder.

        Raises:
            UserError: there is no such decoder, or it reads no CTC output.
            Unavailable: something that it needs is not here.
        """
        self.name = decoder
        spec = DECODERS.create(decoder)
        if spec.needs != "log_probs":
            raise UserError(f"{decoder} reads no CTC output; choose by ctc-greedy, for one")
        info = EncoderInfo("in training", "in training", {}, ALPHABET, False)
        if absent := spec.missing(info):
            raise absent
        self._decoder = spec.open(info)

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

    def score(self, logits: Iterable[Tensor], texts: Sequence[str]) -> CTCScore:
        """Score batches of (B, T, V) logits against all their texts, in order."""
        read: list[str] = []
        blanks = frames = 0
        for batch in logits:
            log_probs = batch.float().log_softmax(-1).cpu()
            best = log_probs.argmax(-1)
            blanks, frames = blanks + int((best == BLANK).sum()), frames + best.numel()
            read += [decoded.text for decoded in self._decoder.decode(_encoded(log_probs))]
        return CTCScore(**vars(scored(zip(texts, read, strict=True))), blanks=blanks, frames=frames)


@torch.inference_mode()
def read_lines(reader: Reader, pictures: Pictures, lines: Sequence[Line]) -> Iterator[Tensor]:
    """Logits of lines from their images, batch by batch."""
    device = next(reader.parameters()).device
    reader.eval()
    for start in range(0, len(lines), _BATCH):
        images = [line.image for line in lines[start : start + _BATCH]]
        squeezed = pictures.squeeze(images).to(device)
        logits: Tensor = reader(pictures.pixels(squeezed))
        yield logits


@torch.inference_mode()
def read_states(head: Any, states: Any) -> Iterator[Tensor]:
    """Logits of lines from their cached states (lines, S, D) float16, batch by batch."""
    device = next(head.parameters()).device
    head.eval()
    for start in range(0, len(states), _BATCH):
        batch = torch.from_numpy(states[start : start + _BATCH].copy()).to(device)
        logits: Tensor = head(batch.float())
        yield logits


def _encoded(log_probs: Tensor) -> Encoded:
    lines, frames, _ = log_probs.shape
    return Encoded(
        states=log_probs[:, :, :0],
        state_mask=torch.ones(lines, frames, dtype=torch.bool),
        log_probs=log_probs,
        frames=torch.full((lines,), frames),
        alphabet=ALPHABET,
    )
