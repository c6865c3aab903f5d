"""The options of the autoregressive searches, and their hypotheses as text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from bench.core.errors import UserError
from bench.core.types import ARModel, Decoded, Encoded, EncoderInfo, Needs
from decoders.ar.score import score_texts
from decoders.base import Decoder, DecoderSpec, Scores

# transformers marks missing hypotheses of a line by a score of -1e9.
_NO_HYPOTHESIS = -1e8


@dataclass(frozen=True)
class ARSpec(DecoderSpec, ABC):
    """Greedy (beam of 1) or beam search with the encoder's own autoregressive head.

    The defaults but for the beam are those of TrOCR's evaluation (fairseq's: length penalty 1,
    a line ends once it has as many finished hypotheses as beams, at most 200 tokens; Li et al.
    2021, "TrOCR", https://arxiv.org/abs/2109.10282, which has a beam of 10).

    beam: hypotheses kept a line; 1 takes the likeliest token at each step.
    length_penalty: hypotheses are ranked by log-probability / length ** length_penalty, the
        length in tokens, EOS included.
    early_stopping: when a line with `beam` finished hypotheses ends. True: at once. False: when no
        open one beats the worst of them at its present length. "never": when none could at any
        length (transformers' three rules, by their names).
    max_new_tokens: most tokens of a line, EOS included; the head may allow fewer.
    nbest: hypotheses of each line, at most `beam`.
    """

    needs: ClassVar[Needs] = "states"

    beam: int = 5
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = True
    max_new_tokens: int = 200
    nbest: int = 1

    def __post_init__(self) -> None:
        check_positive(self, "beam", "max_new_tokens", "nbest")
        if self.early_stopping not in (True, False, "never"):
            raise UserError(f"early_stopping is {self.early_stopping!r}; give true, false or never")
        if self.nbest > self.beam:
            raise UserError(
                f"a beam of {self.beam} does not hold {self.nbest} hypotheses; give a wider beam "
                "or a smaller nbest"
            )
        if self.beam == 1 and self.early_stopping is not True:
            raise UserError("early_stopping has no meaning without a beam; leave it out")

    def ignored(self, encoder: EncoderInfo) -> Mapping[str, Any]:
        """All settings but those that its own options agree with."""
        return unapplied(
            encoder, self.max_new_tokens, num_beams=self.beam, length_penalty=self.length_penalty,
            early_stopping=self.early_stopping,
        )  # fmt: skip


class ARDecoder(Decoder):
    """A search with an autoregressive head, token by token."""

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """The best hypothesis of each line.

        The score is log-probability / tokens ** length_penalty.

        Raises:
            UserError: the encoder has no autoregressive head, or computes no numbers for a line.
        """
        if encoded.ar is None:
            raise UserError("this encoder has no autoregressive head; choose a ctc decoder")
        if not len(encoded.states):
            return []
        with torch.inference_mode():
            tokens, scores = self._search(encoded.ar, encoded)
        return list(self._decoded(encoded.ar, tokens, scores))

    def score(self, encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[Scores] | None:
        """Score each text, in its usual spelling: log-probability / tokens ** length_penalty."""
        if encoded.ar is None or encoded.ar.tokenize is None:
            return None
        return score_texts(encoded.ar, encoded, texts, self.spec.length_penalty)

    @abstractmethod
    def _search(self, ar: ARModel, encoded: Encoded) -> tuple[list[list[int]], list[float]]:
        """Token ids without the start token, and scores, of B * nbest hypotheses, best first.

        A hypothesis may hold anything after EOS; a missing one scores below all others.
        """

    def _limit(self, ar: ARModel) -> int:
        """Most tokens that any line of the batch may have."""
        limit = min(self.spec.max_new_tokens, ar.max_new_tokens)
        if ar.forced_lengths is not None:
            limit = min(limit, int(ar.forced_lengths.max()))
        return limit

    def _decoded(
        self, ar: ARModel, tokens: list[list[int]], scores: list[float]
    ) -> Iterator[Decoded]:
        width = self.spec.nbest
        for first in range(0, len(tokens), width):
            if not scores[first] > _NO_HYPOTHESIS:
                raise UserError(
                    f"the log-probabilities of line {first // width + 1} of a batch are not "
                    "numbers; run in float32 and check the weights"
                )
            best = _until_eos(tokens[first], ar.eos_id)
            texts = [
                (ar.detokenize(_until_eos(tokens[i], ar.eos_id)), scores[i])
                for i in range(first, first + width)
                if scores[i] > _NO_HYPOTHESIS
            ]
            yield Decoded(
                text=texts[0][0],
                tokens=len(best),
                score=texts[0][1],
                nbest=tuple(texts) if width > 1 else (),
                truncated=best[-1] != ar.eos_id,
            )


def check_positive(spec: DecoderSpec, *options: str) -> None:
    """Check that options are at least 1.

    Raises:
        UserError: naming the first one.
    """
    for option in options:
        if getattr(spec, option) < 1:
            raise UserError(f"{option} is {getattr(spec, option)}; give at least 1")


def unapplied(encoder: EncoderInfo, most: int, **own: Any) -> dict[str, Any]:
    """The generation settings of a checkpoint that a search does not apply.

    Args:
        encoder: whose settings.
        most: new tokens of a line; a limit of the checkpoint that is wider does not matter.
        own: the search's settings.
    """
    limits = {"max_new_tokens": most, "max_length": most + 1}  # the latter with the start token
    return {
        name: value
        for name, value in encoder.generation.items()
        if own.get(name) != value and not (name in limits and value >= limits[name])
    }


def _until_eos(tokens: list[int], eos_id: int) -> list[int]:
    """The tokens up to and including the first EOS: the count of TrOCR's speed table."""
    return tokens[: tokens.index(eos_id) + 1] if eos_id in tokens else tokens
