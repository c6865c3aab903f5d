"""Results of a run: rows with intervals, settings and distinct names.

A setting is all that a number depends on besides a table's rows and columns. Results of different
settings never share a table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from bench.analysis.evidence import Reading
from bench.analysis.stats import Interval
from bench.core.errors import UserError
from bench.core.hashing import digest
from bench.core.types import UNTRAINED, Condition, Row, Runtime
from bench.pipeline.store import RunStore
from bench.report.format import plain
from bench.report.language import say, say_name
from datasets import DATASETS
from datasets.about import Blocks, about, blocks_of
from datasets.damage import DAMAGES
from decoders import DECODERS
from models import ENCODERS


@dataclass(frozen=True)
class Setting:
    """Machine, software and rules behind a row.

    record: hash of all that is recorded of software and machine, the code's commit apart:
        whether a commit changes a number is decided by the cell's key, not here.
    """

    runtime: Runtime
    machine: str
    software: str
    record: str
    normaliser: str


class Place(NamedTuple):
    """Sort key of a result: the order of registration, unregistered names last."""

    encoder: int
    dataset: int
    damage: int
    severity: int
    decoder: int


@dataclass(frozen=True, eq=False)
class Result:
    """A row with its lines, names and place.

    reading: the row with its lines, which are read once for all tables, plots and pages; None of a
        row that failed or whose lines are gone.
    place: its order among others.
    commit: of the code, "" when it is not known.
    failed_since: why the cell of a good row failed when it was last run, "" where it did not.
    names: unlike those of all other results of the run.
    """

    row: Row
    reading: Reading | None
    place: Place
    setting: Setting
    commit: str
    names: Names
    failed_since: str

    @property
    def interval(self) -> Interval | None:
        """Interval of the micro CER; None without a CER, its lines or enough blocks."""
        return self.reading.cer_interval if self.reading else None

    @cached_property
    def blocks(self) -> Blocks | None:
        """Blocks of its lines, which statistics resample; None where these are gone."""
        lines = self.reading.lines if self.reading else ()
        return blocks_of(self.row.condition.dataset, lines) if lines else None

    @property
    def dataset(self) -> str:
        """The set as heads and titles name it: with a word where it is synthetic."""
        return marked(self.row.condition.dataset, self.names.dataset)

    @property
    def damage(self) -> str:
        """The damage as tables name it, in the current language."""
        return say_name(self.names.damage)

    @property
    def clean(self) -> bool:
        """Whether the set was read undamaged."""
        return self.row.condition.severity == 0

    @property
    def trained(self) -> bool:
        """Whether the weights may have a CER; whatever the row says, untrained ones may not."""
        return self.row.weights != UNTRAINED


def marked(dataset: str, name: str = "") -> str:
    """A set's name (`name` if another is shown), marked if synthetic: "lines (synthetic)"."""
    name = name or dataset
    return say("{set} (synthetic)", set=name) if about(dataset).synthetic else name


def damage_of(condition: Condition) -> str:
    """A damage with its severity in the current language: "blot 3"; "" of the clean set."""
    return f"{say_name(condition.damage)} {condition.severity}" if condition.severity else ""


def collect(store: RunStore) -> list[Result]:
    """All results of a run, in the order of the registries; each file of lines is read once."""
    rows = sorted(store.rows(), key=_place)
    records, failures = store.environments(), store.failures()
    results = []
    for row, own in zip(rows, names(rows), strict=True):
        record = records.get(row.environment, {})
        reading, setting = _reading(store, row), _setting(row, record)
        since = failures[row.cell].reason if row.status == "ok" and row.cell in failures else ""
        results.append(Result(row, reading, _place(row), setting, _commit(record), own, since))
    return results


def system(result: Result) -> tuple[str, str]:
    """The names of its encoder and decoder."""
    return result.names.encoder, result.names.decoder


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


def _reading(store: RunStore, row: Row) -> Reading | None:
    if row.status != "ok":
        return None
    try:
        return Reading(row, tuple(store.lines(row.key)))
    except UserError:  # the tables have the row all the same
        return None


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
    """The processor; for a GPU run, the GPU with driver and highest clock before it."""
    machine = record.get("machine", {})
    processor = str(machine.get("cpu", {}).get("model") or say("a CPU that is not recorded"))
    if not device.startswith("cuda"):
        return processor
    gpus: Sequence[str] = machine.get("gpu") or [say("a GPU that is not recorded")]
    number = device.partition(":")[2]
    index = int(number) if number.isdigit() and int(number) < len(gpus) else 0
    host = say("host {processor}", processor=processor)
    return ", ".join([gpus[index], *_card(record.get("gpus") or [], index), host])


