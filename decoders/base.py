"""The contract of a decoder: `Encoded` to `list[Decoded]`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import Unavailable
from bench.core.types import Decoded, Encoded, EncoderInfo, Needs


@dataclass(frozen=True)
class Decoder(ABC):
    """A decoder is its options: a frozen dataclass whose fields go into the row and its key.

    What is dear to make (a language model, a process pool) is made once by `open`, outside of
    the measured time, and given back by `close`.
    """

    needs: ClassVar[Needs]  # what it reads of an encoding

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """Why it cannot decode this encoder here, with the remedy; None when it can."""
        return None

    def alphabet(self, encoder: EncoderInfo) -> tuple[str, ...]:
        """The symbols that its texts are made of; () where any character may be in them."""
        return encoder.alphabet if self.needs == "log_probs" else ()

    def open(self, encoder: EncoderInfo) -> None:
        """Make what `decode` needs; called once before the first `decode`.

        Raises:
            UserError: an option or a file that it names cannot be used.
        """

    @abstractmethod
    def decode(self, encoded: Encoded) -> list[Decoded]:
        """One `Decoded` a line, in order. Synchronises the device by reading its result."""

    def score(
        self, encoded: Encoded, texts: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]] | None:
        """What the search looks for the most of, for given texts: its objective, without a search.

        `bench.analysis.diagnostics` tells by it whether the search or the model missed a text.

        Args:
            encoded: B lines, as for `decode`.
            texts: of each line, any number of texts.

        Returns:
            Of each line (K,) scores, higher is better, comparable with each other and with
            `Decoded.score`; minus infinity for what it can never write.
            None where the objective is not known.
        """
        return None

    def ignored(self, encoder: EncoderInfo) -> Mapping[str, Any]:
        """The generation settings of a checkpoint that this decoder does not apply."""
        return {}

    def close(self) -> None:
        """Give back what `open` made."""

    def extras(self) -> Mapping[str, Any]:
        """What belongs into the row besides the options, file hashes included (part of the key).

        Callable after `open`.
        """
        return {}


def missing_heads(encoder: EncoderInfo) -> Unavailable | None:
    """Why an encoder does not have both a CTC and an autoregressive head; None when it has."""
    if not encoder.alphabet:
        return Unavailable(f"{encoder.name} has no CTC head", "python -m bench train ctc --help")
    if not encoder.has_ar:
        return Unavailable(f"{encoder.name} has no autoregressive head", "choose a ctc decoder")
    return None
