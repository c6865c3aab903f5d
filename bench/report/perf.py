"""Speed of our decoders against their peers as a table, with the spread and the equal texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from bench.analysis.perf import Group, PeerRecord, PeerResult
from bench.pipeline.signature import PRECISIONS
from bench.report import render
from bench.report.format import DASH, listing, percent, plain, plural, significant
from bench.report.table import Cell, Column, Notes, Table, name

_RATE = "lines/s"
_TIED = 1e-4  # a score that differs by less is the same


def table(record: PeerRecord) -> Table:
    """One row a comparison, those of a group together."""
    notes = Notes()
    columns = (
        *(Column(head, key=True) for head in ("Ours", "Peer", "Encoder", "Lines", "Batch")),
        Column(f"Ours {_RATE}", parts=("low", "high")),
        Column(f"Peer {_RATE}", parts=("low", "high")),
        Column("Times faster", parts=("low", "high")),
        *map(Column, ("Same texts", "CER % ours", "CER % peer")),
    )
    ordered = [
        one for group in get_args(Group) for one in record.results if one.comparison.group == group
    ]
    return Table(
        "perf",
        "Speed of our decoders against their peers",
        _conditions(record),
        columns,
        tuple(_row(one, notes) for one in ordered),
        notes=tuple(notes.texts),
    )


def _conditions(record: PeerRecord) -> str:
    machine, runtime = record.environment["machine"], record.runtime
    packages = listing(
        [
            f"{known} {machine['packages'][known]}"
            for known in ("torch", "transformers", "pyctcdecode")
        ]
    )
    git = record.environment.get("git") or {}
    changed = " with uncommitted changes" if git.get("dirty") else ""
    return plain(
        "Both decoders read the same batches in one process; each warmed up once, then they "
        "alternated in a seeded random order, with a rest of 0.2 s before each turn. "
        "Times faster: seconds of the peer by those of ours, round by "
        "round; the median, in brackets the lowest and the highest round. Lines/s likewise. The "
        "clock runs around the decoder alone. Other model: the peer has another language model, "
        "so the work differs. Lines: the first of the embedded set's test split. "
        f"Device: {runtime.device} ({machine['cpu']['model']}), "
        f"{plural(runtime.threads, 'thread')}, {PRECISIONS['float32']}. "
        f"{packages}; kaidoku {record.environment['kaidoku']}, "
        f"commit {str(git.get('commit', 'unknown'))[:12]}{changed}."
    )


def _row(result: PeerResult, notes: Notes) -> tuple[Cell, ...]:
    comparison = result.comparison
    damage = f", {comparison.damage[0]} {comparison.damage[1]}" if comparison.damage else ""
    untrained = " (untrained)" if comparison.options.get("untrained") else ""
    head = (
        name(comparison.ours.label),
        name(comparison.peer_label),
        name(f"{comparison.encoder}{untrained}"),
        name(f"{comparison.lines}{damage}"),
        Cell(str(comparison.batch), values=(comparison.batch,)),
    )
    if result.reason:
        mark = notes.mark(f"Not run: {result.reason}")
        dashes = [Cell(DASH)] * 3
        return (*head, *dashes[:2], Cell("not run", marks=(mark,)), *dashes)
    return (
        *head,
        _spread([comparison.lines / seconds for seconds in result.ours_s]),
        _spread([comparison.lines / seconds for seconds in result.peer_s]),
        _spread(result.ratios),
        _same(result, notes),
        _cer(result.ours_cer),
        _cer(result.peer_cer),
    )


def _same(result: PeerResult, notes: Notes) -> Cell:
    gap = result.score_gap
    marks: tuple[int, ...] = ()
    if gap is not None and gap > _TIED:
        marks = (notes.mark(f"Scores of the same text differ by up to {significant(gap, 2)}."),)
    return Cell(f"{result.same} of {result.comparison.lines}", values=(result.same,), marks=marks)


def _cer(fraction: float | None) -> Cell:
    return Cell(percent(fraction), values=(None if fraction is None else 100.0 * fraction,))


def _spread(values: Sequence[float]) -> Cell:
    middle, low, high = (float(f(values)) for f in (np.median, np.min, np.max))
    detail = f"[{significant(low)}, {significant(high)}]" if len(values) > 1 else ""
    return Cell(significant(middle), detail, (middle, low, high))


def files(made: Table) -> Mapping[str, bytes]:
    """The table as files, by name."""
    return {
        "perf.md": render.markdown(made).encode(),
        "perf.csv": render.spreadsheet(made).encode("utf-8-sig"),
        "perf.tex": render.latex(made).encode(),
    }
