"""The base of the autoregressive searches: hypotheses as text, and scores of texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from bench.core.errors import UserError
from bench.core.types import TROCR, ARModel, Decoded, Encoded
from decoders.ar.constraints import Constraints
from decoders.ar.score import score_texts
from decoders.base import Decoder, DecoderSpec, Scores

# transformers marks missing hypotheses of a line by a score of -1e9.
_NO_HYPOTHESIS = -1e8


class ARDecoder(Decoder):
    """A search with an autoregressive head, token by token."""

    def __init__(self, spec: DecoderSpec, constraints: Constraints | None = None) -> None:
        super().__init__(spec)
        self._constraints = constraints

    def extras(self) -> Mapping[str, Any]:
        """The settings of the checkpoint that were applied."""
        if self._constraints is None:
            return {}
        return {"generation_applied": self._constraints.stated()}

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
        """Score each text, in its usual spelling: log-probability / tokens ** length_penalty.

        None under a checkpoint's settings, which change the objective, and of other decoders than
        TrOCR's.
        """
        ar = encoded.ar
        if ar is None or ar.tokenize is None or ar.decoder.config.model_type != TROCR:
            return None
        if self._constraints is not None:
            return None
        return score_texts(ar, encoded, texts, self.spec.length_penalty)

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


def _until_eos(tokens: list[int], eos_id: int) -> list[int]:
    """The tokens up to and including the first EOS: the count of TrOCR's speed table."""
    return tokens[: tokens.index(eos_id) + 1] if eos_id in tokens else tokens
