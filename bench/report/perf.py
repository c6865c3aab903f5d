"""Speed of our decoders against their peers as a table, with the spread and the equal texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args

from bench.analysis.perf import Group, PeerRecord, PeerResult
from bench.core.stopwatch import spread
from bench.pipeline.signature import PRECISIONS
from bench.report.format import DASH, listing, plain, plural, significant
from bench.report.table import RANGE, Cell, Column, Table, count, declared, keys, rate, spread_cell

_RATE = "lines/s"
_TIED = 1e-4  # a score that differs by less is the same


def table(record: PeerRecord) -> Table:
    """One row a comparison, those of a group together."""
    ordered = [
        one for group in get_args(Group) for one in record.results if one.comparison.group == group
    ]

    def measured(
        head: str, cell: Callable[[PeerResult], Cell], parts: tuple[str, ...] = ()
    ) -> Column[PeerResult]:
        return Column(head, lambda one: Cell(DASH) if one.reason else cell(one), parts)

    columns: list[Column[PeerResult]] = [
        *keys(
            ("Ours", "Peer", "Encoder", "Lines"),
            lambda one: one.comparison.ours.label,
            lambda one: one.comparison.peer_label,
            _encoder,
            _lines,
        ),
        Column("Batch", lambda one: count(one.comparison.batch), key=True),
        measured(f"Ours {_RATE}", lambda one: _rate(one, one.ours_s), RANGE),
        measured(f"Peer {_RATE}", lambda one: _rate(one, one.peer_s), RANGE),
        Column("Times faster", _times_faster, RANGE),
        measured("Same texts", _same),
        measured("CER % ours", lambda one: rate(one.ours_cer)),
        measured("CER % peer", lambda one: rate(one.peer_cer)),
    ]
    title = "Speed of our decoders against their peers"
    return declared("perf", title, _conditions(record), columns, ordered)


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


def _encoder(result: PeerResult) -> str:
    comparison = result.comparison
    return f"{comparison.encoder}{' (untrained)' if comparison.options.get('untrained') else ''}"


def _lines(result: PeerResult) -> str:
    damage = result.comparison.damage
    return f"{result.comparison.lines}{f', {damage[0]} {damage[1]}' if damage else ''}"


def _rate(result: PeerResult, seconds: Sequence[float]) -> Cell:
    return spread_cell(spread([result.comparison.lines / one for one in seconds]))


def _times_faster(result: PeerResult) -> Cell:
    if result.reason:
        return Cell("not run", notes=(f"Not run: {result.reason}",))
    return spread_cell(spread(result.ratios))


def _same(result: PeerResult) -> Cell:
    gap = result.score_gap
    note = f"Scores of the same text differ by up to {significant(gap, 2)}."
    notes = (note,) if gap is not None and gap > _TIED else ()
    return Cell(f"{result.same} of {result.comparison.lines}", values=(result.same,), notes=notes)
