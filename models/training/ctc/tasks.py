"""What is learned: the head alone on cached states, or the head and its encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models.heads.base import Head
from models.heads.reader import Reader
from models.pictures import Pictures
from models.training.rates import encoder_groups
from models.training.supply import LineBatch
from models.training.tasks import ctc_loss, ctc_targets

_SHORTCUT = 0.2  # weight of the second CTC, as for `mini`


class Pupil(nn.Module):
    """What learns: a head, perhaps its encoder, and a shortcut that is dropped after training.

    The shortcut is a second CTC on the frames that a sequence model is about to read: through it
    the encoder hears sooner what it should have said (Retsinas et al., arXiv 2404.11339).
    """

    def __init__(self, reader: Reader, unfreeze: bool) -> None:
        super().__init__()
        self.head = reader.head
        self.shortcut = _shortcut(reader.head)
        if unfreeze:
            self.encoder = reader.encoder

    def loss(self, states: Tensor, batch: LineBatch) -> Tensor:
        """CTC loss a character, of the head and of the shortcut."""
        length = torch.full((len(states),), self.head.length)
        targets = ctc_targets(batch.texts, length)
        frames = states
        for name, stage in self.head.named_children():
            if name == "sequence":
                frames = states
            states = stage(states)
        loss = ctc_loss(states, length, *targets)
        if self.shortcut is None:
            return loss
        return loss + _SHORTCUT * ctc_loss(self.shortcut(frames), length, *targets)


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
