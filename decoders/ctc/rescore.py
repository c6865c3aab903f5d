"""The n best texts of a CTC beam, reranked by the encoder's own autoregressive head."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bench.core.errors import Unavailable, UserError
from bench.core.types import ARModel, Decoded, Encoded, EncoderInfo, Needs
from decoders import DECODERS, tuned
from decoders.base import DecoderSpec, Scores, alternatives, ranked
from decoders.ctc.base import CTCSpec, check_beam, check_weights, decoded


@dataclass(frozen=True)
class CTCRescoreSpec(DecoderSpec):
    """Two passes: log p of a CTC beam + alpha * log p of the AR head + beta * characters.

    The AR head scores all hypotheses of a line in one pass with teacher forcing, and cannot add to
    them. Known from speech as attention rescoring (Zhang et al. 2020, "U2",
    https://arxiv.org/abs/2012.05481). A line with a text of more tokens than the head can write
    keeps the order of the first pass.

    alpha: weight of the AR head (natural logarithms); 0 keeps the order of the first pass.
    beta: bonus of each character.
        Both: none is the value tuned for the encoder, see `decoders/tuned.json`.
    first: the CTC decoder of the first pass, with n-best, and with the weights tuned for it.
    first_beam: its beam.
    beam: number of its best texts that the AR head scores.
    nbest: texts of each line; 1 for the best one alone.
    """

    needs: ClassVar[Needs] = "both"
    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "alpha": (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.5),
        "beta": (-0.5, 0.0, 0.5, 1.0, 1.5),
    }
    untuned: ClassVar[Mapping[str, float]] = {"alpha": 0.5, "beta": 0.0}

    alpha: float | None = None
    beta: float | None = None
    first: str = "ctc-beam"
    first_beam: int = 64
    beam: int = 16
    nbest: int = 1

    def __post_init__(self) -> None:
        check_beam(self.beam, self.nbest)
        check_weights(self.alpha, self.beta)
        if self.beam > self.first_beam:
            raise UserError(
                f"a first_beam of {self.first_beam} does not hold {self.beam} texts; "
                "give a wider first_beam or a smaller beam"
            )
        if not _has_nbest(self.first):
            fitting = ", ".join(name for name in DECODERS.names() if _has_nbest(name))
            raise UserError(f"first is one of {fitting}, not {self.first}")

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """Check for both heads, and for the needs of the first pass."""
        try:
            return super().missing(encoder) or self.search.missing(encoder)
        except Unavailable as absent:
            return absent

    def alphabet(self, encoder: EncoderInfo) -> tuple[str, ...]:
        """The alphabet of the CTC head, which writes all texts."""
        return encoder.alphabet

    @property
    def search(self) -> CTCSpec:
        """The first pass."""
        options = {"beam": self.first_beam, "nbest": self.beam}
        search: CTCSpec = DECODERS.create(self.first, options)
        return search

    @property
    def parts(self) -> tuple[Any, ...]:
        """This and the first pass."""
        return (self, self.search)

    def open(self, encoder: EncoderInfo) -> tuned.Tunable:
        """Open the first pass."""
        return _CTCRescore(self, encoder)


class _CTCRescore(tuned.Tunable):
    spec: CTCRescoreSpec

    def __init__(self, spec: CTCRescoreSpec, encoder: EncoderInfo) -> None:
        self._first = spec.search.open(encoder)
        first = self._first.extras()
        # The first pass with its language model, for which the weights are tuned.
        name = f"{spec.first}/{first['lm']}" if "lm" in first else spec.first
        self._lm = name, first.get("lm_sha256", "")
        super().__init__(spec, tuned.weights(spec, encoder, self._lm, "ctc-rescore"))

    def decode(self, encoded: Encoded) -> list[Decoded]:
        if encoded.ar is None:
            raise UserError("this encoder has no autoregressive head; choose another decoder")
        lists = [alternatives(line) for line in self._first.decode(encoded)]
        if not lists:
            return []
        by_head = _score_texts(encoded.ar, encoded, [list(one) for one in lists])
        return [self._ranked(one, scores) for one, scores in zip(lists, by_head, strict=True)]

    def score(self, encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[Scores] | None:
        first = self._first.score(encoded, texts)
        if first is None or encoded.ar is None:
            return None
        by_head = _score_texts(encoded.ar, encoded, texts)
        return [self._sum(*of_line) for of_line in zip(first, by_head, texts, strict=True)]

    def close(self) -> None:
        self._first.close()

    def extras(self) -> Mapping[str, Any]:
        return {
            "lm": self._lm[0],
            "lm_sha256": self._lm[1],
            **self.values,
            "tuned_on": self.source,
            **{f"first_{name}": value for name, value in self._first.extras().items()},
        }

    def _ranked(self, first: Mapping[str, float], by_head: Scores) -> Decoded:
        """Rerank the texts of a line, which come with their scores of the first pass."""
        texts, scores = list(first), np.array(list(first.values()))
        if np.isfinite(by_head).all():
            scores = self._sum(scores, by_head, texts)
        return decoded(ranked(texts, scores), self.spec.nbest)

    def _sum(self, first: Scores, by_head: Scores, texts: Sequence[str]) -> Scores:
        alpha, beta = self.values["alpha"], self.values["beta"]
        total: Scores = first + alpha * by_head + beta * np.array([len(text) for text in texts])
        return total


def _score_texts(ar: ARModel, encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[Scores]:
    from decoders.ar.score import score_texts  # with torch

    return score_texts(ar, encoded, texts)


def _has_nbest(name: str) -> bool:
    """Check that a decoder reads CTC output alone and keeps the n best texts of a beam."""
    try:
        target = DECODERS.target(name)
    except Unavailable:  # `missing` has the reason
        return True
    options = {option.name for option in dataclasses.fields(target)}
    return issubclass(target, CTCSpec) and {"beam", "nbest"} <= options
