"""Validation by a registered decoder, in float32 as in a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.metrics import count_edits
from bench.core.types import Encoded, EncoderInfo, Line
from decoders import DECODERS
from models.alphabet import ALPHABET

BATCH = 16  # lines that are read at once
_OTHERS = {
    "log_probs": "reads no CTC output; choose ctc-greedy",
    "states": "does not read with the AR decoder; choose ar-greedy",
}


@dataclass(frozen=True)
class Score:
    """Edits and characters, summed over lines, and the last line as an example."""

    edits: int
    characters: int
    reference: str
    text: str

    def __str__(self) -> str:
        return f"{self.reference!r} -> {self.text!r}"


def cers(scores: Mapping[str, Score], name: str = "cer") -> dict[str, float]:
    """Micro CER over all sets, and of each of several sets, as fractions."""

    def micro(some: Iterable[Score]) -> float:
        some = list(some)
        return sum(one.edits for one in some) / max(1, sum(one.characters for one in some))

    each = {f"{name} {of}": micro([score]) for of, score in scores.items()}
    return {name: micro(scores.values()), **(each if len(each) > 1 else {})}


def aspect(line: Line) -> float:
    """Width by height: lines of one aspect make a batch with little padding."""
    height, width = line.image.shape
    return width / height


class LineReader:
    """One decoder, opened once."""

    def __init__(self, decoder: str, needs: str = "log_probs") -> None:
        """Open a decoder."""
        spec = DECODERS.create(decoder)
        if spec.needs != needs:
            raise UserError(f"{decoder} {_OTHERS[needs]}")
        ar = needs == "states"
        self.info = EncoderInfo("in training", "in training", {}, () if ar else ALPHABET, ar)
        if absent := spec.missing(self.info):
            raise absent
        self.decoder = spec.open(self.info)

    def score(self, batches: Iterable[Encoded], texts: Sequence[str]) -> Score:
        """Score batches of lines against all their texts, in order."""
        read = [line.text for encoded in batches for line in self.decoder.decode(encoded)]
        pairs = list(zip(texts, read, strict=True))
        return Score(*count_edits(pairs), *pairs[-1])

    def close(self) -> None:
        """Close the decoder."""
        self.decoder.close()


def encoded(logits: Tensor, frames: Tensor, states: Tensor | None = None) -> Encoded:
    """Make decoder input from (B, T, V) logits, (B,) valid frames, perhaps (B, T, D) states."""
    places = torch.arange(logits.shape[1], device=frames.device)
    return Encoded(
        states=logits[:, :, :0] if states is None else states,
        state_mask=places[None] < frames[:, None],
        log_probs=logits.float().log_softmax(-1),
        frames=frames,
        alphabet=ALPHABET,
    )
