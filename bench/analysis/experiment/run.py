"""The plan of the language experiment, and its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bench import ROOT
from bench.analysis.experiment.design import BASELINE, LEVELS, SPLIT, Arm, Design
from bench.core.errors import Unavailable, UserError
from bench.core.types import Condition, EncoderInfo, LineSet, Needs, Row
from bench.pipeline.opening import OpenDecoder, open_trained_reader
from bench.pipeline.plan import ONCE, Block, Part, Plan, Registries
from bench.pipeline.runner import Outcome, Policy, Progress, run
from bench.pipeline.store import RunStore
from datasets.base import Dataset
from datasets.damage.base import SEVERITIES
from decoders import DECODERS
from decoders.base import Decoder, DecoderSpec
from models.base import Encoder

EXPERIMENTS = ROOT / "results" / "experiments"
WEIGHED = ("alpha", "beta")  # the bonus of length makes up for the model's cost, so both
SHARES = "visible"  # folder of the visible shares in that of the experiment


@dataclass(frozen=True, eq=False)
class Measured:
    """The rows of the experiment, with their encoder and sets.

    rows: by level, condition without the set's name, and system: see `key`.
    blocks, sets: by level.
    info: of the encoder.
    left_out: systems that could not run or have not all of their cells, and why.
    """

    design: Design
    store: RunStore
    blocks: Mapping[str, Sequence[Block]]
    sets: Mapping[str, LineSet]
    rows: Mapping[tuple[str, str, int, int, str], Row]
    info: EncoderInfo
    left_out: Mapping[str, str]

    @property
    def systems(self) -> list[Arm]:
        """The systems with all of their cells."""
        return [system for system in self.design.systems if system.name not in self.left_out]


def key(level: str, condition: Condition, system: str) -> tuple[str, str, int, int, str]:
    """Key of a row among those of the experiment."""
    return level, condition.damage, condition.severity, condition.seed, system


def build(design: Design, registries: Registries) -> Plan:
    """The blocks: level by level, clean first, then damage, severity and seed.

    Raises:
        UserError: an unknown name or option, or options of what is no part of this.
        Unavailable: the encoder is not here.
    """
    _check_options(design)
    own = design.options.get(design.encoder, {})
    encoder = Part(design.encoder, registries.encoders.create_here(design.encoder, own), own)
    decoders = tuple(_part(system, design, registries) for system in design.systems)
    damages = {name: Part(name, registries.damages.create(name), {}) for name in design.damages}
    blocks = []
    for name in LEVELS.values():
        dataset = Part(name, registries.datasets.create(name), {})
        for condition in _conditions(name, design):
            damage = damages.get(condition.damage)
            runtime = design.runtime
            blocks.append(Block(encoder, decoders, dataset, damage, condition, ONCE, runtime))
    return Plan(tuple(blocks), ())


def measure(
    design: Design, plan: Plan, store: RunStore, progress: Progress
) -> tuple[Outcome, Measured | None]:
    """Run all unfinished cells; None beside the outcome if interrupted.

    Raises:
        UserError: the folder cannot be written, another run writes to it, the weights are
            untrained, or the baseline did not run.
    """
    infos: list[EncoderInfo] = []

    def opening(part: Part, block: Block, encoder: Encoder) -> OpenDecoder:
        infos.append(encoder.info)
        return open_trained_reader(part, block, encoder)

    outcome = run(plan, store, progress, Policy(open=opening))
    if outcome.interrupted:
        return outcome, None
    return outcome, _measured(design, plan, store, outcome, infos)


def _measured(
    design: Design, plan: Plan, store: RunStore, outcome: Outcome, infos: Sequence[EncoderInfo]
) -> Measured:
    level_of = {dataset: level for level, dataset in LEVELS.items()}
    fresh = {*outcome.done, *outcome.reused}
    rows = {
        key(level_of[row.condition.dataset], row.condition, row.decoder): row
        for row in store.rows()
        if row.key in fresh
    }
    left_out = {item.name: item.reason for item in outcome.skipped}
    for row in store.rows():
        if row.key in outcome.failed:
            left_out.setdefault(row.decoder, row.reason)
    if BASELINE in left_out:
        raise UserError(f"without {BASELINE} there is no language gain: {left_out[BASELINE]}")
    if not infos:
        raise UserError(f"{design.encoder} did not open: {next(iter(left_out.values()), '')}")
    blocks: dict[str, list[Block]] = {}
    for block in plan.blocks:
        blocks.setdefault(level_of[block.condition.dataset], []).append(block)
    sets = {level: _loaded(some[0]) for level, some in blocks.items()}
    return Measured(design, store, blocks, sets, rows, infos[0], left_out)


def _loaded(block: Block) -> LineSet:
    dataset: Dataset = block.dataset.thing
    return dataset.load(block.condition.split, block.condition.limit)


def _conditions(dataset: str, design: Design) -> list[Condition]:
    conditions = [Condition(dataset, SPLIT, limit=design.lines)]
    for damage in design.damages:
        conditions += [
            Condition(dataset, SPLIT, damage, severity, seed, design.lines)
            for severity in SEVERITIES[1:]
            for seed in design.seeds
        ]
    return conditions


def _part(system: Arm, design: Design, registries: Registries) -> Part:
    options = design.options.get(system.decoder, {})
    if system.name == system.decoder:
        return Part(system.name, registries.decoders.create(system.decoder, options), options)
    assert system.dose is not None
    return Part(system.name, DosedSpec(system.decoder, system.dose, options), options)


def _check_options(design: Design) -> None:
    chosen = {design.encoder, *(system.decoder for system in design.systems)}
    for name in design.options:
        if name not in chosen:
            raise UserError(
                f"options are given for {name!r}, which is not part of this experiment; "
                f"there are: {', '.join(sorted(chosen))}"
            )


@dataclass(frozen=True)
class DosedSpec(DecoderSpec):
    """`decoder` with `dose` times its weights; 0 is without language.

    decoder: registered name of a CTC decoder that is tuned (`ctc-ngram`).
    dose: 1 for the tuned weights themselves.
    options: of that decoder.
    """

    needs: ClassVar[Needs] = "log_probs"

    decoder: str
    dose: float
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[Any, ...]:
        """This and the decoder itself."""
        return (self, DECODERS.create(self.decoder, self.options))

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """The decoder's own."""
        absent: Unavailable | None = self.parts[1].missing(encoder)
        return absent

    def alphabet(self, encoder: EncoderInfo) -> tuple[str, ...]:
        """The decoder's own."""
        symbols: tuple[str, ...] = self.parts[1].alphabet(encoder)
        return symbols

    def open(self, encoder: EncoderInfo) -> Decoder:
        """Open the decoder and weaken its weights.

        Raises:
            UserError: it cannot be opened.
        """
        decoder = self.parts[1].open(encoder)
        decoder.reweight({name: self.dose * decoder.values[name] for name in WEIGHED})
        return decoder
