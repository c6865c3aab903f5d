"""CTC prefix beam search without any language: what the search alone adds to the best path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders.base import Decoder
from decoders.ctc.base import BeamSpec, on_host
from decoders.ctc.prefix_beam import no_language
from decoders.ctc.prefix_search import Limits, Threads, compile_search, search_prefixes
from decoders.ctc.score import ctc_scores


@dataclass(frozen=True)
class CTCBeamSpec(BeamSpec):
    """The likeliest text, all its paths summed, as far as a beam of prefixes finds it."""

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
        compile_search(len(encoder.alphabet), no_language(len(encoder.alphabet)))
        self._limits = Limits(spec.beam, spec.beam_prune_logp, spec.token_min_logp, spec.nbest)
        self._threads = Threads()

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """The score is the log-probability of the text, of its paths inside the beam.

        Raises:
            UserError: the log-probabilities are broken (NaN, not normalised).
        """
        log_probs, frames = on_host(encoded)
        language = no_language(log_probs.shape[2])
        found = search_prefixes(self._threads, log_probs, frames, language, self._limits)
        return found.decoded(encoded.alphabet)

    def score(
        self, encoded: Encoded, texts: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]] | None:
        """The log-probability of each text, all its paths summed."""
        return ctc_scores(encoded, texts)

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def extras(self) -> Mapping[str, Any]:
        """How many threads share the lines of a batch."""
        return {"workers": self._threads.count}
