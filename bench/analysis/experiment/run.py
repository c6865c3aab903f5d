"""The plan of the language experiment, and its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from bench import ROOT
from bench.analysis.experiment.design import CLEAN, Design, Treatment
from bench.core.errors import Unavailable, UserError
from bench.core.types import Condition, EncoderInfo, LineSet, Row
from bench.pipeline.opening import OpenDecoder, open_trained_reader
from bench.pipeline.plan import ONCE, Block, Part, Plan, Registries, Skipped
from bench.pipeline.runner import Outcome, Policy, Progress, run
from bench.pipeline.store import RunStore
from datasets.base import Dataset
from models.base import Encoder

EXPERIMENTS = ROOT / "results" / "experiments"
SHARES = "visible"  # folder of the visible shares in that of the experiment

Cell = tuple[str, str, str, str]  # reader, level, condition, decoder


@dataclass(frozen=True, eq=False)
class Measured:
    """The rows of the experiment, with readers and sets.

    blocks: by reader, level and condition; rows: of the cells that were read.
    infos: of the readers that opened; left_out: what could not run and why.
    """

    design: Design
    store: RunStore
    blocks: Mapping[tuple[str, str, str], Block]
    sets: Mapping[str, LineSet]
    rows: Mapping[Cell, Row]
    infos: Mapping[str, EncoderInfo]
    left_out: Mapping[str, str]


def build(design: Design, registries: Registries) -> tuple[Plan, dict[tuple[str, str, str], Block]]:
    """The blocks, all of a reader together, also by reader, level and condition.

    Readers and sets that are not here are skipped.
    """
    blocks: dict[tuple[str, str, str], Block] = {}
    skipped: dict[str, Skipped] = {}

    def part(kind: str, name: str) -> Part | None:
        registry = getattr(registries, f"{kind}s")
        options = design.options.get(name, {})
        try:
            return Part(name, registry.create_here(name, options), options)
        except Unavailable as absent:
            skipped[name] = Skipped(kind, name, absent.reason, absent.remedy)
            return None

    sets = {level: part("dataset", name) for level, name in design.sets.items()}
    for reader in design.readers:
        encoder = part("encoder", reader)
        for level, dataset in sets.items():
            if encoder is None or dataset is None:
                continue
            for name, one in design.treatments(level).items():
                decoders = tuple(_decoders(design, (reader, level, name), registries))
                damage = _damage(one, registries)
                condition = Condition(
                    dataset.name, design.split, one.damage or "none", one.severity,
                    design.seed if one.damage else 0, design.lines,
                )  # fmt: skip
                blocks[reader, level, name] = Block(
                    encoder, decoders, dataset, damage, condition, ONCE, design.runtime
                )
    return Plan(tuple(blocks.values()), tuple(skipped.values())), blocks


def measure(
    design: Design,
    plan: Plan,
    blocks: Mapping[tuple[str, str, str], Block],
    store: RunStore,
    progress: Progress,
) -> tuple[Outcome, Measured | None]:
    """Run all unfinished cells; None beside the outcome if interrupted.

    Raises:
        UserError: the folder cannot be written, another run writes to it, or nothing was read.
    """
    infos: dict[str, EncoderInfo] = {}

    def opening(part: Part, block: Block, encoder: Encoder) -> OpenDecoder:
        infos[block.encoder.name] = encoder.info
        return open_trained_reader(part, block, encoder)

    outcome = run(plan, store, progress, Policy(open=opening, oracle=True))
    if outcome.interrupted:
        return outcome, None
    fresh = {*outcome.done, *outcome.reused}
    rows = by_cell(blocks, (row for row in store.rows() if row.key in fresh))
    left_out = {item.label: item.reason for item in outcome.skipped}
    left_out |= {
        f"{row.decoder} on {row.encoder}": row.reason
        for row in store.failures().values()
        if row.key in outcome.failed
    }
    if not rows:
        raise UserError(f"nothing could be read: {next(iter(left_out.values()), 'no reader')}")
    sets = {level: _loaded(block) for (_, level, name), block in blocks.items() if name == CLEAN}
    return outcome, Measured(design, store, blocks, sets, rows, infos, left_out)


def by_cell(blocks: Mapping[tuple[str, str, str], Block], rows: Iterable[Row]) -> dict[Cell, Row]:
    """Find the rows of the experiment's cells."""
    found = {_place(row): row for row in rows}
    cells = {
        (*place, decoder.name): (
            block.encoder.name, block.condition, _frozen(block.damage), decoder.name,
        )
        for place, block in blocks.items()
        for decoder in block.decoders
    }  # fmt: skip
    return {cell: found[wanted] for cell, wanted in cells.items() if wanted in found}


def _place(row: Row) -> tuple[str, Condition, tuple[tuple[str, str], ...], str]:
    options = tuple(sorted((name, str(value)) for name, value in row.damage_options.items()))
    return row.encoder, row.condition, options, row.decoder


def _frozen(damage: Part | None) -> tuple[tuple[str, str], ...]:
    options = damage.options if damage else {}
    return tuple(sorted((name, str(value)) for name, value in options.items()))


def _decoders(
    design: Design, place: tuple[str, str, str], registries: Registries
) -> Iterator[Part]:
    for name, dose in design.systems(*place).items():
        own = design.options.get(dose.decoder, {})
        options = {**dose.settings(place[0], place[2]), **own}
        yield Part(name, registries.decoders.create(dose.decoder, options), options)


def _damage(one: Treatment, registries: Registries) -> Part | None:
    if not one.damage:
        return None
    return Part(one.damage, registries.damages.create(one.damage, one.options), one.options)


def _loaded(block: Block) -> LineSet:
    dataset: Dataset = block.dataset.thing
    return dataset.load(block.condition.split, block.condition.limit)
