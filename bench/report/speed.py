"""Speed: the rows of TrOCR's speed table, that table for a run, and time stage by stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.analysis.speed.job import LEAST_LINES, REFERENCE, SENTENCES, SpeedSystem
from bench.core.stopwatch import spread
from bench.core.types import UNTRAINED, EditCounts, Row, Spread, Timing
from bench.pipeline.plan import Skipped
from bench.pipeline.signature import PRECISIONS
from bench.report.cer import failed_cell, key_columns
from bench.report.conditions import of_results
from bench.report.format import UNKNOWN, number, parameters, plain, significant
from bench.report.language import say, say_name, say_text
from bench.report.results import Result, grouped
from bench.report.table import RANGE, Cell, Column, Table, count, figure

Origin = Literal["reported", "measured", "failed", "not run"]

NOT_STATED = "not stated"
DECODER_NAMES = {
    REFERENCE: "AR beam 10",
    "ar-hf-10": "generate beam 10",
    "ar-beam-5": "AR beam 5",
    "ar-greedy": "AR greedy",
    "ctc-greedy": "CTC greedy",
    "ctc-kenlm": "CTC + KenLM",
}


@dataclass(frozen=True)
class Figures:
    """The numbers of a row.

    sentences, tokens, seconds: totals; None where the lines that were read are too few for them.
        Tokens are those of the best hypotheses, up to and including the end token; of a random CTC
        head None. Seconds are of encoder and search.
    measured_lines: what was read; where it is not `sentences`, sums are extrapolated from it.
    distinct_lines: of these; the others are repeats.
    passes: over the measured lines.
    encoder_ms, decoder_ms: of a line in the median pass, so that they add up to its time.
    ratio: how many times as fast as the paper's decoder behind the same encoder, measured beside
        it; None where that was not measured.
    None where it is not known.
    """

    sentences: int | None
    tokens: float | None
    seconds: Spread | None
    sentences_per_s: Spread
    tokens_per_s: Spread | None
    measured_lines: int
    distinct_lines: int
    passes: int
    encoder_ms: float | None = None
    decoder_ms: float | None = None
    peak_mib: float | None = None
    ratio: Spread | None = None

    @property
    def extrapolated(self) -> bool:
        """Whether the sums are of more lines than were read."""
        return self.sentences not in (None, self.measured_lines)


@dataclass(frozen=True, eq=False)
class SpeedRow:
    """A row. batches, dtypes: several where a row that was not run stands for several."""

    origin: Origin
    model: str
    weights: str
    decoder: str
    batches: tuple[int, ...]
    dtypes: tuple[str, ...]
    device: str
    parameters: int | None = None
    figures: Figures | None = None
    result: Result | None = None
    reason: str = ""
    remedy: str = ""

    def record(self) -> dict[str, Any]:
        """The row for programs: plain values, nothing rounded."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        result, figures = fields.pop("result"), fields.pop("figures")
        if figures:
            fields |= {**dataclasses.asdict(figures), "extrapolated": figures.extrapolated}
        row = result.row if result else None
        return {**fields, "cer": row and row.cer, "signature": row and row.signature}

    @property
    def title(self) -> str:
        """The model, and that its numbers are the paper's or its weights are random."""
        mark = "reported" if self.origin == "reported" else self.weights
        return f"{self.model} ({say_name(mark)})" if mark in ("reported", UNTRAINED) else self.model

    @property
    def label(self) -> str:
        """The row in few words: "small (untrained), AR beam 10, batch 1, fp32"."""
        parts = (self.title, DECODER_NAMES.get(self.decoder, self.decoder))
        batches = (say("batch {size}", size=size) for size in self.batches)
        return plain(", ".join((*parts, *batches, *map(precision, self.dtypes))))


def _reported(
    model: str, size: int, tokens: int, seconds: float, sentences_per_s: float, tokens_per_s: float
) -> SpeedRow:
    rates = (spread([seconds]), spread([sentences_per_s]), spread([tokens_per_s]))
    figures = Figures(SENTENCES, tokens, *rates, SENTENCES, SENTENCES, 1)
    return SpeedRow("reported", model, "the authors'", REFERENCE, (), (), NOT_STATED, size, figures)


# Li et al. 2021, "TrOCR", Table 5, https://arxiv.org/abs/2109.10282
PUBLISHED = (
    _reported("small", 62_000_000, 31_081, 348.4, 8.37, 89.22),
    _reported("base", 334_000_000, 31_959, 633.7, 4.60, 50.43),
    _reported("large", 558_000_000, 31_966, 666.8, 4.37, 47.94),
)


