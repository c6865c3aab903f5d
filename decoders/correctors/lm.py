"""The n best texts of a line, reranked by a causal language model and the decoder's score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bench.core.errors import Unavailable, UserError
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders.ar.base import ARDecoder
from decoders.base import Decoder, DecoderSpec, Scores, alternatives, ranked
from decoders.correctors.base import CorrectedLine, Corrector, CorrectorSpec
from decoders.ctc.base import check_weights
from decoders.ctc.beam import CTCBeamSpec
from decoders.language.causal import line_lm


@dataclass(frozen=True)
class RerankSpec(CorrectorSpec):
    """Score of the decoder + weight * log p of a causal language model + length * characters.

    It chooses from a list, so it invents nothing. The list of a decoder with a beam is its `texts`
    best (at most its beam); a decoder of single texts, such as ctc-greedy, is joined by the best of
    a CTC beam on the same encoding, each with the decoder's own score. An autoregressive decoder's
    score counts as log p of the whole text, not of a token. Impossible texts by decoder or model
    rank behind all others. Known from speech as n-best rescoring.

    weight: of the language model (natural logarithms); 0 leaves it out.
    length: bonus of each character.
        Both: none is the value tuned for the encoder, see `decoders/tuned.json`.
    texts: number of alternatives to rerank.
    model: Hub id or folder of a causal language model for transformers, or a file of
        `python -m bench train lm`; "" for the embedded one.
    """

    free: ClassVar[bool] = False
    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "weight": (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.5),
        "length": (0.0, 0.5, 1.0, 1.5, 2.0, 3.0),
    }
    untuned: ClassVar[Mapping[str, float]] = {"weight": 0.5, "length": 0.5}

    weight: float | None = None
    length: float | None = None
    texts: int = 16
    model: str = ""

    def __post_init__(self) -> None:
        if self.texts < 2:
            raise UserError(f"texts is the length of a list to put in order, not {self.texts}")
        check_weights(self.weight, self.length, ("weight", "length"))

    def alternatives(self) -> int:
        """The length of the list."""
        return self.texts

    def missing(self, encoder: EncoderInfo, decoder: DecoderSpec) -> Unavailable | None:
        """Check that the decoder or a CTC head offers alternatives."""
        if _has_nbest(decoder) or encoder.alphabet:
            return None
        return Unavailable(
            f"{type(decoder).__name__} has one text a line, and {encoder.name} has no CTC head to "
            "read others with",
            "take a decoder with a beam, such as ar-beam",
        )

    def open(self, encoder: EncoderInfo, decoder: Decoder) -> Corrector:
        """Load the model."""
        return _Rerank(self, encoder, decoder)


class _Rerank(Corrector):
    spec: RerankSpec

    def __init__(self, spec: RerankSpec, encoder: EncoderInfo, decoder: Decoder) -> None:
        super().__init__(spec, decoder)
        self._lm = line_lm(spec.model)
        self._beam: Decoder | None = None  # of alternatives, where the decoder has none
        if not _has_nbest(decoder.spec):
            beam = max(CTCBeamSpec.beam, spec.texts)
            self._beam = CTCBeamSpec(beam=beam, nbest=spec.texts).open(encoder)
        # Cached scores of the model while weights are tuned; None in a run, which caches nothing.
        self._known: dict[str, float] | None = None

    def correct(self, encoded: Encoded, lines: Sequence[Decoded]) -> list[CorrectedLine]:
        lists, scores = self._lists(encoded, lines)
        scores = _whole(self.decoder, encoded, lists, scores)
        lengths = np.cumsum([0, *map(len, lists)])
        flat = [text for texts in lists for text in texts]
        by_lm = self._by_lm(flat, str(encoded.states.device))
        weight, length = self.values["weight"], self.values["length"]
        corrections = []
        for k, (texts, own) in enumerate(zip(lists, scores, strict=True)):
            of_lm = by_lm[lengths[k] : lengths[k + 1]]
            sums = own + weight * of_lm + length * np.array([len(text) for text in texts])
            nbest = ranked(texts, np.where(np.isnan(sums), -np.inf, sums))
            corrections.append(CorrectedLine(nbest[0][0], score=nbest[0][1], nbest=nbest))
        return corrections

    def reweight(self, values: Mapping[str, float]) -> None:
        """Correct with these weights from now on.

        Only tuning changes weights, and repeats the same lines: from then on the model's scores are
        cached.
        """
        if self.values and self._known is None:
            self._known = {}
        super().reweight(values)

    def close(self) -> None:
        if self._beam is not None:
            self._beam.close()

    def extras(self) -> Mapping[str, Any]:
        lm = self._lm
        return {"lm": lm.name, "lm_sha256": lm.sha256, "lm_trained_on": lm.trained_on}

    def _by_lm(self, texts: Sequence[str], device: str) -> Scores:
        """Log-probabilities of the language model."""
        if self._known is None:
            return np.array(self._lm.score(texts, device))
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._lm.score(new, device), strict=True))
        return np.array([self._known[text] for text in texts])

    def _lists(
        self, encoded: Encoded, lines: Sequence[Decoded]
    ) -> tuple[list[list[str]], list[Scores]]:
        """List each line's texts, the decoder's own first, with the decoder's scores."""
        if self._beam is None:
            lists = [alternatives(line) for line in lines]
            return [list(one) for one in lists], [np.array(list(one.values())) for one in lists]
        others = zip(lines, self._beam.decode(encoded), strict=True)
        texts = [list(dict.fromkeys([line.text, *alternatives(other)])) for line, other in others]
        scores = self.decoder.score(encoded, texts)
        if scores is None:
            raise UserError(
                f"{type(self.decoder).__name__} cannot score texts that it did not write; take a "
                "decoder with a beam, such as ctc-beam or ar-beam"
            )
        return texts, scores


def _whole(
    decoder: Decoder,
    encoded: Encoded,
    lists: Sequence[Sequence[str]],
    scores: Sequence[Scores],
) -> list[Scores]:
    """Convert scores of texts to log-probabilities of whole texts.

    An autoregressive search divides by tokens ** length_penalty, and then a language model's
    log-probability, which grows with the text, would outweigh it.
    """
    ar = encoded.ar
    if not isinstance(decoder, ARDecoder) or ar is None or ar.tokenize is None:
        return list(scores)
    tokens = [np.array([len(ar.tokenize(x)) + 1.0 for x in texts]) for texts in lists]  # and EOS
    return [s * n**decoder.spec.length_penalty for s, n in zip(scores, tokens, strict=True)]


def _has_nbest(decoder: DecoderSpec) -> bool:
    """Check that a decoder keeps more than its best text."""
    return int(decoder.settings().get("nbest", 1)) > 1
