"""transformers' own `generate`, with its KV cache: the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig
from transformers.generation import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.modeling_outputs import BaseModelOutput

from bench.core.types import ARModel, Encoded, EncoderInfo
from decoders.ar.base import ARDecoder
from decoders.ar.specs import ARSpec


@dataclass(frozen=True)
class GenerateSpec(ARSpec):
    """Greedy or beam search by `generate` (https://huggingface.co/docs/transformers, 5.23).

    It starts from the encoder's states, as `VisionEncoderDecoderModel.generate` does, and reads the
    decoders of all such models; the rest is transformers' code: states repeated for every beam, a
    growing cache, keys and values of both attentions copied when beams change places. Scores of
    hypotheses cost `generate` one copy of the log-probabilities a step.
    """

    any_head: ClassVar[bool] = True

    def open(self, encoder: EncoderInfo) -> ARDecoder:
        """Open the decoder, which loads nothing: the head comes with each encoding."""
        return _GenerateDecoder(self, self.constraints(encoder))


class _GenerateDecoder(ARDecoder):
    def _search(self, ar: ARModel, encoded: Encoded) -> tuple[list[list[int]], list[float]]:
        running = _RunningScores(greedy=self.spec.beam == 1)
        generator, inputs = _inputs(ar, encoded)
        # `generate` fills in the checkpoint's own settings where none are set below.
        generator.generation_config = GenerationConfig()
        output = generator.generate(
            **inputs,
            generation_config=self._config(ar),
            logits_processor=self._processors(ar),
            stopping_criteria=StoppingCriteriaList([running]),
        )
        tokens = output.sequences[:, 1:]
        if self.spec.beam > 1:
            return tokens.tolist(), output.sequences_scores.tolist()
        is_eos = (tokens == ar.eos_id).long()
        after = is_eos.cumsum(1) > is_eos  # behind the first EOS
        total = torch.stack(running.steps, dim=1).masked_fill(after, 0).sum(1)
        return tokens.tolist(), (total / (~after).sum(1) ** self.spec.length_penalty).tolist()

    def _config(self, ar: ARModel) -> GenerationConfig:
        """Set all options of the search.

        By default `generate` ends a line after 20 tokens, and TrOCR's checkpoints on the Hub
        switch the KV cache off.
        """
        settings: dict[str, Any] = {
            "max_new_tokens": self._limit(ar),
            "do_sample": False,
            "num_beams": self.spec.beam,
            "num_return_sequences": self.spec.nbest,
            "use_cache": True,
            "bos_token_id": ar.start_id,
            "decoder_start_token_id": ar.start_id,
            "eos_token_id": ar.eos_id,
            "pad_token_id": ar.pad_id,
            "return_dict_in_generate": True,
            "output_scores": True,
        }
        if self.spec.beam > 1:
            settings["length_penalty"] = self.spec.length_penalty
            settings["early_stopping"] = self.spec.early_stopping
        return GenerationConfig(**settings)

    def _processors(self, ar: ARModel) -> LogitsProcessorList:
        """Apply a checkpoint's settings; make untrained weights end each line where it has to."""
        if ar.forced_lengths is not None:
            forced = _ForcedLengths(ar.forced_lengths, ar.eos_id, self.spec.beam)
            return LogitsProcessorList([forced])
        if self._constraints is None:
            return LogitsProcessorList()
        return self._constraints.processors(ar, self._limit(ar))


def _inputs(ar: ARModel, encoded: Encoded) -> tuple[Any, dict[str, Any]]:
    """The model whose `generate` runs, and what it starts from."""
    if ar.whole is not None:  # which counts the positions of any decoder as it has to
        states = encoded.states.to(ar.decoder.dtype)
        return ar.whole, {"encoder_outputs": BaseModelOutput(states)}
    states, mask = ar.memory(encoded.states, encoded.state_mask)
    config = ar.decoder.config
    return ar.decoder, {
        "inputs": torch.full((len(states), 1), ar.start_id, device=states.device),
        "encoder_hidden_states": states,
        "encoder_attention_mask": None if bool(mask.all()) else mask,
        # By default a causal decoder gets a cache of one kind, in which both attentions would land
        # on top of each other.
        "past_key_values": EncoderDecoderCache(
            DynamicCache(config=config), DynamicCache(config=config)
        ),
    }


class _ForcedLengths(LogitsProcessor):  # type: ignore[misc]  # transformers has no types here
    """Forbids EOS before a line has its length, and forces it from there on."""

    def __init__(self, lengths: torch.Tensor, eos_id: int, beam: int) -> None:
        self.lengths = lengths.repeat_interleave(beam)  # (B * beam,)
        self.eos_id = eos_id

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.lengths = self.lengths.to(scores.device)
        ends = input_ids.shape[1] >= self.lengths  # the start token counts for the EOS to come
        scores = scores.masked_fill(ends[:, None], -torch.inf)
        scores[:, self.eos_id] = torch.where(ends, 0.0, -torch.inf)
        return scores


class _RunningScores(StoppingCriteria):  # type: ignore[misc]  # transformers has no types here
    """Follows the scores of a search step by step; never stops it.

    `generate` gives the score of a hypothesis only along with the log-probabilities of all steps
    (B * beam * V floats each, gigabytes for TrOCR's vocabulary), which nobody reads: they are
    freed here as soon as they have been used. Greedy search has no score of its own, so that of
    each token taken is kept in `steps`, (B,) each.
    """

    def __init__(self, greedy: bool) -> None:
        self.greedy = greedy
        self.steps: list[torch.Tensor] = []

    def __call__(
        self, input_ids: torch.Tensor, scores: tuple[torch.Tensor, ...], **kwargs: Any
    ) -> torch.Tensor:
        latest = scores[-1]
        if self.greedy:
            taken = latest.gather(1, input_ids[:, -1:]).squeeze(1)
            self.steps.append(taken - latest.logsumexp(1))
        latest.untyped_storage().resize_(0)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
