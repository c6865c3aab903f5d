"""Rows and lines with made-up numbers, for tests of what reads a run."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bench import __version__
from bench.core.errors import UserError
from bench.core.types import (
    Condition,
    Decoded,
    EditCounts,
    Line,
    LineResult,
    Row,
    Runtime,
    Spread,
    Timing,
)
from bench.pipeline.cells import line_result
from bench.pipeline.signature import signature
from bench.pipeline.store import RunStore

ENVIRONMENT: Mapping[str, Any] = {
    "kaidoku": "0.1.0",
    "git": {"commit": "abcdef0123456789", "dirty": False},
    "machine": {
        "python": "3.11.7",
        "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
        "cpu": {"model": "Test CPU 9000"},
        "gpu": ["Test GPU"],
    },
    "threads": {"OMP_NUM_THREADS": "1"},
}


def read_line(
    name: str, reference: str, text: str, writer: str = "w1", truncated: bool = False
) -> LineResult:
    """A line that was read as a text."""
    line = Line(name, np.zeros((1, 1), np.uint8), reference, writer, "test")
    return line_result(line, Decoded(text, len(text), truncated=truncated))


def line(writer: str, edits: int, characters: int = 50) -> LineResult:
    """A line of `characters` reference characters, of which `edits` were read wrongly."""
    text = "a" * (characters - edits) + "b" * edits
    return read_line(f"{writer}-{edits}-{characters}", "a" * characters, text, writer)


def cell_lines(cer: float, writers: int = 12) -> list[LineResult]:
    """Two lines of 50 characters a writer whose errors differ by writer around a CER."""
    return [
        line(f"w{w:02}", round(50 * cer * (0.5 + (w % 3) / 2)), 50)
        for w in range(writers)
        for _ in range(2)
    ]


def row(
    decoder: str = "ctc-greedy",
    dataset: str = "lines",
    cer: float | None = 0.1,
    damage: str = "none",
    severity: int = 0,
    **more: Any,
) -> Row:
    """An ok row of 24 lines; `more` overrides its fields."""
    options = more.pop("options", {"beam": 16} if "beam" in decoder else {})
    condition = Condition(dataset, "test", damage, severity)
    head = {"ar": 2_400_000} if decoder.startswith("ar") else {"ctc": 100_000}
    values = {
        "status": "ok",
        "encoder": "mini",
        "weights": "0123456789abcdef",
        "parameters": {"encoder": 3_000_000, **head},
        "options": options,
        "condition": condition,
        "dataset_sha256": f"{dataset:0<16}",
        "references": "ascii",
        "runtime": Runtime(),
        "version": __version__,
        "normaliser": "nfc-ws1",
        "suite": "suite-1" if severity else "",
        "environment": "envhash012345678",
        "started": "2026-01-02T03:04:05+00:00",
        "ink_lost": 0.04 * severity if severity else None,
        "counts": counts(0.0 if cer is None else cer),
        "timing": timing(),
        "cer": cer,
        "wer": None if cer is None else 2 * cer,
        "cer_macro": cer,
        "cer_median": cer,
        **more,
    }
    name = "-".join(map(str, (values["encoder"], decoder, dataset, damage, severity)))
    known = {"key": name, "decoder": decoder, **values}
    made = Row(**{"cell": known["key"], "signature": "", **known})
    return replace(made, signature=made.signature or signature(made))


def failed(**more: Any) -> Row:
    """A row that failed."""
    nothing = {"counts": None, "timing": None, "cer": None, "wer": None}
    return row(**{**nothing, "status": "failed", "reason": "out of memory", **more})


def counts(cer: float) -> EditCounts:
    """Sums over 24 lines of 50 characters."""
    edits = round(1200 * cer)
    return EditCounts(
        lines=24,
        characters=1200,
        substitutions=edits,
        deletions=0,
        insertions=0,
        words=240,
        word_edits=edits,
        empty=0,
        over_half=3,
        truncated=1,
        looping=2,
        tokens=1224,
        output_characters=1200,
    )


def timing(lines_per_s: float = 12.0, rounds: int = 3) -> Timing:
    """Times of 24 lines."""
    return Timing(
        host_s=0.1,
        encode_s=1.5,
        decode_s=Spread(0.5, 0.4, 0.6, rounds),
        cpu_s=2.4,
        lines_per_s=Spread(lines_per_s, 0.9 * lines_per_s, 1.1 * lines_per_s, rounds),
        decode_lines_per_s=Spread(48.0, 40.0, 60.0, rounds),
        latency_p50_s=0.0831,
        latency_p95_s=0.1234,
        peak_mib=1234.5,
        scenario="batch",
        batches=(),
    )


class Rows(RunStore):
    """A store of rows in memory, which may hold what no JSON can (NaN)."""

    def __init__(self, *rows: Row, environments: Mapping[str, Any] | None = None) -> None:
        super().__init__("nowhere")
        self._rows = list(rows)
        self._lines_of: dict[str, list[LineResult]] = {}
        self._environments = dict(environments or {"envhash012345678": ENVIRONMENT})

    def rows(self) -> list[Row]:
        """The rows."""
        return self._rows

    def only(self, rows: Iterable[Row]) -> Rows:
        """See `RunStore.only`."""
        part = copy.copy(self)
        part._rows = list(rows)
        return part

    def failures(self) -> dict[str, Row]:
        """None but those among the rows."""
        return {row.cell: row for row in self._rows if row.status == "failed"}

    def lines(self, key: str) -> list[LineResult]:
        """Lines whose errors are those of the row."""
        found = next(row for row in self._rows if row.key == key)
        if found.cer is None:
            raise UserError(f"no lines of {key}")
        return cell_lines(found.cer)

    def environments(self) -> dict[str, Any]:
        """The environment records."""
        return self._environments
