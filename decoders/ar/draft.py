"""The encoder's own autoregressive head, greedy, with the best CTC path as a draft."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core.errors import UserError
from bench.core.options import check_least
from bench.core.types import ARModel, Encoded, EncoderInfo, Needs
from decoders.ar.base import ARDecoder
from decoders.ar.reader import remaining
from decoders.ar.score import TreeReader
from decoders.ar.specs import check_penalty, unapplied
from decoders.base import Decoder, DecoderSpec
from decoders.ctc.greedy import best_path

_MOST_FAILURES = 5  # failures that lengthen the pause before the next try, up to 30 passes


@dataclass(frozen=True)
class DraftedSpec(DecoderSpec):
    """The tokens of ar-greedy, read many at a time.

    The best CTC path is spelled in the vocabulary of the AR head, which reads that draft in one
    pass and predicts a token behind each of its tokens. Agreeing tokens are accepted, and the first
    that differs is replaced by the head's; from there the rest of the draft is tried in the same
    way. So every token is the head's own choice after all before it. (Speculative decoding,
    Leviathan et al. 2023, https://arxiv.org/abs/2211.17192, with a free draft.)

    length_penalty: the score is log-probability / length ** length_penalty, as ar-greedy's.
    max_new_tokens: most tokens of a line, EOS included; the head may allow fewer.
    """

    needs: ClassVar[Needs] = "both"
    nbest: ClassVar[int] = 1

    length_penalty: float = 1.0
    max_new_tokens: int = 200

    def __post_init__(self) -> None:
        check_least(self, 1, "max_new_tokens")
        check_penalty(self.length_penalty)

    def ignored(self, encoder: EncoderInfo) -> Mapping[str, Any]:
        """All settings but those that its own options agree with."""
        return unapplied(encoder, self.max_new_tokens, length_penalty=self.length_penalty)

    def open(self, encoder: EncoderInfo) -> Decoder:
        """Open the decoder, which loads nothing: both heads come with each encoding."""
        return _DraftedDecoder(self)


class _DraftedDecoder(ARDecoder):
    def _search(self, ar: ARModel, encoded: Encoded) -> tuple[list[list[int]], list[float]]:
        if ar.tokenize is None:
            raise UserError("this encoder has no autoregressive head that can spell a draft")
        lines = [_Line(ar, line.text, self._limit(ar)) for line in best_path(encoded)]
        reader, live = TreeReader(ar, encoded), lines
        while live:
            drafts = _drafts(live)
            width = max(map(len, drafts))
            batch = (part.to(encoded.states.device) for part in _batch(live, drafts, width))
            chosen, scores = _choices(reader, reader.read(*batch), list(map(len, drafts)), width)
            for line, draft, best, values in zip(live, drafts, chosen, scores, strict=True):
                line.take(draft, best, values, width)
            over = [line.over for line in live]
            if any(over):  # lines that are over leave the batch
                places = remaining(over)
                live = [live[place] for place in places]
                if live:
                    reader.keep(places)
        tokens = [line.tokens for line in lines]
        return tokens, [x.score / len(x.tokens) ** self.spec.length_penalty for x in lines]


class _Line:
    """The tokens of a line so far, and its draft.

    tokens: all that were chosen, EOS included; score: the sum of their log-probabilities.
    columns: (P,) bool, which of the P tokens that were read for the line belong to it.
    window: tokens of the draft to try in the next pass. Twice as many as agreed in the last one;
        where none did, one, after twice as many passes as the time before, so that a useless draft
        costs little and a good one returns soon.
    """

    def __init__(self, ar: ARModel, text: str, limit: int) -> None:
        self._ar, self._limit, self._draft = ar, limit, TextDraft(text)
        self.tokens: list[int] = []
        self.score = 0.0
        self.columns = np.zeros(0, bool)
        self.window = limit
        self._failures = self._passes_to_wait = 0

    @property
    def over(self) -> bool:
        return self.tokens[-1] == self._ar.eos_id or len(self.tokens) == self._limit

    @property
    def last(self) -> int:
        """The token that was chosen last, or the start token."""
        return self.tokens[-1] if self.tokens else self._ar.start_id

    def next(self) -> list[int]:
        """The token that was chosen last, and a draft of those to come."""
        assert self._ar.tokenize is not None  # the search has checked it
        rest = self._draft.rest(self._ar.detokenize(self.tokens))
        return [self.last, *self._ar.tokenize(rest)][: self._limit - len(self.tokens)]

    def take(
        self, draft: Sequence[int], chosen: Sequence[int], scores: Sequence[float], width: int
    ) -> None:
        """Take the tokens that agree, and one more.

        Args:
            draft: n tokens of `next`.
            chosen: n tokens, the head's behind each of them.
            scores: n log-probabilities of these.
            width: tokens that were read for the line, padding included.
        """
        agreed = 0
        while agreed + 1 < len(draft) and draft[agreed + 1] == chosen[agreed] != self._ar.eos_id:
            agreed += 1
        self.tokens += chosen[: agreed + 1]
        self.score += sum(scores[: agreed + 1])
        self._aim(agreed, tried=len(draft) > 1)
        self.columns = np.concatenate((self.columns, np.arange(width) <= agreed))

    def _aim(self, agreed: int, tried: bool) -> None:
        if agreed:
            self.window, self._failures = 2 * agreed, 0
            return
        if tried:
            self._failures = min(self._failures + 1, _MOST_FAILURES)
            self._passes_to_wait = 2**self._failures - 2
        self._passes_to_wait -= 1
        self.window = int(self._passes_to_wait < 0)


def _drafts(lines: Sequence[_Line]) -> list[list[int]]:
    """Draft the next tokens of each line, equally many, since padding costs as much as tokens."""
    window = math.ceil(sum(line.window for line in lines) / len(lines))
    if window == 0:
        return [[line.last] for line in lines]
    drafts = [line.next() for line in lines]
    width = 1 + math.ceil(
        sum(min(line.window, len(tokens) - 1) for line, tokens in zip(lines, drafts, strict=True))
        / len(lines)
    )
    return [tokens[:width] for tokens in drafts]


def _batch(
    lines: Sequence[_Line], drafts: Sequence[Sequence[int]], width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (B, n), their positions (B, n), and which others each attends to (B, n, P + n)."""
    tokens, positions = np.zeros((2, len(lines), width), np.int64)
    for row, (line, draft) in enumerate(zip(lines, drafts, strict=True)):
        tokens[row, : len(draft)] = draft
        positions[row, : len(draft)] = len(line.tokens) + np.arange(len(draft))
    past = np.stack([line.columns for line in lines])[:, None].repeat(width, axis=1)
    new = np.tri(width, dtype=bool)[None].repeat(len(lines), axis=0)
    sees = np.concatenate((past, new), axis=2)
    return torch.from_numpy(tokens), torch.from_numpy(positions), torch.from_numpy(sees)


