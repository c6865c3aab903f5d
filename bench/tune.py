"""Tuning: the weights of a decoder by a grid on a validation split, frozen for every later run.

The lines are encoded once and read again at every point of the grid by one open decoder. Each
line is there twice, clean and damaged, since the best weight of a language model depends on how
much is left for it to mend: weights tuned on clean lines alone are too small for damaged ones.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.errors import UserError
from bench.harness import check_runtime
from bench.metrics import count_edits
from bench.plan import MAIN_SEVERITY, Registries
from bench.provenance import plain
from bench.reading import Reading, Track, encode, open_trained, opened
from bench.registry import did_you_mean
from bench.types import Line, Runtime
from datasets.damage.base import SEVERITIES
from datasets.damage.lines import others
from decoders.base import Decoder
from decoders.tuned import Tunable, Tuned

Grid = Mapping[str, tuple[float, ...]]

SPLIT = "val"
BASELINE = "ctc-greedy"  # whose CER says how hard the lines were


@dataclass(frozen=True)
class Job:
    """What to tune, by registered names, and on what.

    damages: each line is damaged by one of them, in turn; with none the lines are clean only.
    grid: values to try in the place of the decoder's own, by option.
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
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    runtime: Runtime = field(default_factory=Runtime)


def tune(job: Job, registries: Registries, track: Track) -> Tuned:
    """Search the grid. The result is told, not frozen.

    Raises:
        UserError: a split that is no validation split, a decoder without weights, weights of the
            encoder that are untrained, an unknown name or option.
        Unavailable: something that it needs is not here.
    """
    _check(job)
    decoder, grid = _decoder(job, registries)
    dataset = registries.datasets.create(job.dataset, job.options.get(job.dataset))
    encoder = open_trained(
        registries.encoders, job.encoder, job.options.get(job.encoder), job.runtime
    )
    for each in track([dataset], f"loading {job.dataset}"):
        lines = each.load(job.split, job.limit)
    mixture, conditions = _mixture(job, lines.lines, registries, track)
    readings = list(encode(encoder, decoder, mixture, job.runtime.batch_size, track))
    with opened(decoder, encoder.info):
        points = search(decoder, readings, grid, track)
        extras = plain(decoder.extras())
    with opened(registries.decoders.create(BASELINE), encoder.info) as baseline:
        greedy_cer = error_rate(baseline, readings)
    best = min(points, key=lambda point: point["cer"])  # of equals the first
    return Tuned(
        decoder=job.decoder,
        encoder=job.encoder,
        values={name: best[name] for name in grid},
        weights=encoder.info.weights,
        lm=extras["lm"],
        lm_sha256=extras["lm_sha256"],
        dataset=job.dataset,
        split=job.split,
        dataset_sha256=lines.sha256,
        lines=len(lines.lines),
        conditions=conditions,
        options=_fixed_options(decoder, grid),
        grid=dict(grid),
        cer=best["cer"],
        greedy_cer=greedy_cer,
        cer_map=tuple(points),
    )


def search(
    decoder: Tunable[Any], readings: Sequence[Reading], grid: Grid, track: Track
) -> list[dict[str, float]]:
    """The CER at every point of the grid, the first option varying slowest.

    Args:
        decoder: open; it keeps the weights of the last point.
        readings: the encoded lines.
        grid: values by option.
        track: told of each point.

    Returns:
        For each point its values and its "cer", micro, a fraction.
    """
    points = []
    for values in track(list(itertools.product(*grid.values())), "searching the grid"):
        point = dict(zip(grid, values, strict=True))
        decoder.reweight(point)
        points.append({**point, "cer": error_rate(decoder, readings)})
    return points


def error_rate(decoder: Decoder, readings: Iterable[Reading]) -> float:
    """Micro CER of an open decoder, a fraction; the references hold at least one character."""
    edits, characters = count_edits(
        (line.text, read.text)
        for reading in readings
        for line, read in zip(reading.lines, decoder.decode(reading.encoded), strict=True)
    )
    return edits / characters


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
    check_runtime(job.runtime)


def _decoder(job: Job, registries: Registries) -> tuple[Tunable[Any], Grid]:
    """The decoder, and the values to try: its own, or the user's in their place."""
    decoder = registries.decoders.create(job.decoder, job.options.get(job.decoder))
    if not isinstance(decoder, Tunable):
        raise UserError(f"{job.decoder} has no weights to tune")
    for option, values in job.grid.items():
        if option not in decoder.tunes:
            raise UserError(
                f"{job.decoder} does not tune {option!r}{did_you_mean(option, decoder.tunes)}"
            )
        if not values:
            raise UserError(f"the grid has no values of {option}")
    return decoder, {name: job.grid.get(name, values) for name, values in decoder.tunes.items()}


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


def _fixed_options(decoder: Any, grid: Grid) -> dict[str, Any]:
    """The options that were not tuned."""
    names = (f.name for f in dataclasses.fields(decoder) if f.init and f.name not in grid)
    fixed: dict[str, Any] = plain({name: getattr(decoder, name) for name in names})
    return fixed
