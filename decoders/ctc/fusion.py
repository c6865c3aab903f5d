"""Options that the CTC searches with an n-gram model share."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bench.core.errors import Unavailable
from bench.core.types import EncoderInfo
from decoders import tuned
from decoders.ctc.base import BeamSpec, missing_space

_UNTUNED = {"alpha": 0.5, "beta": 1.5, "unk_offset": -10.0}


@dataclass(frozen=True)
class FusionSpec(BeamSpec, ABC):
    """A beam search with an n-gram model.

    alpha: weight of the language model (natural logarithms).
    beta: bonus of each character, or of each word with a model of words.
    score_boundary: take the line for a sentence, with the model's marks at both ends.
    lm: an ARPA file; "" for the model of the embedded corpus.
    """

    alpha: float | None = None
    beta: float | None = None
    score_boundary: bool = False  # lines break anywhere in a sentence
    lm: str = ""


@dataclass(frozen=True)
class WordFusionSpec(FusionSpec, ABC):
    """The search of pyctcdecode: hypotheses are texts of words.

    unk_offset: added to the log10 probability of a word that the model does not know (and so
        weighed by alpha), and to the score of a partial word that begins none (not weighed).
        With alpha and beta: none is the value tuned for the encoder, with ctc-ngram-word or with
        ctc-kenlm, see `decoders/tuned.json`.
    prune_history: of hypotheses that no later word can tell apart keep the best alone.
    """

    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "alpha": (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9),
        "beta": (-1.0, 0.0, 1.0, 2.0, 3.0),
        "unk_offset": (-2.0, -5.0, -10.0, -15.0, -20.0),
    }

    # On synthetic posteriors of damaged lines a beam of 50 to 64 read as well as pyctcdecode's 100,
    # in two thirds of the time, and one of 16 worse.
    beam: int = 64
    unk_offset: float | None = None
    prune_history: bool = True

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """Without a space there are no words."""
        return missing_space(encoder) or super().missing(encoder)

    def weights(
        self, name: str, encoder: EncoderInfo, lm: tuple[str, str]
    ) -> tuple[dict[str, float], str]:
        """The weights in force, as `tuned.weights` has them.

        Args:
            name: of the decoder; where nobody has tuned it, the weights of the other one hold,
                which searches alike, and then pyctcdecode's own defaults.
            encoder: whose output is decoded.
            lm: what the decoder calls its language model, and its hash.
        """
        other = "ctc-kenlm" if name == "ctc-ngram-word" else "ctc-ngram-word"
        return tuned.weights(
            self, (name, other), encoder, lm, (_UNTUNED, "nothing (pyctcdecode's defaults)")
        )
