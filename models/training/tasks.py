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
from models.mini_ar import EOS, PAD, START, MiniAR
from models.mini_net import MiniNet, frames_of
from models.training.stream import Batch


class Task(Protocol):
    """A module to train and its loss on a batch."""

    module: nn.Module

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss; NaN-free."""


class CTCTask:
    """The encoder with CTC, and a second CTC on the stem's columns that speeds up learning.

    The shortcut follows Retsinas et al., "Best Practices for a Handwritten Text Recognition
    System" (arXiv 2404.11339); it is dropped after training.
    """

    def __init__(self, net: MiniNet) -> None:
        self.net = net
        self.shortcut = nn.Linear(net.config.stem[-1], net.config.alphabet)
        self.module = nn.ModuleDict({"net": net, "shortcut": self.shortcut})

    def loss(self, batch: Batch) -> Tensor:
        """CTC of the head plus a fifth of the shortcut's, a character."""
        frames = frames_of(batch.widths)
        keep, targets = _targets(batch.texts, frames)
        columns = self.net.columns(batch.images)
        states = self.net.states(columns, frames)
        main = _ctc(self.net.ctc(self.net.drop(states)), frames, keep, targets)
        return main + 0.2 * _ctc(self.shortcut(columns), frames, keep, targets)


class ARTask:
    """The AR head with teacher forcing; the encoder stays as it is."""

    def __init__(self, net: MiniNet, head: MiniAR, tokenizer: Tokenizer) -> None:
        self.net, self.module, self.tokenizer = net.eval().requires_grad_(False), head, tokenizer

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy a token, EOS included, label smoothing 0.1."""
        frames = frames_of(batch.widths)
        with torch.no_grad():
            states, _ = self.net(batch.images, frames)
        steps = torch.arange(states.shape[1])[None] < frames[:, None]
        tokens, labels = self._tokens(batch.texts)
        logits = self.module(states.float(), steps, tokens)
        return functional.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=-100, label_smoothing=0.1
        )

    def _tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        longest = self.module.config.positions - 1
        rows = [self.tokenizer.encode(text).ids[:longest] for text in texts]
        length = max(len(row) for row in rows) + 1
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
