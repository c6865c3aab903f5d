"""A peer: flashlight-text's CTC beam search with a character model in KenLM."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import Unavailable, UserError
from bench.core.options import check_least
from bench.core.types import BLANK, Decoded, Encoded, EncoderInfo
from decoders import tuned
from decoders.ctc.base import (
    CTCSpec,
    check_beam,
    check_threshold,
    check_weights,
    checked_on_host,
    decoded,
    missing_space,
)
from decoders.language.arpa import SPACE
from decoders.language.lm import ngram_lm
from decoders.language.ngram import MAX_ORDER
from decoders.language.units import missing_symbols

_ANY = 1e9  # large enough to be no threshold
_IMPOSSIBLE = -1e4  # a log-probability; flashlight sums them and cannot take infinities


@dataclass(frozen=True)
class CTCFlashlightSpec(CTCSpec):
    """Shallow fusion of CTC with KenLM by flashlight-text 0.0.7, the decoder behind torchaudio's.

    Source: https://github.com/flashlight/text; J. Kahn et al. 2022, "Flashlight: enabling
    innovation in tools for machine learning" (ICML). Its settings are close to ctc-ngram's: the
    same model, beam and beam threshold, merged scores of equal texts (`log_add`), and as many
    symbols a frame as can pass ctc-ngram's threshold on any but a flat frame. It always treats a
    line as a sentence, with the model's marks at both ends. Spaces at the ends of texts, which this
    favours, are left out.

    alpha: weight of the language model (natural logarithms).
    beta: bonus of each space.
        Both: none is the value tuned for the encoder, see `decoders/tuned.json`.
    beam: hypotheses kept after each frame.
    beam_prune_logp: hypotheses worse than the best by more than this are dropped; none: kept.
    beam_tokens: likeliest symbols of each frame that are tried.
    lm: an ARPA file of characters; "" for the embedded model.
    nbest: texts of each line; 1 for the best one alone.
    """

    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "alpha": (0.2, 0.35, 0.5, 0.7, 0.9, 1.2),
        "beta": (-1.0, 0.0, 1.0, 2.0, 3.0),
    }
    untuned: ClassVar[Mapping[str, float]] = {"alpha": 0.5, "beta": 0.0}

    alpha: float | None = None
    beta: float | None = None
    beam: int = 32
    beam_prune_logp: float | None = -10.0
    beam_tokens: int = 16
    lm: str = ""
    nbest: int = 1

    def __post_init__(self) -> None:
        check_beam(self.beam, self.nbest)
        check_weights(self.alpha, self.beta)
        check_threshold("beam_prune_logp", self.beam_prune_logp)
        check_least(self, 1, "beam_tokens")

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """Refuse an alphabet without a space."""
        return super().missing(encoder) or missing_space(encoder)

    def open(self, encoder: EncoderInfo) -> tuned.Tunable:
        """Load the model (the embedded one is built at first use)."""
        return _CTCFlashlight(self, encoder)


class _CTCFlashlight(tuned.Tunable):
    spec: CTCFlashlightSpec

    def __init__(self, spec: CTCFlashlightSpec, encoder: EncoderInfo) -> None:
        self._lm = lm = ngram_lm(spec.lm, "char", MAX_ORDER)
        self._name = lm.name if spec.lm else f"{lm.name} char"  # for which weights are tuned
        own = tuned.weights(spec, encoder, (self._name, lm.sha256), "ctc-flashlight")
        super().__init__(spec, own)
        missing_symbols(lm.model.vocabulary, encoder.alphabet, str(lm.path))
        self._model = _load(lm.path, [lm.space if s == " " else s for s in encoder.alphabet])
        self._symbols, self._space = len(encoder.alphabet), encoder.alphabet.index(" ")
        self.reweight({})

    def decode(self, encoded: Encoded) -> list[Decoded]:
        log_probs, frames = checked_on_host(encoded)
        lines = zip(log_probs, frames.tolist(), strict=True)
        return [self._line(line[:count], encoded.alphabet) for line, count in lines]

    def extras(self) -> Mapping[str, Any]:
        return {
            **self._lm.extras(),
            "lm": self._name,
            **self.values,
            "tuned_on": self.source,
            "workers": 1,
        }

    def reweight(self, values: Mapping[str, float]) -> None:
        super().reweight(values)
        self._search = self._new_search()

    def _new_search(self) -> Any:
        """Flashlight's decoder with the current weights."""
        from flashlight.lib.text import decoder as flashlight

        spec = self.spec
        threshold = _ANY if spec.beam_prune_logp is None else -spec.beam_prune_logp
        tokens = min(spec.beam_tokens, self._symbols)
        weight = self.values["alpha"] * math.log(10)  # KenLM has log10
        beta = self.values["beta"]
        options = flashlight.LexiconFreeDecoderOptions(
            spec.beam, tokens, threshold, weight, beta, True, flashlight.CriterionType.CTC
        )
        return flashlight.LexiconFreeDecoder(options, self._model, self._space, BLANK, [])

    def _line(self, log_probs: NDArray[np.float32], alphabet: Sequence[str]) -> Decoded:
        if not len(log_probs):
            return Decoded("", 0, 0.0)
        emissions = np.ascontiguousarray(np.maximum(log_probs, np.float32(_IMPOSSIBLE)))
        ranked: dict[str, float] = {}
        for result in self._search.decode(emissions.ctypes.data, *emissions.shape):
            if len(ranked) < self.spec.nbest:
                ranked.setdefault(self._text(result, alphabet), result.score)
        return decoded(tuple(ranked.items()) or (("", -math.inf),), self.spec.nbest)

    def _text(self, result: Any, alphabet: Sequence[str]) -> str:
        path = itertools.groupby(token for token in result.tokens if token >= 0)
        return "".join(alphabet[token] for token, _ in path).strip()


def _load(path: Path, written: Sequence[str]) -> Any:
    """Load KenLM for flashlight; symbols are numbered by their places."""
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    entries = Dictionary()
    for place, entry in enumerate(written):
        entries.add_entry(entry or "<blank>", place)
    try:
        with _quiet():
            return KenLM(str(path), entries)
    except RuntimeError as error:
        raise UserError(
            f"KenLM, which ctc-flashlight needs, cannot read {path}; a space in it is written "
            f"{SPACE} or <space>, never as itself"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the progress bar that KenLM draws on stderr, past Python."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
