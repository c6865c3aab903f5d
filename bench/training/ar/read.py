"""How well a model reads lines, by a decoder of the registry: no teacher gives it the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.core.errors import UserError
from bench.core.types import ARModel, EncoderInfo, Line, Runtime
from bench.training.score import ReadScore, scored
from decoders import DECODERS
from models.images import Pictures
from models.trocr_model import TrOCREncoder

_BATCH = 16


class Judge:
    """Reads lines with one decoder, opened once.

    A context manager.
    """

    def __init__(self, decoder: str) -> None:
        """Take up a decoder.

        Raises:
            UserError: there is no such decoder, or it does not read an AR head.
        """
        self.name = decoder
        spec = DECODERS.create(decoder)
        if spec.needs != "states":
            raise UserError(f"{decoder} does not read with the AR decoder; choose ar-greedy")
        self.info = EncoderInfo("in training", "in training", {}, (), True)
        self._decoder = spec.open(self.info)

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

    def score(
        self,
        model: Any,
        pictures: Pictures,
        ar: ARModel,
        lines: Sequence[Line],
        done: Callable[[int], None],
    ) -> ReadScore:
        """Read lines in float32, as a run does by default, and score them.

        Args:
            model: a `VisionEncoderDecoderModel` in eval mode.
            pictures: how lines become its pixels.
            ar: its decoder.
            lines: as they are, without augmentation.
            done: hears how many more lines were read.
        """
        runtime = Runtime(device=str(model.device))
        encoder = TrOCREncoder(model, pictures, ar, self.info, runtime)
        pairs: list[tuple[str, str]] = []
        # Like lengths together: a batch takes as many steps as its longest line.
        ordered = sorted(lines, key=lambda line: line.image.shape[1] / line.image.shape[0])
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            encoded = encoder.encode(encoder.prepare([line.image for line in batch]))
            texts = [read.text for read in self._decoder.decode(encoded)]
            pairs += zip([line.text for line in batch], texts, strict=True)
            done(len(batch))
        return scored(pairs)
