"""Autoregressive beam search with the tokens of `generate`, many times as fast.

The costly steps of `generate` are left out: keys and values of the image are computed once a line
and not once a hypothesis, no cache is copied when hypotheses change places, the first step has one
hypothesis, the best tokens are known before any softmax over the vocabulary, lines that are over
leave the batch, and weights are packed for products with few rows.

The rules (`GenerationMixin._beam_search` of transformers 5.23): of the 2 * beam best continuations
of a line, those among the best `beam` that end are finished, and the best `beam` of those that do
not end stay open; finished ones are ranked by log-probability / length ** length_penalty, and the
best `beam` of them are kept. With a beam of 1 this is greedy search.

Two things differ. A missing hypothesis scores minus infinity and not -1e9, so that it is never
mistaken for one. And no sequence is copied: each step stores a token and a parent, from which
sequences are read back at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from bench.core.types import ARModel, Encoded
from decoders.ar.base import ARDecoder
from decoders.ar.constraints import constrained
from decoders.ar.reader import Stepper, remaining
from decoders.ar.specs import ARSpec, AutoregressiveSpec

if TYPE_CHECKING:
    from transformers import LogitsProcessorList

_NONE = -torch.inf  # the score of a missing hypothesis
_CHUNK = 64  # tokens; see `best_of`


class BeamDecoder(ARDecoder):
    """Greedy or beam search on the weights of any TrOCR decoder."""

    spec: AutoregressiveSpec

    def _search(self, ar: ARModel, encoded: Encoded) -> tuple[list[list[int]], list[float]]:
        spec, limit, device = self.spec, self._limit(ar), encoded.states.device
        beams = Beams(spec, limit, ar, len(encoded.states), device)
        rounded = getattr(torch, spec.head) if spec.head else None
        stepper = Stepper(ar, encoded, spec.beam, limit, rounded)
        forced = None if ar.forced_lengths is None else ar.forced_lengths.to(device)
        if self._constraints is not None:
            beams.constrain(self._constraints.processors(ar, limit))
        for step in range(limit):
            over = beams.advance(stepper.logits(beams.tokens, step), forced)
            done = over.tolist()
            if any(done):
                places = remaining(done)
                beams.keep(places, done)
                if not places:
                    break
                stepper.keep(places)
                forced = None if forced is None else forced[places]
            stepper.follow(beams.parents)
        return beams.best(spec.nbest)


class Beams:
    """The hypotheses of the B lines that are still searched.

    tokens: (B, n) latest token of each open hypothesis, the likeliest first; n is 1 at first, and
        the beam after the first step.
    parents: (B, n) the open hypothesis of the step before that each of them continues.
    """

    def __init__(
        self, spec: ARSpec, limit: int, ar: ARModel, lines: int, device: torch.device
    ) -> None:
        """Begin with the start token as the only hypothesis of a line of at most `limit` tokens."""
        self._spec, self._limit, self._eos_id = spec, limit, ar.eos_id
        self.tokens = torch.full((lines, 1), ar.start_id, device=device)
        self.parents = torch.zeros_like(self.tokens)
        self._scores = torch.zeros(lines, 1, device=device)  # of the open ones
        self._lines = torch.arange(lines, device=device)  # which line of the batch each one is
        self._ends = _Ends.none(lines, spec.beam, device)
        self._finished = _Ends.none(lines, spec.beam, device)  # of the whole batch
        # A (whole batch, beam) a step: parent and token of each open hypothesis as one number.
        self._history: list[Tensor] = []
        self._vocabulary = 0
        self._processors: LogitsProcessorList | None = None
        self._sequences = self.tokens[:, :, None]  # (B, n, step + 1), kept up to date for these

    def constrain(self, processors: LogitsProcessorList) -> None:
        """Change the logits of each step by these; see `decoders.ar.constraints`."""
        self._processors = processors

    def advance(self, logits: Tensor, forced: Tensor | None) -> Tensor:
        """Take the best continuations of all open hypotheses; (B,) bool, which lines are over.

        Args:
            logits: (B * n, V) float32 behind each of `tokens`; overwritten.
            forced: (B,) tokens, EOS included, that each line has to have; or None.
        """
        beam, length = self._spec.beam, len(self._history) + 1
        self._vocabulary = logits.shape[1]
        if self._processors is None:
            totals = logits.logsumexp(1, keepdim=True)
        else:
            before = self._sequences.flatten(0, 1)
            logits, totals = constrained(self._processors, before, logits, beam == 1)
        if forced is not None:
            ends = (forced <= length).repeat_interleave(self.tokens.shape[1])
            _force(logits, ends, self._eos_id, totals)
        values, tokens = best_of(logits, min(2 * beam, self._vocabulary))
        values -= totals
        values.view(len(self.tokens), -1, values.shape[1]).add_(self._scores[:, :, None])
        scores, parents, tokens = _best_of_lines(values, tokens, len(self.tokens), 2 * beam)
        at_end = tokens == self._eos_id
        if length == self._limit:
            at_end = torch.ones_like(at_end)
        self._finish(scores[:, :beam], parents[:, :beam], tokens[:, :beam], at_end[:, :beam])
        self._scores, which = scores.masked_fill(at_end, _NONE).topk(beam)
        self.parents, self.tokens = parents.gather(1, which), tokens.gather(1, which)
        self._remember()
        if self._processors is not None:
            past = self.parents[:, :, None].expand(-1, -1, self._sequences.shape[2])
            past = self._sequences.gather(1, past)
            self._sequences = torch.cat([past, self.tokens[:, :, None]], 2)
        return self._over()

    def keep(self, places: list[int], over: list[bool]) -> None:
        """Keep the lines at `places` (see `remaining`); `over` marks the others."""
        device = self._lines.device
        ended = torch.tensor([i for i, done in enumerate(over) if done], device=device)
        lines, ends = self._lines[ended], self._ends.at(ended)
        self._finished.scores[lines], self._finished.codes[lines] = ends.scores, ends.codes
        at = torch.tensor(places, dtype=torch.long, device=device)
        self._lines, self._ends = self._lines[at], self._ends.at(at)
        self._scores = self._scores[at]
        self.tokens, self.parents = self.tokens[at], self.parents[at]
        if self._processors is not None:
            self._sequences = self._sequences[at]

    def best(self, count: int) -> tuple[list[list[int]], list[float]]:
        """Tokens and scores of the `count` best hypotheses of each line, when all are over.

        Line by line; a missing hypothesis scores minus infinity.
        """
        history = torch.stack(self._history).tolist()
        codes = self._finished.codes[:, :count].tolist()
        tokens = [
            self._read_back(history, line, code)
            for line, of_line in enumerate(codes)
            for code in of_line
        ]
        return tokens, self._finished.scores[:, :count].flatten().tolist()

    def _finish(self, scores: Tensor, parents: Tensor, tokens: Tensor, at_end: Tensor) -> None:
        """Store the continuations that end; all (B, beam)."""
        step, length = len(self._history), len(self._history) + 1
        ranked = (scores / length**self._spec.length_penalty).masked_fill_(~at_end, _NONE)
        # NaN must not get lost among numbers: the line has no result.
        ranked.masked_fill_(scores.isnan(), torch.nan)
        codes = (step * self._spec.beam + parents) * self._vocabulary + tokens
        self._ends = self._ends.with_more(ranked, codes)

    def _remember(self) -> None:
        codes = self.parents * self._vocabulary + self.tokens
        if len(codes) < len(self._finished.scores):  # of the whole batch
            whole = codes.new_zeros(self._finished.codes.shape)
            codes = whole.index_copy_(0, self._lines, codes)
        self._history.append(codes)

    def _over(self) -> Tensor:
        """(B,) bool, which lines have no open hypothesis that could count."""
        spec, best, ends = self._spec, self._scores[:, 0], self._ends.scores
        full = ends[:, -1] > _NONE
        over = ~(best > _NONE) | ends[:, 0].isnan()
        if spec.early_stopping is True:
            return over | full
        to_the_limit = spec.early_stopping == "never" and spec.length_penalty > 0
        length = self._limit if to_the_limit else len(self._history)
        return over | (full & ~(best / length**spec.length_penalty > ends[:, -1]))

    def _read_back(self, history: list[list[list[int]]], line: int, code: int) -> list[int]:
        rest, token = divmod(code, self._vocabulary)
        step, parent = divmod(rest, self._spec.beam)
        tokens = [token]
        for before in reversed(history[:step]):
            parent, token = divmod(before[line][parent], self._vocabulary)
            tokens.append(token)
        return tokens[::-1]


@dataclass(frozen=True, eq=False)
class _Ends:
    """Finished hypotheses of B lines, the best first.

    scores: (B, beam) float32, minus infinity where there is none.
    codes: (B, beam) int64, (step * beam + parent) * V + token of the last token.
    """

    scores: Tensor
    codes: Tensor

    @classmethod
    def none(cls, lines: int, beam: int, device: torch.device) -> _Ends:
        scores = torch.full((lines, beam), _NONE, device=device)
        return cls(scores, torch.zeros_like(scores, dtype=torch.long))

    def at(self, lines: Tensor) -> _Ends:
        return _Ends(self.scores[lines], self.codes[lines])

    def with_more(self, scores: Tensor, codes: Tensor) -> _Ends:
        """Keep the best of both."""
        best, which = torch.cat([self.scores, scores], 1).topk(scores.shape[1])
        return _Ends(best, torch.cat([self.codes, codes], 1).gather(1, which))


def best_of(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `topk` of (N, V) rows, in a fraction of its time where rows are long.

    The largest numbers lie in the `count` chunks with the largest maxima, or in the rest that
    makes no whole chunk.
    """
    chunks = rows.shape[1] // _CHUNK
    if chunks <= 4 * count:
        return rows.topk(count)
    whole = chunks * _CHUNK
    maxima = rows[:, :whole].unflatten(1, (chunks, _CHUNK)).amax(2)
    inside = torch.arange(_CHUNK, device=rows.device)
    columns = (maxima.topk(count).indices[:, :, None] * _CHUNK + inside).flatten(1)
    rest = torch.arange(whole, rows.shape[1], device=rows.device).expand(len(rows), -1)
    columns = torch.cat([columns, rest], 1)
    values, which = rows.gather(1, columns).topk(count)
    return values, columns.gather(1, which)


def _best_of_lines(
    scores: Tensor, tokens: Tensor, lines: int, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, parents and tokens (B, count) of the best continuations of each line, best first.

    They are chosen from (B * n, k) of each hypothesis; missing ones score minus infinity.
    """
    each = scores.shape[1]
    scores, tokens = scores.view(lines, -1), tokens.view(lines, -1)
    parents = torch.arange(scores.shape[1], device=scores.device) // each
    short = count - scores.shape[1]
    if short > 0:
        scores = pad(scores, (0, short), value=_NONE)
        tokens, parents = pad(tokens, (0, short)), pad(parents, (0, short))
    best, which = scores.topk(count)
    return best, parents[which], tokens.gather(1, which)


def _force(logits: Tensor, ends: Tensor, eos_id: int, totals: Tensor) -> None:
    """Force EOS in the (N,) rows that end, and forbid it in the others."""
    logits.masked_fill_(ends[:, None], _NONE)
    logits[:, eos_id] = torch.where(ends, totals[:, 0], _NONE)
