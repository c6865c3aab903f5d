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

from bench.core.errors import Unavailable, UserError
from bench.core.types import ARModel, Decoded, Encoded, EncoderInfo, Needs
from decoders.ar.base import unapplied
from decoders.ar.memory import remaining
from decoders.ar.score import score_texts
from decoders.ar.text_draft import TextDraft
from decoders.ar.tree_reader import TreeReader
from decoders.base import Decoder, DecoderSpec, missing_heads
from decoders.ctc.greedy import best_path

_MOST_FAILURES = 5  # after which a line waits no longer for its next try: 30 passes


@dataclass(frozen=True)
class DraftedSpec(DecoderSpec):
    """The tokens of ar-greedy, most of them found many at a time.

    The best CTC path is spelled in the vocabulary of the AR head, which reads that draft in one
    pass and tells after each of its tokens what it would have written there. What agrees is
    taken, and the first token that does not as the head has it; from there the rest of the draft
    is tried in the same way. So nothing is lost: every token is the head's own choice, given all
    before it. (Speculative decoding, Leviathan et al. 2023, https://arxiv.org/abs/2211.17192,
    with a draft that costs nothing.)

    length_penalty: the score is log-probability / length ** length_penalty, as ar-greedy's.
    max_new_tokens: most tokens of a line, EOS included; the head may allow fewer.
    """

    needs: ClassVar[Needs] = "both"

    length_penalty: float = 1.0
    max_new_tokens: int = 200

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens is {self.max_new_tokens}; give at least 1")

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """Both heads are needed."""
        return missing_heads(encoder)

    def ignored(self, encoder: EncoderInfo) -> Mapping[str, Any]:
        """All but those that its own options agree with."""
        return unapplied(encoder, self.max_new_tokens, length_penalty=self.length_penalty)

    def open(self, encoder: EncoderInfo) -> Decoder:
        """Nothing has to be made: both heads come with each encoding."""
        return DraftedDecoder(self)


class DraftedDecoder(Decoder):
    """Reads drafts with the AR head."""

    spec: DraftedSpec

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """The score is log-probability / tokens ** length_penalty.

        Raises:
            UserError: the encoder has no AR head with a vocabulary, or what it computes for a
                line are no numbers.
        """
        ar = encoded.ar
        if ar is None or ar.tokenize is None:
            raise UserError("this encoder has no autoregressive head that can spell a draft")
        if not len(encoded.states):
            return []
        texts = [line.text for line in best_path(encoded)]
        lines = [
            _Line(ar, text, min(self.spec.max_new_tokens, ar.max_new_tokens)) for text in texts
        ]
        with torch.inference_mode():
            _search(TreeReader(ar, encoded), lines, encoded.states.device)
        return [self._decoded(ar, line, place) for place, line in enumerate(lines, 1)]

    def score(
        self, encoded: Encoded, texts: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]] | None:
        """As ar-greedy's: log-probability / tokens ** length_penalty."""
        if encoded.ar is None or encoded.ar.tokenize is None:
            return None
        return score_texts(encoded.ar, encoded, texts, self.spec.length_penalty)

    def _decoded(self, ar: ARModel, line: _Line, place: int) -> Decoded:
        if math.isnan(line.score):
            raise UserError(
                f"the log-probabilities of line {place} of a batch are not numbers; run in "
                "float32 and check the weights"
            )
        return Decoded(
            text=ar.detokenize(line.tokens),
            tokens=len(line.tokens),
            score=line.score / len(line.tokens) ** self.spec.length_penalty,
            truncated=line.tokens[-1] != ar.eos_id,
        )


class _Line:
    """One line: what it says so far, and how it may go on.

    tokens: all that were chosen, EOS included; score: the sum of their log-probabilities.
    columns: (P,) bool, which of the P tokens that were read for the line belong to it.
    window: tokens of the draft that are worth a try in the next pass. Twice as many as agreed in
        the last one; where none did, one, and that only after twice as many passes as the time
        before: a draft that is of no use costs little then, and a good one comes back soon.
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
        """Whether it is finished."""
        return self.tokens[-1] == self._ar.eos_id or len(self.tokens) == self._limit

    @property
    def last(self) -> int:
        """The token that was chosen last, or the start token."""
        return self.tokens[-1] if self.tokens else self._ar.start_id

    def next(self) -> list[int]:
        """The token that was chosen last, and a draft of those to come."""
        assert self._ar.tokenize is not None  # `decode` has looked
        rest = self._draft.rest(self._ar.detokenize(self.tokens))
        return [self.last, *self._ar.tokenize(rest)][: self._limit - len(self.tokens)]

    def take(
        self, given: Sequence[int], chosen: Sequence[int], scores: Sequence[float], width: int
    ) -> None:
        """Take what agrees, and one token more.

        Args:
            given: n tokens as `next` gave them.
            chosen: n tokens, what the head has after each of them.
            scores: n log-probabilities of these.
            width: tokens that were read for the line, padding included.
        """
        agreed = 0
        while agreed + 1 < len(given) and given[agreed + 1] == chosen[agreed] != self._ar.eos_id:
            agreed += 1
        self.tokens += chosen[: agreed + 1]
        self.score += sum(scores[: agreed + 1])
        self._aim(agreed, tried=len(given) > 1)
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


def _search(reader: TreeReader, lines: Sequence[_Line], device: torch.device) -> None:
    """Finish all lines; those that are over leave the batch."""
    live = list(lines)
    while live:
        given = _next(live)
        width = max(map(len, given))
        rows = reader.read(*(part.to(device) for part in _batch(live, given, width)))
        chosen, scores = _choices(reader, rows, [len(tokens) for tokens in given], width)
        for line, tokens, best, values in zip(live, given, chosen, scores, strict=True):
            line.take(tokens, best, values, width)
        over = [line.over for line in live]
        if any(over):
            places = remaining(over)
            live = [live[place] for place in places]
            if live:
                reader.keep(places)


def _next(lines: Sequence[_Line]) -> list[list[int]]:
    """What each line reads next: equally much, since padding would cost as much as tokens do."""
    window = math.ceil(sum(line.window for line in lines) / len(lines))
    if window == 0:
        return [[line.last] for line in lines]
    given = [line.next() for line in lines]
    width = 1 + math.ceil(
        sum(min(line.window, len(tokens) - 1) for line, tokens in zip(lines, given, strict=True))
        / len(lines)
    )
    return [tokens[:width] for tokens in given]


def _batch(
    lines: Sequence[_Line], given: Sequence[Sequence[int]], width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (B, n), positions (B, n) and what each may look at (B, n, P + n)."""
    tokens, positions = np.zeros((2, len(lines), width), np.int64)
    for row, (line, of_line) in enumerate(zip(lines, given, strict=True)):
        tokens[row, : len(of_line)] = of_line
        positions[row, : len(of_line)] = len(line.tokens) + np.arange(len(of_line))
    past = np.stack([line.columns for line in lines])[:, None].repeat(width, axis=1)
    new = np.tri(width, dtype=bool)[None].repeat(len(lines), axis=0)
    sees = np.concatenate((past, new), axis=2)
    return torch.from_numpy(tokens), torch.from_numpy(positions), torch.from_numpy(sees)


def _choices(
    reader: TreeReader, rows: Tensor, counts: Sequence[int], width: int
) -> tuple[list[list[int]], list[list[float]]]:
    """The likeliest token after each token of each line, and its log-probability.

    Args:
        reader: gives the logits.
        rows: (B * width, D).
        counts: how many tokens of each line are no padding.
        width: n.
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
