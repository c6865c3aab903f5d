"""The verdicts of a run as one JSON file, so that a run that was stopped goes on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.analysis.perf.duels import Duel, Side
from bench.analysis.perf.fight import Verdict
from bench.analysis.perf.machine import Peaks
from bench.core.errors import UserError
from bench.core.files import write_atomically
from bench.core.hashing import digest, plain
from bench.core.types import Runtime

FILE = "perf.json"


@dataclasses.dataclass(frozen=True)
class Record:
    """What a run is recognised by, and what it found.

    environment: code, software and machine (`bench.core.machine.environment`).
    verdicts: in the order in which the duels were fought.
    """

    environment: Mapping[str, Any]
    runtime: Runtime
    peaks: Peaks
    verdicts: tuple[Verdict, ...] = ()

    def of(self, duel: Duel) -> Verdict | None:
        """The verdict of a duel that was fought; None of another one."""
        known = (v for v in self.verdicts if not v.reason)
        return next((v for v in known if _same(v.duel, duel)), None)

    def goes_on(self, environment: Mapping[str, Any], runtime: Runtime) -> bool:
        """Whether verdicts of this environment and runtime may stand beside its own."""
        return self.runtime == runtime and digest(self.environment) == digest(environment)


def write(folder: Path, record: Record) -> Path:
    """Write the record, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain(dataclasses.asdict(record)), indent=2, ensure_ascii=False)
    write_atomically(folder / FILE, f"{text}\n".encode())
    return folder / FILE


def read(folder: Path) -> Record | None:
    """The record of a folder; None where there is none.

    Raises:
        UserError: it is damaged.
    """
    path = folder / FILE
    try:
        values = json.loads(path.read_bytes())
        return Record(
            values["environment"],
            Runtime(**values["runtime"]),
            Peaks(**values["peaks"]),
            tuple(map(_verdict, values["verdicts"])),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it, or give --fresh") from error


def _same(one: Duel, other: Duel) -> bool:
    return digest(dataclasses.asdict(one)) == digest(dataclasses.asdict(other))


def _verdict(values: Mapping[str, Any]) -> Verdict:
    given = dict(values["duel"])
    sides = {side: Side(**given[side]) for side in ("ours", "peer")}
    damage = tuple(given["damage"]) if given["damage"] else None
    times = {side: tuple(values[side]) for side in ("ours_s", "peer_s")}
    return Verdict(**{**values, **times, "duel": Duel(**{**given, **sides, "damage": damage})})
