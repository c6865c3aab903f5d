"""The prefix search of `decoders.ctc.prefix_beam` in batched torch, for log-probabilities on a GPU.

All prefixes of a batch take a frame together, so a frame is some forty kernels whatever the batch
and the beam. Prefixes are told apart by a 64-bit hash of their symbols, rolled on with each new
one: two ways to a prefix meet in it, and their masses are added. Masses are those of the compiled
search, in float64, so that both read the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bench.core.types import BLANK, Encoded
from decoders.ctc.base import check_frames, ctc_output
from decoders.ctc.beam_kit import NEGLIGIBLE
from decoders.ctc.prefix_beam import Language
from decoders.ctc.prefix_search import Found, Limits

# Hashes that no prefix has: of a free place in the beam, and of what came before the empty prefix.
_FREE, _NOBODY, _EMPTY = 0, 1, 2
_MULTIPLIER, _STEP = -7046029254386353131, 2862933555777941757  # odd, of many bits


class _Beam(NamedTuple):
    """The prefixes of a batch, all (B, K).

    own, parent: hashes; last: last symbol, the blank of the empty prefix; state: of the language;
    factor: that the last symbol cost; blank, symbol: masses by what their paths end in.
    """

    own: torch.Tensor
    parent: torch.Tensor
    last: torch.Tensor
    state: torch.Tensor
    factor: torch.Tensor
    blank: torch.Tensor
    symbol: torch.Tensor


class _Frame(NamedTuple):
    """probability: (B, V); tokens: (B, M) symbols that may open a prefix; opens: (B, M) bool."""

    probability: torch.Tensor
    tokens: torch.Tensor
    opens: torch.Tensor


class TorchSearch:
    """The search with its tables where the log-probabilities are."""

    def __init__(self, language: Language, device: torch.device) -> None:
        self.factor = torch.from_numpy(language.steps["factor"]).to(device)
        self.following = torch.from_numpy(language.steps["following"]).to(device)
        self.final = torch.from_numpy(language.final).to(device)
        self.start = language.start
        self.device = device

    def run(self, encoded: Encoded, limits: Limits) -> Found:
        """The N best prefixes of each line.

        Raises:
            UserError: the log-probabilities are broken (NaN, not normalised).
        """
        log_probs, frames = ctc_output(encoded)
        lines, steps, symbols = log_probs.shape
        if not (lines and steps):
            nothing = Found.room(lines, limits.nbest, 0)
            nothing.lengths[:], nothing.scores[:] = -1, 0.0
            nothing.lengths[:, 0] = 0
            return nothing
        check_frames(log_probs.amax(dim=2).cpu().numpy(), frames, symbols)
        least = max(limits.prune, NEGLIGIBLE)
        beam = self._first(lines, limits.beam)
        scale = torch.zeros(lines, dtype=torch.float64, device=self.device)
        sources, added = [], []
        for frame in _frames(log_probs, frames, limits):
            beam, best, source, symbol = self._step(beam, frame, least)
            scale += best.log()
            sources.append(source)
            added.append(symbol)
        total = (beam.blank + beam.symbol) * self.final[beam.state]
        mass, place = total.topk(limits.nbest, dim=1)
        alive = (mass > 0).cpu().numpy()
        scores = (mass.log() + scale[:, None]).cpu().numpy()
        written, lengths = _spell(sources, added, place.cpu().numpy(), steps)
        return Found(written, np.where(alive, lengths, -1), scores)

    def _first(self, lines: int, width: int) -> _Beam:
        """The empty prefix of each line."""

        def full(value: float, dtype: torch.dtype = torch.int64) -> torch.Tensor:
            return torch.full((lines, width), value, dtype=dtype, device=self.device)

        beam = _Beam(
            full(_FREE), full(_NOBODY), full(BLANK), full(self.start),
            full(1.0, torch.float64), full(0.0, torch.float64), full(0.0, torch.float64),
        )  # fmt: skip
        beam.own[:, 0] = _EMPTY
        beam.blank[:, 0] = 1.0
        return beam

    def _step(
        self, beam: _Beam, frame: _Frame, least: float
    ) -> tuple[_Beam, torch.Tensor, torch.Tensor, torch.Tensor]:
        """A frame: the new beam, its largest mass (B,), and of each place source and symbol."""
        blank, symbol, met = _stay(beam, frame)
        opened = self._open(beam, frame, met).flatten(1)
        width, tokens = blank.shape[1], max(frame.tokens.shape[1], 1)
        mass, place = torch.cat((blank + symbol, opened), dim=1).topk(width, dim=1)
        stays = place < width
        source = torch.where(stays, place, (place - width).div(tokens, rounding_mode="floor"))
        added = frame.tokens.new_zeros(place.shape)  # the blank: nothing was added
        if opened.shape[1]:
            token = ((place - width) % tokens).clamp(min=0)
            added = torch.where(stays, BLANK, frame.tokens.gather(1, token))
        alive = mass > least * mass[:, :1]
        blank = torch.where(stays & alive, blank.gather(1, source), 0.0)
        symbol = torch.where(stays, symbol.gather(1, source), mass)
        symbol = torch.where(alive, symbol, 0.0)
        renewed = self._renew(beam, source, added, stays, alive)
        masses = {"blank": blank / mass[:, :1], "symbol": symbol / mass[:, :1]}
        return renewed._replace(**masses), mass[:, 0], source, added

    def _open(self, beam: _Beam, frame: _Frame, met: torch.Tensor) -> torch.Tensor:
        """Masses (B, K, M) of new prefixes, 0 where one may not be opened or stands already."""
        both = beam.blank + beam.symbol
        tokens = frame.tokens[:, None].expand(-1, both.shape[1], -1)
        same = tokens == beam.last[:, :, None]
        mass = torch.where(same, beam.blank[:, :, None], both[:, :, None])
        mass = mass * frame.probability.gather(1, frame.tokens)[:, None]
        allowed = frame.opens[:, None] & ~met.gather(2, tokens)
        return torch.where(allowed, mass * self.factor[beam.state[:, :, None], tokens], 0.0)

    def _renew(
        self,
        beam: _Beam,
        source: torch.Tensor,
        added: torch.Tensor,
        stays: torch.Tensor,
        alive: torch.Tensor,
    ) -> _Beam:
        """The prefixes at their new places, without their masses; all arguments are (B, K)."""
        own, state = beam.own.gather(1, source), beam.state.gather(1, source)
        longer = (own + added + 1) * _MULTIPLIER
        longer = (longer ^ (longer >> 29)) * _STEP
        parent = torch.where(stays, beam.parent.gather(1, source), own)
        return beam._replace(
            own=torch.where(alive, torch.where(stays, own, longer), _FREE),
            parent=torch.where(alive, parent, _NOBODY),
            last=torch.where(stays, beam.last.gather(1, source), added),
            state=torch.where(stays, state, self.following[state, added].long()),
            factor=torch.where(
                stays, beam.factor.gather(1, source), self.factor[state, added].double()
            ),
        )


def _frames(log_probs: torch.Tensor, frames: NDArray[np.int64], limits: Limits) -> Iterator[_Frame]:
    """The frames of a batch, one after another; past its end a line reads certain blanks."""
    steps, symbols = log_probs.shape[1:]
    over = torch.from_numpy(np.arange(steps) >= frames[:, None]).to(log_probs.device)
    certain = torch.full((symbols,), -math.inf, device=log_probs.device)
    certain[BLANK] = 0.0
    rows = torch.where(over[:, :, None], certain, log_probs)
    opens = rows >= limits.token_logp
    opens.scatter_(2, rows.argmax(dim=2, keepdim=True), True)
    opens[:, :, BLANK] = False
    opens &= ~over[:, :, None]
    # The most tokens of a frame, over all lines: the only time that the host waits.
    most = opens.sum(dim=2).amax(dim=0).tolist()
    for step, count in enumerate(most):
        chosen, tokens = torch.where(opens[:, step], rows[:, step], -math.inf).topk(count, dim=1)
        fits = opens[:, step].gather(1, tokens)
        yield _Frame(rows[:, step].double().exp(), tokens, fits & (chosen > -math.inf))


def _stay(beam: _Beam, frame: _Frame) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prefixes as they are: a blank, the last symbol again, or their parent grown into them.

    Returns their masses by their ends, (B, K) each, and (B, K, V) bool: that extension of that
    prefix stands in the beam.
    """
    is_parent = beam.parent[:, :, None] == beam.own[:, None]
    shorter = is_parent.long().argmax(dim=2)
    has_parent = is_parent.any(dim=2)
    both = beam.blank + beam.symbol
    repeats = beam.last.gather(1, shorter) == beam.last  # only a blank parts the two
    grown = torch.where(repeats, beam.blank.gather(1, shorter), both.gather(1, shorter))
    grown = torch.where(has_parent, grown * beam.factor, 0.0)
    probability = frame.probability.gather(1, beam.last)
    blank = both * frame.probability[:, BLANK : BLANK + 1]
    met = torch.zeros(*both.shape, frame.probability.shape[1], dtype=torch.bool, device=both.device)
    lines = torch.arange(len(both), device=both.device)[:, None].expand_as(shorter)
    met[lines[has_parent], shorter[has_parent], beam.last[has_parent]] = True
    return blank, (grown + beam.symbol) * probability, met


def _spell(
    sources: list[torch.Tensor], added: list[torch.Tensor], place: NDArray[np.int64], steps: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Symbols (B, N, T) and lengths (B, N) of prefixes, from their places in the last beam (B, N).

    Each step's beam says of each place which place it came from and what was added there.
    """
    backwards = np.zeros((*place.shape, steps), np.int32)
    came = torch.stack(sources).cpu().numpy()
    symbols = torch.stack(added).cpu().numpy()
    for step in range(steps - 1, -1, -1):
        backwards[:, :, step] = np.take_along_axis(symbols[step], place, axis=1)
        place = np.take_along_axis(came[step], place, axis=1)
    lengths = (backwards != BLANK).sum(axis=2)
    order = np.argsort(backwards == BLANK, axis=2, kind="stable")
    return np.take_along_axis(backwards, order, axis=2), lengths
