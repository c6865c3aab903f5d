"""What is learned: the AR decoder with teacher forcing, and the encoder before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.training.ar.labels import IGNORED, Speller
from bench.training.rates import encoder_groups
from bench.training.supply import LineBatch
from models.images import Pictures

_SMOOTHING = 0.1  # as for the AR head of `mini`


class Pupil(nn.Module):
    """The parts of a `VisionEncoderDecoderModel` that learn, under their names there."""

    def __init__(self, model: Any, frozen: bool) -> None:
        super().__init__()
        self.decoder = model.decoder
        if hasattr(model, "enc_to_dec_proj"):
            self.enc_to_dec_proj = model.enc_to_dec_proj
        if not frozen:
            self.encoder = model.encoder


class TeacherForcing:
    """The decoder is given the true text so far and is to say the next token."""

    def __init__(self, model: Any, pictures: Pictures, speller: Speller, frozen: bool) -> None:
        """Take up a model.

        Args:
            model: a `VisionEncoderDecoderModel` without a pooler.
            pictures: how lines become its pixels.
            speller: how texts become its tokens.
            frozen: whether its encoder stays as it is.
        """
        self.module = Pupil(model, frozen)
        self._encoder = model.encoder.requires_grad_(not frozen)
        self._pictures, self._speller, self._frozen = pictures, speller, frozen

    def loss(self, batch: LineBatch) -> Tensor:
        """Cross-entropy a token, EOS included, with label smoothing 0.1."""
        given, labels = self._speller.targets(batch.texts)
        device = batch.inputs.device
        logits = self._logits(self._states(batch), given.to(device))
        return functional.cross_entropy(
            logits.float().flatten(0, 1),
            labels.flatten().to(device),
            ignore_index=IGNORED,
            label_smoothing=_SMOOTHING,
        )

    def rate_groups(self, decay: float) -> list[dict[str, Any]]:
        """The decoder at the full rate, the encoder's last layer too, lower ones at less."""
        pupil = self.module
        own = [value for name, value in pupil.named_parameters() if not name.startswith("encoder.")]
        groups: list[dict[str, Any]] = [{"params": own, "scale": 1.0}]
        return groups if self._frozen else encoder_groups(pupil.encoder, 1.0, decay) + groups

    def _states(self, batch: LineBatch) -> Tensor:
        """(B, S, D)."""
        pixels = self._pictures.pixels(batch.inputs)
        with torch.set_grad_enabled(not self._frozen):
            states: Tensor = self._encoder(pixels).last_hidden_state
        return states

    def _logits(self, states: Tensor, given: Tensor) -> Tensor:
        """(B, L, vocabulary). What is given is padded on the right, where nothing looks back."""
        pupil = self.module
        if hasattr(pupil, "enc_to_dec_proj"):
            states = pupil.enc_to_dec_proj(states)
        out = pupil.decoder(input_ids=given, encoder_hidden_states=states, use_cache=False)
        logits: Tensor = out.logits
        return logits
