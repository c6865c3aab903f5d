"""What is measured after each epoch, and when that means over-fitting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FAR = 2.0  # times better on train than on val; `python -m bench check overfit` asks the same
RISEN = 1.05  # times the best val CER; less may be chance


@dataclass(frozen=True)
class Epoch:
    """The CER of the same lines of train and of val, by real decoding.

    epoch: 0 is before training.
    step: steps that were trained.
    loss: mean training loss of the epoch, of its steps since the last start; None before any.
    train_cer: of train lines as they are, a fraction.
    cer: of val lines, a fraction.
    """

    epoch: int
    step: int
    loss: float | None
    train_cer: float
    cer: float

    @property
    def error(self) -> float:
        """What the best epoch has least of."""
        return self.cer


def turned_at(epochs: Sequence[Epoch]) -> Epoch | None:
    """Since when a model learns its training lines by heart; None if it does not.

    It does when train lines are read better than at the best epoch and far better than val
    lines, and val lines worse than then.

    Returns:
        The best epoch, after which val has got worse; it may be epoch 0.
    """
    best = min(epochs, key=lambda epoch: epoch.cer)
    last = epochs[-1]
    closer = last.train_cer < best.train_cer
    far = FAR * last.train_cer < last.cer
    return best if closer and far and last.cer > RISEN * best.cer else None
