"""A TrOCR with a trained CTC head: its states go to the AR decoder and to CTC decoders alike."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bench.core.files import content_hash
from bench.core.types import Encoded, EncoderInfo, Runtime
from models.heads.base import HeadedViT
from models.heads.files import HeadNotes, load_head
from models.trocr_model import TrOCREncoder


class HeadedTrOCR(TrOCREncoder):
    """An encoder with a head.

    A head with an image of its own (`wide`), or whose encoder was trained along with it, drops the
    AR decoder, which was not trained on such states.
    """

    def __init__(self, encoder: TrOCREncoder, head: Path, runtime: Runtime) -> None:
        """Put a trained head on a loaded TrOCR."""
        model = encoder.module()
        loaded, notes = load_head(head, model.config.encoder, encoder.info.weights)
        dtype, device = getattr(torch, runtime.dtype), torch.device(runtime.device)
        reader = HeadedViT(model.encoder, loaded.to(device, dtype))
        ar = None if reader.resized or notes.unfrozen else encoder.ar
        info = _info(encoder.info, notes, content_hash(head), reader, ar is not None)
        pictures = replace(encoder.pictures, size=loaded.geometry.image)
        super().__init__(reader, pictures, ar, info, runtime)
        self._alphabet = notes.alphabet

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Encoded:
        """States, and T frames of every line."""
        encoded = super().encode(batch)
        log_probs = self._model.head(encoded.states).float().log_softmax(-1)
        lines, frames, _ = log_probs.shape
        return replace(
            encoded,
            log_probs=log_probs,
            frames=torch.full((lines,), frames, device=log_probs.device),
            alphabet=self._alphabet,
        )

    def _states(self, pixels: Tensor) -> Tensor:
        states: Tensor = self._model.states(pixels)
        return states


def _info(
    base: EncoderInfo, notes: HeadNotes, digest: str, reader: HeadedViT, has_ar: bool
) -> EncoderInfo:
    """Facts for rows: the hash covers both files, the origin names the head."""
    both = hashlib.sha256(f"{base.weights} {digest}".encode()).hexdigest()[: len(digest)]
    parts = {**base.parameters, "ctc": sum(p.numel() for p in reader.head.parameters())}
    origin = [base.origin, f"head {notes.head} {digest}"]
    return replace(
        base,
        weights=both,
        parameters=parts if has_ar else {k: v for k, v in parts.items() if k != "ar"},
        alphabet=notes.alphabet,
        has_ar=has_ar,
        trained_on=", ".join(x for x in (base.trained_on, f"head: {notes.data} (train)") if x),
        origin=", ".join(x for x in origin if x),
    )
