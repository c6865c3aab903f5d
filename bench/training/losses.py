"""Losses and their targets: CTC a character, and cross-entropy a token by teacher forcing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bench.core.types import BLANK, ARModel
from models.alphabet import encode, frames_needed

IGNORED = -100  # label of padding, which the loss ignores
_SMOOTHING = 0.1


def why_unfit(text: str, frames: int) -> str:
    """The reason that a text cannot be spelled in so many frames; "" when it can.

    It needs a frame for each character and one between two equal neighbours.
    """
    symbols = encode(text)
    if symbols is None:
        unknown = sorted({char for char in text if encode(char) is None})
        return f"{''.join(unknown)!r} is not in the alphabet"
    if not symbols:
        return "it has no text"
    needed = frames_needed(symbols)
    return f"it needs {needed} frames and the head has {frames}" if needed > frames else ""


def ctc_loss(logits: Tensor, frames: Tensor, texts: Sequence[str]) -> Tensor:
    """CTC loss a character, so that long lines weigh as they should; of lines that can be spelled.

    Logits are (B, T, V), with (B,) valid frames.
    """
    keep = [at for at, text in enumerate(texts) if not why_unfit(text, int(frames[at]))]
    if not keep:
        return logits.sum() * 0.0
    targets = [torch.tensor(encode(texts[at])) for at in keep]
    log_probs = logits[keep].float().log_softmax(-1).transpose(0, 1)
    lengths = torch.tensor([len(target) for target in targets])
    total = functional.ctc_loss(
        log_probs,
        torch.cat(targets),
        frames[keep],
        lengths,
        blank=BLANK,
        reduction="sum",
        zero_infinity=True,
    )
    return total / lengths.sum()


def shifted(rows: Sequence[Sequence[int]], ar: ARModel) -> tuple[Tensor, Tensor]:
    """Input and labels of a decoder, (B, L) each: start and tokens, tokens and EOS.

    L is a multiple of 8, so that there are few different shapes.

    Raises:
        ValueError: a text has more tokens than the decoder can emit.
    """
    if any(len(row) >= ar.max_new_tokens for row in rows):
        raise ValueError("a text is longer than the decoder can write; leave it out")
    length = min(-(-(max(map(len, rows)) + 1) // 8) * 8, ar.max_new_tokens)
    tokens = torch.full((len(rows), length), ar.pad_id)
    labels = torch.full((len(rows), length), IGNORED)
    for place, row in enumerate(rows):
        tokens[place, : len(row) + 1] = torch.tensor([ar.start_id, *row])
        labels[place, : len(row) + 1] = torch.tensor([*row, ar.eos_id])
    return tokens, labels


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy a token with label smoothing 0.1, of (B, L, vocabulary) and (B, L)."""
    return functional.cross_entropy(
        logits.float().flatten(0, 1),
        labels.flatten().to(logits.device),
        ignore_index=IGNORED,
        label_smoothing=_SMOOTHING,
    )
