"""The n best texts of a line, put in order by a causal language model and the decoder's score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bench.core.errors import Unavailable, UserError
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders.ar.base import ARDecoder
from decoders.base import Decoder, DecoderSpec
from decoders.correctors.base import Correction, Corrector, CorrectorSpec, Scores, alternatives
from decoders.ctc.beam import CTCBeamSpec
from decoders.language.causal import line_lm


@dataclass(frozen=True)
class RerankSpec(CorrectorSpec):
    """Score of the decoder + weight * log p of a causal language model + length * characters.

    It cannot leave the list, so it can invent nothing. A decoder with a beam is asked for its
    `texts` best (at most its beam); one that tells a single text, such as ctc-greedy, has the best
    of a CTC beam of the same encoding beside it, each with the decoder's own score of that text.
    An autoregressive decoder's score counts as log p of the whole text, not of a token.
    Texts that the decoder could never write, or that the model finds impossible, stay behind all
    others. Known from speech as n-best rescoring.

    weight: of the language model (natural logarithms); 0 leaves it out.
    length: bonus of each character.
        These two: none is the value tuned for the encoder, see `decoders/tuned.json`.
    texts: alternatives that are put in order.
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

    def wanted(self) -> int:
        """A list to put in order."""
        return self.texts

    def missing(self, encoder: EncoderInfo, decoder: DecoderSpec) -> Unavailable | None:
        """Alternatives have to come from somewhere."""
        if _tells(decoder) or encoder.alphabet:
            return None
        return Unavailable(
            f"{type(decoder).__name__} tells one text a line, and {encoder.name} has no CTC head "
            "that would tell more",
            "take a decoder with a beam, such as ar-beam",
        )

    def open(self, encoder: EncoderInfo, decoder: Decoder) -> Corrector:
        """Load the model.

        Raises:
            UserError: it cannot be loaded.
        """
        return Rerank(self, encoder, decoder)


class Rerank(Corrector):
    """Puts lists of texts in order."""

    spec: RerankSpec

    def __init__(self, spec: RerankSpec, encoder: EncoderInfo, decoder: Decoder) -> None:
        super().__init__(spec, decoder)
        self._lm = line_lm(spec.model)
        self._beam: Decoder | None = None  # of alternatives, where the decoder has none
        if not _tells(decoder.spec):
            beam = max(CTCBeamSpec.beam, spec.texts)
            self._beam = CTCBeamSpec(beam=beam, nbest=spec.texts).open(encoder)
        # What the model said of texts, while weights change; None in a run, which keeps nothing.
        self._known: dict[str, float] | None = None

    def correct(self, encoded: Encoded, lines: Sequence[Decoded]) -> list[Correction]:
        """Each line's texts in their new order; the score is the sum."""
        lists, scores = self._lists(encoded, lines)
        scores = _whole(self.decoder, encoded, lists, scores)
        lengths = np.cumsum([0, *map(len, lists)])
        flat = [text for texts in lists for text in texts]
        judged = self._judged(flat, str(encoded.states.device))
        weight, length = self.values["weight"], self.values["length"]
        found = []
        for k, (texts, own) in enumerate(zip(lists, scores, strict=True)):
            of_lm = judged[lengths[k] : lengths[k + 1]]
            sums = own + weight * of_lm + length * np.array([len(text) for text in texts])
            found.append(_ranked(texts, np.where(np.isnan(sums), -np.inf, sums)))
        return found

    def reweight(self, values: Mapping[str, float]) -> None:
        """Correct with these weights from now on.

        Who changes the weights of an open corrector tunes it, on the same lines again and again,
        so that from then on the model's word on a text is kept. Nothing is kept in a run.
        """
        if self.values and self._known is None:
            self._known = {}
        super().reweight(values)

    def close(self) -> None:
        """Close the beam."""
        if self._beam is not None:
            self._beam.close()

    def extras(self) -> Mapping[str, Any]:
        """The language model."""
        lm = self._lm
        return {"lm": lm.name, "lm_sha256": lm.sha256, "lm_trained_on": lm.trained_on}

    def _judged(self, texts: Sequence[str], device: str) -> Scores:
        """Log-probabilities of the language model."""
        if self._known is None:
            return np.array(self._lm.score(texts, device))
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._lm.score(new, device), strict=True))
        return np.array([self._known[text] for text in texts])

    def _lists(
        self, encoded: Encoded, lines: Sequence[Decoded]
    ) -> tuple[list[list[str]], list[Scores]]:
        """The texts of each line, the decoder's own first, and their scores by the decoder."""
        if self._beam is None:
            pairs = [alternatives(line) for line in lines]
            texts = [[text for text, _ in line] for line in pairs]
            return texts, [np.array([score for _, score in line]) for line in pairs]
        others = self._beam.decode(encoded)
        texts = [_beside(*pair) for pair in zip(lines, others, strict=True)]
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
    """Scores of texts as log-probabilities of the whole of them.

    An autoregressive search divides by tokens ** length_penalty, and then a language model's
    log-probability, which grows with the text, would outweigh it.
    """
    ar = encoded.ar
    if not isinstance(decoder, ARDecoder) or ar is None or ar.tokenize is None:
        return list(scores)
    tokens = [np.array([len(ar.tokenize(x)) + 1.0 for x in texts]) for texts in lists]  # and EOS
    return [s * n**decoder.spec.length_penalty for s, n in zip(scores, tokens, strict=True)]


def _tells(decoder: DecoderSpec) -> bool:
    """Whether a decoder tells more than its best text."""
    return int(decoder.settings().get("nbest", 1)) > 1


def _beside(line: Decoded, others: Decoded) -> list[str]:
    """The text of a line and those of a beam, each once."""
    return list(dict.fromkeys([line.text, *(text for text, _ in alternatives(others))]))


def _ranked(texts: Sequence[str], sums: Scores) -> Correction:
    order = np.argsort(-sums, kind="stable")  # of equals the decoder's own comes first
    nbest = tuple((texts[place], float(sums[place])) for place in order)
    return Correction(nbest[0][0], score=nbest[0][1], nbest=nbest)
