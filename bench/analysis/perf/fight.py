"""Fighting a duel: what is given is made first, then both sides take turns, round by round."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from bench.analysis.perf.bounds import least_seconds
from bench.analysis.perf.duels import Duel
from bench.analysis.perf.machine import Neighbours, Peaks
from bench.analysis.perf.variants import VARIANTS
from bench.core.errors import Unavailable, UserError
from bench.core.metrics import count_edits
from bench.core.stopwatch import Stopwatch, pause
from bench.core.types import Decoded, Encoded, Image, Line, Runtime
from bench.pipeline.measure import sorted_batches
from bench.pipeline.reading import open_encoder, opened
from datasets import DATASETS
from datasets.damage import DAMAGES
from datasets.damage.lines import damaged_lines
from decoders import DECODERS
from models import ENCODERS

Said = TypeVar("Said")

_SET = "lines"
_SPLIT = "test"
_REST_S = 0.2


@dataclass(frozen=True)
class Verdict:
    """How a duel ended; times are those of single rounds, for all lines, in seconds.

    same: lines that both sides read alike; None in a duel of encoders.
    score_gap: largest difference of the scores of such lines; None where they have none.
    ours_cer, peer_cer: fractions; None for untrained weights.
    change: of the states, as a share of their size (Euclidean norms); None in other duels.
    bound_s: what one round of ours would take at the machine's peaks; None where it is unknown.
    others: share of the machine that other processes used meanwhile.
    reason: why it was not fought, and what would make it possible; then nothing else is known.
    """

    duel: Duel
    ours_s: tuple[float, ...] = ()
    peer_s: tuple[float, ...] = ()
    same: int | None = None
    score_gap: float | None = None
    ours_cer: float | None = None
    peer_cer: float | None = None
    change: float | None = None
    bound_s: float | None = None
    others: float = 0.0
    reason: str = ""

    @property
    def ratios(self) -> tuple[float, ...]:
        """Peer's seconds over ours, round by round: how many times faster ours is."""
        return tuple(p / o for o, p in zip(self.ours_s, self.peer_s, strict=True))


def fight(
    duel: Duel, peaks: Peaks, runtime: Runtime, turn: Callable[[], None] = lambda: None
) -> Verdict:
    """Fight a duel.

    Args:
        duel: which one.
        peaks: of this machine.
        runtime: device and threads; precision and batch size are the duel's.
        turn: called after each turn of a side, warm-up included.
    """
    runtime = replace(runtime, batch_size=duel.batch)
    watch = Stopwatch.for_device(runtime.device)
    try:
        if duel.group == "encoder":
            return _encoders(duel, runtime, watch, turn)
        return _decoders(duel, runtime, watch, turn, peaks)
    except Unavailable as absent:
        return Verdict(duel, reason="; ".join(filter(None, (absent.reason, absent.remedy))))
    except UserError as error:
        return Verdict(duel, reason=str(error))


def turns(duel: Duel) -> int:
    """How often `fight` calls `turn`."""
    return 2 * (duel.rounds + 1)


def _decoders(
    duel: Duel, runtime: Runtime, watch: Stopwatch, turn: Callable[[], None], peaks: Peaks
) -> Verdict:
    encoder = open_encoder(ENCODERS, duel.encoder, duel.options, runtime)
    lines = _lines(duel)
    batches = [
        [lines[place] for place in batch]
        for batch in sorted_batches([_aspect(line.image) for line in lines], duel.batch)
    ]
    given = [encoder.encode(encoder.prepare([line.image for line in batch])) for batch in batches]
    with ExitStack() as stack:
        both = [
            stack.enter_context(opened(DECODERS.create(side.decoder, side.options), encoder.info))
            for side in (duel.ours, duel.peer)
        ]
        (ours_said, peer_said), times, others = _rounds(
            duel, watch, turn, *(partial(_read, one.decode, given) for one in both)
        )
    references = [line.text for batch in batches for line in batch]
    trained = encoder.info.trained
    return Verdict(
        duel,
        *times,
        same=sum(a.text == b.text for a, b in zip(ours_said, peer_said, strict=True)),
        score_gap=_gap(ours_said, peer_said),
        ours_cer=_cer(references, ours_said) if trained else None,
        peer_cer=_cer(references, peer_said) if trained else None,
        bound_s=_bound(duel, given, ours_said, peaks),
        others=others,
    )


