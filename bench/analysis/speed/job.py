"""The systems of TrOCR's speed table, their order, and reasons for skipped ones.

The table is that of Li et al. 2021 (https://arxiv.org/abs/2109.10282, Table 5). How time is taken
stands in `bench.analysis.speed.timing`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bench.core.errors import UserError
from bench.core.registry import Entry, Registry
from bench.pipeline.plan import Plan, Registries, Rounds, Selection, Skipped, build_plan
from decoders import DECODERS

SENTENCES = 2_915  # lines of IAM's test set, which the paper's table counts
REFERENCE = "ar-beam-10"  # the paper's decoder, to which all others are compared
PARTS = 5  # of a pass; they give the spread of a single pass
LEAST_LINES = 16  # of a total of SENTENCES: from fewer only a speed follows
README_BATCH, README_DTYPE = 16, "float16"  # of the authors' evaluation (unilm, trocr/README.md)
DEFAULT_ENCODERS = ("trocr-small", "trocr-base", "trocr-large", "mini")
SETS = ("iam", "ink")  # the first that is here is read
_LEAST_ROUNDS, _LEAST_S = 3, 1.0


def _variant(name: str, **options: Any) -> Entry:
    entry = DECODERS.entry(name)
    return replace(entry, options={**entry.options, **options})


SPEED_DECODERS = Registry(
    "decoder",
    {
        REFERENCE: _variant("ar-beam", beam=10),
        "ar-beam-5": _variant("ar-beam", beam=5),
        "ar-greedy": _variant("ar-greedy"),
        "ctc-greedy": _variant("ctc-greedy"),
        "ctc-kenlm": _variant("ctc-kenlm"),
        "ar-hf-10": _variant("ar-hf", beam=10),  # as a peer it is only read by name
    },
)


class SpeedSystem(NamedTuple):
    """A row of the table."""

    encoder: str
    decoder: str
    dtype: str
    batch_size: int


@dataclass(frozen=True)
class SpeedJob:
    """The choice of a table.

    selection: encoders in the order of the table, decoders of `SPEED_DECODERS`, a data set with a
        limit.
    dtypes, batch_sizes: every system runs with each of them.
    seconds: in all; infinity for no limit.
    """

    selection: Selection
    dtypes: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    seconds: float

    def systems(self) -> list[SpeedSystem]:
        """The rows, in the order of the table."""
        return [
            SpeedSystem(encoder, decoder, dtype, size)
            for encoder in self.selection.encoders
            for dtype in self.dtypes
            for size in self.batch_sizes
            for decoder in self.selection.decoders
        ]

    def identity(self) -> Selection:
        """The choice as its run folder keeps it."""
        sizes = {"dtypes": self.dtypes, "batch_sizes": self.batch_sizes}
        return replace(self.selection, options={**self.selection.options, "speed": sizes})

    def plan(self) -> Plan:
        """The blocks precision by precision, the last encoder and the largest batch first.

        A block cannot be cut below one batch: those of which that takes longest come first, and
        the others adapt to the time that is left.
        """
        plan = build_plan(self.selection, speed_registries())
        blocks = tuple(
            replace(block, runtime=replace(block.runtime, dtype=dtype, batch_size=size))
            for dtype in self.dtypes
            for block in reversed(plan.blocks)
            for size in reversed(self.batch_sizes)
        )
        return replace(plan, blocks=blocks)


def speed_registries() -> Registries:
    """The registries for the names of a table."""
    return Registries(decoders=SPEED_DECODERS)


def speed_job(
    selection: Selection,
    dtypes: Sequence[str],
    batch_sizes: Sequence[int],
    seconds: float,
) -> SpeedJob:
    """A job for a selection; missing weights become untrained ones.

    Raises:
        UserError: an unknown encoder or option, or a number that makes no sense.
    """
    for count in batch_sizes:
        if count < 1:
            raise UserError(f"a batch of {count} lines holds nothing; take 1 or more")
    if not seconds > 0:
        raise UserError("the time has to be more than 0 minutes")
    rounds = Rounds(_LEAST_ROUNDS, _LEAST_S, seconds, together_s=math.inf)
    chosen = replace(selection, rounds=rounds)
    return SpeedJob(
        replace(chosen, options=_with_untrained(chosen)),
        tuple(dict.fromkeys(dtypes)),
        tuple(sorted(set(batch_sizes))),
        seconds,
    )


def default_set() -> str:
    """The first set of `SETS` that is here."""
    sets = speed_registries().datasets
    here = (s for s in SETS if s in sets.entries and sets.create(s).missing() is None)
    return next(here, sets.names()[0])


def absences(
    systems: Sequence[SpeedSystem], skipped: Sequence[Skipped]
) -> dict[SpeedSystem, Skipped]:
    """Reasons for skipped systems."""
    absent: dict[SpeedSystem, Skipped] = {}
    for item in skipped:
        for system in systems:
            if _concerns(item, system):
                absent.setdefault(system, item)
    return absent


def _concerns(item: Skipped, system: SpeedSystem) -> bool:
    if item.kind == "encoder":
        return item.name == system.encoder
    runtime = item.runtime
    return (
        item.name == system.decoder
        and item.encoder in ("", system.encoder)
        and (runtime is None or (runtime.dtype, runtime.batch_size) == system[2:])
    )


def _with_untrained(selection: Selection) -> Mapping[str, Mapping[str, Any]]:
    """The options, with untrained weights for encoders of known shape whose own are not here."""
    options = {name: dict(values) for name, values in selection.options.items()}
    for name in selection.encoders:
        spec = speed_registries().encoders.create(name, options.get(name))
        if getattr(spec, "shape", "") and not spec.head and spec.missing():
            options.setdefault(name, {})["untrained"] = True
    return options