def speed_rows(
    results: Sequence[Result], systems: Sequence[SpeedSystem], absent: Mapping[SpeedSystem, Skipped]
) -> list[SpeedRow]:
    """The paper's rows, then one for each system of the job, in this order.

    Results of other systems are passed over. `absent` says why some could not run; batches and
    precisions of one reason share a row.
    """
    measured = {_system(result.row): result for result in results}
    rows = list(PUBLISHED)
    for system in systems:
        if system in measured:
            reference = measured.get(system._replace(decoder=REFERENCE))
            rows.append(_row_of(measured[system], reference))
        elif system in absent:
            same = (*system[:2], absent[system].reason, absent[system].remedy)
            alike = [
                other
                for other in systems
                if (item := absent.get(other)) and (*other[:2], item.reason, item.remedy) == same
            ]
            if system == alike[-1]:
                rows.append(_not_run(alike, absent[system]))
    return rows


def _not_run(systems: Sequence[SpeedSystem], item: Skipped) -> SpeedRow:
    return SpeedRow(
        "not run", systems[0].encoder, "", systems[0].decoder,
        tuple(dict.fromkeys(system.batch_size for system in systems)),
        tuple(dict.fromkeys(system.dtype for system in systems)),
        "", reason=item.reason, remedy=item.remedy,
    )  # fmt: skip


def reads_at_random(row: Row) -> bool:
    """Whether a CTC head that was never trained decided how many symbols there are."""
    return row.weights == UNTRAINED and "ctc" in row.parameters


def _system(row: Row) -> SpeedSystem:
    return SpeedSystem(row.encoder, row.decoder, row.runtime.dtype, row.runtime.batch_size)


def _row_of(result: Result, reference: Result | None) -> SpeedRow:
    row = result.row
    device = row.runtime.device  # a GPU by its name; the processor stands in the conditions
    return SpeedRow(
        "measured" if row.status == "ok" else "failed",
        row.encoder,
        row.weights,
        row.decoder,
        (row.runtime.batch_size,),
        (row.runtime.dtype,),
        result.setting.machine.partition(",")[0] if device.startswith("cuda") else device,
        sum(row.parameters.values()) or None,
        _figures(row, reference.row if reference else None),
        result,
        row.reason,
    )


def _figures(row: Row, reference: Row | None) -> Figures | None:
    if row.counts is None or row.timing is None:
        return None
    lines, rate = row.counts.lines, row.timing.lines_per_s.median
    tokens = None if reads_at_random(row) else row.counts.tokens / lines  # of a line
    rates = _rates(row) or [rate]
    speed = Spread(rate, min(*rates, rate), max(*rates, rate), len(rates))
    total = SENTENCES if lines >= LEAST_LINES else None
    encoder_ms, decoder_ms = _parts(row, 1000.0 / rate)
    return Figures(
        total,
        None if tokens is None or total is None else total * tokens,
        Spread(total / rate, total / speed.high, total / speed.low, speed.n) if total else None,
        speed,
        None if tokens is None else _scaled(speed, tokens),
        measured_lines=lines,
        distinct_lines=int(row.extras.get("distinct_lines", lines)),
        passes=row.timing.lines_per_s.n,
        encoder_ms=encoder_ms,
        decoder_ms=decoder_ms,
        peak_mib=row.timing.peak_mib,
        ratio=_ratio(row, reference) if reference else None,
    )


def _parts(row: Row, line_ms: float) -> tuple[float | None, float | None]:
    """Divide the time of a line between encoder and decoder as its median pass does."""
    passes, encode = row.extras.get("passes"), row.extras.get("encode")
    if not (passes and encode):
        return None, None
    ordered = sorted(zip(map(sum, passes), encode, strict=True))
    middle = ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]
    share = sum(own for _, own in middle) / sum(whole for whole, _ in middle)
    return share * line_ms, (1.0 - share) * line_ms


def _rates(row: Row) -> list[float]:
    """Lines/s of each pass; of a single pass of each of its parts."""
    passes, parts = row.extras.get("passes", []), row.extras.get("parts", [])
    if len(passes) == 1:
        return [lines / seconds for lines, seconds in zip(parts, passes[0], strict=True)]
    return [sum(parts) / sum(one) for one in passes]


def _ratio(row: Row, reference: Row) -> Spread | None:
    """Ratio of speeds on the same lines and in turn: pass by pass, or part by part."""
    ours, theirs = row.extras.get("passes"), reference.extras.get("passes")
    if not (ours and theirs) or row.extras.get("parts") != reference.extras.get("parts"):
        return None
    if len(ours) > 1 and len(theirs) > 1:
        return spread([sum(t) / sum(o) for o, t in zip(ours, theirs, strict=False)])
    ratios = [t / o for o, t in zip(ours[0], theirs[0], strict=True)]
    whole = sum(theirs[0]) / sum(ours[0])
    return Spread(whole, min(*ratios, whole), max(*ratios, whole), len(ratios))


def _scaled(of: Spread, by: float) -> Spread:
    return Spread(by * of.median, by * of.low, by * of.high, of.n)


def precision(dtype: str) -> str:
    """Its short name, as signatures have it."""
    return PRECISIONS.get(dtype, dtype)


# The speed table of TrOCR for a run


