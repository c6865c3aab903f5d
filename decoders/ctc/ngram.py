"""CTC prefix beam search with a character n-gram model as dense tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders import tuned
from decoders.ctc.base import on_host
from decoders.ctc.dense_lm import dense_lm
from decoders.ctc.fusion import FusionSpec
from decoders.ctc.ngram_torch import TorchSearch
from decoders.ctc.prefix_search import Limits, Threads, compile_search, search_prefixes
from decoders.ctc.score import ctc_scores
from decoders.language.arpa_lm import arpa_lm, check_embedded_order

_NAME = "ctc-ngram"
_UNTUNED = {"alpha": 0.5, "beta": 0.5}


@dataclass(frozen=True)
class CTCNGramSpec(FusionSpec):
    """Shallow fusion of CTC with a character n-gram: log p_ctc + alpha * log p_lm + beta * length.

    The search is that of ctc-beam, and alpha = beta = 0 is ctc-beam, number for number: alpha is
    the dose of language. Where the log-probabilities lie on a GPU the same search runs there.

    alpha, beta: none is the value tuned for the encoder, see `decoders/tuned.json`.
    score_boundary: without it a line begins behind a space and ends anywhere.
    lm: a model of characters, its space as U+2581, <space>, | or itself.
    order: of the embedded model.
    """

    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "alpha": (0.35, 0.5, 0.7, 0.9, 1.2, 1.5),
        "beta": (0.0, 0.5, 1.0, 1.5, 2.0, 3.0),
    }

    order: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_embedded_order(self.lm, self.order, type(self).order)

    def open(self, encoder: EncoderInfo) -> tuned.Tunable:
        """Read the model (the embedded one is built at first use) and compile the search.

        Raises:
            UserError: the model cannot be read or does not fit the encoder's alphabet.
        """
        return CTCNGram(self, encoder)


class CTCNGram(tuned.Tunable):
    """Searches prefixes with the tables of a language model."""

    spec: CTCNGramSpec

    def __init__(self, spec: CTCNGramSpec, encoder: EncoderInfo) -> None:
        self._lm = lm = arpa_lm(spec.lm, "char", spec.order)
        self._dense = dense_lm(lm.model, encoder.alphabet, str(lm.path))
        untuned = (_UNTUNED, "nothing (a guess)")
        names = (lm.name, lm.sha256)
        super().__init__(spec, tuned.weights(spec, (_NAME,), encoder, names, untuned))
        self._limits = Limits(spec.beam, spec.beam_prune_logp, spec.token_min_logp, spec.nbest)
        self._elsewhere: TorchSearch | None = None  # on a device that is not the CPU
        self.reweight({})
        compile_search(len(encoder.alphabet), self._language)
        self._threads = Threads()

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """The score is that of the search: log-probability + language model + bonus of length.

        Raises:
            UserError: the log-probabilities are broken (NaN, not normalised).
        """
        if encoded.log_probs is not None and encoded.log_probs.device.type != "cpu":
            device = encoded.log_probs.device
            self._elsewhere = self._elsewhere or TorchSearch(self._language, device)
            return self._elsewhere.run(encoded, self._limits).decoded(encoded.alphabet)
        log_probs, frames = on_host(encoded)
        found = search_prefixes(self._threads, log_probs, frames, self._language, self._limits)
        return found.decoded(encoded.alphabet)

    def score(
        self, encoded: Encoded, texts: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]] | None:
        """The log-probability of each text, all its paths summed, and what the model adds to it."""
        found = ctc_scores(encoded, texts)
        for of_line, line in zip(found, texts, strict=True):
            reachable = np.flatnonzero(np.isfinite(of_line))
            for place in reachable:
                of_line[place] += self._price(line[place], encoded.alphabet)
        return found

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def extras(self) -> Mapping[str, Any]:
        """The model, the weights in force and where they were tuned, the threads in use."""
        return {
            "lm": self._lm.name,
            "lm_sha256": self._lm.sha256,
            "lm_order": self._lm.model.order,
            "lm_trained_on": self._lm.trained_on,
            "lm_states": len(self._dense.log_prob),
            "lm_missing": "".join(self._dense.missing),  # characters that it takes for <unk>
            **self.values,
            "tuned_on": self.source,
            "workers": self._threads.count,
        }

    def reweight(self, values: Mapping[str, float]) -> None:
        """Decode with these weights from now on; the tables are worked out anew."""
        super().reweight(values)
        alpha, beta = self.values["alpha"], self.values["beta"]
        self._language = self._dense.language(alpha, beta, self.spec.score_boundary)
        self._elsewhere = None

    def _price(self, text: str, alphabet: Sequence[str]) -> float:
        """Natural log of all that the model multiplies a text by."""
        language, total = self._language, 0.0
        state = language.start
        for symbol in map(alphabet.index, text):
            factor, state = language.steps[state, symbol].item()
            total += math.log(factor)
        return total + math.log(language.final[state])
