"""An encoder whose stages begin and end where fairseq-generate's timer does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from bench.core.types import Decoded, Encoded, Image
from models.base import Encoder


class TimedAsFairseq(Encoder):
    """An encoder with its stage borders where fairseq-generate's timer has them.

    The batch is on the device before the clock runs, and its autoregressive head gives token ids
    in place of text, which `with_text` makes of them later.
    """

    def __init__(self, encoder: Encoder, device: str) -> None:
        self.info = encoder.info
        self._encoder, self._device = encoder, device
        self._detokenize: Callable[[list[int]], str] | None = None

    def prepare(self, images: Sequence[Image]) -> Any:
        """The encoder's own batch, on the device."""
        return _moved(self._encoder.prepare(images), self._device)

    def encode(self, batch: Any) -> Encoded:
        """The encoder's own states, and its head without detokenising."""
        encoded = self._encoder.encode(batch)
        if encoded.ar is None:
            return encoded
        self._detokenize = encoded.ar.detokenize
        return replace(encoded, ar=replace(encoded.ar, detokenize=_ids_as_text))

    def module(self) -> Any:
        """The encoder's own."""
        return self._encoder.module()

    def with_text(self, decoded: Decoded) -> Decoded:
        """A line of token ids with its text."""
        assert self._detokenize is not None  # something was decoded
        return replace(decoded, text=self._detokenize([int(i) for i in decoded.text.split()]))


def _ids_as_text(ids: list[int]) -> str:
    return " ".join(map(str, ids))


def _moved(batch: Any, device: str) -> Any:
    """A batch with all its tensors on a device."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, tuple):
        return tuple(_moved(part, device) for part in batch)
    return batch
