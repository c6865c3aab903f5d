"""Duels as a table: who was faster, by how much, and whether both said the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from bench.analysis.perf.duels import Group
from bench.analysis.perf.fight import Verdict
from bench.analysis.perf.machine import QUIET
from bench.analysis.perf.record import Record
from bench.pipeline.signature import PRECISIONS
from bench.report import render
from bench.report.format import DASH, listing, number, percent, plain, plural, significant
from bench.report.table import Cell, Column, Notes, Table, name

_FASTER = "lines/s"
_EXACT = PRECISIONS["float32"]
_TIED = 1e-4  # a score that differs by less is the same


def table(record: Record) -> Table:
    """One row a duel, those of a kind together."""
    notes = Notes()
    columns = (
        *(Column(head, key=True) for head in ("Ours", "Peer", "Encoder", "Lines", "Batch")),
        Column(f"Ours {_FASTER}", parts=("low", "high")),
        Column(f"Peer {_FASTER}", parts=("low", "high")),
        Column("Times faster", parts=("low", "high")),
        *map(Column, ("Aim", "Same texts", "CER % ours", "CER % peer", "Of the bound %")),
    )
    ordered = [v for group in get_args(Group) for v in record.verdicts if v.duel.group == group]
    return Table(
        "perf",
        "Duels: speed at the same work",
        _conditions(record),
        columns,
        tuple(_row(verdict, notes) for verdict in ordered),
        notes=tuple(notes.texts),
    )


def _conditions(record: Record) -> str:
    machine, runtime, peaks = record.environment["machine"], record.runtime, record.peaks
    packages = listing(
        [
            f"{known} {machine['packages'][known]}"
            for known in ("torch", "transformers", "pyctcdecode")
        ]
    )
    git = record.environment.get("git") or {}
    changed = " with uncommitted changes" if git.get("dirty") else ""
    return plain(
        "Both sides read the same batches in one process; each warmed up once, then took turns in "
        "a seeded random order, with a rest of 0.2 s before each. "
        "Times faster: seconds of the peer by those of ours, round by "
        "round; the median, in brackets the lowest and the highest round. Lines/s likewise. The "
        "clock runs around the decoder alone (in duels of encoders: around the encoder alone). "
        "Lines: the first of the embedded set's test split. "
        f"Device: {runtime.device} ({machine['cpu']['model']}), "
        f"{plural(runtime.threads, 'thread')}, {_EXACT} unless said. Peaks measured here: "
        f"{number(peaks.flops / 1e9, 0)} GFLOP/s of an {_EXACT} product, "
        f"{number(peaks.bytes_per_s / 1e9, 0)} GB/s of reading; the bound is the roofline of the "
        "products with weights and of the reading of weights and cross-attention, keys and values "
        "of all states among them (a short search that reads the states themselves needs less). "
        f"{packages}; kaidoku {record.environment['kaidoku']}, "
        f"commit {str(git.get('commit', 'unknown'))[:12]}{changed}."
    )


def _row(verdict: Verdict, notes: Notes) -> tuple[Cell, ...]:
    duel = verdict.duel
    damage = f", {duel.damage[0]} {duel.damage[1]}" if duel.damage else ""
    untrained = " (untrained)" if duel.options.get("untrained") else ""
    head = (
        name(duel.ours.label),
        name(duel.peer.label),
        Cell(plain(f"{duel.encoder}{untrained}"), marks=_marks(verdict, notes)),
        Cell(f"{duel.lines}{damage}", values=(f"{duel.lines}{damage}",)),
        Cell(str(duel.batch), values=(duel.batch,)),
    )
    aim = Cell(f"≥ {duel.aim:g}" if duel.aim else DASH, values=(duel.aim,))
    if verdict.reason:
        mark = notes.mark(f"Not fought: {verdict.reason}")
        return (*head, *(Cell(DASH) for _ in range(2)), Cell("not run", marks=(mark,)), aim,
                *(Cell(DASH) for _ in range(4)))  # fmt: skip
    share = verdict.bound_s / float(np.median(verdict.ours_s)) if verdict.bound_s else None
    return (
        *head,
        _spread([duel.lines / seconds for seconds in verdict.ours_s]),
        _spread([duel.lines / seconds for seconds in verdict.peer_s]),
        _spread(verdict.ratios),
        aim,
        _same(verdict, notes),
        Cell(percent(verdict.ours_cer), values=(_hundredfold(verdict.ours_cer),)),
        Cell(percent(verdict.peer_cer), values=(_hundredfold(verdict.peer_cer),)),
        Cell(percent(share, 0), values=(_hundredfold(share),)),
    )


def _marks(verdict: Verdict, notes: Notes) -> tuple[int, ...]:
    if verdict.others < QUIET:
        return ()
    share = percent(verdict.others, 0)
    return (notes.mark(f"Not quiet: other processes used {share} % of the machine meanwhile."),)


def _same(verdict: Verdict, notes: Notes) -> Cell:
    """Texts that are the same, or how much an encoder's states have changed."""
    if verdict.change is not None:
        mark = notes.mark(
            "Of encoders: the change of the states as a share of their size (Euclidean norms)."
        )
        return Cell(significant(verdict.change, 2), values=(verdict.change,), marks=(mark,))
    gap = verdict.score_gap
    marks: tuple[int, ...] = ()
    if gap is not None and gap > _TIED:
        marks = (notes.mark(f"Scores of the same text differ by up to {significant(gap, 2)}."),)
    told = f"{verdict.same} of {verdict.duel.lines}"
    return Cell(told, values=(verdict.same,), marks=marks)


def _spread(values: Sequence[float]) -> Cell:
    middle, low, high = (float(f(values)) for f in (np.median, np.min, np.max))
    detail = f"[{significant(low)}, {significant(high)}]" if len(values) > 1 else ""
    return Cell(significant(middle), detail, (middle, low, high))


def _hundredfold(fraction: float | None) -> float | None:
    return None if fraction is None else 100.0 * fraction


def files(made: Table) -> Mapping[str, bytes]:
    """The table as files, by name."""
    return {
        "perf.md": render.markdown(made).encode(),
        "perf.csv": render.spreadsheet(made).encode("utf-8-sig"),
        "perf.tex": render.latex(made).encode(),
    }
