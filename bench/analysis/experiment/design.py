"""The design of the language experiment, declared before measuring.

Does language help more, the more of the ink is lost? Four damages that take the same share of the
ink in different places fall on lines of four linguistic levels, which one encoder reads once and
every decoder from the same encoding. Language gain G is CER(ctc-greedy) - CER(decoder): for the
CTC decoders all that differs is language; the AR decoders read the encoder's states with a head
of their own, so that their G is a gap between systems.

Background: Garrido-Munoz and Calvo-Zaragoza (CVPR 2025; 2026) on textual divergence, Meyer et al.
(arXiv:2603.03930) on the implicit language model of AR decoders, Borkar and Smith
(arXiv:2407.00250) on lacunae in TrOCR.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from bench.core.errors import UserError
from bench.core.registry import did_you_mean
from bench.core.types import Runtime
from datasets.damage.base import INK_LOST, SEVERITIES

# From most to least predictable, in the same hands and of about the same lengths.
LEVELS: Mapping[str, str] = {
    "english": "ink",
    "shuffled": "ink-shuffled",
    "pseudo": "ink-pseudo",
    "random": "ink-random",
}
SPLIT = "test"
DAMAGES = ("stroke_breaks", "char_erase", "span_erase", "half_line")
BASELINE = "ctc-greedy"
PRIMARY = "ctc-ngram"  # the decoder of the contrasts
DOSES = (0.0, 0.25, 0.5, 1.0)  # of its tuned weights
DECODERS = (BASELINE, "ctc-beam", PRIMARY, "ctc-gap", "ar-greedy", "ar-beam", "ctc-rescore")
SEEDS = (0, 1, 2)
LINES = 38  # of each level: two of each hand of `ink`

Direction = Literal["above", "below", "near"]

# Equivalence margin of the slope on random text: half a point of CER per step of severity.
NO_SLOPE = 0.005
ALPHA = 0.05  # of the family of contrasts, after Holm


@dataclass(frozen=True)
class Arm:
    """A decoder of the experiment. dose: factor of its tuned weights; None without one."""

    name: str
    decoder: str
    dose: float | None = None


@dataclass(frozen=True)
class Design:
    """The choice of cells.

    lines: the first so many of each level's split.
    options: of encoder and decoders, by name.
    """

    encoder: str = "mini"
    decoders: tuple[str, ...] = DECODERS
    damages: tuple[str, ...] = DAMAGES
    seeds: tuple[int, ...] = SEEDS
    lines: int = LINES
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        """Refuse a design without enough lines or seeds."""
        _known("decoder", self.decoders, DECODERS)
        _known("damage", self.damages, DAMAGES)
        if self.lines < 2:
            raise UserError(f"{self.lines} lines are no experiment; take 2 or more")
        if not self.seeds or min(self.seeds) < 0:
            raise UserError("a damage needs a seed, a whole number from 0 on")

    @property
    def systems(self) -> tuple[Arm, ...]:
        """The baseline first, then in the declared order."""
        chosen = [name for name in DECODERS if name == BASELINE or name in self.decoders]
        systems = []
        for name in chosen:
            doses = DOSES if name == PRIMARY else (None,)
            systems += [Arm(dosed(name, dose), name, dose) for dose in doses]
        return tuple(systems)


@dataclass(frozen=True)
class Term:
    """A weight times the gain in one cell of the design."""

    weight: float
    level: str
    damage: str
    severity: int


@dataclass(frozen=True)
class Contrast:
    """A linear combination of gains with a claim about it.

    claim: in words; direction: above 0, below 0, or nearer to 0 than `margin`.
    """

    name: str
    claim: str
    terms: tuple[Term, ...]
    direction: Direction
    margin: float = 0.0


def dosed(decoder: str, dose: float | None) -> str:
    """Name a system; the tuned one keeps its decoder's name."""
    return decoder if dose in (None, 1.0) else f"{decoder}@{dose:g}"


def contrasts(damages: Sequence[str]) -> tuple[Contrast, ...]:
    """The declared contrasts that these damages allow; the first is the primary one.

    A slope is that of a straight line through the severities 0 to 5 by least squares, the mean
    over the damages; a curvature the second coefficient of a parabola through them.
    """
    english, random = slope_terms("english", damages), slope_terms("random", damages)
    family = [
        Contrast(
            "slope on english",
            "Language helps more, the more of the ink is lost: G rises with severity on English.",
            english,
            "above",
        ),
        Contrast(
            "slope on random",
            "It is language: on random characters G does not change with severity.",
            random,
            "near",
            NO_SLOPE,
        ),
        Contrast(
            "english over random",
            "G rises faster on English than on random characters.",
            (*english, *_times(-1.0, random)),
            "above",
        ),
    ]
    if {"char_erase", "stroke_breaks"} <= set(damages):
        family.append(
            Contrast(
                "characters over breaks",
                "At equal ink loss language helps more where whole characters are gone than "
                "where strokes are broken (mean over severities 1 to 5).",
                (*_mean("char_erase"), *_times(-1.0, _mean("stroke_breaks"))),
                "above",
            )
        )
    if "span_erase" in damages:
        family.append(
            Contrast(
                "saturation on spans",
                "The rise of G flattens or turns where long spans are gone: with the context "
                "goes what could be inferred.",
                _over_severities(2, "english", "span_erase"),
                "below",
            )
        )
    if {"char_erase", "span_erase"} <= set(damages):
        family.append(
            Contrast(
                "context",
                "At half of the ink, language helps more where single characters are gone than "
                "where spans are.",
                (Term(1.0, "english", "char_erase", 5), Term(-1.0, "english", "span_erase", 5)),
                "above",
            )
        )
    return tuple(family)


def ink_lost(severity: int) -> float:
    """The share of the ink that each of these damages removes, a fraction."""
    return INK_LOST[severity - 1] if severity else 0.0


def slope_terms(level: str, damages: Sequence[str]) -> tuple[Term, ...]:
    """The slope of the gain over the severities by least squares, the mean over the damages."""
    terms = [term for damage in damages for term in _over_severities(1, level, damage)]
    return _times(1 / len(damages), terms)


def _over_severities(degree: int, level: str, damage: str) -> tuple[Term, ...]:
    """The weights by which gains give a coefficient of the polynomial of that degree."""
    rows = np.linalg.pinv(np.vander(np.array(SEVERITIES, np.float64), degree + 1))
    return tuple(
        Term(float(weight), level, damage, severity)
        for severity, weight in zip(SEVERITIES, rows[0], strict=True)
    )


def _mean(damage: str) -> tuple[Term, ...]:
    damaged = SEVERITIES[1:]
    return tuple(Term(1 / len(damaged), "english", damage, severity) for severity in damaged)


def _times(factor: float, terms: Sequence[Term]) -> tuple[Term, ...]:
    return tuple(Term(factor * t.weight, t.level, t.damage, t.severity) for t in terms)


def _known(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"the experiment has no {kind} {name!r}{did_you_mean(name, known)}")
    if not names:
        raise UserError(f"no {kind} was chosen; there are: {', '.join(known)}")
