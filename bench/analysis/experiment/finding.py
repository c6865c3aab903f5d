"""The analysis of the language experiment, from design to finding, and its JSON record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.analysis.experiment.analysis import (
    Gain,
    Recall,
    Slope,
    TestedContrast,
    conclude,
    gains,
    recalls,
    slopes,
)
from bench.analysis.experiment.cloze import Cloze, cloze_of
from bench.analysis.experiment.counts import count
from bench.analysis.experiment.design import (
    BASELINE,
    LEVELS,
    PRIMARY,
    SPLIT,
    Contrast,
    Design,
    contrasts,
    ink_lost,
)
from bench.analysis.experiment.run import Measured, key
from bench.core.files import write_atomically
from bench.core.hashing import plain
from bench.pipeline.opening import Track
from bench.pipeline.plan import Registries
from bench.pipeline.store import RunStore
from datasets.about import Blocks, blocks_of
from datasets.damage.base import SEVERITIES, SUITE

DECLARED = "design.json"
SUMMARY = "summary.json"


@dataclass(frozen=True)
class Read:
    """The lines of a level. dataset: registered name."""

    dataset: str
    split: str
    lines: int
    characters: int
    blocks: Blocks
    sha256: str


@dataclass(frozen=True)
class Finding:
    """All reported results.

    weights, trained_on: of the encoder.
    read: by level.
    systems: without the baseline.
    language: the extras of the primary decoder, its model and weights ("lm", "alpha", "tuned_on").
    lost: by damage, the mean share of ink that was lost at the severities 1 to 5.
    judged: the declared contrasts; () where the primary decoder is not part of it.
    left_out: systems and why.
    environment: the record of the machine that the last row was measured on.
    """

    design: Design
    weights: str
    trained_on: str
    read: Mapping[str, Read]
    systems: tuple[str, ...]
    language: Mapping[str, Any]
    lost: Mapping[str, tuple[float, ...]]
    gains: tuple[Gain, ...]
    recalls: tuple[Recall, ...]
    slopes: tuple[Slope, ...]
    judged: tuple[TestedContrast, ...]
    left_out: Mapping[str, str]
    environment: Mapping[str, Any]

    def gain(self, level: str, damage: str, severity: int, system: str) -> Gain:
        """The gain in one cell."""
        cell = (level, damage, severity, system)
        return next(g for g in self.gains if (g.level, g.damage, g.severity, g.system) == cell)

    def recall(self, level: str, damage: str, severity: int, system: str) -> Recall | None:
        """The recall in one cell; None if the cloze test was not run."""
        cell = (level, damage, severity, system)
        recalls = (r for r in self.recalls if (r.level, r.damage, r.severity, r.system) == cell)
        return next(recalls, None)


def declare(design: Design, store: RunStore) -> None:
    """Store the design and its claims before measuring.

    Raises:
        UserError: the folder cannot be written.
    """
    record = {
        "suite": SUITE,
        "levels": LEVELS,
        "split": SPLIT,
        "severities": SEVERITIES,
        "ink_lost": [ink_lost(severity) for severity in SEVERITIES],
        "baseline": BASELINE,
        "primary": PRIMARY,
        "systems": [dataclasses.asdict(system) for system in design.systems],
        "asked": dataclasses.asdict(design),
        "contrasts": [dataclasses.asdict(each) for each in contrasts(design.damages)],
    }
    _write(store, DECLARED, record)


def find(measured: Measured, registries: Registries, track: Track) -> Finding:
    """Count every character, resample, test.

    Raises:
        UserError: stored lines are missing or damaged, or the language model cannot be read.
    """
    design = measured.design
    names = [system.name for system in measured.systems]
    systems = tuple(name for name in names if name != BASELINE)
    has_primary = PRIMARY in systems
    counts = count(measured, _cloze(measured, registries) if has_primary else None, track)
    declared: tuple[Contrast, ...] = contrasts(design.damages) if has_primary else ()
    judged = conclude(counts, declared, PRIMARY)
    return Finding(
        design=design,
        weights=measured.info.weights,
        trained_on=measured.info.trained_on,
        read={level: _read(measured, level) for level in LEVELS},
        systems=systems,
        language=_language(measured) if has_primary else {},
        lost={damage: _lost(measured, damage) for damage in design.damages},
        gains=tuple(gains(counts, (BASELINE, *systems), design.damages)),
        recalls=tuple(recalls(counts, (BASELINE, *systems), design.damages)),
        slopes=tuple(slopes(counts, systems, design.damages)),
        judged=tuple(judged),
        left_out=dict(measured.left_out),
        environment=_environment(measured),
    )


def record(finding: Finding, store: RunStore) -> None:
    """Write `summary.json`: every number, unrounded.

    Raises:
        UserError: the folder cannot be written.
    """
    _write(store, SUMMARY, dataclasses.asdict(finding))


def _write(store: RunStore, name: str, content: Mapping[str, Any]) -> None:
    text = json.dumps(plain(content), indent=1, ensure_ascii=False)
    write_atomically(store.path / name, f"{text}\n".encode())


def _cloze(measured: Measured, registries: Registries) -> Cloze:
    decoder = registries.decoders.create(PRIMARY, measured.design.options.get(PRIMARY))
    return cloze_of(decoder.lm, decoder.order, measured.info.alphabet)


def _read(measured: Measured, level: str) -> Read:
    lines = measured.sets[level]
    return Read(
        dataset=LEVELS[level],
        split=lines.split,
        lines=len(lines.lines),
        characters=sum(len(line.text) for line in lines.lines),
        blocks=blocks_of(LEVELS[level], lines.lines),
        sha256=lines.sha256,
    )


def _language(measured: Measured) -> dict[str, Any]:
    clean = measured.blocks["english"][0].condition
    return dict(measured.rows[key("english", clean, PRIMARY)].extras)


def _lost(measured: Measured, damage: str) -> tuple[float, ...]:
    means = []
    for severity in SEVERITIES[1:]:
        shares = [
            row.ink_lost
            for (_, name, step, _, system), row in measured.rows.items()
            if (name, step, system) == (damage, severity, BASELINE) and row.ink_lost is not None
        ]
        means.append(float(np.mean(shares)))
    return tuple(means)


def _environment(measured: Measured) -> Mapping[str, Any]:
    last = list(measured.rows.values())[-1]
    record: Mapping[str, Any] = measured.store.environments().get(last.environment, {})
    return record
