"""Best path: the likeliest symbol of each frame, repeats merged, blanks dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.core.types import BLANK, Decoded, Encoded, EncoderInfo
from decoders.base import Decoder, Scores
from decoders.ctc.base import (
    CTCSpec,
    check_frames,
    ctc_output,
    ctc_scores,
    frame_sums,
    inside_frames,
    join_symbols,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class CTCGreedySpec(CTCSpec):
    """CTC best path decoding of a whole batch at once.

    Source: Graves et al. 2006, "Connectionist temporal classification", section 3.2.
    """

    def open(self, encoder: EncoderInfo) -> Decoder:
        """Open the decoder, which loads nothing."""
        return _CTCGreedy(self)


class _CTCGreedy(Decoder):
    def decode(self, encoded: Encoded) -> list[Decoded]:
        return best_path(encoded)

    def score(self, encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[Scores] | None:
        return ctc_scores(encoded, texts)


def best_path(encoded: Encoded) -> list[Decoded]:
    """Find the best path of each line; its log-probability is a lower bound of its text's.

    Raises:
        UserError: the log-probabilities are broken (NaN, not normalised).
    """
    log_probs, frames = ctc_output(encoded)
    best, path, sums = _reduced(log_probs)
    check_frames(sums, frames)
    inside = inside_frames(frames, best.shape[1])
    emitted = inside & (path != BLANK)
    emitted[:, 1:] &= path[:, 1:] != path[:, :-1]
    counts = emitted.sum(axis=1)
    texts = join_symbols(path[emitted], counts, encoded.alphabet)
    scores = np.where(inside, best, 0).sum(axis=1, dtype=np.float64)
    return [
        Decoded(text, tokens, score)
        for text, tokens, score in zip(texts, counts.tolist(), scores.tolist(), strict=True)
    ]


def _reduced(
    log_probs: torch.Tensor,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Find the largest value of each frame, its symbol and the sum of its probabilities.

    All are (B, T), on the host. On a CPU numpy's argmax is several times faster than torch's; from
    other devices only the small results are copied.
    """
    if log_probs.device.type != "cpu":
        values, indices = log_probs.max(dim=2)
        sums = log_probs.float().exp().sum(dim=2)
        return values.cpu().numpy(), indices.cpu().numpy(), sums.cpu().numpy()
    array = log_probs.numpy()
    path = array.argmax(axis=2)
    best = np.take_along_axis(array, path[..., None], axis=2)[..., 0]
    return best, path, frame_sums(array)
