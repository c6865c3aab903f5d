"""Texts as a TrOCR is taught them: </s> starts a line, tokens follow, </s> ends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.core.metrics import normalise
from bench.core.types import ARModel

IGNORED = -100  # label of padding: the loss passes over it


@dataclass(frozen=True, eq=False)
class Speller:
    """Texts to tokens, as the authors' code has them: tokens, then EOS, and no <s> before.

    The tokenizer by itself puts <s> before a text. With it there, and </s> as the token that
    starts a line, a decoder learns to begin each line twice
    (https://github.com/microsoft/unilm/issues/1067); with <s> as the token that starts it, it
    is taught something else than it is asked when it reads.

    tokenizer: of transformers.
    ar: the decoder, which says start, end, padding and how many tokens it can emit.
    """

    tokenizer: Any
    ar: ARModel

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, EOS not included."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def why_unfit(self, text: str) -> str:
        """Why a text cannot be taught; "" when it can."""
        tokens = self.tokens(text)
        if not text.strip() or not tokens:
            return "it has no text"
        if special := sorted(set(tokens) & set(self.tokenizer.all_special_ids)):
            meant = " ".join(self.tokenizer.convert_ids_to_tokens(special))
            foreign = "".join(sorted({x for x in text if self._unknown(x)}))
            return f"the tokenizer cannot write {foreign!r}" if foreign else f"it contains {meant}"
        needed = len(tokens) + 1
        if needed > self.ar.max_new_tokens:
            return f"it needs {needed} tokens and the decoder has {self.ar.max_new_tokens}"
        return ""

    def exact(self, text: str) -> bool:
        """Whether a text comes back from its tokens as it was."""
        return normalise(self.ar.detokenize(self.tokens(text))) == normalise(text)

    def targets(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """What the decoder is given and what it is to answer, (B, L) each.

        L is a multiple of 8, so that there are few different shapes.

        Raises:
            ValueError: a text has more tokens than the decoder can emit.
        """
        rows = [self.tokens(text) for text in texts]
        if any(len(row) >= self.ar.max_new_tokens for row in rows):
            raise ValueError("a text is longer than the decoder can write; sort it out before")
        length = -(-(max(map(len, rows)) + 1) // 8) * 8
        length = min(length, self.ar.max_new_tokens)
        given = torch.full((len(rows), length), self.ar.pad_id)
        labels = torch.full((len(rows), length), IGNORED)
        for place, row in enumerate(rows):
            given[place, : len(row) + 1] = torch.tensor([self.ar.start_id, *row])
            labels[place, : len(row) + 1] = torch.tensor([*row, self.ar.eos_id])
        return given, labels

    def _unknown(self, character: str) -> bool:
        unknown = self.tokenizer.unk_token_id
        return unknown is not None and unknown in self.tokens(character)
