"""Encodings that both heads can read: a tiny TrOCR whose tokens are characters, and a CTC head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from bench.core.types import ARModel, Encoded, EncoderInfo
from tests.tiny_trocr import Kind, tiny_model

EOS, PAD, START = 2, 1, 2
LETTERS = "abcdefghijk"
TOKENS = [token for token in range(12) if token != EOS]  # every other one is a letter, padding too
WORDS = 1 + len(TOKENS)
ALPHABET = ("", *LETTERS)


def tokenize(text: str) -> list[int]:
    return [TOKENS[LETTERS.index(letter)] for letter in text]


def detokenize(tokens: list[int]) -> str:
    return "".join(LETTERS[TOKENS.index(token)] for token in tokens if token != EOS)


def model(kind: Kind = "base", seed: int = 0) -> Any:
    """Its lines differ in length, and some of them end by themselves."""
    return tiny_model(kind, WORDS, seed)


def head(tiny: Any, **changes: Any) -> ARModel:
    """The AR head of a tiny model."""
    known = ARModel(
        decoder=tiny.decoder,
        project=None,
        detokenize=detokenize,
        start_id=START,
        eos_id=EOS,
        pad_id=PAD,
        max_new_tokens=64,
        tokenize=tokenize,
    )
    return replace(known, **changes)


def encoded(
    tiny: Any, lengths: list[int], seed: int = 0, frames: int = 14, **changes: Any
) -> Encoded:
    """Random states, as many for each line as `lengths` says, and random CTC output.

    The CTC output likes some symbols, so that texts are neither empty nor all alike.
    """
    noise = torch.Generator().manual_seed(seed)
    states = torch.randn(len(lengths), max(lengths), 24, generator=noise) * 3
    logits = torch.randn(len(lengths), frames, len(ALPHABET), generator=noise) * 3
    return Encoded(
        states=states,
        state_mask=torch.arange(max(lengths)) < torch.tensor(lengths)[:, None],
        log_probs=logits.log_softmax(-1),
        frames=torch.full((len(lengths),), frames),
        alphabet=ALPHABET,
        ar=head(tiny, **changes),
    )


def info(**changes: Any) -> EncoderInfo:
    return replace(EncoderInfo("tiny", "0" * 16, {}, ALPHABET, has_ar=True), **changes)


def saying(batch: Encoded, texts: list[str]) -> Encoded:
    """The same lines with CTC output whose best path is these texts."""
    steps = max(2 * len(text) + 1 for text in texts)
    probabilities = torch.full((len(texts), steps, len(ALPHABET)), 0.01)
    for line, text in enumerate(texts):
        path = [0] * steps
        path[1 : 2 * len(text) : 2] = [ALPHABET.index(letter) for letter in text]
        probabilities[line, torch.arange(steps), torch.tensor(path)] = 1 - 0.01 * len(LETTERS)
    frames = torch.full((len(texts),), steps)
    return replace(batch, log_probs=probabilities.log(), frames=frames)
