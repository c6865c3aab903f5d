"""Tuning: the weights of a decoder on a validation split, frozen for every later run.

The lines are encoded once and read again at every point of the grid by one open decoder. Each
line is there twice, clean and damaged, since the best weight of a language model depends on how
much is left for it to mend: weights tuned on clean lines alone are too small for damaged ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.analysis.stats import rate_difference
from bench.analysis.tuning.search import (
    Bench,
    Grid,
    Make,
    Point,
    Values,
    edits_of,
    lengths_of,
    search,
)
from bench.core.errors import UserError
from bench.core.hashing import plain
from bench.core.registry import did_you_mean
from bench.core.types import Line, Runtime
from bench.pipeline.plan import MAIN_SEVERITY, Registries
from bench.pipeline.reading import Track, encode, open_trained, opened
from bench.pipeline.runner import check_runtime
from datasets.damage.base import SEVERITIES, SUITE, others
from decoders.base import DecoderSpec
from decoders.correctors import options_of
from decoders.tuned import Tuned

SPLIT = "val"
BASELINE = "ctc-greedy"  # whose CER says how hard the lines were


@dataclass(frozen=True)
class Job:
    """What to tune, by registered names, and on what.

    damages: each line is damaged by one of them, in turn; with none the lines are clean only.
    grid: values to try in the place of the decoder's own, by option; it may name other options of
        numbers as well (a beam, a threshold).
    trials: of Optuna's sampler, within the bounds of the grid; None tries every point of it.
    options: of encoder, decoder, data set and damages, by name.
    """

    encoder: str
    decoder: str
    dataset: str
    split: str = SPLIT
    damages: tuple[str, ...] = ()
    severity: int = MAIN_SEVERITY
    seed: int = 0
    limit: int | None = None
    grid: Grid = field(default_factory=dict)
    trials: int | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    runtime: Runtime = field(default_factory=Runtime)


def tune(job: Job, registries: Registries, track: Track) -> Tuned:
    """Search. The result is told, not frozen; a search that was stopped goes on where it was.

    Raises:
        UserError: a split that is no validation split, a decoder without weights, weights of the
            encoder that are untrained, an unknown name or option.
        Unavailable: something that it needs is not here.
    """
    _check(job)
    make, grid = _decoder(job, registries)
    spec = make({})
    dataset = registries.datasets.create(job.dataset, job.options.get(job.dataset))
    encoder = open_trained(
        registries.encoders, job.encoder, job.options.get(job.encoder), job.runtime
    )
    if absent := spec.missing(encoder.info):  # before the lines take their time
        raise absent
    for each in track([dataset], f"loading {job.dataset}"):
        lines = each.load(job.split, job.limit)
    mixture, conditions = _mixture(job, lines.lines, registries, track)
    readings = list(encode(encoder, spec, mixture, job.runtime.batch_size, track))
    with opened(registries.decoders.create(BASELINE), encoder.info) as baseline:
        greedy = edits_of(baseline, readings)
    identity = [encoder.info.weights, lines.sha256, conditions, job.seed, job.options, SUITE]
    with Bench(make, encoder.info, readings, [*identity, job.runtime]) as bench:
        points = search(bench, grid, job.trials, track)
        extras = bench.extras()
    best = min(points, key=lambda point: point.edits.sum())  # of equals the first
    lengths = lengths_of(readings)
    blocks = [line.block for reading in readings for line in reading.lines]
    return Tuned(
        decoder=job.decoder,
        encoder=job.encoder,
        values={k: v for k, v in best.values.items() if k in spec.tunes},
        weights=encoder.info.weights,
        lm=extras["lm"],
        lm_sha256=extras["lm_sha256"],
        dataset=job.dataset,
        split=job.split,
        dataset_sha256=lines.sha256,
        lines=len(lines.lines),
        conditions=conditions,
        options=_fixed_options(spec, best.values),
        grid=dict(grid),
        cer=float(best.edits.sum() / lengths.sum()),
        greedy_cer=float(greedy.sum() / lengths.sum()),
        cer_map=tuple(_told(point, best, lengths, blocks) for point in points),
    )


def _told(
    point: Point, best: Point, lengths: NDArray[np.int64], blocks: Sequence[str]
) -> dict[str, float]:
    """A point of the map: values, CER, and p of its gap to the best, where blocks are enough."""
    gap = rate_difference(point.edits, best.edits, lengths, blocks)
    assert gap is not None  # the references hold at least one character
    told = {**point.values, "cer": float(point.edits.sum() / lengths.sum())}
    return told if gap.p is None else {**told, "p": gap.p}


def _check(job: Job) -> None:
    """Refuse a job that makes no sense before anything is loaded."""
    if job.split != SPLIT:
        raise UserError(
            f"weights are tuned on the split {SPLIT!r} and not on {job.split!r}: numbers on lines "
            "that weights were tuned on, or that models learned from, tell nothing of other lines"
        )
    if job.damages and job.severity not in SEVERITIES[1:]:
        raise UserError(f"severity {job.severity} is not one of 1 to {SEVERITIES[-1]}")
    if job.limit is not None and job.limit < 1:
        raise UserError(f"a limit of {job.limit} lines leaves nothing to tune on")
    if job.trials is not None and job.trials < 1:
        raise UserError(f"{job.trials} trials try nothing; take 1 or more")
    check_runtime(job.runtime)


def _decoder(job: Job, registries: Registries) -> tuple[Make, Grid]:
    """What makes the decoder, and the values to try: its own, or the user's in their place."""
    options = options_of(job.decoder, job.options)

    def make(values: Values) -> DecoderSpec:
        spec: DecoderSpec = registries.decoders.create(job.decoder, {**options, **values})
        return spec

    spec = make({})
    if not spec.tunes:
        raise UserError(f"{job.decoder} has no weights to tune")
    asked = {name: _values(job.decoder, spec, name, job.grid[name]) for name in job.grid}
    others = {name: values for name, values in asked.items() if name not in spec.tunes}
    own = {name: asked.get(name, values) for name, values in spec.tunes.items()}
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
    job: Job, lines: Sequence[Line], registries: Registries, track: Track
) -> tuple[list[Line], tuple[str, ...]]:
    """Every line clean, and again under one damage; and the conditions in words."""
    if not any(line.text for line in lines):
        raise UserError(f"{job.dataset} has no line with a text in its split {job.split}")
    mixture = list(lines)
    if job.damages:
        damages = [registries.damages.create(name, job.options.get(name)) for name in job.damages]
        pairs = zip(lines, others(lines, job.dataset, job.seed), strict=True)
        for place, (line, other) in track(list(enumerate(pairs)), "damaging lines"):
            damage = damages[place % len(damages)]
            mixture.append(damage.apply(line, job.dataset, job.severity, job.seed, other).line)
    used = job.damages[: len(lines)]
    return mixture, ("clean", *(f"{name} {job.severity}" for name in used))


def _fixed_options(spec: DecoderSpec, best: Values) -> dict[str, Any]:
    """The options that are no weights, as they are at the best point."""
    settings = {k: best.get(k, v) for k, v in spec.settings().items() if k not in spec.tunes}
    fixed: dict[str, Any] = plain(settings)
    return fixed
