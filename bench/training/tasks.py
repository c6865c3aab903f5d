"""What is learned: the encoder with its CTC head, or the AR head on the frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from bench.core.types import BLANK
from bench.training.align import align
from bench.training.stream import Batch
from models.alphabet import encode, frames_needed
from models.mini_ar import EOS, PAD, START, MiniAR
from models.mini_net import MiniNet, frames_of

if TYPE_CHECKING:
    from typing import Self


class Movable(Protocol):
    """A batch that can go to a device."""

    def to(self, device: torch.device) -> Self:
        """The same batch, on a device."""


B = TypeVar("B", bound=Movable)
_B = TypeVar("_B", bound=Movable, contravariant=True)


class Task(Protocol[_B]):
    """A module to train and its loss on a batch."""

    @property
    def module(self) -> nn.Module:
        """What the optimiser changes."""

    def loss(self, batch: _B) -> Tensor:
        """Mean loss of a batch."""


class EncoderTask:
    """The encoder with CTC, and a second CTC on the stem's columns that speeds up learning.

    The shortcut follows Retsinas et al., "Best Practices for a Handwritten Text Recognition
    System" (arXiv 2404.11339); it is dropped after training.
    """

    def __init__(self, net: MiniNet) -> None:
        self.net = net
        self.shortcut = nn.Linear(net.config.stem[-1], net.config.alphabet)
        self.module = nn.ModuleDict({"net": net, "shortcut": self.shortcut})

    def loss(self, batch: Batch) -> Tensor:
        """CTC of the head and a fifth of the shortcut's, both a character."""
        frames = frames_of(batch.widths)
        keep, targets = ctc_targets(batch.texts, frames)
        columns = self.net.columns(batch.images)
        states = self.net.states(columns, frames.to(columns.device))
        main = ctc_loss(self.net.ctc(self.net.drop(states)), frames, keep, targets)
        return main + 0.2 * ctc_loss(self.shortcut(columns), frames, keep, targets)


class ARTask:
    """The AR head with teacher forcing; the encoder stays as it is.

    Cross-attention is shown the way: the CTC head of the frozen encoder aligns each training
    text with its frames, and the attention of the two upper layers is drawn to the frames of the
    token that comes next (guided attention, after Tachibana et al., arXiv 1710.08969, but with a
    real alignment). Without it the head learned language and did not find its place in the line.
    """

    def __init__(self, net: MiniNet, head: MiniAR, tokenizer: Tokenizer) -> None:
        self.net, self.module, self.tokenizer = net.requires_grad_(False), head, tokenizer

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy a token, label smoothing 0.1, and half the attention's."""
        frames = frames_of(batch.widths)
        device = batch.images.device
        with torch.no_grad():
            states, ctc = self.net.eval()(batch.images, frames.to(device))
            log_probs = ctc.float().log_softmax(-1).cpu().numpy()
        mask = torch.arange(states.shape[1])[None] < frames[:, None]
        tokens, labels, windows = self._targets(batch.texts, log_probs, frames)
        logits, attentions = self.module(states, mask.to(device), tokens.to(device))
        reading = functional.cross_entropy(
            logits.float().flatten(0, 1),
            labels.flatten().to(device),
            ignore_index=-100,
            label_smoothing=0.1,
        )
        return reading + 0.5 * _attention_loss(attentions[-2:], windows.to(device))

    def _targets(
        self, texts: Sequence[str], log_probs: NDArray[np.float32], frames: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decoder input and labels, (B, L) each, and windows (B, L, S) to attend to."""
        longest = self.module.config.positions - 1
        encodings = [self.tokenizer.encode(text) for text in texts]
        # Whole multiples of 8: few different shapes.
        length = -(-(max(min(len(e.ids), longest) for e in encodings) + 1) // 8) * 8
        tokens = torch.full((len(texts), length), PAD)
        labels = torch.full((len(texts), length), -100)
        windows = torch.zeros(len(texts), length, log_probs.shape[1])
        for i, (text, encoding) in enumerate(zip(texts, encodings, strict=True)):
            ids = encoding.ids[:longest]
            tokens[i, : len(ids) + 1] = torch.tensor([START, *ids])
            labels[i, : len(ids) + 1] = torch.tensor([*ids, EOS])
            spans = _spans(text, log_probs[i, : int(frames[i])])
            for place, (first, last) in enumerate(encoding.offsets[:longest] if spans else ()):
                start, end = spans[first][0], spans[max(first, last - 1)][1]
                windows[i, place, max(0, start - _SLACK) : end + 1 + _SLACK] = 1
        return tokens, labels, windows


_SLACK = 2  # frames beside a token that count as its own


def _spans(text: str, log_probs: NDArray[np.float32]) -> list[tuple[int, int]]:
    """First and last frame of each character; empty when the text cannot be aligned."""
    symbols = encode(text)
    if not symbols or frames_needed(symbols) > len(log_probs):
        return []
    found = align(log_probs, np.array(symbols))
    return [] if found.min() < 0 else [(int(a), int(b)) for a, b in found]


def _attention_loss(attentions: Sequence[Tensor], windows: Tensor) -> Tensor:
    """Mean -log of the attention inside the windows; attentions are (B, heads, L, S) each."""
    known = windows.any(-1)
    losses = []
    for attention in attentions:
        inside = (attention.float().mean(1) * windows).sum(-1)
        losses.append(-inside[known].clamp_min(1e-4).log().mean())
    return torch.stack(losses).mean() if known.any() else windows.sum()


def ctc_targets(texts: Sequence[str], frames: Tensor) -> tuple[list[int], list[list[int]]]:
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


def ctc_loss(logits: Tensor, frames: Tensor, keep: list[int], targets: list[list[int]]) -> Tensor:
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
