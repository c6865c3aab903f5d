"""Speed of our decoders against their peers as a table, with the spread and the equal texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args

from bench.analysis.perf import Group, PeerRecord, PeerResult
from bench.core.stopwatch import spread
from bench.pipeline.signature import PRECISIONS
from bench.report.format import DASH, listing, plain, plural, significant
from bench.report.language import say, say_name, say_text
from bench.report.table import RANGE, Cell, Column, Table, count, declared, keys, rate, spread_cell

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
            (say("Ours"), say("Peer"), say("Encoder"), say("Lines")),
            lambda one: one.comparison.ours.label,
            lambda one: one.comparison.peer_label,
            _encoder,
            _lines,
        ),
        Column(say("Batch"), lambda one: count(one.comparison.batch), key=True),
        measured(say("Ours lines/s"), lambda one: _rate(one, one.ours_s), RANGE),
        measured(say("Peer lines/s"), lambda one: _rate(one, one.peer_s), RANGE),
        Column(say("Times faster"), _times_faster, RANGE),
        measured(say("Same texts"), _same),
        measured(say("CER % ours"), lambda one: rate(one.ours_cer)),
        measured(say("CER % peer"), lambda one: rate(one.peer_cer)),
    ]
    title = say("Speed of our decoders against their peers")
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
    commit = str(git.get("commit", "unknown"))[:12]
    if git.get("dirty"):
        commit = say("{commit} with uncommitted changes", commit=commit)
    return plain(
        say(
            "Both decoders read the same batches in one process; each warmed up once, then they "
            "alternated in a seeded random order, with a rest of 0.2 s before each turn. "
            "Times faster: seconds of the peer by those of ours, round by round; the median, in "
            "brackets the lowest and the highest round. Lines/s likewise. The clock runs around "
            "the decoder alone. Other model: the peer has another language model, so the work "
            "differs. Lines: the first of the embedded set's test split. "
            "Device: {device} ({machine}), {threads}, {precision}. {packages}; kaidoku {version}, "
            "commit {commit}.",
            device=runtime.device,
            machine=machine["cpu"]["model"],
            threads=plural(runtime.threads, "thread"),
            precision=PRECISIONS["float32"],
            packages=packages,
            version=record.environment["kaidoku"],
            commit=commit,
        )
    )


def _encoder(result: PeerResult) -> str:
    comparison = result.comparison
    mark = f" ({say_name('untrained')})" if comparison.options.get("untrained") else ""
    return f"{comparison.encoder}{mark}"


def _lines(result: PeerResult) -> str:
    damage = result.comparison.damage
    suffered = f", {say_name(damage[0])} {damage[1]}" if damage else ""
    return f"{result.comparison.lines}{suffered}"


def _rate(result: PeerResult, seconds: Sequence[float]) -> Cell:
    return spread_cell(spread([result.comparison.lines / one for one in seconds]))


def _times_faster(result: PeerResult) -> Cell:
    if result.reason:
        return Cell(
            say("not run"), notes=(say("Not run: {reason}", reason=say_text(result.reason)),)
        )
    return spread_cell(spread(result.ratios))


def _same(result: PeerResult) -> Cell:
    gap = result.score_gap
    note = say("Scores of the same text differ by up to {gap}.", gap=significant(gap, 2))
    notes = (note,) if gap is not None and gap > _TIED else ()
    text = say("{part} of {whole}", part=result.same, whole=result.comparison.lines)
    return Cell(text, values=(result.same,), notes=notes)
