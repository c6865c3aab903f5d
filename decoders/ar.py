"""Autoregressive decoding of encoder states: transformers' `generate` with a KV cache."""

from __future__ import annotations

from collections.abc import Iterator
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

from bench.errors import Unavailable, UserError
from bench.types import ARModel, Decoded, Encoded, EncoderInfo, Needs
from decoders.base import Decoder

# `generate` fills the places of hypotheses that a line does not have with a score of -1e9.
_NO_HYPOTHESIS = -1e8


@dataclass(frozen=True)
class AutoregressiveDecoder(Decoder):
    """Greedy (beam of 1) or beam search with the encoder's own autoregressive head.

    The defaults but for the beam are those of TrOCR's evaluation (fairseq's: length penalty 1,
    a line ends once it has as many finished hypotheses as beams, at most 200 tokens; Li et al.
    2021, "TrOCR", https://arxiv.org/abs/2109.10282, which has a beam of 10).

    beam: hypotheses kept a line; 1 takes the likeliest token at each step.
    length_penalty: hypotheses are ranked by log-probability / length ** length_penalty, the
        length in tokens, EOS included.
    early_stopping: whether a line ends with its first `beam` finished hypotheses; else it goes
        on until no open one can become better by transformers' estimate.
    max_new_tokens: most tokens of a line, EOS included; the head may allow fewer.
    nbest: hypotheses told of each line, at most `beam`.
    """

    needs: ClassVar[Needs] = "states"

    beam: int = 5
    length_penalty: float = 1.0
    early_stopping: bool = True
    max_new_tokens: int = 200
    nbest: int = 1

    def __post_init__(self) -> None:
        for option in ("beam", "max_new_tokens", "nbest"):
            if getattr(self, option) < 1:
                raise UserError(f"{option} is {getattr(self, option)}; give at least 1")
        if self.nbest > self.beam:
            raise UserError(
                f"a beam of {self.beam} cannot tell the {self.nbest} best hypotheses; "
                "give a wider beam or a smaller nbest"
            )
        if self.beam == 1 and not self.early_stopping:
            raise UserError("early_stopping has no meaning without a beam; leave it out")

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """Only an encoder that has an autoregressive head can be decoded with it."""
        if encoder.has_ar:
            return None
        return Unavailable(f"{encoder.name} has no autoregressive head", "choose a ctc decoder")

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """The best hypothesis of each line.

        The score is that of the ranking: log-probability / tokens ** length_penalty.

        Raises:
            UserError: the encoder has no autoregressive head.
        """
        if encoded.ar is None:
            raise UserError("this encoder has no autoregressive head; choose a ctc decoder")
        if not len(encoded.states):
            return []
        with torch.inference_mode():
            tokens, scores = self._search(encoded.ar, encoded)
        return list(self._decoded(encoded.ar, tokens, scores))

    def _search(self, ar: ARModel, encoded: Encoded) -> tuple[list[list[int]], list[float]]:
        """Token ids without the start token, and scores, of B * nbest hypotheses, best first."""
        memory = encoded.states.to(ar.decoder.dtype)
        if ar.project is not None:
            memory = ar.project(memory)
        running = _RunningScores(greedy=self.beam == 1)
        # `generate` fills what is left open below with the checkpoint's own settings.
        ar.decoder.generation_config = GenerationConfig()
        found = ar.decoder.generate(
            torch.full((len(memory), 1), ar.start_id, device=memory.device),
            generation_config=self._config(ar),
            # The keys and values are in the cache: the decoder only asks whether there are any.
            encoder_hidden_states=memory[:, :1],
            encoder_attention_mask=_additive_mask(encoded.state_mask, memory.dtype),
            past_key_values=_cache(ar.decoder, memory, self.beam),
            logits_processor=self._forced(ar),
            stopping_criteria=StoppingCriteriaList([running]),
        )
        tokens = found.sequences[:, 1:]
        if self.beam > 1:
            return tokens.tolist(), found.sequences_scores.tolist()
        is_eos = (tokens == ar.eos_id).long()
        after = is_eos.cumsum(1) > is_eos  # behind the first EOS
        total = torch.stack(running.steps, dim=1).masked_fill(after, 0).sum(1)
        return tokens.tolist(), (total / (~after).sum(1) ** self.length_penalty).tolist()

    def _config(self, ar: ARModel) -> GenerationConfig:
        """The search of these options.

        Everything is said: by default `generate` ends a line after 20 tokens, and TrOCR's
        checkpoints on the Hub switch the KV cache off.
        """
        limit = min(self.max_new_tokens, ar.max_new_tokens)
        settings: dict[str, Any] = {
            "max_new_tokens": limit,
            "do_sample": False,
            "num_beams": self.beam,
            "num_return_sequences": self.nbest,
            "use_cache": True,
            "bos_token_id": ar.start_id,
            "eos_token_id": ar.eos_id,
            "pad_token_id": ar.pad_id,
            "return_dict_in_generate": True,
            "output_scores": True,
        }
        if self.beam > 1:
            settings["length_penalty"] = self.length_penalty
            settings["early_stopping"] = self.early_stopping
        if ar.forced_lengths is not None:
            settings["max_new_tokens"] = min(limit, int(ar.forced_lengths.max()))
        return GenerationConfig(**settings)

    def _forced(self, ar: ARModel) -> LogitsProcessorList:
        """What makes untrained weights end each line where it has to end."""
        if ar.forced_lengths is None:
            return LogitsProcessorList()
        return LogitsProcessorList([_ForcedLengths(ar.forced_lengths, ar.eos_id, self.beam)])

    def _decoded(
        self, ar: ARModel, tokens: list[list[int]], scores: list[float]
    ) -> Iterator[Decoded]:
        for first in range(0, len(tokens), self.nbest):
            best = _until_eos(tokens[first], ar.eos_id)
            texts = [
                (ar.detokenize(_until_eos(tokens[i], ar.eos_id)), scores[i])
                for i in range(first, first + self.nbest)
                if i == first or scores[i] > _NO_HYPOTHESIS
            ]
            yield Decoded(
                text=texts[0][0],
                tokens=len(best),
                score=texts[0][1],
                nbest=tuple(texts) if self.nbest > 1 else (),
                truncated=best[-1] != ar.eos_id,
            )


