"""A TrOCR with a trained CTC head: its states go to the AR decoder and to CTC decoders alike."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.core.files import content_hash
from bench.core.types import Encoded, EncoderInfo, Image, Runtime
from models.base import Encoder
from models.heads.files import HeadNotes, load_head
from models.heads.reader import Reader
from models.trocr_model import TrOCREncoder


class HeadedTrOCR(Encoder):
    """An encoder with a head.

    A head that wants an image of its own (`wide`), or whose encoder was trained along with it,
    leaves the AR decoder behind: that has never seen such states.
    """

    def __init__(self, encoder: TrOCREncoder, head: Path, runtime: Runtime) -> None:
        """Put a trained head on a loaded TrOCR.

        Raises:
            UserError: the head is damaged, or was trained on another encoder.
        """
        model = encoder.module()
        config = model.config.encoder
        loaded, notes = load_head(head, config, encoder.info.weights)
        self._dtype, self._device = getattr(torch, runtime.dtype), torch.device(runtime.device)
        self._reader = Reader(model.encoder, loaded.to(self._device, self._dtype))
        self._pictures = replace(encoder.pictures, size=loaded.geometry.image)
        self._alphabet = notes.alphabet
        self._ar = None if self._reader.resized or notes.unfrozen else encoder.ar
        self.info = _info(encoder.info, notes, content_hash(head), self._reader, bool(self._ar))

    def prepare(self, images: Sequence[Image]) -> Tensor:
        """Grey images of any size to (B, 3, H, W) floats, squeezed to the size that it wants."""
        return self._pictures.pixels(self._pictures.squeeze(images))

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Encoded:
        """States, and T frames of every line."""
        states = self._reader.states(batch.to(self._device, self._dtype, non_blocking=True))
        log_probs = self._reader.head(states).float().log_softmax(-1)
        lines, frames, _ = log_probs.shape
        return Encoded(
            states=states,
            state_mask=torch.ones(states.shape[:2], dtype=torch.bool, device=states.device),
            log_probs=log_probs,
            frames=torch.full((lines,), frames, device=states.device),
            alphabet=self._alphabet,
            ar=self._ar,
        )

    def module(self) -> Any:
        """Encoder and head."""
        return self._reader


def _info(
    base: EncoderInfo, notes: HeadNotes, digest: str, reader: Reader, has_ar: bool
) -> EncoderInfo:
    """What rows say: the hash is that of both files, the origin names the head."""
    both = hashlib.sha256(f"{base.weights} {digest}".encode()).hexdigest()[: len(digest)]
    parts = {**base.parameters, "ctc": sum(p.numel() for p in reader.head.parameters())}
    said = [base.origin, f"head {notes.head} {digest}"]
    return replace(
        base,
        weights=both,
        parameters=parts if has_ar else {k: v for k, v in parts.items() if k != "ar"},
        alphabet=notes.alphabet,
        has_ar=has_ar,
        trained_on=", ".join(x for x in (base.trained_on, f"head: {notes.data} (train)") if x),
        origin=", ".join(x for x in said if x),
    )