def _card(cards: Sequence[Mapping[str, Any]], index: int) -> list[str]:
    card = cards[index] if index < len(cards) else {}
    words = {
        "driver": say("driver {value}", value=card.get("driver")),
        "max_sm_mhz": say("SM clock up to {value} MHz", value=card.get("max_sm_mhz")),
        "power_limit_w": f"{card.get('power_limit_w')} W",
    }
    return [text for name, text in words.items() if card.get(name)]


def _software(record: Mapping[str, Any]) -> str:
    machine = record.get("machine", {})
    packages = machine.get("packages", {})
    words = [f"Kaidoku {record['kaidoku']}"] if record.get("kaidoku") else []
    shown = [name for name in ("torch", "transformers") if packages.get(name)]
    words += [f"{name} {packages[name]}" for name in shown]
    words += [f"Python {machine['python']}"] if machine.get("python") else []
    return ", ".join(words) or say("software that is not recorded")


def _commit(record: Mapping[str, Any]) -> str:
    git = record.get("git") or {}
    if not git.get("commit"):
        return ""
    commit = git["commit"][:10]
    return say("{commit} with uncommitted changes", commit=commit) if git.get("dirty") else commit


# Names of the results of a run: as registered wherever these are unlike


_USUAL = ("limit", "none")  # the whole set keeps its name: the others name their limits
_ALWAYS = ("weights", UNTRAINED)


class Names(NamedTuple):
    """The names of the parts of a row in tables."""

    encoder: str
    decoder: str
    dataset: str
    damage: str


def names(rows: Sequence[Row]) -> list[Names]:
    """The names of each row, unlike those of all others."""
    encoders = _distinguished((row.encoder, _encoder_marks(row)) for row in rows)
    decoders = _distinguished((row.decoder, _decoder_marks(row)) for row in rows)
    datasets = _distinguished((row.condition.dataset, _dataset_marks(row)) for row in rows)
    contents = ({"sha256": row.dataset_sha256[:8]} for row in rows)
    datasets = _distinguished(zip(datasets, contents, strict=True))
    damages = _distinguished((row.condition.damage, _set_options("damage", row)) for row in rows)
    return [Names(*parts) for parts in zip(encoders, decoders, datasets, damages, strict=True)]


def _distinguished(things: Iterable[tuple[str, Mapping[str, str]]]) -> list[str]:
    """Each thing's name, with the marks that distinguish it from its namesakes.

    A mark that is "" or absent is not known (a failed row has no weights). Untrained weights are
    always named.
    """
    things = list(things)
    seen: dict[tuple[str, str], set[str]] = {}
    for name, marks in things:
        for mark, value in marks.items():
            seen.setdefault((name, mark), set()).add(value)
    labels = []
    for name, marks in things:
        differing = [
            f"{mark}={value}"
            for mark, value in marks.items()
            if (value and (mark, value) != _USUAL and len(seen[name, mark] - {""}) > 1)
            or (mark, value) == _ALWAYS
        ]
        labels.append(plain(f"{name}[{','.join(differing)}]" if differing else name))
    return labels


def _encoder_marks(row: Row) -> dict[str, str]:
    weights = row.weights if row.weights == UNTRAINED else row.weights[:8]
    return {**_set_options("encoder", row), "weights": weights}


def _decoder_marks(row: Row) -> dict[str, str]:
    hashes = {
        name.removesuffix("_sha256"): str(value)[:8]
        for name, value in row.extras.items()
        if name.endswith("_sha256")
    }
    return {**_options(row.options), **hashes}


def _dataset_marks(row: Row) -> dict[str, str]:
    condition = row.condition
    limit = str(condition.limit or "none")
    return {**_set_options("dataset", row), "split": condition.split, "limit": limit}


def _set_options(kind: str, row: Row) -> dict[str, str]:
    """The options that the user set of a part as one mark: that there are none is known too."""
    options = _options(getattr(row, f"{kind}_options"))
    return {"options": " ".join(f"{name}={value}" for name, value in options.items()) or "default"}


def _options(options: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in options.items()
    }