def as_in_trocr(results: Sequence[Result]) -> list[Table]:
    """The speed table of the TrOCR paper, one a clean set and setting."""

    def column(head: str, cell: Callable[[Figures], Cell], yields: int = 0) -> Column[SpeedRow]:
        return Column(
            say(head), lambda row: cell(row.figures) if row.figures else Cell(""), yields=yields
        )

    columns = [
        Column(say("Model"), _model, key=True),
        Column(say("Parameters"), lambda row: size_cell(row.parameters), yields=3),
        column("Total Sentences", lambda own: count(own.sentences), yields=4),
        column("Total Tokens", lambda own: count(own.tokens), yields=2),
        Column(say("Time s"), _time, yields=1),
        column("Sentences/s", lambda own: _speed(own.sentences_per_s)),
        column("Tokens/s", lambda own: _speed(own.tokens_per_s)),
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
            map(_of_run, group),
            PUBLISHED,
        )
        for place, group in enumerate(grouped(clean, lambda result: result.names.dataset), 1)
    ]


def _of_run(result: Result) -> SpeedRow:
    """A row of the lines that the run has read, and of no more."""
    row = result.row
    figures = None
    if row.counts and row.timing:
        lines, tokens, rate = row.counts.lines, row.counts.tokens, row.timing.lines_per_s.median
        seconds = lines / rate
        rates = (spread([seconds]), spread([rate]), spread([tokens / seconds]))
        figures = Figures(lines, tokens, *rates, lines, lines, row.timing.lines_per_s.n)
    return dataclasses.replace(_row_of(result, None), figures=figures)


def _model(row: SpeedRow) -> Cell:
    if row.result:
        return Cell(plain(f"{row.result.names.encoder} + {row.result.names.decoder}"))
    note = say(
        "published by Li et al. (2021), arXiv:2109.10282, Table 5: IAM test lines, beam 10; their "
        "hardware, batch size and precision are not stated, so that the row is a reference and no "
        "comparison"
    )
    return Cell(say("{model} (the paper's)", model=f"TrOCR-{row.model}"), notes=(note,))


def size_cell(size: int | None) -> Cell:
    """Parameters of what runs: the encoder and the head that the decoder reads."""
    return Cell(UNKNOWN) if size is None else Cell(parameters(size), values=(size,))


def _time(row: SpeedRow) -> Cell:
    if row.figures:
        seconds = row.figures.seconds
        return figure(seconds.median if seconds else None, seconds_text)
    assert row.result is not None  # only results can fail
    if reason := row.result.row.extras.get("no_speed"):
        return Cell("", notes=(say("without speed: {reason}", reason=plain(say_text(reason))),))
    return failed_cell(row.result)


def seconds_text(seconds: float) -> str:
    """Seconds with a decimal as in the paper; below ten with three figures."""
    return number(seconds, 1) if seconds >= 10 else significant(seconds)


def _speed(rate: Spread | None) -> Cell:
    return figure(rate.median if rate else None, lambda known: number(known, 2))


# Time by stage


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
        "with detokenising, each a median of the rounds by itself; lines/s counts encoder and "
        "decoder of the same round, with lowest and highest in brackets; latency is encoder and "
        "decoder a line, percentiles over batches; CPU seconds are those of all threads and worker "
        "processes; memory is the highest of the whole process (on a GPU: of its allocations)"
    )

    gist = say("in brackets the lowest and the highest")

    def spread(head: str, get: Callable[[Timing], Spread | None]) -> Column[Result]:
        return Column(say(head), lambda result: _spread(result, get), RANGE)

    def single(
        head: str, get: Callable[[Timing, EditCounts], float | None], yields: int = 0
    ) -> Column[Result]:
        return Column(say(head), lambda result: figure(get(*_measured(result))), yields=yields)

    def columns(group: Sequence[Result]) -> list[Column[Result]]:
        corrected = any(result.row.correction is not None for result in group)
        corrector = spread("Corrector s", lambda timing: timing.correct_s)
        return [
            *key_columns(*heads, "Encoder", "Decoder"),
            single("Host s", lambda timing, _: timing.host_s, 1),
            single("Encoder s", lambda timing, _: timing.encode_s),
            spread("Decoder s", lambda timing: timing.decode_s),
            *([corrector] if corrected else []),
            spread("Lines/s", lambda timing: timing.lines_per_s),
            single("p50 ms/line", lambda timing, _: 1000.0 * timing.latency_p50_s, 2),
            single("p95 ms/line", lambda timing, _: 1000.0 * timing.latency_p95_s, 2),
            single("CPU s/line", lambda timing, counts: timing.cpu_s / counts.lines, 3),
            Column(
                say("Peak MiB"),
                lambda result: figure(_measured(result)[0].peak_mib, lambda mib: number(mib, 0)),
                yields=4,
            ),
            Column(
                say("Rounds"), lambda result: count(_measured(result)[0].lines_per_s.n), yields=5
            ),
        ]

    timed = (result for result in results if result.row.timing and result.row.counts)
    return [
        of_results(f"{slug}-{place}", title, lead, columns(group), group, group, gist=gist)
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
