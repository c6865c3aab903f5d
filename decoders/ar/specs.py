"""The options of the autoregressive searches.

They stand apart from the searches, so that planning a run imports no torch.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bench.core.errors import UserError
from bench.core.options import check_least
from bench.core.types import EncoderInfo, Needs
from decoders.base import Decoder, DecoderSpec


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
        check_least(self, 1, "beam", "max_new_tokens", "nbest")
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


@dataclass(frozen=True)
class AutoregressiveSpec(ARSpec):
    """Greedy or beam search on the weights of any TrOCR decoder, in their precision."""

    def open(self, encoder: EncoderInfo) -> Decoder:
        """Open the decoder, which loads nothing: the head comes with each encoding."""
        from decoders.ar.beam import BeamDecoder

        return BeamDecoder(self)


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
