"""A run as the report sees it: rows with their interval, their setting and their names.

A setting is what a number depends on besides what a table's rows and columns name. Results of
different settings never share a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.analysis.evidence import Store
from bench.analysis.stats import Interval, micro_interval
from bench.core.errors import UserError
from bench.core.hashing import digest
from bench.core.metrics import normalise
from bench.core.types import LineResult, Row, Runtime
from bench.report.captions import say
from bench.report.names import Names, names
from datasets import DATASETS
from datasets.about import Blocks, about, blocks_of
from datasets.damage import DAMAGES
from decoders import DECODERS
from models import ENCODERS


@dataclass(frozen=True)
class Setting:
    """Where, with which software and by which rules a row came about.

    record: hash of all that is recorded of software and machine, the code's commit apart:
        whether a commit changes a number is decided by the cell's key, not here.
    """

    runtime: Runtime
    machine: str
    software: str
    record: str
    normaliser: str


class Place(NamedTuple):
    """Where a result stands in any order: as registered, what is not registered behind."""

    encoder: int
    dataset: int
    damage: int
    severity: int
    decoder: int


@dataclass(frozen=True, eq=False)
class Result:
    """A row with what the report adds.

    place: its order among others.
    interval: of the micro CER; None without a CER, or where it cannot be had.
    blocks: of its lines, which all intervals and tests resample; None where these are gone.
    commit: of the code, "" when it is not known.
    names: what tells this result from all others of the run.
    """

    row: Row
    place: Place
    interval: Interval | None
    blocks: Blocks | None
    setting: Setting
    commit: str
    names: Names

    @property
    def dataset(self) -> str:
        """The set as heads and titles name it: with a word where it is synthetic."""
        name = self.names.dataset
        made = about(self.row.condition.dataset).synthetic
        return say("{set} (synthetic)", set=name) if made else name

    @property
    def clean(self) -> bool:
        """Whether the set was read undamaged."""
        return self.row.condition.severity == 0


def collect(store: Store) -> list[Result]:
    """All results of a run, in the order of the registries.

    Raises:
        UserError: the run cannot be read.
    """
    rows = sorted(store.rows(), key=_place)
    records = store.environments()
    results = []
    for row, told in zip(rows, names(rows), strict=True):
        record = records.get(row.environment, {})
        lines, setting = _lines(store, row), _setting(row, record)
        blocks = blocks_of(row.condition.dataset, lines) if lines else None
        interval = cer_interval(row, lines)
        results.append(Result(row, _place(row), interval, blocks, setting, _commit(record), told))
    return results


def _place(row: Row) -> Place:
    condition = row.condition
    named = (
        (ENCODERS, row.encoder),
        (DATASETS, condition.dataset),
        (DAMAGES, condition.damage),
        (DECODERS, row.decoder),
    )
    encoder, dataset, damage, decoder = (
        [*registry.names(), name].index(name) for registry, name in named
    )
    return Place(encoder, dataset, damage, condition.severity, decoder)


def cer_interval(row: Row, lines: Sequence[LineResult]) -> Interval | None:
    """The interval of a row's CER from its lines; None without these."""
    if row.cer is None:
        return None
    return micro_interval(
        [line.edits for line in lines],
        [len(normalise(line.reference)) for line in lines],
        [line.block for line in lines],
    )


def _lines(store: Store, row: Row) -> list[LineResult]:
    """The lines of a row; none where they are gone."""
    if row.status != "ok":
        return []
    try:
        return store.lines(row.key)
    except UserError:
        return []


def grouped(
    results: Iterable[Result], key: Callable[[Result], Any] = lambda result: None
) -> list[list[Result]]:
    """Results that agree in their setting and in `key`, in order of appearance."""
    groups: dict[tuple[Setting, Any], list[Result]] = {}
    for result in results:
        groups.setdefault((result.setting, key(result)), []).append(result)
    return list(groups.values())


def _setting(row: Row, record: Mapping[str, Any]) -> Setting:
    return Setting(
        row.runtime,
        _machine(record, row.runtime.device),
        _software(record),
        digest({name: value for name, value in record.items() if name != "git"}),
        row.normaliser,
    )


def _machine(record: Mapping[str, Any], device: str) -> str:
    """The processor; on a GPU that first, with its driver and its highest clock."""
    machine = record.get("machine", {})
    processor = str(machine.get("cpu", {}).get("model") or "a CPU that is not recorded")
    if not device.startswith("cuda"):
        return processor
    gpus: Sequence[str] = machine.get("gpu") or ["a GPU that is not recorded"]
    number = device.partition(":")[2]
    index = int(number) if number.isdigit() and int(number) < len(gpus) else 0
    told = [gpus[index], *_card(record.get("gpus") or [], index), f"host {processor}"]
    return ", ".join(told)


def _card(cards: Sequence[Mapping[str, Any]], index: int) -> list[str]:
    """What a record says of a GPU besides its name."""
    card = cards[index] if index < len(cards) else {}
    words = {"driver": "driver {}", "max_sm_mhz": "SM clock up to {} MHz", "power_limit_w": "{} W"}
    return [text.format(card[name]) for name, text in words.items() if card.get(name)]


def _software(record: Mapping[str, Any]) -> str:
    machine = record.get("machine", {})
    packages = machine.get("packages", {})
    words = [f"Kaidoku {record['kaidoku']}"] if record.get("kaidoku") else []
    shown = [name for name in ("torch", "transformers") if packages.get(name)]
    words += [f"{name} {packages[name]}" for name in shown]
    words += [f"Python {machine['python']}"] if machine.get("python") else []
    return ", ".join(words) or "software that is not recorded"


def _commit(record: Mapping[str, Any]) -> str:
    git = record.get("git") or {}
    if not git.get("commit"):
        return ""
    return f"{git['commit'][:10]}{' with uncommitted changes' if git.get('dirty') else ''}"
