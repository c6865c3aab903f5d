"""The n best texts of a line, put in order by a causal language model and the decoder's score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from bench.core.errors import Unavailable, UserError
from bench.core.types import Decoded, EncoderInfo
from decoders.ar.base import ARDecoder
from decoders.base import Decoder
from decoders.correctors.base import Correction, Corrector, Read, Scores, alternatives
from decoders.ctc.beam import CTCBeam
from decoders.language.causal import LineLM, line_lm


@dataclass(frozen=True)
class Rerank(Corrector):
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
    _open: _Open | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.texts < 2:
            raise UserError(f"texts is the length of a list to put in order, not {self.texts}")

    def wanted(self) -> int:
        """A list to put in order."""
        return self.texts

    def missing(self, encoder: EncoderInfo, decoder: Decoder) -> Unavailable | None:
        """Alternatives have to come from somewhere."""
        if _tells(decoder) or encoder.alphabet:
            return None
        return Unavailable(
            f"{type(decoder).__name__} tells one text a line, and {encoder.name} has no CTC head "
            "that would tell more",
            "take a decoder with a beam, such as ar-beam",
        )

    def open(self, encoder: EncoderInfo, decoder: Decoder) -> None:
        """Load the model.

        Raises:
            UserError: it cannot be loaded.
        """
        beam = None
        if not _tells(decoder):
            beam = CTCBeam(beam=max(CTCBeam.beam, self.texts), nbest=self.texts)
            beam.open(encoder)
        object.__setattr__(self, "_open", _Open(line_lm(self.model), beam))

    def correct(self, read: Read) -> list[Correction]:
        """Each line's texts in their new order; the score is the sum."""
        lists, scores = self._lists(read)
        scores = _whole(read, lists, scores)
        lengths = np.cumsum([0, *map(len, lists)])
        flat = [text for texts in lists for text in texts]
        judged = self._judged(flat, str(read.encoded.states.device))
        weight, length = self._values["weight"], self._values["length"]
        found = []
        for k, (texts, own) in enumerate(zip(lists, scores, strict=True)):
            of_lm = judged[lengths[k] : lengths[k + 1]]
            sums = own + weight * of_lm + length * np.array([len(text) for text in texts])
            found.append(_ranked(texts, np.where(np.isnan(sums), -np.inf, sums)))
        return found

    def weigh(self, values: Mapping[str, float]) -> None:
        """Correct with these weights from now on.

        Who changes the weights of an open corrector tunes it, on the same lines again and again,
        so that from then on the model's word on a text is kept. Nothing is kept in a run.
        """
        super().weigh(values)
        state = self._state()
        state.known = {} if state.weighed and state.known is None else state.known
        state.weighed = True

    def close(self) -> None:
        """Let go of the model."""
        if self._open is not None and self._open.beam is not None:
            self._open.beam.close()
        object.__setattr__(self, "_open", None)

    def extras(self) -> Mapping[str, Any]:
        """The language model."""
        lm = self._state().lm
        return {"lm": lm.name, "lm_sha256": lm.sha256, "lm_trained_on": lm.trained_on}

    def _judged(self, texts: Sequence[str], device: str) -> Scores:
        """Log-probabilities of the language model."""
        state = self._state()
        if state.known is None:
            return np.array(state.lm.score(texts, device))
        new = [text for text in dict.fromkeys(texts) if text not in state.known]
        state.known.update(zip(new, state.lm.score(new, device), strict=True))
        return np.array([state.known[text] for text in texts])

    def _lists(self, read: Read) -> tuple[list[list[str]], list[Scores]]:
        """The texts of each line, the decoder's own first, and their scores by the decoder."""
        beam = self._state().beam
        if beam is None:
            pairs = [alternatives(line) for line in read.lines]
            texts = [[text for text, _ in line] for line in pairs]
            return texts, [np.array([score for _, score in line]) for line in pairs]
        others = beam.decode(read.encoded)
        texts = [_beside(*pair) for pair in zip(read.lines, others, strict=True)]
        scores = read.decoder.score(read.encoded, texts)
        if scores is None:
            raise UserError(
                f"{type(read.decoder).__name__} cannot score texts that it did not write; take a "
                "decoder with a beam, such as ctc-beam or ar-beam"
            )
        return texts, scores

    def _state(self) -> _Open:
        if self._open is None:
            raise RuntimeError("the corrector is not open")
        return self._open


@dataclass(eq=False)
class _Open:
    """What `open` makes.

    beam: it tells the alternatives where the decoder has none.
    weighed: the weights have been set. known: see `weigh`.
    """

    lm: LineLM
    beam: CTCBeam | None
    weighed: bool = False
    known: dict[str, float] | None = None


def _whole(read: Read, lists: Sequence[Sequence[str]], scores: Sequence[Scores]) -> list[Scores]:
    """Scores of texts as log-probabilities of the whole of them.

    An autoregressive search divides by tokens ** length_penalty, and then a language model's
    log-probability, which grows with the text, would outweigh it.
    """
    decoder, ar = read.decoder, read.encoded.ar
    if not isinstance(decoder, ARDecoder) or ar is None or ar.tokenize is None:
        return list(scores)
    tokens = [np.array([len(ar.tokenize(x)) + 1.0 for x in texts]) for texts in lists]  # and EOS
    return [s * n**decoder.length_penalty for s, n in zip(scores, tokens, strict=True)]


def _tells(decoder: Decoder) -> bool:
    """Whether a decoder tells more than its best text."""
    return int(getattr(decoder, "nbest", 1)) > 1


def _beside(line: Decoded, others: Decoded) -> list[str]:
    """The text of a line and those of a beam, each once."""
    return list(dict.fromkeys([line.text, *(text for text, _ in alternatives(others))]))


def _ranked(texts: Sequence[str], sums: Scores) -> Correction:
    order = np.argsort(-sums, kind="stable")  # of equals the decoder's own comes first
    nbest = tuple((texts[place], float(sums[place])) for place in order)
    return Correction(nbest[0][0], score=nbest[0][1], nbest=nbest)
