"""A CTC head with random weights, for the speed of an encoder that has no trained one.

What greedy decoding costs does not depend on what the head says, so that its speed is a true one;
its text is not, and it never gets a CER.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from bench.core.types import UNTRAINED, Decoded, Encoded, EncoderInfo, Runtime
from decoders.base import Decoder
from models.alphabet import ALPHABET
from models.base import Encoder
from models.heads import HEADS
from models.heads.base import Grid, Head

HEAD = "grid-subcol"  # the default head of models/heads
_SEED = 0


def can_have_head(encoder: Encoder) -> bool:
    """Whether an encoder gives the states of a ViT, for which the heads are made."""
    config = getattr(encoder.module(), "config", None)
    return hasattr(getattr(config, "encoder", None), "patch_size")


class RandomHead:
    """The default CTC head behind a ViT of transformers.

    info: the encoder's, with the head's alphabet and parameters; its weights are untrained.
    """

    def __init__(self, encoder: Encoder, runtime: Runtime) -> None:
        """Build a head that fits an encoder that can have one."""
        grid = Grid.of(encoder.module().config.encoder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            head = Head(HEADS.create(HEAD), grid, len(ALPHABET))
        parameters = sum(parameter.numel() for parameter in head.parameters())
        self._head = head.eval().to(runtime.device, getattr(torch, runtime.dtype))
        self.info: EncoderInfo = replace(
            encoder.info,
            weights=UNTRAINED,
            parameters={**encoder.info.parameters, "ctc": parameters},
            alphabet=ALPHABET,
        )

    @torch.inference_mode()
    def read(self, encoded: Encoded) -> Encoded:
        """The same encoding with log-probabilities."""
        log_probs = self._head(encoded.states).float().log_softmax(-1)
        frames = torch.full((len(log_probs),), self._head.length, device=log_probs.device)
        return replace(encoded, log_probs=log_probs, frames=frames, alphabet=ALPHABET)


class BehindHead(Decoder):
    """A CTC decoder with the head before it: the decoders of states do not pay for the head."""

    def __init__(self, head: RandomHead, decoder: Decoder) -> None:
        """Take up an open decoder."""
        super().__init__(decoder.spec)
        self._head, self._decoder = head, decoder

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """One `Decoded` a line, in order."""
        return self._decoder.decode(self._head.read(encoded))

    def extras(self) -> Mapping[str, Any]:
        """What the decoder says of itself."""
        return self._decoder.extras()

    def close(self) -> None:
        """Close the decoder."""
        self._decoder.close()
