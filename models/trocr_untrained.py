"""TrOCR with random weights: the speed of the architecture, without a download.

Random weights never end a line, or end it at once, so its length is fixed beforehand: each line
emits tokens in proportion to its width at equal height, scaled so that the embedded test lines have
the mean of the paper's speed table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from transformers import ViTImageProcessorPil

from bench.core.types import UNTRAINED, Encoded, EncoderInfo, Image, Runtime
from models.base import Encoder
from models.images import Pictures
from models.trocr_model import TrOCREncoder, ar_model, settled
from models.trocr_shapes import BOS, EOS, IMAGE, PAD, Shape, build, shape_of

SEED = 0
MEAN_ASPECT = 12.79  # width / height of the embedded test lines; a test measures it again
_SHORTEST = 2  # one token and EOS
_BICUBIC = 3  # PIL's number

UntrainedBatch = tuple[torch.Tensor, torch.Tensor]


class UntrainedTrOCR(Encoder):
    """A TrOCR with random weights, at the speed of a trained one."""

    def __init__(self, shape: str, runtime: Runtime) -> None:
        """Build one of `SHAPES`.

        Raises:
            UserError: there is no such shape.
        """
        model, parameters = settled(build(shape, SEED), runtime)
        self.info = EncoderInfo(
            name=f"untrained TrOCR {shape}",
            weights=UNTRAINED,
            parameters=parameters,
            alphabet=(),
            has_ar=True,
        )
        head = ar_model(model, written_out)
        self._reader = TrOCREncoder(model, Pictures.of(processor()), head, self.info, runtime)
        self._shape = shape_of(shape)

    def prepare(self, images: Sequence[Image]) -> UntrainedBatch:
        """(B, 3, 384, 384) pixels and (B,) tokens that each line is to emit."""
        lengths = [tokens_of(image.shape[1] / image.shape[0], self._shape) for image in images]
        return self._reader.prepare(images), torch.tensor(lengths)

    def encode(self, batch: UntrainedBatch) -> Encoded:
        """The states, and a head that ends each line where it has to end."""
        pixels, lengths = batch
        encoded = self._reader.encode(pixels)
        assert encoded.ar is not None
        head = dataclasses.replace(encoded.ar, forced_lengths=lengths)
        return dataclasses.replace(encoded, ar=head)

    def module(self) -> Any:
        """The `VisionEncoderDecoderModel`."""
        return self._reader.module()


def tokens_of(aspect: float, shape: Shape) -> int:
    """Tokens, EOS included, of a line with this width / height."""
    tokens = round(shape.mean_tokens / MEAN_ASPECT * aspect)
    return min(max(_SHORTEST, tokens), shape.positions)


def written_out(tokens: list[int]) -> str:
    """Write token ids without special ones, since there is no vocabulary.

    >>> written_out([17, 4002, 2])
    '<17> <4002>'
    """
    return " ".join(f"<{token}>" for token in tokens if token not in (BOS, PAD, EOS))


def processor() -> ViTImageProcessorPil:
    """The authors' preparation of images: squeezed into a square, grey levels from -1 to 1."""
    half = [0.5] * 3
    return ViTImageProcessorPil(
        size={"height": IMAGE, "width": IMAGE},
        resample=_BICUBIC,
        image_mean=half,
        image_std=half,
    )