def _choices(
    reader: TreeReader, rows: Tensor, counts: Sequence[int], width: int
) -> tuple[list[list[int]], list[list[float]]]:
    """The likeliest token behind each token of each line, and its log-probability.

    Of the (B * width, D) rows those count that are no padding, `counts` of each line.
    """
    places = [line * width + i for line, count in enumerate(counts) for i in range(count)]
    tokens: list[int] = []
    scores: list[float] = []
    for logits in reader.logits(rows[torch.tensor(places, device=rows.device)]):
        best, token = logits.max(1)
        tokens += token.tolist()
        scores += (best - logits.logsumexp(1)).tolist()
    ends = np.cumsum(counts)
    parts = list(zip(ends - counts, ends, strict=True))
    return [tokens[a:b] for a, b in parts], [scores[a:b] for a, b in parts]


class TextDraft:
    """A text as a draft of the rest of another reading of its line.

    It continues at the last place where the draft's beginning has the smallest edit distance from
    the reading so far: then a wrong character counts as a substitution.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._characters = _characters(text)
        self._read = ""
        # Edit distances between the reading and every beginning of the draft.
        self._distances = np.arange(len(text) + 1)

    def rest(self, read: str) -> str:
        """The part of the draft behind a reading, of which the call before had a beginning."""
        if not read.startswith(self._read):
            self._distances, self._read = np.arange(len(self._text) + 1), ""
        for character in _characters(read[len(self._read) :]):
            self._advance(character)
        self._read = read
        place = len(self._text) - int(self._distances[::-1].argmin())
        return self._text[place:]

    def _advance(self, character: int) -> None:
        """One more row of Wagner and Fischer's table (1974, https://doi.org/10.1145/321796.321811).

        Its sequential part, characters of the draft that were not read, is a running minimum.
        """
        before, columns = self._distances, np.arange(len(self._distances))
        row = before + 1
        row[1:] = np.minimum(row[1:], before[:-1] + (self._characters != character))
        self._distances = np.minimum.accumulate(row - columns) + columns


def _characters(text: str) -> NDArray[np.int64]:
    return np.fromiter(map(ord, text), np.int64, len(text))
