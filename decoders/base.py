"""The contract of a decoder: a spec holds its options, and opens a decoder of encodings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import Unavailable
from bench.core.metrics import visible
from bench.core.options import settings
from bench.core.types import TROCR, Decoded, Encoded, EncoderInfo, Needs

Scores = NDArray[np.float64]
NBest = tuple[tuple[str, float], ...]  # texts with their scores, best first


@dataclass(frozen=True)
class DecoderSpec(ABC):
    """A registered decoder; its fields are its options, which go into the row and its key.

    A CTC decoder is a `decoders.ctc.base.CTCSpec`; README, "Add a decoder", shows a whole one.

    needs: the parts of an encoding that it reads.
    tunes: options whose None means the value tuned for the encoder (`decoders/tuned.json`), with
        the values to try, ascending.
    any_head: whether it reads AR heads of all kinds, and not TrOCR's alone.
    untuned: their values where none were tuned; untuned_source: the origin of these.
    """

    needs: ClassVar[Needs]
    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {}
    any_head: ClassVar[bool] = False
    untuned: ClassVar[Mapping[str, float]] = {}
    untuned_source: ClassVar[str] = "nothing (a guess)"

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """The reason why it cannot read this encoder here, with the remedy; None when it can."""
        if self.needs != "states" and not encoder.alphabet:
            return Unavailable(
                f"{encoder.name} has no CTC head",
                f"python -m bench train ctc --encoder {encoder.name}",
            )
        if self.needs != "states" and (why := _unfit(encoder.alphabet)):
            return Unavailable(
                f"the alphabet of {encoder.name} {why}",
                "put the blank first, as an empty text, give each symbol one character of its own, "
                "and use the plain space as white space",
            )
        if self.needs != "log_probs" and not encoder.has_ar:
            return Unavailable(f"{encoder.name} has no autoregressive head", "choose a ctc decoder")
        if self.needs != "log_probs" and encoder.ar_type != TROCR and not self.any_head:
            return Unavailable(
                f"the decoder of {encoder.name} is a {encoder.ar_type} model, which this search "
                "does not compute",
                "choose ar-hf, which reads it by transformers' generate",
            )
        return None

    def alphabet(self, encoder: EncoderInfo) -> tuple[str, ...]:
        """The symbols of its texts; () where any character may occur."""
        return encoder.alphabet if self.needs == "log_probs" else ()

    def ignored(self, encoder: EncoderInfo) -> Mapping[str, Any]:
        """The generation settings of a checkpoint that this decoder does not apply."""
        return {}

    @abstractmethod
    def open(self, encoder: EncoderInfo) -> Decoder:
        """Open the decoder with all that is costly (models, threads), outside of the measured time.

        Raises:
            UserError: an option or a file that it names cannot be used.
        """

    def settings(self) -> dict[str, Any]:
        """The options with their values."""
        return settings(self)

    @property
    def parts(self) -> tuple[Any, ...]:
        """All specs whose code a row depends on."""
        return (self,)


class Stage(ABC):
    """A step of decoding that is timed by itself.

    kind: "decoder" or "corrector".
    once: measured in one round, since a second one would be answered from a cache.
    """

    kind: ClassVar[str]
    once: ClassVar[bool] = False

    @abstractmethod
    def run(self, encoded: Encoded, lines: Sequence[Decoded]) -> list[Decoded]:
        """Run the step: one `Decoded` a line, in order, its text on the host.

        Args:
            encoded: B lines.
            lines: output of the stage before; () for the first one.
        """

    def extras(self) -> Mapping[str, Any]:
        """Fields of the row besides the options, file hashes included (part of the key)."""
        return {}

    def spent(self) -> Mapping[str, float]:
        """Costs since it was opened, by kind ("requests", "tokens", ...)."""
        return {}

    def recalled_s(self) -> float:
        """Original seconds of the answers that the last `run` took from a cache."""
        return 0.0

    def close(self) -> None:
        """Release everything opened; a second call does nothing."""


class Decoder(Stage):
    """An open decoder."""

    kind = "decoder"
    spec: Any

    def __init__(self, spec: DecoderSpec) -> None:
        self.spec = spec

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The steps of decoding, each timed by itself."""
        return (self,)

    @abstractmethod
    def decode(self, encoded: Encoded) -> list[Decoded]:
        """Read a batch: one `Decoded` a line, in order, its text on the host.

        Raises:
            UserError: the encoding lacks a head, or holds no numbers or no log-probabilities.
        """

    def run(self, encoded: Encoded, lines: Sequence[Decoded]) -> list[Decoded]:
        """Decode; a search is the first stage."""
        return self.decode(encoded)

    def score(self, encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[Scores] | None:
        """Score texts by the objective of the search, without a search.

        `bench.analysis.diagnostics` uses it to separate search errors from model errors.

        Args:
            encoded: B lines, as for `decode`.
            texts: of each line, any number of texts.

        Returns:
            Of each line (K,) scores, higher is better, comparable with each other and with
            `Decoded.score`; minus infinity for texts that it can never write. None where the
            objective is not known.
        """
        return None


def alternatives(line: Decoded) -> dict[str, float]:
    """The hypotheses of a line with their scores, best first."""
    return dict(line.nbest or ((line.text, line.score if line.score is not None else 0.0),))


def ranked(texts: Sequence[str], scores: Scores) -> NBest:
    """Sort texts with their scores, best first; ties keep their order."""
    order = np.argsort(-scores, kind="stable")
    return tuple((texts[place], float(scores[place])) for place in order)


def _unfit(alphabet: Sequence[str]) -> str:
    """The reason why an alphabet cannot be searched, else "".

    Language models, words and scores of texts know a text by its characters alone, and scoring
    makes all white space a space; a decoder that did not would differ from the others by that.
    """
    blank, *symbols = alphabet
    if blank:
        return f"begins with {visible(blank)} and not with the blank"
    taken: set[str] = set()
    for symbol in symbols:
        if len(symbol) != 1:
            return f"has the symbol {symbol!r}, which is not one character"
        if symbol.isspace() and symbol != " ":
            return f"has {visible(symbol)}, white space that is no plain space"
        if symbol in taken:
            return f"has {visible(symbol)} twice"
        taken.add(symbol)
    return ""
