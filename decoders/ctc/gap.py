"""CTC prefix beam search with a character n-gram that fills gaps in the ink."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.options import check_least
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders import tuned
from decoders.base import Scores
from decoders.ctc.base import ctc_output, missing_space
from decoders.ctc.ngram import CTCNGramSpec, NGramSearch

if TYPE_CHECKING:
    from bench.core.errors import Unavailable
    from decoders.ctc.gaps import GapModel

WIDTHS = Path(__file__).with_name("widths.json")
_SPACES = 2  # in a gap at most
_OUTLIER = 0.01  # density of distances that no width explains


@dataclass(frozen=True)
class CTCGapSpec(CTCNGramSpec):
    """ctc-ngram that fills gaps in the ink with characters.

    The distance of two neighbouring characters is compared with the widths of characters, both in
    the line's own scale. Where lost characters explain it better than the spaces that were read
    there, the stretch between the two is a gap. It may be filled with any text of a few letters and
    up to two spaces. The score of such a text is its log-probability by the weighted language
    model, without the insertion bonus, plus the log-likelihood of the distance, less a cost.
    On a line without gaps the result is that of ctc-ngram with the same weights. Damage that leaves
    a mark in the place of the ink makes no gap.

    gap_cost: log-cost of filling a gap, at least 0; by default the value tuned for the encoder.
    gap_letters: the most letters that fill a gap.
    oracle: knowledge of what a damage hid, which no reader has: "place" for where characters are
        missing, "count" for their number too. Nothing is read there; the language model fills it
        without a cost. Only `python -m bench experiment` knows it.
    """

    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        **CTCNGramSpec.tunes,
        "gap_cost": (4.0, 5.0, 6.0, 7.0, 8.0),
    }
    untuned: ClassVar[Mapping[str, float]] = {
        **CTCNGramSpec.untuned,
        "gap_cost": 6.0,
    }

    gap_cost: float | None = None
    gap_letters: int = 3
    oracle: Literal["", "place", "count"] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 0, "gap_cost")
        if not 1 <= self.gap_letters <= 8:
            raise UserError(f"gap_letters lies between 1 and 8, not {self.gap_letters}")

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """Refuse an alphabet without a space, in which a gap has no bounds."""
        return super().missing(encoder) or missing_space(encoder)

    def open(self, encoder: EncoderInfo) -> tuned.Tunable:
        """Read model and widths, and compile the search."""
        return _CTCGap(self, encoder, "ctc-gap")


class _CTCGap(NGramSearch):
    spec: CTCGapSpec
    _gaps: GapModel

    def __init__(self, spec: CTCGapSpec, encoder: EncoderInfo, *tuned_as: str) -> None:
        self._alphabet = encoder.alphabet
        super().__init__(spec, encoder, *tuned_as)

    def kernel(self) -> tuple[Any, ...]:
        from decoders.ctc.prefix_beam import search

        return search, self._language, self._gaps

    def decode(self, encoded: Encoded) -> list[Decoded]:
        if self.spec.oracle:
            self._gaps = self._gaps._replace(known=_known(encoded, self.spec.oracle == "count"))
        return super().decode(encoded)

    def score(self, encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[Scores] | None:
        return None  # the score of a given text would need a search of its own

    def reweight(self, values: Mapping[str, float]) -> None:
        super().reweight(values)
        cost, bonus = self.values["gap_cost"], self.values["beta"]
        self._gaps = gap_model(self._alphabet, cost, bonus, self.spec.gap_letters)


def gap_model(alphabet: Sequence[str], cost: float, bonus: float, letters: int) -> GapModel:
    """Make the model of gaps for a CTC alphabet, blank first; unknown symbols have width 1."""
    from decoders.ctc.gaps import GapModel

    learned = _learned()
    widths = [1.0, *(learned["widths"].get(symbol, 1.0) for symbol in alphabet[1:])]
    return GapModel(
        widths=np.array(widths),
        variance=(learned["variance"], learned["letter_variance"], learned["space_variance"]),
        outlier=_OUTLIER,
        cost=float(cost),
        bonus=float(bonus),
        letters=letters,
        spaces=_SPACES,
        space_symbol=list(alphabet).index(" "),
        known=np.zeros((0, 0, 3)),
    )


def _known(encoded: Encoded, count: bool) -> NDArray[np.float64]:
    """The gaps that an oracle knows, maybe with their numbers of characters; see `GapModel`."""
    if encoded.lost is None:
        raise UserError(
            "ctc-gap.oracle needs to know what a damage hid, which only python -m bench experiment "
            "can say; leave it out"
        )
    frames = ctc_output(encoded)[1]
    known = np.zeros((len(frames), max(map(len, encoded.lost), default=0), 3))
    for of_line, length, row in zip(encoded.lost, frames.tolist(), known, strict=True):
        for place, (begin, end, characters) in enumerate(of_line):
            row[place] = begin * length, end * length, characters if count else -1
    return known


@functools.cache
def _learned() -> Mapping[str, Any]:
    learned: Mapping[str, Any] = json.loads(WIDTHS.read_text("utf-8"))
    return learned
