"""The analysis of the language experiment, from design to finding, and its JSON record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.analysis.experiment.analysis import Reading, TestedContrast, conclude, readings
from bench.analysis.experiment.budget import Budget, budgets
from bench.analysis.experiment.cloze import Cloze, cloze_of
from bench.analysis.experiment.counts import count
from bench.analysis.experiment.design import Design
from bench.analysis.experiment.run import Cell, Measured
from bench.core.files import write_atomically
from bench.core.hashing import plain
from bench.pipeline.opening import Track
from bench.pipeline.store import RunStore
from datasets.about import Blocks, blocks_of

DECLARED = "design.json"
SUMMARY = "summary.json"


@dataclass(frozen=True)
class Read:
    """The lines of a set. dataset: registered name."""

    dataset: str
    split: str
    lines: int
    characters: int
    blocks: Blocks
    sha256: str


@dataclass(frozen=True)
class Finding:
    """All reported results.

    weights, trained_on: of the readers.
    read: by level.
    language: the extras of each dose, its model and weights, by "reader:decoder", or
        "reader/condition:decoder" where its weights differ by condition.
    budget: the errors on English by cause.
    left_out: what could not run, and why.
    environment: the record of the machine that the last row was measured on.
    """

    design: Design
    weights: Mapping[str, str]
    trained_on: Mapping[str, str]
    read: Mapping[str, Read]
    language: Mapping[str, Mapping[str, Any]]
    readings: tuple[Reading, ...]
    judged: tuple[TestedContrast, ...]
    budget: tuple[Budget, ...]
    left_out: Mapping[str, str]
    environment: Mapping[str, Any]

    def reading(self, reader: str, level: str, condition: str, system: str) -> Reading | None:
        """The reading of a cell; None where it was not read."""
        cell = (reader, level, condition, system)
        return next(
            (r for r in self.readings if (r.reader, r.level, r.condition, r.system) == cell), None
        )


def _where(design: Design, cell: Cell) -> str:
    """The reader of a cell, with the condition where weights differ by it."""
    reader, _, condition, system = cell
    dose = design.doses.get(system)
    return f"{reader}/{condition}" if dose and dose.by_condition else reader


def declare(design: Design, store: RunStore) -> None:
    """Store the design before measuring."""
    _write(store, DECLARED, {"declared": design.declared, **dataclasses.asdict(design)})


def find(measured: Measured, track: Track) -> Finding:
    """Count every character, resample, test.

    Raises:
        UserError: stored lines are missing or damaged, or the language model cannot be read.
    """
    design = measured.design
    options = design.options.get("ctc-ngram", {})

    def cloze(reader: str) -> Cloze:
        alphabet = measured.infos[reader].alphabet
        return cloze_of(options.get("lm", ""), options.get("order", 6), alphabet)

    counts = count(measured, cloze, track)
    last = list(measured.rows.values())[-1]
    return Finding(
        design=design,
        weights={name: info.weights for name, info in measured.infos.items()},
        trained_on={name: info.trained_on for name, info in measured.infos.items()},
        read={level: _read(measured, level) for level in measured.sets},
        language={
            f"{_where(design, cell)}:{cell[-1]}": dict(row.extras)
            for cell, row in measured.rows.items()
            if "tuned_on" in row.extras
        },
        readings=tuple(readings(counts, design)),
        judged=tuple(conclude(counts, design)),
        budget=tuple(budgets(measured, track)),
        left_out=dict(measured.left_out),
        environment=measured.store.environments().get(last.environment, {}),
    )


def record(finding: Finding, store: RunStore) -> None:
    """Write `summary.json`: every number, unrounded."""
    _write(store, SUMMARY, dataclasses.asdict(finding))


def _write(store: RunStore, name: str, content: Mapping[str, Any]) -> None:
    text = json.dumps(plain(content), indent=1, ensure_ascii=False)
    write_atomically(store.path / name, f"{text}\n".encode())


def _read(measured: Measured, level: str) -> Read:
    lines = measured.sets[level]
    dataset = measured.design.sets[level]
    return Read(
        dataset=dataset,
        split=lines.split,
        lines=len(lines.lines),
        characters=sum(len(line.text) for line in lines.lines),
        blocks=blocks_of(dataset, lines.lines),
        sha256=lines.sha256,
    )
