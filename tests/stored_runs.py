"""Run folders with made-up rows, for tests of the commands that read what is stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.core import metrics
from bench.core.types import LineResult, Row, Timing
from bench.pipeline.store import RunStore
from tests import run_rows

TEXT = "the quick brown fox jumps over the lazy dog"


def line(place: int, edits: int, writers: int = 8) -> LineResult:
    """The line at a place, read with so many wrong characters."""
    read = "#" * edits + TEXT[edits:]
    return run_rows.read_line(f"line-{place:03}", TEXT, read, f"w{place % writers}")


def cell(decoder: str, edits: Sequence[int], **more: Any) -> tuple[Row, list[LineResult]]:
    """A row with lines of so many edits; `more` as in `run_rows.row`."""
    lines = [line(place, wrong) for place, wrong in enumerate(edits)]
    counts = metrics.totals(lines)
    rate = metrics.cer(counts)
    made = run_rows.row(decoder, **{"cer": rate, "wer": metrics.wer(counts), **more})
    return replace(made, counts=counts), lines


def timing(seconds: Sequence[float], lines: int, rounds: int = 3) -> Timing:
    """Times of a row whose batches take so long."""
    each = lines // len(seconds)
    pace = lines / sum(seconds)
    made = run_rows.timing(pace, rounds)
    return replace(made, batches=tuple((each, s) for s in seconds), cpu_s=2 * sum(seconds))


def run(path: Path, *cells: Row | tuple[Row, list[LineResult]]) -> RunStore:
    """A run folder of these cells; a row alone has lines of its CER."""
    store = RunStore(path)
    with store.writing(run_rows.ENVIRONMENT) as name:
        for one in cells:
            made = run_rows.cell_lines(one.cer) if isinstance(one, Row) and one.cer else []
            row, lines = (one, made) if isinstance(one, Row) else one
            store.write(replace(row, environment=name), lines)
    return RunStore(path)


def unsealed(rows: str) -> str:
    """Rows of a file without their checksums, so that a test may change them."""
    return re.sub(r', "sha256": "[0-9a-f]{64}"\}$', "}", rows, flags=re.MULTILINE)
