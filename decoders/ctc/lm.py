"""CTC prefix beam search with a causal language model of characters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bench.core.types import EncoderInfo
from decoders import tuned
from decoders.ctc.base import BeamSpec, check_weights


@dataclass(frozen=True)
class CTCLMSpec(BeamSpec):
    """Shallow fusion of CTC with a causal language model: log p_ctc + alpha * log p_lm + beta * n.

    The search is that of ctc-beam, and equals it at alpha = beta = 0. The model is the one of
    `+lm`, which puts the texts of a finished search in order; here it takes part in the search. A
    line begins after a space and ends where a word does.

    alpha: weight of the language model (natural logarithms).
    beta: bonus of each of the n characters.
        Both: none is the value tuned for the encoder, see `decoders/tuned.json`.
    lm: a file of `python -m bench train lm`; "" for the embedded model.
    """

    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "alpha": (0.35, 0.5, 0.7, 0.9, 1.2),
        "beta": (0.5, 1.0, 1.5, 2.0, 3.0),
    }
    untuned: ClassVar[Mapping[str, float]] = {"alpha": 0.5, "beta": 1.0}

    alpha: float | None = None
    beta: float | None = None
    lm: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weights(self.alpha, self.beta)

    def open(self, encoder: EncoderInfo) -> tuned.Tunable:
        """Read the model and compile the search."""
        from decoders.ctc.lm_search import LMSearch

        return LMSearch(self, encoder)
