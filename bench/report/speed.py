"""Tables of speed: in TrOCR's own columns, and stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.core.types import EditCounts, Spread, Timing
from bench.report.captions import say
from bench.report.conditions import conditions, signatures
from bench.report.format import DASH, UNKNOWN, number, parameters, significant
from bench.report.remarks import failed_cell, failure
from bench.report.results import Result, grouped
from bench.report.table import Cell, Column, Notes, Table, name


class Published(NamedTuple):
    """A row of the speed table of the TrOCR paper."""

    model: str
    millions: int
    sentences: int
    tokens: int
    seconds: float
    sentences_per_s: float
    tokens_per_s: float


# Li et al. 2021, "TrOCR", Table 5, https://arxiv.org/abs/2109.10282
PUBLISHED = (
    Published("TrOCR-small", 62, 2_915, 31_081, 348.4, 8.37, 89.22),
    Published("TrOCR-base", 334, 2_915, 31_959, 633.7, 4.60, 50.43),
    Published("TrOCR-large", 558, 2_915, 31_966, 666.8, 4.37, 47.94),
)
_PUBLISHED_NOTE = (  # said in the language in force where it is used
    "published by Li et al. (2021), arXiv:2109.10282, Table 5: IAM test lines, beam 10; their "
    "hardware, batch size and precision are not stated, so that the row is a reference and no "
    "comparison"
)
_ONE_ROUND = "one round; the range is that of its batches, length and all"


def as_in_trocr(results: Sequence[Result]) -> list[Table]:
    """The speed table of the TrOCR paper, one a clean set and setting."""
    clean = (result for result in results if result.clean)
    groups = grouped(clean, lambda result: result.names.dataset)
    return [_as_in_trocr(count, group) for count, group in enumerate(groups, 1)]


def by_stage(results: Sequence[Result]) -> list[Table]:
    """Where the time goes on the clean sets, one table a setting."""
    clean = [result for result in results if result.clean and result.row.timing]
    return [
        _by_stage(
            f"stages-{count}",
            say("Time by stage"),
            group,
            ("Set",),
            lambda r: (r.names.dataset,),
        )
        for count, group in enumerate(grouped(clean), 1)
    ]


def by_stage_damaged(results: Sequence[Result]) -> list[Table]:
    """Where the time goes on damaged sets: searches grow where the encoder is unsure."""
    damaged = [result for result in results if not result.clean and result.row.timing]
    return [
        _by_stage(
            f"stages-damaged-{count}",
            say("Time by stage on damaged lines"),
            group,
            ("Set", "Damage", "Severity"),
            lambda r: (r.names.dataset, r.names.damage, str(r.row.condition.severity)),
        )
        for count, group in enumerate(grouped(damaged), 1)
    ]


def _as_in_trocr(count: int, results: Sequence[Result]) -> Table:
    notes = Notes()
    lead = say(
        "Columns as in the speed table of TrOCR. Tokens are those of the best hypothesis, the end "
        "token counted and the start token not (CTC: symbols emitted). Time is that of encoder "
        "and decoder with detokenising, without preparing the images, for one pass over the set "
        "at the median of the rounds"
    )
    heads = (
        *("Parameters", "Total Sentences", "Total Tokens", "Time"),
        *("Speed #Sentences", "Speed #Tokens"),
    )
    rows = tuple(_trocr_row(result, notes) for result in results)
    published = tuple(_published_row(row, notes) for row in PUBLISHED)
    return Table(
        f"speed-{count}",
        say("Speed on {set}, as TrOCR reports it", set=results[0].dataset),
        conditions(lead, results),
        (Column(say("Model"), key=True), *(Column(say(head)) for head in heads)),
        rows,
        published=published,
        notes=tuple(notes.texts),
        signatures=signatures(results),
    )


def _trocr_row(result: Result, notes: Notes) -> tuple[Cell, ...]:
    row = result.row
    model, size = name(f"{result.names.encoder} + {result.names.decoder}"), size_cell(result)
    if not (row.counts and row.timing):
        failed = failed_cell(result, (notes.mark(failure(result)),))
        return (model, size, Cell(""), Cell(""), failed, Cell(""), Cell(""))
    lines, tokens, rate = row.counts.lines, row.counts.tokens, row.timing.lines_per_s.median
    seconds = lines / rate
    return (model, size, *_trocr_cells(lines, tokens, seconds, rate, tokens / seconds))


def _published_row(row: Published, notes: Notes) -> tuple[Cell, ...]:
    return (
        Cell(
            say("{model} (the paper's)", model=row.model), marks=(notes.mark(say(_PUBLISHED_NOTE)),)
        ),
        Cell(f"{row.millions}M", values=(row.millions * 1_000_000,)),
        *_trocr_cells(*row[2:]),
    )


def _trocr_cells(
    sentences: int, tokens: int, seconds: float, sentences_per_s: float, tokens_per_s: float
) -> tuple[Cell, ...]:
    return (
        Cell(f"{sentences:,}", values=(sentences,)),
        Cell(f"{tokens:,}", values=(tokens,)),
        Cell(seconds_text(seconds), values=(seconds,)),
        Cell(number(sentences_per_s, 2, say(" sentences/s")), values=(sentences_per_s,)),
        Cell(number(tokens_per_s, 2, say(" tokens/s")), values=(tokens_per_s,)),
    )


def seconds_text(seconds: float) -> str:
    """As the paper has them; a decoder that needs less than ten keeps three figures."""
    return number(seconds, 1, "s") if seconds >= 10 else f"{significant(seconds)}s"


def size_cell(result: Result) -> Cell:
    """Parameters of what runs: the encoder and the head that the decoder reads."""
    parts = result.row.parameters
    if not parts:
        return Cell(UNKNOWN)
    count = sum(parts.values())
    return Cell(parameters(count), values=(count,))


def _by_stage(
    slug: str,
    title: str,
    results: Sequence[Result],
    heads: tuple[str, ...],
    lead_of: Callable[[Result], tuple[str, ...]],
) -> Table:
    notes = Notes()
    corrected = any(result.row.correction is not None for result in results)
    lead = say(
        "Wall seconds of one pass over the set: host (preparing the images), encoder, decoder "
        "with detokenising; lines/s counts encoder and decoder, with lowest and highest in "
        "brackets; latency is encoder and decoder a line, percentiles over batches; CPU seconds "
        "are those of all threads and worker processes; memory is the highest of the whole process "
        "(on a GPU: of its allocations)"
    )
    keys = [Column(say(head), key=True) for head in (*heads, "Encoder", "Decoder")]
    stages = ("Decoder s", *(("Corrector s",) if corrected else ()), "Lines/s")
    spreads = [Column(say(head), parts=("low", "high")) for head in stages]
    single_heads = ("p50 ms/line", "p95 ms/line", "CPU s/line", "Peak MiB", "Rounds")
    singles = (Column(say(head)) for head in single_heads)
    rows = tuple(
        (
            *map(name, (*lead_of(result), result.names.encoder, result.names.decoder)),
            *_stage_cells(result.row.timing, result.row.counts, notes, corrected),
        )
        for result in results
        if result.row.timing and result.row.counts
    )
    return Table(
        slug,
        title,
        conditions(lead, results),
        (*keys, *(Column(say(head)) for head in ("Host s", "Encoder s")), *spreads, *singles),
        rows,
        notes=tuple(notes.texts),
        signatures=signatures(results),
    )


def _stage_cells(
    timing: Timing, counts: EditCounts, notes: Notes, corrected: bool
) -> tuple[Cell, ...]:
    """The times of a result. corrected: there is a column of correctors."""
    rounds = timing.lines_per_s.n
    marks = (notes.mark(say(_ONE_ROUND)),) if rounds < 2 else ()
    cpu_s = timing.cpu_s / counts.lines if counts.lines else None
    return (
        _value(timing.host_s),
        _value(timing.encode_s),
        _spread(timing.decode_s, marks),
        *((_corrector(timing, marks),) if corrected else ()),
        _spread(timing.lines_per_s, marks),
        _value(1000.0 * timing.latency_p50_s),
        _value(1000.0 * timing.latency_p95_s),
        _value(cpu_s),
        Cell(number(timing.peak_mib, 0), values=(timing.peak_mib,)),
        Cell(f"{rounds:,}", values=(rounds,)),
    )


def _corrector(timing: Timing, marks: tuple[int, ...]) -> Cell:
    if timing.correct_s is None:
        return Cell(DASH, values=(None, None, None))
    return _spread(timing.correct_s, marks)


def _value(value: float | None) -> Cell:
    return Cell(significant(value), values=(value,))


def _spread(measured: Spread, marks: tuple[int, ...]) -> Cell:
    text, low, high = map(significant, (measured.median, measured.low, measured.high))
    values = (measured.median, measured.low, measured.high)
    return Cell(text, f"[{low}, {high}]", values, marks)
