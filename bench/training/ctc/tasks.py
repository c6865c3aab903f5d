"""What is learned: the head alone on cached states, or the head and its encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.core.types import BLANK
from bench.training.rates import encoder_groups
from bench.training.supply import LineBatch
from bench.training.tasks import ctc_loss, ctc_targets
from models.alphabet import encode
from models.heads.base import Head, Reader
from models.images import Pictures

_SHORTCUT = 0.2  # weight of the second CTC, as for `mini`
_PLACED = 0.5  # weight of the frames' characters


class Pupil(nn.Module):
    """What learns: a head, perhaps its encoder, and shortcuts that are dropped after training.

    They read the frames that a sequence model is about to read. `shortcut` is a second CTC:
    through it the encoder hears sooner what it should have said (Retsinas et al., arXiv
    2404.11339). `placed` tells each frame's nearest character, on lines where the source knows
    where they stand: CTC alone says nothing but blanks for thousands of steps while a transformer
    that begins with random weights finds out what a letter is. (CTC models that start from a
    framewise alignment are as old as Sak et al. 2015, https://arxiv.org/abs/1507.06947.)
    """

    def __init__(self, reader: Reader, unfreeze: bool) -> None:
        super().__init__()
        self.head = reader.head
        self.shortcut, self.placed = _shortcut(reader.head), _shortcut(reader.head)
        if unfreeze:
            self.encoder = reader.encoder

    def loss(self, states: Tensor, batch: LineBatch) -> Tensor:
        """CTC loss a character of the head, and what the shortcuts add."""
        length = torch.full((len(states),), self.head.length)
        targets = ctc_targets(batch.texts, length)
        frames = states
        for name, stage in self.head.named_children():
            if name == "sequence":
                frames = states
            states = stage(states)
        loss = ctc_loss(states, length, *targets)
        if self.shortcut is None or self.placed is None:
            return loss
        loss = loss + _SHORTCUT * ctc_loss(self.shortcut(frames), length, *targets)
        known = [at for at, centres in enumerate(batch.centres) if centres is not None]
        nearest = nearest_symbols(batch, known, self.head.length).flatten().to(frames.device)
        said = self.placed(frames[known]).float().flatten(0, 1)
        # A sum, which is 0 over no line: every process must have a gradient for every weight.
        missed = functional.cross_entropy(said, nearest, reduction="sum") / max(1, len(nearest))
        return loss + _PLACED * missed


def nearest_symbols(batch: LineBatch, lines: Sequence[int], frames: int) -> Tensor:
    """The symbol that each frame stands on: (len(lines), frames).

    That of the nearest centre, or the blank where no centre is as near as the characters of the
    line are wide.
    """
    middle = (np.arange(frames) + 0.5) / frames
    symbols = np.full((len(lines), frames), BLANK)
    for row, line in zip(symbols, lines, strict=True):
        centres, own = batch.centres[line], encode(batch.texts[line])
        if centres is None or not own:
            continue
        distance = np.abs(middle[:, None] - centres)
        reach = np.ptp(centres) / max(1, len(centres) - 1) or 1 / frames
        near = distance.min(1) <= reach
        row[near] = np.array(own)[distance.argmin(1)][near]
    return torch.from_numpy(symbols)


class HeadTask:
    """A head on the states of a frozen encoder."""

    def __init__(self, reader: Reader) -> None:
        self.module = Pupil(reader, unfreeze=False)

    def loss(self, batch: LineBatch) -> Tensor:
        """See `Pupil.loss`."""
        return self.module.loss(batch.inputs.float(), batch)


class ReaderTask:
    """A head and its encoder, trained along."""

    def __init__(self, reader: Reader, pictures: Pictures) -> None:
        self.module = Pupil(reader, unfreeze=True)
        self._reader, self._pictures = reader, pictures

    def loss(self, batch: LineBatch) -> Tensor:
        """See `Pupil.loss`."""
        states = self._reader.states(self._pictures.pixels(batch.inputs))
        return self.module.loss(states, batch)


def rate_groups(pupil: Pupil, share: float, decay: float) -> list[dict[str, Any]]:
    """The parameters of a head and its encoder, each layer with its share of the learning rate.

    The head learns at the full rate, the encoder's last layer at `share` of it, and each layer
    below at `decay` of the one above.
    """
    groups = encoder_groups(pupil.encoder, share, decay)
    own = [value for name, value in pupil.named_parameters() if not name.startswith("encoder.")]
    groups.append({"params": own, "scale": 1.0})
    return groups


def _shortcut(head: Head) -> nn.Linear | None:
    """Frames to symbols; None where no sequence model stands between them."""
    stages = dict(head.named_children())
    if "sequence" not in stages:
        return None
    symbols: Any = stages["symbols"]
    frames: Any = stages["sequence"]
    return nn.Linear(frames.lstm.input_size, symbols.out_features)
