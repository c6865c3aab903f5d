"""CTC prefix beam search without a language model: the gain of the search alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders.base import Decoder, Scores
from decoders.ctc.base import BeamSpec, ctc_scores
from decoders.ctc.prefix_beam import no_language, search
from decoders.ctc.search import Threads, compile_search, search_batch


@dataclass(frozen=True)
class CTCBeamSpec(BeamSpec):
    """CTC prefix beam search for the likeliest text, summed over its paths."""

    # On synthetic posteriors these options read 380 of 384 lines as a beam of 200 without a
    # threshold did, at thousands of lines a second on one core.
    def open(self, encoder: EncoderInfo) -> Decoder:
        """Compile the search (seconds, once a machine) and start as many threads as torch has."""
        return CTCBeam(self, encoder)


class CTCBeam(Decoder):
    """Searches prefixes with several threads."""

    spec: CTCBeamSpec

    def __init__(self, spec: CTCBeamSpec, encoder: EncoderInfo) -> None:
        super().__init__(spec)
        symbols = len(encoder.alphabet)
        compile_search(symbols, spec, search, no_language(symbols))
        self._threads = Threads()

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """Decode; the score is the text's log-probability over its paths inside the beam."""
        language = no_language(len(encoded.alphabet))
        return search_batch(self._threads, encoded, self.spec, search, language)

    def score(self, encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[Scores] | None:
        """Score each text by its log-probability over all paths."""
        return ctc_scores(encoded, texts)

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def extras(self) -> Mapping[str, Any]:
        """The number of threads that share the lines of a batch."""
        return {"workers": self._threads.count}
