"""The options of the autoregressive searches.

They stand apart from the searches, so that planning a run imports no torch.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bench.core.errors import UserError
from bench.core.options import check_least
from bench.core.types import UNREAD, EncoderInfo, Needs
from decoders.ar.constraints import Constraints
from decoders.base import Decoder, DecoderSpec

_MOST_BEAM = 10_000  # no memory holds the states of so many hypotheses
_MOST_PENALTY = 50  # a power that floats can hold of any length


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
    generation: "checkpoint" applies what the checkpoint's generation settings say about tokens
        (no_repeat_ngram_size, repetition_penalty, min_length, min_new_tokens, forced_bos_token_id,
        forced_eos_token_id, suppress_tokens, begin_suppress_tokens), as transformers' generate
        does; what it says about the search (num_beams, ...) has to agree with the options here.
    """

    needs: ClassVar[Needs] = "states"

    beam: int = 5
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = True
    max_new_tokens: int = 200
    nbest: int = 1
    generation: Literal["own", "checkpoint"] = "own"

    def __post_init__(self) -> None:
        check_least(self, 1, "beam", "max_new_tokens", "nbest")
        if self.beam > _MOST_BEAM:
            raise UserError(
                f"beam is the number of hypotheses kept, 1 to {_MOST_BEAM}, not {self.beam}"
            )
        check_penalty(self.length_penalty)
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
        """All settings except those that agree with the options."""
        rest = unapplied(
            encoder, self.max_new_tokens, num_beams=self.beam, length_penalty=self.length_penalty,
            early_stopping=self.early_stopping,
        )  # fmt: skip
        if self.generation == "own":
            return rest
        return {name: value for name, value in rest.items() if name.endswith(UNREAD)}

    def constraints(self, encoder: EncoderInfo) -> Constraints | None:
        """The checkpoint's settings to apply; None unless asked for, or without any.

        Raises:
            UserError: one is not offered here, has no valid value, or says another search than
                the options.
        """
        if self.generation == "own":
            return None
        stated = {n: v for n, v in encoder.generation.items() if not n.endswith(UNREAD)}
        if "max_new_tokens" in stated:  # transformers prefers it
            stated.pop("max_length", None)
        options = {}
        for name, option, own in self._of_the_search():
            if name not in stated:
                continue
            value = stated.pop(name)
            if self.beam == 1 and option in ("length_penalty", "early_stopping"):
                continue  # `generate` reads neither without a beam
            length = value - 1 if name == "max_length" else value  # which counts the start token
            if length < own if option == "max_new_tokens" else length != own:
                options[f"{name} {value}"] = f"{option}={length}"
        if options:
            raise UserError(
                f"{encoder.name} states {' and '.join(options)}; for its own settings give the "
                f"options {' and '.join(options.values())} too, or leave out generation=checkpoint"
            )
        return Constraints.of(encoder, stated) if stated else None

    def _of_the_search(self) -> Iterator[tuple[str, str, Any]]:
        """Settings of a checkpoint that are options here: its name, the option and its value."""
        yield "num_beams", "beam", self.beam
        for name in ("max_length", "max_new_tokens"):
            yield name, "max_new_tokens", self.max_new_tokens
        yield "length_penalty", "length_penalty", self.length_penalty
        yield "early_stopping", "early_stopping", self.early_stopping


@dataclass(frozen=True)
class AutoregressiveSpec(ARSpec):
    """Greedy or beam search on the weights of any TrOCR decoder.

    head: "bfloat16" rounds the head's weights and states, which makes the search faster on machines
        with bf16 units and changes texts (docs/results.md has what it costs); by default the head
        has the encoder's precision.
    """

    head: Literal["bfloat16"] | None = None

    def open(self, encoder: EncoderInfo) -> Decoder:
        """Open the decoder, which loads nothing: the head comes with each encoding."""
        from decoders.ar.beam import BeamDecoder

        return BeamDecoder(self, self.constraints(encoder))


def check_penalty(value: float) -> None:
    """Raise a `UserError` for an exponent whose powers are no numbers."""
    if abs(value) > _MOST_PENALTY:
        raise UserError(
            f"length_penalty is an exponent, -{_MOST_PENALTY} to {_MOST_PENALTY}, not {value:g}"
        )


def unapplied(encoder: EncoderInfo, most: int, **own: Any) -> dict[str, Any]:
    """The generation settings of a checkpoint that a search with its `own` ones does not apply.

    A limit of the checkpoint that is wider than `most` new tokens of a line does not matter.
    """
    limits = {"max_new_tokens": most, "max_length": most + 1}  # the latter with the start token
    return {
        name: value
        for name, value in encoder.generation.items()
        if own.get(name) != value and not (name in limits and value >= limits[name])
    }
