"""A decoder that weighs its language model by a measured dose of what was tuned."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import Unavailable
from bench.core.hashing import code_version
from bench.core.types import Decoded, Encoded, EncoderInfo, Needs
from decoders import DECODERS
from decoders.base import Decoder
from decoders.tuned import Tunable

WEIGHED = ("alpha", "beta")  # the bonus of length makes up for the model's cost, so both


@dataclass(frozen=True)
class Dosed(Decoder):
    """`decoder` with `dose` times the weights in force; at 0 it reads without language.

    decoder: registered name of a CTC decoder that is tuned (`ctc-ngram`).
    dose: 1 for the tuned weights themselves.
    options: of that decoder.
    """

    needs: ClassVar[Needs] = "log_probs"

    decoder: str
    dose: float
    options: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def _inner(self) -> Tunable[Any]:
        inner: Tunable[Any] = DECODERS.create(self.decoder, self.options)
        return inner

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """What the decoder itself misses."""
        return self._inner.missing(encoder)

    def alphabet(self, encoder: EncoderInfo) -> tuple[str, ...]:
        """That of the decoder itself."""
        return self._inner.alphabet(encoder)

    def open(self, encoder: EncoderInfo) -> None:
        """Open the decoder and weaken its weights.

        Raises:
            UserError: it cannot be opened.
        """
        self._inner.open(encoder)
        whole = self._inner.extras()
        self._inner.reweight({name: self.dose * whole[name] for name in WEIGHED})

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """As the decoder itself does."""
        return self._inner.decode(encoded)

    def score(
        self, encoded: Encoded, texts: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]] | None:
        """The decoder's objective at this dose."""
        return self._inner.score(encoded, texts)

    def close(self) -> None:
        """Close the decoder."""
        self._inner.close()

    def extras(self) -> Mapping[str, Any]:
        """What the decoder says, and the version of its code: a row's key knows this file alone."""
        module = type(self._inner).__module__
        return {**self._inner.extras(), "decoder_code": code_version((module,))}