def _encoders(duel: Duel, runtime: Runtime, watch: Stopwatch, turn: Callable[[], None]) -> Verdict:
    lines = _lines(duel)
    images = [line.image for line in lines]
    ours, peer = (
        open_encoder(ENCODERS, duel.encoder, duel.options, replace(runtime, dtype=side.dtype))
        for side in (duel.ours, duel.peer)
    )
    VARIANTS[duel.ours.variant](ours)
    mine, theirs = ours.prepare(images), peer.prepare(images)
    (a, b), times, others = _rounds(
        duel, watch, turn, lambda: ours.encode(mine), lambda: peer.encode(theirs)
    )
    cers: list[float | None] = [None, None]
    if peer.info.trained and a.log_probs is not None:
        with opened(DECODERS.create("ctc-greedy"), peer.info) as greedy:
            cers = [_cer([line.text for line in lines], greedy.decode(one)) for one in (a, b)]
    return Verdict(
        duel, *times, ours_cer=cers[0], peer_cer=cers[1], change=_change(a, b), others=others
    )


def _rounds(
    duel: Duel,
    watch: Stopwatch,
    turn: Callable[[], None],
    ours: Callable[[], Said],
    peer: Callable[[], Said],
) -> tuple[tuple[Said, Said], tuple[tuple[float, ...], tuple[float, ...]], float]:
    """What both sides say, their seconds by round, and what others used of the machine meanwhile.

    Each side warms up once. In each round the order is drawn anew, by a fixed seed. Before a turn
    there is a rest, so that what the other side's workers still tidy up does not fall on it.
    """
    sides = (ours, peer)
    said: list[Said] = []
    for side in sides:
        said.append(side())
        turn()
    times: tuple[list[float], list[float]] = ([], [])
    shuffler = random.Random(0)
    neighbours = Neighbours()
    for _ in range(duel.rounds):
        for place in shuffler.sample((0, 1), 2):
            pause(_REST_S)
            times[place].append(watch.measure(sides[place])[1].wall_s)
            turn()
    return (said[0], said[1]), (tuple(times[0]), tuple(times[1])), neighbours.share()


def _lines(duel: Duel) -> Sequence[Line]:
    lines = DATASETS.create(_SET).load(_SPLIT, duel.lines).lines
    if duel.damage is None:
        return list(lines)
    name, severity = duel.damage
    damage = DAMAGES.create(name)
    return [result.line for result in damaged_lines(damage, lines, _SET, severity, 0)]


def _read(decode: Callable[[Encoded], list[Decoded]], given: Sequence[Encoded]) -> list[Decoded]:
    return [one for encoded in given for one in decode(encoded)]


def _gap(ours: Sequence[Decoded], peer: Sequence[Decoded]) -> float | None:
    gaps = [
        abs(a.score - b.score)
        for a, b in zip(ours, peer, strict=True)
        if a.text == b.text and a.score is not None and b.score is not None
    ]
    return max(gaps, default=None)


def _cer(references: Sequence[str], said: Sequence[Decoded]) -> float | None:
    edits, characters = count_edits(zip(references, (one.text for one in said), strict=True))
    return edits / characters if characters else None


def _change(ours: Encoded, peer: Encoded) -> float:
    """Size of the difference of the states by that of the states, padding left out."""
    exact = peer.states[peer.state_mask].float()
    return float((ours.states[peer.state_mask].float() - exact).norm() / exact.norm())


def _bound(
    duel: Duel, given: Sequence[Encoded], said: Sequence[Decoded], peaks: Peaks
) -> float | None:
    """Of an AR search, for all its batches."""
    if duel.group != "search":
        return None
    beam, rest = int(duel.peer.options["beam"]), list(said)
    seconds = 0.0
    for encoded in given:
        lines = len(encoded.states)
        seconds += least_seconds(encoded, rest[:lines], beam, peaks)
        rest = rest[lines:]
    return seconds


def _aspect(image: Image) -> float:
    return image.shape[1] / image.shape[0]
