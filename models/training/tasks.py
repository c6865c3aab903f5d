"""What is learned: the encoder with its CTC head, or the AR head on the frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from bench.types import BLANK
from models.alphabet import encode, frames_needed
from models.mini_ar import EOS, PAD, START, MiniAR, MiniARConfig
from models.mini_net import MiniNet, frames_of
from models.training.stream import Batch


class Task(Protocol):
    """A module to train and its loss on a batch."""

    @property
    def module(self) -> nn.Module:
        """What the optimiser changes."""

    def loss(self, batch: Batch, step: int) -> Tensor:
        """Mean loss at a step of training."""


class EncoderTask:
    """The encoder with CTC; the AR head rides along without a gradient into the encoder.

    A second CTC on the stem's columns speeds up learning (Retsinas et al., "Best Practices for a
    Handwritten Text Recognition System", arXiv 2404.11339); it is dropped after training.
    The AR head learns to read from states that are computed anyhow; language comes later, from
    `ARTask`. It joins once the states mean something.
    """

    ar_from = 1500

    def __init__(self, net: MiniNet, head: MiniAR, tokenizer: Tokenizer) -> None:
        self.net, self.head, self.tokenizer = net, head, tokenizer
        self.shortcut = nn.Linear(net.config.stem[-1], net.config.alphabet)
        self.module = nn.ModuleDict({"net": net, "shortcut": self.shortcut, "ar": head})

    def loss(self, batch: Batch, step: int) -> Tensor:
        """CTC of the head, a fifth of the shortcut's, both a character; AR a token."""
        frames = frames_of(batch.widths)
        keep, targets = _targets(batch.texts, frames)
        columns = self.net.columns(batch.images)
        states = self.net.states(columns, frames.to(columns.device))
        loss = _ctc(self.net.ctc(self.net.drop(states)), frames, keep, targets)
        loss = loss + 0.2 * _ctc(self.shortcut(columns), frames, keep, targets)
        if step >= self.ar_from:
            loss = loss + _next_token(self.head, self.tokenizer, states.detach(), frames, batch)
        return loss


class ARTask:
    """The AR head with teacher forcing; the encoder stays as it is."""

    def __init__(self, net: MiniNet, head: MiniAR, tokenizer: Tokenizer) -> None:
        self.net, self.module, self.tokenizer = net.requires_grad_(False), head, tokenizer

    def loss(self, batch: Batch, step: int) -> Tensor:
        """Cross-entropy a token."""
        frames = frames_of(batch.widths)
        with torch.no_grad():
            states, _ = self.net.eval()(batch.images, frames.to(batch.images.device))
        return _next_token(self.module, self.tokenizer, states, frames, batch)


def _next_token(
    head: nn.Module, tokenizer: Tokenizer, states: Tensor, frames: Tensor, batch: Batch
) -> Tensor:
    """Cross-entropy of the next token, EOS included, label smoothing 0.1."""
    mask = torch.arange(states.shape[1])[None] < frames[:, None]
    tokens, labels = _tokens(tokenizer, batch.texts)
    device = states.device
    logits = head(states, mask.to(device), tokens.to(device)).float().flatten(0, 1)
    return functional.cross_entropy(
        logits, labels.flatten().to(device), ignore_index=-100, label_smoothing=0.1
    )


def _tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Decoder input, start token first, and labels, EOS last; (B, L) each."""
    longest = MiniARConfig().positions - 1
    rows = [tokenizer.encode(text).ids[:longest] for text in texts]
    length = -(-(max(map(len, rows)) + 1) // 8) * 8
    tokens = torch.full((len(rows), length), PAD)
    labels = torch.full((len(rows), length), -100)
    for i, row in enumerate(rows):
        tokens[i, : len(row) + 1] = torch.tensor([START, *row])
        labels[i, : len(row) + 1] = torch.tensor([*row, EOS])
    return tokens, labels


def _targets(texts: Sequence[str], frames: Tensor) -> tuple[list[int], list[list[int]]]:
    """The lines that CTC can spell, by index, and their symbols.

    Lines outside the alphabet or too long for their frames are left out here, where they can be
    seen, rather than by the loss's `zero_infinity`.
    """
    keep, targets = [], []
    for index, text in enumerate(texts):
        symbols = encode(text)
        if symbols and frames_needed(symbols) <= int(frames[index]):
            keep.append(index)
            targets.append(symbols)
    return keep, targets


def _ctc(logits: Tensor, frames: Tensor, keep: list[int], targets: list[list[int]]) -> Tensor:
    """CTC loss a character over the kept lines, so that long lines weigh as they should."""
    if not keep:
        return logits.sum() * 0.0
    log_probs = logits[keep].float().log_softmax(-1).transpose(0, 1)
    lengths = torch.tensor([len(t) for t in targets])
    flat = torch.tensor([symbol for target in targets for symbol in target])
    total = functional.ctc_loss(
        log_probs, flat, frames[keep], lengths, blank=BLANK, reduction="sum", zero_infinity=True
    )
    return total / lengths.sum()
