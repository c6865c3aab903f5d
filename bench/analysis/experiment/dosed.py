"""A decoder that weighs its language model by a measured dose of what was tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bench.core.errors import Unavailable
from bench.core.types import EncoderInfo, Needs
from decoders import DECODERS
from decoders.base import Decoder, DecoderSpec

WEIGHED = ("alpha", "beta")  # the bonus of length makes up for the model's cost, so both


@dataclass(frozen=True)
class DosedSpec(DecoderSpec):
    """`decoder` with `dose` times the weights in force; at 0 it reads without language.

    decoder: registered name of a CTC decoder that is tuned (`ctc-ngram`).
    dose: 1 for the tuned weights themselves.
    options: of that decoder.
    """

    needs: ClassVar[Needs] = "log_probs"

    decoder: str
    dose: float
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[Any, ...]:
        """This and the decoder itself."""
        return (self, DECODERS.create(self.decoder, self.options))

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """What the decoder itself misses."""
        absent: Unavailable | None = self.parts[1].missing(encoder)
        return absent

    def alphabet(self, encoder: EncoderInfo) -> tuple[str, ...]:
        """That of the decoder itself."""
        symbols: tuple[str, ...] = self.parts[1].alphabet(encoder)
        return symbols

    def open(self, encoder: EncoderInfo) -> Decoder:
        """Open the decoder and weaken its weights.

        Raises:
            UserError: it cannot be opened.
        """
        decoder = self.parts[1].open(encoder)
        decoder.reweight({name: self.dose * decoder.values[name] for name in WEIGHED})
        return decoder
