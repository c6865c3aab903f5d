"""Tuning: the weights of a decoder on a validation split, frozen for every later run.

The lines are encoded once and read again at every point of the grid by one open decoder. Each
line is there twice, clean and damaged, since the best weight of a language model depends on how
much is left for it to mend: weights tuned on clean lines alone are too small for damaged ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.analysis.stats import rate_difference
from bench.analysis.tuning.search import (
    Grid,
    Make,
    Point,
    Trials,
    Values,
    edits_of,
    lengths_of,
    search,
)
from bench.core.errors import UserError
from bench.core.hashing import plain
from bench.core.registry import did_you_mean
from bench.core.types import Line
from bench.pipeline.opening import Track, opened
from bench.pipeline.plan import CLEAN, Registries, Selection
from datasets.damage.base import SEVERITIES, SUITE, others
from decoders.base import DecoderSpec
from decoders.correctors import options_of
from decoders.tuned import Tuned

SPLIT = "val"
BASELINE = "ctc-greedy"  # its CER measures the difficulty of the lines


def tune(
    asked: Selection,
    registries: Registries,
    track: Track,
    grid: Grid | None = None,
    count: int | None = None,
) -> Tuned:
    """Search; nothing is frozen, and a search that was stopped goes on where it was.

    Args:
        asked: one encoder, decoder and data set; each line is also damaged by one of the damages,
            in turn.
        registries: where names are looked up.
        track: hears of each step.
        grid: values to try in the place of the decoder's own, by option; it may name other options
            of numbers as well (a beam, a threshold).
        count: points that Optuna's sampler tries, within the bounds of the grid; None tries every
            point of it.

    Raises:
        UserError: a split that is no validation split, a decoder without weights, weights of the
            encoder that are untrained, an unknown name or option.
        Unavailable: something that it needs is not here.
    """
    _check(asked, count)
    (encoder,), (name,), (dataset,) = asked.encoders, asked.decoders, asked.datasets
    make, tried = _decoder(name, asked, registries, grid or {})
    spec = make({})
    with opened(encoder, registries, asked.options, asked.runtime, track, trained=True) as bench:
        if absent := spec.missing(bench.info):  # before the lines take their time
            raise absent
        lines = bench.lines(dataset, asked.split, asked.limit)
        mixture, conditions = _mixture(asked, lines.lines, registries, track)
        batches = list(bench.encode(mixture, spec))
        greedy = edits_of(bench.decoder(registries.decoders.create(BASELINE)), batches)
        identity = [bench.info.weights, lines.sha256, conditions, asked.seed, asked.options, SUITE]
        trials = Trials(bench, make, batches, [*identity, asked.runtime])
        points = search(trials, tried, count, track)
        extras = trials.extras()
        weights = bench.info.weights
    best = min(points, key=lambda point: point.edits.sum())  # of equals the first
    lengths = lengths_of(batches)
    blocks = [line.block for batch in batches for line in batch.lines]
    return Tuned(
        decoder=name,
        encoder=encoder,
        values={k: v for k, v in best.values.items() if k in spec.tunes},
        weights=weights,
        lm=extras["lm"],
        lm_sha256=extras["lm_sha256"],
        dataset=dataset,
        split=asked.split,
        dataset_sha256=lines.sha256,
        lines=len(lines.lines),
        conditions=conditions,
        options=_fixed_options(spec, best.values),
        grid=dict(tried),
        cer=float(best.edits.sum() / lengths.sum()),
        greedy_cer=float(greedy.sum() / lengths.sum()),
        cer_map=tuple(_mapped(point, best, lengths, blocks) for point in points),
    )


def _mapped(
    point: Point, best: Point, lengths: NDArray[np.int64], blocks: Sequence[str]
) -> dict[str, float]:
    """A point of the map: values, CER, and p of its gap to the best, where blocks are enough."""
    gap = rate_difference(point.edits, best.edits, lengths, blocks)
    assert gap is not None  # the references hold at least one character
    values = {**point.values, "cer": float(point.edits.sum() / lengths.sum())}
    return values if gap.p is None else {**values, "p": gap.p}


def _check(asked: Selection, count: int | None) -> None:
    """Refuse a search that makes no sense before anything is loaded."""
    if asked.split != SPLIT:
        raise UserError(
            f"weights are tuned on the split {SPLIT!r} and not on {asked.split!r}: numbers on "
            "lines that weights were tuned on, or that models learned from, tell nothing of other "
            "lines"
        )
    for severity in asked.severities:
        if severity not in SEVERITIES[1:]:
            raise UserError(f"severity {severity} is not one of 1 to {SEVERITIES[-1]}")
    if asked.limit is not None and asked.limit < 1:
        raise UserError(f"a limit of {asked.limit} lines leaves nothing to tune on")
    if count is not None and count < 1:
        raise UserError(f"{count} trials try nothing; take 1 or more")


def _decoder(name: str, asked: Selection, registries: Registries, grid: Grid) -> tuple[Make, Grid]:
    """A maker of the decoder, and the values to try: its own, or the user's in their place."""
    options = options_of(name, asked.options)

    def make(values: Values) -> DecoderSpec:
        spec: DecoderSpec = registries.decoders.create(name, {**options, **values})
        return spec

    spec = make({})
    if not spec.tunes:
        raise UserError(f"{name} has no weights to tune")
    chosen = {option: _values(name, spec, option, grid[option]) for option in grid}
    others = {option: values for option, values in chosen.items() if option not in spec.tunes}
    own = {option: chosen.get(option, values) for option, values in spec.tunes.items()}
    return make, {**others, **own}  # weights vary fastest: for them nothing is opened anew


def _values(
    name: str, spec: DecoderSpec, option: str, values: tuple[float, ...]
) -> tuple[float, ...]:
    """The values to try of an option, whole numbers where it is one."""
    settings = spec.settings()
    now = settings.get(option) if option not in spec.tunes else 0.0
    if isinstance(now, bool) or not isinstance(now, int | float):
        raise UserError(f"{name} does not tune {option!r}{did_you_mean(option, settings)}")
    if not values:
        raise UserError(f"the grid has no values of {option}")
    if not isinstance(now, int):
        return values
    if any(value != int(value) for value in values):
        raise UserError(f"{option} of {name} is a whole number")
    return tuple(int(value) for value in values)


def _mixture(
    asked: Selection, lines: Sequence[Line], registries: Registries, track: Track
) -> tuple[list[Line], tuple[str, ...]]:
    """Every line clean, and again under one damage; and the conditions in words."""
    (dataset,), (severity, *_) = asked.datasets, asked.severities
    names = [name for name in asked.damages if name != CLEAN]
    damages = [registries.damages.create(name, asked.options.get(name)) for name in names]
    mixture = list(lines)
    if damages:
        pairs = zip(lines, others(lines, dataset, asked.seed), strict=True)
        for place, (line, other) in track(list(enumerate(pairs)), "damaging lines"):
            damage = damages[place % len(damages)]
            mixture.append(damage.apply(line, dataset, severity, asked.seed, other).line)
    return mixture, ("clean", *(f"{name} {severity}" for name in names[: len(lines)]))


def _fixed_options(spec: DecoderSpec, best: Values) -> dict[str, Any]:
    """The options that are no weights, as they are at the best point."""
    settings = {k: best.get(k, v) for k, v in spec.settings().items() if k not in spec.tunes}
    fixed: dict[str, Any] = plain(settings)
    return fixed
