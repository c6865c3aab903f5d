"""Tables of speed: in TrOCR's own columns, and stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.core.types import EditCounts, Spread, Timing
from bench.report.cer import failed_cell, key_columns
from bench.report.conditions import of_results
from bench.report.format import UNKNOWN, number, parameters, plain, significant
from bench.report.language import say
from bench.report.results import Result, grouped
from bench.report.table import RANGE, Cell, Column, Table, count, figure


@dataclass(frozen=True)
class Pace:
    """A row of the speed table of the TrOCR paper, or one of ours.

    failed: the result of a failed system, which has only a model and its parameters.
    """

    model: str
    parameters: int | None
    sentences: int = 0
    tokens: int = 0
    seconds: float = 0.0
    sentences_per_s: float = 0.0
    tokens_per_s: float = 0.0
    notes: tuple[str, ...] = ()
    failed: Result | None = None


# Li et al. 2021, "TrOCR", Table 5, https://arxiv.org/abs/2109.10282
PUBLISHED = (
    Pace("TrOCR-small", 62_000_000, 2_915, 31_081, 348.4, 8.37, 89.22),
    Pace("TrOCR-base", 334_000_000, 2_915, 31_959, 633.7, 4.60, 50.43),
    Pace("TrOCR-large", 558_000_000, 2_915, 31_966, 666.8, 4.37, 47.94),
)


def as_in_trocr(results: Sequence[Result]) -> list[Table]:
    """The speed table of the TrOCR paper, one a clean set and setting."""

    def column(head: str, cell: Callable[[Pace], Cell]) -> Column[Pace]:
        return Column(say(head), lambda pace: Cell("") if pace.failed else cell(pace))

    columns = [
        Column(say("Model"), lambda pace: Cell(plain(pace.model), notes=pace.notes), key=True),
        Column(say("Parameters"), lambda pace: size_cell(pace.parameters)),
        column("Total Sentences", lambda pace: count(pace.sentences)),
        column("Total Tokens", lambda pace: count(pace.tokens)),
        Column(say("Time"), _time),
        column("Speed #Sentences", lambda pace: _speed(pace.sentences_per_s, " sentences/s")),
        column("Speed #Tokens", lambda pace: _speed(pace.tokens_per_s, " tokens/s")),
    ]
    lead = say(
        "Columns as in the speed table of TrOCR. Tokens are those of the best hypothesis, the end "
        "token counted and the start token not (CTC: symbols emitted). Time is that of encoder "
        "and decoder with detokenising, without preparing the images, for one pass over the set "
        "at the median of the rounds"
    )
    clean = (result for result in results if result.clean)
    return [
        of_results(
            f"speed-{place}",
            say("Speed on {set}, as TrOCR reports it", set=group[0].dataset),
            lead,
            columns,
            group,
            map(_pace, group),
            map(_published, PUBLISHED),
        )
        for place, group in enumerate(grouped(clean, lambda result: result.names.dataset), 1)
    ]


def _pace(result: Result) -> Pace:
    row = result.row
    model = f"{result.names.encoder} + {result.names.decoder}"
    size = sum(row.parameters.values()) or None
    if not (row.counts and row.timing):
        return Pace(model, size, failed=result)
    lines, tokens, rate = row.counts.lines, row.counts.tokens, row.timing.lines_per_s.median
    return Pace(model, size, lines, tokens, lines / rate, rate, tokens / (lines / rate))


def _published(pace: Pace) -> Pace:
    note = say(
        "published by Li et al. (2021), arXiv:2109.10282, Table 5: IAM test lines, beam 10; their "
        "hardware, batch size and precision are not stated, so that the row is a reference and no "
        "comparison"
    )
    model = say("{model} (the paper's)", model=pace.model)
    return replace(pace, model=model, notes=(note,))


def size_cell(size: int | None) -> Cell:
    """Parameters of what runs: the encoder and the head that the decoder reads."""
    return Cell(UNKNOWN) if size is None else Cell(parameters(size), values=(size,))


def _time(pace: Pace) -> Cell:
    return failed_cell(pace.failed) if pace.failed else figure(pace.seconds, seconds_text)


def seconds_text(seconds: float) -> str:
    """Seconds as in the paper; below ten with three figures."""
    return number(seconds, 1, "s") if seconds >= 10 else f"{significant(seconds)}s"


def _speed(value: float, unit: str) -> Cell:
    return figure(value, lambda known: number(known, 2, say(unit)))


def by_stage(results: Sequence[Result]) -> list[Table]:
    """Time by stage on the clean sets, one table per setting."""
    clean = [result for result in results if result.clean]
    return _by_stage("stages", say("Time by stage"), clean, ("Set",))


def by_stage_damaged(results: Sequence[Result]) -> list[Table]:
    """Time by stage on damaged sets, where searches are slower."""
    damaged = [result for result in results if not result.clean]
    title = say("Time by stage on damaged lines")
    return _by_stage("stages-damaged", title, damaged, ("Set", "Damage", "Severity"))


def _by_stage(
    slug: str, title: str, results: Sequence[Result], heads: tuple[str, ...]
) -> list[Table]:
    lead = say(
        "Wall seconds of one pass over the set: host (preparing the images), encoder, decoder "
        "with detokenising; lines/s counts encoder and decoder, with lowest and highest in "
        "brackets; latency is encoder and decoder a line, percentiles over batches; CPU seconds "
        "are those of all threads and worker processes; memory is the highest of the whole process "
        "(on a GPU: of its allocations)"
    )

    def spread(head: str, get: Callable[[Timing], Spread | None]) -> Column[Result]:
        return Column(say(head), lambda result: _spread(result, get), RANGE)

    def single(head: str, get: Callable[[Timing, EditCounts], float | None]) -> Column[Result]:
        return Column(say(head), lambda result: figure(get(*_measured(result))))

    def columns(group: Sequence[Result]) -> list[Column[Result]]:
        corrected = any(result.row.correction is not None for result in group)
        corrector = spread("Corrector s", lambda timing: timing.correct_s)
        return [
            *key_columns(*heads, "Encoder", "Decoder"),
            single("Host s", lambda timing, _: timing.host_s),
            single("Encoder s", lambda timing, _: timing.encode_s),
            spread("Decoder s", lambda timing: timing.decode_s),
            *([corrector] if corrected else []),
            spread("Lines/s", lambda timing: timing.lines_per_s),
            single("p50 ms/line", lambda timing, _: 1000.0 * timing.latency_p50_s),
            single("p95 ms/line", lambda timing, _: 1000.0 * timing.latency_p95_s),
            single("CPU s/line", lambda timing, counts: timing.cpu_s / counts.lines),
            Column(
                say("Peak MiB"),
                lambda result: figure(_measured(result)[0].peak_mib, lambda mib: number(mib, 0)),
            ),
            Column(say("Rounds"), lambda result: count(_measured(result)[0].lines_per_s.n)),
        ]

    timed = (result for result in results if result.row.timing and result.row.counts)
    return [
        of_results(f"{slug}-{place}", title, lead, columns(group), group, group)
        for place, group in enumerate(grouped(timed), 1)
    ]


def _measured(result: Result) -> tuple[Timing, EditCounts]:
    timing, counts = result.row.timing, result.row.counts
    assert timing is not None and counts is not None  # `_by_stage` takes no others
    return timing, counts


def _spread(result: Result, get: Callable[[Timing], Spread | None]) -> Cell:
    timing, _ = _measured(result)
    spread = get(timing)
    note = say("one round; the range is that of its batches, length and all")
    notes = [note] if timing.lines_per_s.n < 2 and spread else []
    return figure(spread.median if spread else None, ends=spread, notes=notes)
