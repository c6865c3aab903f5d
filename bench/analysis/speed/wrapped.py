"""Encoders timed as in fairseq, with a random CTC head if they lack one.

A CTC head with random weights stands in for one that is not trained. The cost of greedy decoding
does not depend on what the head says, so that its speed is a true one; its text is not, and it
never gets a CER.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from bench.core.types import UNTRAINED, Decoded, Encoded, EncoderInfo, Image, Runtime
from decoders.base import Decoder
from models.alphabet import ALPHABET
from models.base import Encoder
from models.heads import HEADS
from models.heads.base import Grid, Head

HEAD = "grid-subcol"  # the default head of models/heads
_SEED = 0


class TimedAsFairseq(Encoder):
    """An encoder with the stage borders of fairseq-generate's timer.

    The batch is on the device before the clock runs, and its autoregressive head gives token ids
    in place of text, which `with_text` makes of them later.
    """

    def __init__(self, encoder: Encoder, device: str) -> None:
        self.info = encoder.info
        self._encoder, self._device = encoder, device
        self._detokenize: Callable[[list[int]], str] | None = None
        self._head: RandomHead | None = None

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

    def random_head(self, runtime: Runtime) -> RandomHead | None:
        """A CTC head with random weights for it; None if it cannot have one."""
        if self._head is None and _can_have_head(self._encoder):
            self._head = RandomHead(self._encoder, runtime)
        return self._head

    def with_text(self, decoded: Decoded) -> Decoded:
        """A line of token ids with its text."""
        assert self._detokenize is not None  # something was decoded
        return replace(decoded, text=self._detokenize([int(i) for i in decoded.text.split()]))


def _ids_as_text(ids: list[int]) -> str:
    return " ".join(map(str, ids))


def _moved(batch: Any, device: str) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, tuple):
        return tuple(_moved(part, device) for part in batch)
    return batch


def _can_have_head(encoder: Encoder) -> bool:
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
    """A CTC decoder that also runs the head, so that decoders of states do not pay for it."""

    def __init__(self, head: RandomHead, decoder: Decoder) -> None:
        """Take up an open decoder."""
        super().__init__(decoder.spec)
        self._head, self._decoder = head, decoder

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """One `Decoded` a line, in order."""
        return self._decoder.decode(self._head.read(encoded))

    def extras(self) -> Mapping[str, Any]:
        """The decoder's own."""
        return self._decoder.extras()

    def close(self) -> None:
        """Close the decoder."""
        self._decoder.close()
