"""Calibration: which strength of a damage makes reading how much harder.

Damages that take ink away have a unit of their own, the share of the ink. The others, blur or
grain, have none that could be compared, so their five severities are put where the CER of one
decoder without language rises by the same five steps. That was done once, on a validation split;
the strengths are frozen in the damages, and this measures them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.analysis.tuning.search import error_rate
from bench.analysis.tuning.tune import BASELINE, SPLIT
from bench.core.errors import UserError
from bench.core.types import Line, Runtime
from bench.pipeline.plan import Registries
from bench.pipeline.reading import Track, encode, open_trained, opened
from datasets.damage.lines import others
from datasets.damage.recipe import StrengthRecipe
from decoders.base import Decoder
from models.base import Encoder

STEPS = (0.03, 0.08, 0.15, 0.30, 0.50)  # rise of the CER at severity 1 to 5
RUNGS = 9  # strengths that are tried, in equal ratios


@dataclass(frozen=True)
class Job:
    """What to calibrate, by registered names, and on what.

    damages: () for all that are calibrated.
    limit: the first so many lines of the validation split; None for all.
    options: of encoder and data set, by name.
    """

    encoder: str
    dataset: str
    damages: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 0
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    runtime: Runtime = field(default_factory=Runtime)


@dataclass(frozen=True)
class Point:
    """The micro CER, a fraction, at a strength."""

    strength: float
    cer: float


@dataclass(frozen=True)
class Curve:
    """A damage from its weakest strength to its strongest.

    tried: along the ladder.
    frozen: at the strengths of severity 1 to 5.
    wanted: the strengths at which the CER would rise by `STEPS`; None beyond the ladder's ends.
    """

    damage: str
    tried: tuple[Point, ...]
    frozen: tuple[Point, ...]
    wanted: tuple[float | None, ...]


@dataclass(frozen=True)
class Calibration:
    """All curves, and what they were measured with.

    clean: micro CER of the clean lines.
    """

    encoder: str
    weights: str
    decoder: str
    dataset: str
    dataset_sha256: str
    lines: int
    seed: int
    clean: float
    curves: tuple[Curve, ...]


def calibrated(registries: Registries) -> list[str]:
    """The damages whose strengths come from a calibration."""
    names = registries.damages.names()
    return [name for name in names if getattr(registries.damages.target(name), "ladder", None)]


def calibrate(job: Job, registries: Registries, track: Track) -> Calibration:
    """Read the validation lines under each damage, strength by strength. Nothing is frozen.

    Raises:
        UserError: an unknown name or option, a damage that is not calibrated, untrained weights.
        Unavailable: something that it needs is not here.
    """
    names = job.damages or tuple(calibrated(registries))
    recipes = {name: _recipe(name, registries) for name in names}
    dataset = registries.datasets.create(job.dataset, job.options.get(job.dataset))
    options = job.options.get(job.encoder)
    encoder = open_trained(registries.encoders, job.encoder, options, job.runtime)
    for each in track([dataset], f"loading {job.dataset}"):
        found = each.load(SPLIT, job.limit)
    if not any(line.text for line in found.lines):
        raise UserError(f"{job.dataset} has no line with a text in its split {SPLIT}")
    with opened(registries.decoders.create(BASELINE), encoder.info) as decoder:
        reader = _Reader(job, encoder, decoder, found.lines, track)
        clean = reader.cer(found.lines)
        curves = tuple(_curve(name, recipe, reader, clean) for name, recipe in recipes.items())
    return Calibration(
        encoder=job.encoder,
        weights=encoder.info.weights,
        decoder=BASELINE,
        dataset=job.dataset,
        dataset_sha256=found.sha256,
        lines=len(found.lines),
        seed=job.seed,
        clean=clean,
        curves=curves,
    )


def strength_at(tried: Sequence[Point], cer: float) -> float | None:
    """The strength at which a curve reaches a CER, between its points in equal ratios.

    Args:
        tried: from the weakest strength to the strongest, all above 0. Where the CER falls
            although the damage grows, that is chance, and the highest so far counts.
        cer: a fraction.

    Returns:
        None when the weakest strength is too strong or the strongest too weak.
    """
    rising = np.maximum.accumulate([point.cer for point in tried])
    if not rising[0] <= cer <= rising[-1]:
        return None
    ratios = np.log([point.strength for point in tried])
    return float(np.exp(np.interp(cer, rising, ratios)))


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads lines of the job and tells their CER."""

    job: Job
    encoder: Encoder
    decoder: Decoder
    lines: Sequence[Line]
    track: Track

    def at(self, recipe: StrengthRecipe, strength: float) -> Point:
        """The CER of the lines under a damage."""
        job = self.job
        pairs = list(zip(self.lines, others(self.lines, job.dataset, job.seed), strict=True))
        doing = f"damaging lines: {recipe.name} {strength:.3g}"
        damaged = [
            recipe.at(line, job.dataset, strength, job.seed, other).line
            for line, other in self.track(pairs, doing)
        ]
        return Point(strength, self.cer(damaged))

    def cer(self, lines: Sequence[Line]) -> float:
        """The micro CER of lines, a fraction."""
        size = self.job.runtime.batch_size
        read = list(encode(self.encoder, self.decoder.spec, lines, size, self.track))
        return error_rate(self.decoder, read)


def _curve(name: str, recipe: StrengthRecipe, reader: _Reader, clean: float) -> Curve:
    weakest, strongest = recipe.ladder or (0.0, 0.0)
    tried = tuple(
        reader.at(recipe, float(strength)) for strength in np.geomspace(weakest, strongest, RUNGS)
    )
    return Curve(
        damage=name,
        tried=tried,
        frozen=tuple(reader.at(recipe, strength) for strength in recipe.strengths),
        wanted=tuple(strength_at(tried, clean + step) for step in STEPS),
    )


def _recipe(name: str, registries: Registries) -> StrengthRecipe:
    recipe = registries.damages.create(name)
    if not isinstance(recipe, StrengthRecipe) or recipe.ladder is None:
        raise UserError(
            f"{name} is not calibrated: its severities are given by what they do; there are: "
            f"{', '.join(calibrated(registries))}"
        )
    return recipe
