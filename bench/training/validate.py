"""Greedy CER on validation lines while training goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from bench.core.types import BLANK, Line
from bench.training.score import ReadScore, scored
from models.alphabet import ALPHABET
from models.images import darkness, to_batch, to_height
from models.mini_ar import EOS, START, MiniAR, detokenize, load_tokenizer
from models.mini_net import MiniNet, frames_of

_BATCH = 16


def ctc_scores(net: MiniNet, sets: Mapping[str, Sequence[Line]]) -> dict[str, ReadScore]:
    """Best-path CER of each set."""
    return {name: _score(lines, _ctc_texts(net, lines)) for name, lines in sets.items()}


def ar_scores(
    net: MiniNet, head: MiniAR, sets: Mapping[str, Sequence[Line]]
) -> dict[str, ReadScore]:
    """Greedy AR CER of each set."""
    return {name: _score(lines, _ar_texts(net, head, lines)) for name, lines in sets.items()}


def _score(lines: Sequence[Line], texts: Iterable[str]) -> ReadScore:
    return scored(zip([line.text for line in lines], texts, strict=True))


@torch.inference_mode()
def _states(net: MiniNet, lines: Sequence[Line]) -> tuple[Tensor, Tensor, Tensor]:
    batch, widths = to_batch([darkness(to_height(line.image)) for line in lines])
    frames = frames_of(widths)
    device = next(net.parameters()).device
    states, logits = net.eval()(batch.to(device), frames.to(device))
    return states, logits, frames


def _ctc_texts(net: MiniNet, lines: Sequence[Line]) -> Iterable[str]:
    for start in range(0, len(lines), _BATCH):
        _, logits, frames = _states(net, lines[start : start + _BATCH])
        best = logits.argmax(-1).cpu()
        for row, length in zip(best, frames.tolist(), strict=True):
            path = torch.unique_consecutive(row[:length]).tolist()
            yield "".join(ALPHABET[symbol] for symbol in path if symbol != BLANK)


@torch.inference_mode()
def _ar_texts(net: MiniNet, head: MiniAR, lines: Sequence[Line]) -> Iterable[str]:
    """Plain greedy search without a cache: slow, simple, for a few lines only."""
    tokenizer = load_tokenizer()
    head.eval()
    for start in range(0, len(lines), _BATCH):
        states, _, frames = _states(net, lines[start : start + _BATCH])
        mask = torch.arange(states.shape[1])[None] < frames[:, None]
        tokens = torch.full((len(states), 1), START, device=states.device)
        while tokens.shape[1] < head.config.positions - 1:
            logits, _ = head(states, mask.to(states.device), tokens)
            following = logits[:, -1:].argmax(-1)
            tokens = torch.cat([tokens, following], 1)
            if bool((tokens[:, 1:] == EOS).any(1).all()):
                break
        for row in tokens[:, 1:].tolist():
            yield detokenize(tokenizer, row[: row.index(EOS)] if EOS in row else row)
