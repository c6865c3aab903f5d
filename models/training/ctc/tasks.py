"""What is learned: the head alone on cached states, or the head and its encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.heads.base import Head
from models.heads.reader import Reader
from models.pictures import Pictures
from models.training.ctc.stream import LineBatch
from models.training.tasks import ctc_loss, ctc_targets


class HeadTask:
    """A head on the states of a frozen encoder."""

    def __init__(self, head: Head) -> None:
        self.module = head

    def loss(self, batch: LineBatch) -> Tensor:
        """CTC loss a character."""
        return _loss(self.module(batch.inputs.float()), batch)


class ReaderTask:
    """A head and its encoder, trained along."""

    def __init__(self, reader: Reader, pictures: Pictures) -> None:
        self.module, self.pictures = reader, pictures

    def loss(self, batch: LineBatch) -> Tensor:
        """CTC loss a character."""
        return _loss(self.module(self.pictures.pixels(batch.inputs)), batch)


def _loss(logits: Tensor, batch: LineBatch) -> Tensor:
    frames = torch.full((len(logits),), logits.shape[1])
    return ctc_loss(logits, frames, *ctc_targets(batch.texts, frames))


def rate_groups(reader: Reader, share: float, decay: float) -> list[dict[str, Any]]:
    """The parameters of a reader, each layer with its share of the learning rate.

    Layer-wise decay (Howard & Ruder, arXiv 1801.06146; for ViTs Bao et al., arXiv 2106.08254):
    the head learns at the full rate, the encoder's last layer at `share` of it, and each layer
    below at `decay` of the one above, the embeddings last.
    """
    encoder = reader.encoder
    parts = [encoder.embeddings, *encoder.layers]  # lowest first
    groups: list[dict[str, Any]] = [
        {"params": list(part.parameters()), "scale": share * decay ** (len(parts) - 1 - height)}
        for height, part in enumerate(parts)
    ]
    groups.append({"params": list(encoder.layernorm.parameters()), "scale": share})
    groups.append({"params": list(reader.head.parameters()), "scale": 1.0})
    return groups
