"""Reproduction of a stored cell from its row alone.

All that the row says is asked for again: encoder, decoder and data set with their options, damage,
runtime and rounds. What was left to the decoder then (tuned weights, the number of workers) is
asked for as it was chosen then. Only the decoder of the row runs, so that its turns with other
decoders are missing; that touches times, never texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bench.analysis.cost import Speed, speed_ratio
from bench.analysis.evidence import Reading
from bench.analysis.stats import Interval
from bench.core.errors import UserError
from bench.core.options import restored
from bench.core.registry import Registry
from bench.core.types import LineResult, Row
from bench.pipeline.plan import CLEAN, Plan, Registries, Rounds, Selection, build_plan
from bench.pipeline.signature import signature_parts

_ABSENT = "absent"
_PREFIXES = {
    "e": "encoder", "d": "decoder", "s": "data", "dmg": "damage", "n": "normaliser",
    "bs": "batch size",
}  # fmt: skip


class Differing(NamedTuple):
    """A changed condition, with both values in words."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Reproduction:
    """The result of a reproduction.

    before, after: the stored row, and that of the same cell measured again.
    exact: every count of edits is the same; None with untrained weights.
    interval: of the CER, from the stored lines, or from the new ones where these are gone.
    changed: lines that read otherwise; None where the stored lines are gone.
    speed: now against then; None where a row has no times.
    differs: changed conditions, software and machine.
    """

    before: Row
    after: Row
    exact: bool | None
    interval: Interval | None
    changed: int | None
    speed: Speed | None
    differs: tuple[Differing, ...]

    @property
    def within(self) -> bool:
        """Whether the new CER lies in the interval of the stored one."""
        cer, interval = self.after.cer, self.interval
        return cer is not None and interval is not None and interval.low <= cer <= interval.high

    @property
    def holds(self) -> bool:
        """Whether the cell ran on the same data with the same CER, or one in the interval.

        Untrained weights have no CER, so it holds.
        """
        if self.after.status != "ok" or self.before.dataset_sha256 != self.after.dataset_sha256:
            return False
        return self.exact is None or self.exact or self.within


def plan_of(row: Row, device: str | None = None, registries: Registries | None = None) -> Plan:
    """The plan that measures the cell of a good row again, maybe on another device.

    Raises:
        UserError: the row failed, is of another protocol, or names something that is not
            there any more.
    """
    if row.status != "ok":
        raise UserError(f"that cell failed, so there is no number to reproduce: {row.reason}")
    if "passes" in row.extras:
        raise UserError("that is a row of the speed table; measure it with python -m bench speed")
    names = registries or Registries()
    condition, rounds = row.condition, row.timing.lines_per_s.n if row.timing else 1
    parts = (
        (names.decoders, row.decoder, {**row.options, **_chosen(row)}),
        (names.encoders, row.encoder, row.encoder_options),
        (names.datasets, condition.dataset, row.dataset_options),
        (names.damages, condition.damage, row.damage_options),
    )
    options = {name: _typed(registry, name, own) for registry, name, own in parts if own}
    selection = Selection(
        encoders=(row.encoder,),
        decoders=(row.decoder,),
        datasets=(condition.dataset,),
        damages=(condition.damage if condition.severity else CLEAN,),
        severities=(condition.severity,) if condition.severity else (),
        split=condition.split,
        limit=condition.limit,
        seed=condition.seed,
        runtime=row.runtime if device is None else replace(row.runtime, device=device),
        options=options,
        rounds=Rounds(least=rounds, least_s=0.0, most_s=math.inf),
    )
    return build_plan(selection, names)


def verdict_of(
    before: Reading,
    after: Reading,
    records: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> Reproduction:
    """Compare a cell that was measured again with what is stored of it.

    A reading is without lines where these are gone or the cell failed; `records` are the
    environments of both.
    """
    old, new = before.row, after.row
    return Reproduction(
        before=old,
        after=new,
        exact=None if old.cer is None else old.counts == new.counts,
        interval=(before if before.lines else after).cer_interval,
        changed=_changed(before.lines, after.lines) if before.lines else None,
        speed=speed_ratio(old.timing, new.timing),
        differs=(*_conditions(old, new), *_environment(*records)),
    )


def _chosen(row: Row) -> dict[str, Any]:
    """Values that the decoder chose for options that were None."""
    left = (name for name, value in row.options.items() if value is None)
    return {name: row.extras[name] for name in left if name in row.extras}


def _typed(registry: Registry, name: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Stored options as `Registry.create` takes them; what the name fixes is left out."""
    fixed = registry.entry(name).options
    free = {option: value for option, value in stored.items() if option not in fixed}
    return restored(registry.options(name), free)


def _changed(before: Sequence[LineResult], after: Sequence[LineResult]) -> int:
    """Number of lines with another text, or in only one of both."""
    old, new = ({line.id: line.text for line in lines} for lines in (before, after))
    return sum(old.get(name) != new.get(name) for name in old.keys() | new.keys())


def _conditions(before: Row, after: Row) -> Iterator[Differing]:
    old, new = signature_parts(before), signature_parts(after)
    for prefix in dict.fromkeys((*old, *new)):
        if old.get(prefix) != new.get(prefix):
            what = _PREFIXES.get(prefix, prefix)
            yield Differing(what, old.get(prefix, _ABSENT), new.get(prefix, _ABSENT))
    for what in ("weights", "dataset_sha256"):
        one, other = getattr(before, what), getattr(after, what)
        if one != other:
            yield Differing(what, str(one), str(other))


def _environment(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Differing]:
    old, new = dict(_leaves(before)), dict(_leaves(after))
    for name in dict.fromkeys((*old, *new)):
        if old.get(name, _ABSENT) != new.get(name, _ABSENT):
            yield Differing(name, old.get(name, _ABSENT), new.get(name, _ABSENT))


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested objects to values by path."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{name} {key}".strip())
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value)) or "none"
    else:
        yield name, str(value)
