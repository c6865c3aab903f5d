"""A checkpoint's own settings for generating text, applied on request; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from bench.core.errors import UserError
from bench.core.types import ARModel, EncoderInfo

if TYPE_CHECKING:
    import torch
    from transformers import LogitsProcessorList

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Tokens = tuple[_Count, ...]


@dataclass(frozen=True)
class Constraints:
    """Settings of transformers' `generate` that forbid, force or penalise tokens, by its names."""

    no_repeat_ngram_size: _Count = 0
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    min_length: _Count = 0
    min_new_tokens: _Count = 0
    forced_bos_token_id: _Count | None = None
    forced_eos_token_id: _Count | None = None
    suppress_tokens: _Tokens = ()
    begin_suppress_tokens: _Tokens = ()

    @classmethod
    def of(cls, encoder: EncoderInfo, stated: Mapping[str, Any]) -> Constraints:
        """Check settings of a checkpoint.

        Raises:
            UserError: one is not offered here, or has no valid value.
        """
        offered = ", ".join(cls.__dataclass_fields__)
        if others := [name for name in stated if name not in cls.__dataclass_fields__]:
            raise UserError(
                f"{encoder.name} states {others[0]} {stated[others[0]]}, which is not applied "
                f"here; of a checkpoint's settings {offered} are, so leave out "
                "generation=checkpoint"
            )
        try:
            return msgspec.convert(stated, cls)
        except msgspec.ValidationError as error:
            raise UserError(
                f"the generation settings of {encoder.name} cannot be applied ({error}); mend its "
                "generation_config.json, or leave out generation=checkpoint"
            ) from error

    def stated(self) -> dict[str, Any]:
        """The settings that differ from their defaults, as a row holds them."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value != getattr(Constraints, name)
        }

    def processors(self, ar: ARModel, limit: int) -> LogitsProcessorList:
        """The steps of transformers behind the network, in the order of `generate`.

        `limit` is the most tokens of a line, EOS included.

        Raises:
            UserError: a setting names a token that the head does not have.
        """
        from transformers.generation import logits_process as steps

        self._check(ar)
        device = ar.decoder.device
        shortest = self.min_new_tokens + 1 if self.min_new_tokens else self.min_length
        made = steps.LogitsProcessorList()
        if self.repetition_penalty != 1:
            made.append(steps.RepetitionPenaltyLogitsProcessor(float(self.repetition_penalty)))
        if self.no_repeat_ngram_size:
            made.append(steps.NoRepeatNGramLogitsProcessor(self.no_repeat_ngram_size))
        if shortest:
            made.append(steps.MinLengthLogitsProcessor(shortest, ar.eos_id, device))
        if self.forced_bos_token_id is not None:
            made.append(steps.ForcedBOSTokenLogitsProcessor(self.forced_bos_token_id))
        if self.forced_eos_token_id is not None:
            end = self.forced_eos_token_id
            made.append(steps.ForcedEOSTokenLogitsProcessor(limit + 1, end, device))
        if self.suppress_tokens:
            made.append(steps.SuppressTokensLogitsProcessor(self.suppress_tokens, device))
        if self.begin_suppress_tokens:
            begin = 1 if self.forced_bos_token_id is None else 2
            tokens = self.begin_suppress_tokens
            made.append(steps.SuppressTokensAtBeginLogitsProcessor(tokens, begin, device))
        return made

    def _check(self, ar: ARModel) -> None:
        size = ar.decoder.config.vocab_size
        forced = (self.forced_bos_token_id, self.forced_eos_token_id)
        for token in (*forced, *self.suppress_tokens, *self.begin_suppress_tokens):
            if token is not None and token >= size:
                raise UserError(
                    f"a generation setting of the checkpoint names token {token}, but its decoder "
                    f"has {size}; mend it, or leave out generation=checkpoint"
                )


def constrained(
    processors: LogitsProcessorList, sequences: torch.Tensor, logits: torch.Tensor, greedy: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, V) float32 and their logsumexp (N, 1), changed as `generate` changes them.

    Greedy search changes logits; beam search log-probabilities, and does not normalise them again.
    The sequences (N, n) are the tokens so far, the start token included.
    """
    if greedy:
        logits = processors(sequences, logits)
        return logits, logits.logsumexp(1, keepdim=True)
    logits = processors(sequences, logits.log_softmax(1))
    return logits, logits.new_zeros(len(logits), 1)