class _ForcedLengths(LogitsProcessor):  # type: ignore[misc]  # transformers has no types here
    """No EOS before a line has its length, and nothing but EOS from there on."""

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


class _LineCache(EncoderDecoderCache):  # type: ignore[misc]  # transformers has no types here
    """A cache whose cross-attention stays where it is when beams change places.

    Beams only ever change places within a line, and all beams of a line attend to the same
    states; transformers would copy all their keys and values at every step.
    """

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Let beam i of the batch go on from the past of beam `beam_idx[i]`."""
        self.self_attention_cache.reorder_cache(beam_idx)


def _cache(decoder: Any, memory: torch.Tensor, beam: int) -> EncoderDecoderCache:
    """An empty self-attention cache and a full cross-attention cache.

    A causal decoder that is not told otherwise gets a cache of one kind from `generate`, in which
    both attentions would land on top of each other. Keys and values are computed once for each
    line, not once for each beam.

    Args:
        decoder: a `TrOCRForCausalLM`.
        memory: (B, S, D) states as wide as the decoder's cross-attention takes them.
        beam: beams of a line.
    """
    cache = _LineCache(DynamicCache(config=decoder.config), DynamicCache(config=decoder.config))
    for index, layer in enumerate(decoder.model.decoder.layers):
        attention = layer.encoder_attn
        keys_values = [
            _split_heads(linear(memory), attention.num_heads, beam)
            for linear in (attention.k_proj, attention.v_proj)
        ]
        cache.cross_attention_cache.update(*keys_values, index)
        cache.is_updated[index] = True
    return cache


def _split_heads(projected: torch.Tensor, heads: int, beam: int) -> torch.Tensor:
    """(B, S, D) to (B * beam, heads, S, D / heads)."""
    lines, steps, width = projected.shape
    split = projected.view(lines, steps, heads, width // heads).transpose(1, 2)
    return split if beam == 1 else split.repeat_interleave(beam, dim=0)


def _additive_mask(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor | None:
    """(B, 1, 1, S): 0 for states of the line, the most negative number for padding.

    None where nothing is padded. Given in this form, the decoder does not build it anew at every
    step.
    """
    if bool(mask.all()):
        return None
    lowest = torch.finfo(dtype).min
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, lowest)[
        :, None, None
    ]


def _until_eos(tokens: list[int], eos_id: int) -> list[int]:
    """The tokens up to and including the first EOS: what TrOCR's speed table counts."""
    return tokens[: tokens.index(eos_id) + 1] if eos_id in tokens else tokens
