"""Plans: the cells that a selection asks for, and the parts that cannot run here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.core.errors import Unavailable, UserError
from bench.core.named import for_name
from bench.core.registry import Registry, did_you_mean
from bench.core.types import Condition, Runtime
from datasets import DATASETS
from datasets.base import Dataset
from datasets.damage import DAMAGES
from datasets.damage.base import SEVERITIES, check_severities
from decoders import DECODERS
from decoders.base import DecoderSpec
from decoders.correctors import CORRECTORS, options_of, parts_of
from models import ENCODERS
from models.base import EncoderSpec

CLEAN = "none"  # the name of no damage

# The main job: real ink that is embedded. Other sets are synthetic, parts of these, or not English;
# the other damages would make it take half as long again.
MAIN_SETS = ("ink", "unipen", "hooker")
MAIN_DAMAGED = ("ink",)
MAIN_DAMAGES = (
    "stroke_breaks", "char_erase", "span_erase", "half_line", "blot", "strike", "defocus", "noise",
)  # fmt: skip
MAIN_SEVERITY = 3
MAIN_SWEEP = ("char_erase",)


@dataclass(frozen=True)
class Registries:
    """Registries for looking up names; tests pass their own."""

    encoders: Registry = ENCODERS
    decoders: Registry = DECODERS
    datasets: Registry = DATASETS
    damages: Registry = DAMAGES
    correctors: Registry = CORRECTORS


@dataclass(frozen=True)
class Rounds:
    """Repetitions of the clean set; a damaged set is measured once.

    Every system (encoder + decoder) is measured again until it has `least` rounds and `least_s`
    seconds of measured time, but a round is not begun that would take it past `most_s` seconds:
    slow systems have fewer rounds, and each row says how many.

    together_s: a decoder whose pass takes longer than this, and longer than the encoder and all
        faster decoders together, does not take turns with these but runs after their cells are
        stored.
    rest_s: pause before each turn of a decoder, while workers of the last one finish.
    """

    least: int = 3
    least_s: float = 3.0
    most_s: float = 30.0
    together_s: float = 30.0
    rest_s: float = 0.0

    def again(self, seconds: Sequence[float]) -> bool:
        """Whether a system needs and may have one more round, after rounds that took `seconds`."""
        enough = len(seconds) >= self.least and sum(seconds) >= self.least_s
        return not enough and sum(seconds) + max(seconds) <= self.most_s

    @property
    def once(self) -> Rounds:
        """The same policy for a single round."""
        return replace(self, least=1, least_s=0.0, most_s=0.0)


ONCE = Rounds().once


@dataclass(frozen=True)
class Selection:
    """A choice of cells.

    damages: names of damages, and "none" for the clean set.
    severities: 0 is the clean set.
    swept: damages that run at every severity, whatever `severities` says.
    damaged: the data sets that are damaged, the others are read clean only; None for all.
    options: option values by the name of their encoder, decoder, data set or damage.
    samples: encoders limited to a number of clean lines of the first data set, read once.
    stand_ins: options for an encoder whose weights are missing.
    """

    encoders: tuple[str, ...]
    decoders: tuple[str, ...]
    datasets: tuple[str, ...]
    damages: tuple[str, ...] = (CLEAN,)
    severities: tuple[int, ...] = (MAIN_SEVERITY,)
    split: str = "test"
    limit: int | None = None
    seed: int = 0
    runtime: Runtime = field(default_factory=Runtime)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rounds: Rounds = field(default_factory=Rounds)
    swept: tuple[str, ...] = ()
    damaged: tuple[str, ...] | None = None
    samples: Mapping[str, int] = field(default_factory=dict)
    stand_ins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def all(cls, registries: Registries | None = None) -> Selection:
        """The main job: encoders and decoders on the main sets, and `ink` damaged."""
        names = registries or Registries()
        encoders = {
            name: entry for name, entry in names.encoders.entries.items() if entry.sample != 0
        }
        return cls(
            encoders=tuple(encoders),
            decoders=tuple(
                name for name, entry in names.decoders.entries.items() if entry.sample != 0
            ),
            datasets=MAIN_SETS,
            damages=(CLEAN, *MAIN_DAMAGES),
            swept=MAIN_SWEEP,
            damaged=MAIN_DAMAGED,
            samples={name: entry.sample for name, entry in encoders.items() if entry.sample},
            stand_ins={name: entry.stand_in for name, entry in encoders.items() if entry.stand_in},
        )


@dataclass(frozen=True)
class Part:
    """A registered thing with its options set.

    options: those that the user set.
    """

    name: str
    thing: Any
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Block:
    """An encoder under a condition: encoded once, read by every decoder, one row a decoder.

    no_speed: why its rows have no speed; "" where they have one.
    shard: which part of its lines, from 0, and how many parts there are.
    """

    encoder: Part
    decoders: tuple[Part, ...]
    dataset: Part
    damage: Part | None
    condition: Condition
    rounds: Rounds
    runtime: Runtime
    no_speed: str = ""
    shard: tuple[int, int] = (0, 1)

    @property
    def label(self) -> str:
        """Description for a progress bar."""
        condition = self.condition
        damage = f", {condition.damaged}" if self.damage else ""
        return f"{self.encoder.name} on {condition.dataset}{damage}"


@dataclass(frozen=True)
class Skipped:
    """A part that cannot run here, with reason and remedy.

    encoder: of a decoder that does not run behind this encoder alone.
    runtime: of a decoder that does not run with this runtime alone.
    """

    kind: str
    name: str
    reason: str
    remedy: str
    encoder: str = ""
    runtime: Runtime | None = None

    @property
    def label(self) -> str:
        """Name of the part in messages."""
        return f"{self.name} on {self.encoder}" if self.encoder else self.name


@dataclass(frozen=True)
class Plan:
    """Blocks in the order in which they run (all of an encoder together), and skipped parts."""

    blocks: tuple[Block, ...]
    skipped: tuple[Skipped, ...]

    @property
    def cells(self) -> int:
        """Number of rows that the plan produces."""
        return sum(len(block.decoders) for block in self.blocks)


def build_plan(selection: Selection, registries: Registries | None = None) -> Plan:
    """Look up all names, skip parts that cannot run here, and arrange the blocks.

    Whether a decoder fits an encoder is known only when the encoder is open, so the runner adds to
    the skipped parts.

    Raises:
        UserError: an unknown name, split or option, or a number that makes no sense.
    """
    names = registries or Registries()
    _check(selection, names)
    skipped: dict[tuple[str, str], Skipped] = {}

    def parts(registry: Registry, chosen: Iterable[str]) -> list[Part]:
        made = (_part(registry, name, selection.options, skipped) for name in _unique(chosen))
        return [part for part in made if part is not None]

    encoders = [
        part
        for name in _unique(selection.encoders)
        if (part := _encoder(names.encoders, name, selection, skipped)) is not None
    ]
    datasets = parts(names.datasets, selection.datasets)
    damaging = (name for name in (*selection.damages, *selection.swept) if name != CLEAN)
    damages = {part.name: part for part in parts(names.damages, damaging)}
    decoders = tuple(parts(names.decoders, selection.decoders))
    blocks = []
    for encoder in encoders:
        sample = selection.samples.get(encoder.name)
        for dataset in datasets[: None if sample is None else 1] if decoders else ():
            every = _conditions(selection, dataset, list(damages))
            for condition in every if sample is None else _sampled(every, sample):
                damage = damages.get(condition.damage)
                rounds = selection.rounds if damage is None and sample is None else ONCE
                block = Block(
                    encoder, decoders, dataset, damage, condition, rounds, selection.runtime
                )
                blocks.append(block)
    return Plan(tuple(blocks), tuple(skipped.values()))


def fitting(plan: Plan) -> Plan:
    """Skip decoders that do not fit an encoder, as far as it is known before that is open.

    A run that opens its encoders would skip them with the same reasons.
    """
    skipped = dict.fromkeys(plan.skipped)
    blocks = []
    for block in plan.blocks:
        kept = []
        for part in block.decoders:
            absent = _unfit(part.thing, block.encoder)
            if absent is None:
                kept.append(part)
            else:
                name = block.encoder.name
                item = Skipped("decoder", part.name, absent.reason, absent.remedy, name)
                skipped[item] = None
        if kept:
            blocks.append(replace(block, decoders=tuple(kept)))
    return Plan(tuple(blocks), tuple(skipped))


def _unfit(decoder: DecoderSpec, encoder: Part) -> Unavailable | None:
    """The reason why a decoder cannot read an encoder; None also where only opening it tells."""
    heads = encoder.thing.heads()
    return heads and decoder.missing(replace(heads, name=encoder.name))


def _check(selection: Selection, names: Registries) -> None:
    """Check names and numbers before anything is loaded."""
    for registry, asked in (
        (names.encoders, selection.encoders),
        (names.decoders, selection.decoders),
        (names.datasets, selection.datasets),
    ):
        if not asked:
            raise UserError(f"no {registry.kind} was chosen; there are: {_listed(registry)}")
    if not selection.damages:
        raise UserError(f"no damage was chosen; there are: {CLEAN}, {_listed(names.damages)}")
    check_severities(selection.severities)
    for name in selection.damaged or ():
        names.datasets.entry(name)
    decoders = (part for name in selection.decoders for part in parts_of(name))
    chosen = {
        *selection.encoders, *decoders, *selection.datasets,
        *selection.damages, *selection.swept,
    }  # fmt: skip
    for name in selection.options:
        if name not in chosen:
            raise UserError(
                f"options are set for {name!r}, which is not part of this run"
                f"{did_you_mean(name, chosen)}"
            )


def _part(
    registry: Registry,
    name: str,
    options: Mapping[str, Mapping[str, Any]],
    skipped: dict[tuple[str, str], Skipped],
) -> Part | None:
    """Create the part of a name; if it cannot run here, note it as skipped and return None."""
    values = options_of(name, options) if registry.kind == "decoder" else options.get(name, {})
    values = {**registry.entry(name).stated, **values}
    try:
        thing = registry.create(name, values)
        absent = thing.missing() if isinstance(thing, EncoderSpec | Dataset) else None
    except Unavailable as error:
        absent = error
    except ImportError as error:
        absent = Unavailable(f"it cannot be imported: {error}")
    if absent is not None:
        remedy = for_name(absent.remedy, name)
        skipped[registry.kind, name] = Skipped(registry.kind, name, absent.reason, remedy)
        return None
    return Part(name, thing, values)


def _encoder(
    registry: Registry,
    name: str,
    selection: Selection,
    skipped: dict[tuple[str, str], Skipped],
) -> Part | None:
    """Create an encoder or its stand-in; an encoder that is missing is noted in both cases."""
    part = _part(registry, name, selection.options, skipped)
    stand_in = selection.stand_ins.get(name)
    if part is not None or not stand_in:
        return part
    part = _part(registry, name, {name: {**selection.options.get(name, {}), **stand_in}}, {})
    absent = skipped[registry.kind, name]
    if part is not None:
        instead = ", ".join(f"{option}={value}" for option, value in stand_in.items())
        reason = f"{absent.reason}; it runs with {instead} instead"
        skipped[registry.kind, name] = replace(absent, reason=reason)
    return part


def _sampled(conditions: Iterable[Condition], sample: int) -> list[Condition]:
    """The clean condition, with at most `sample` lines."""
    return [
        replace(condition, limit=min(sample, condition.limit or sample))
        for condition in conditions
        if condition.damage == CLEAN
    ]


def _conditions(selection: Selection, dataset: Part, damages: Sequence[str]) -> list[Condition]:
    """The conditions of a data set: clean first, then damage by damage in rising severity."""
    split = selection.split
    if split not in dataset.thing.splits:
        hint = did_you_mean(split, dataset.thing.splits)
        raise UserError(f"{dataset.name} has no split {split!r}{hint}")
    is_damaged = selection.damaged is None or dataset.name in selection.damaged
    conditions = []
    if not is_damaged or CLEAN in selection.damages or 0 in selection.severities:
        conditions.append(Condition(dataset.name, split, limit=selection.limit))
    for damage in damages if is_damaged else ():
        severities = SEVERITIES if damage in selection.swept else selection.severities
        conditions += [
            Condition(dataset.name, split, damage, severity, selection.seed, selection.limit)
            for severity in sorted(set(severities) - {0})
        ]
    return conditions


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _listed(registry: Registry) -> str:
    return ", ".join(registry.names())
