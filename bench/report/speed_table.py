"""TrOCR's speed table with the paper's rows above ours, and what differs between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.analysis.speed.job import PARTS, REFERENCE, SENTENCES
from bench.core.types import Spread
from bench.pipeline.signature import PRECISIONS
from bench.report.conditions import conditions, signatures, synthetic
from bench.report.format import (
    DASH,
    listing,
    number,
    parameters,
    plain,
    plural,
    significant,
)
from bench.report.remarks import cer_cell, failed_cell
from bench.report.results import Result
from bench.report.speed import PUBLISHED, seconds_text
from bench.report.speed_rows import NOT_STATED, SpeedRow, reads_at_random, size_ratios
from bench.report.table import Cell, Column, Notes, Table, name

_DECODERS = {
    REFERENCE: "AR beam 10",
    "ar-hf-10": "generate beam 10",
    "ar-beam-5": "AR beam 5",
    "ar-greedy": "AR greedy",
    "ctc-greedy": "CTC greedy",
    "ctc-kenlm": "CTC + KenLM",
}
_REPORTED = "reported by Li et al. (2021), arXiv:2109.10282, Table 5; not measured here"
_SINGLE = "one batch, read once: no spread"
_ONE_PASS = f"one pass; the range is that of {PARTS} parts of it with lines of like widths"
_RANDOM_HEAD = (
    "random CTC head: what greedy decoding costs does not depend on what the head says, while the "
    "number of its tokens does and would mean nothing; the head's time counts with the decoder's"
)
_NO_REFERENCE = f"{_DECODERS[REFERENCE]} was not measured at this batch size and precision"


def speed_table(rows: Sequence[SpeedRow]) -> Table:
    """The table: columns of the paper, then what it does not tell."""
    notes = Notes()
    results = [row.result for row in rows if row.result]
    spreads = ("Total Time", "Sentences/s", "Tokens/s")
    columns = (
        *(Column(head, key=True) for head in ("Model", "Decoder", "Batch", "Precision")),
        *map(Column, ("Parameters", "Total Sentences", "Total Tokens")),
        *(Column(head, parts=("low", "high")) for head in spreads),
        Column(f"Ratio to {_DECODERS[REFERENCE]}", parts=("low", "high")),
        *map(Column, ("Encoder ms/line", "Decoder ms/line", "Peak MiB")),
        Column("CER %", parts=("low", "high")),
        *map(Column, ("Measured", "Device")),
    )
    return Table(
        "speed",
        "The speed table of TrOCR: reported and measured",
        conditions(_lead(rows), results, _read(results[0]))
        if results
        else f"{_lead(rows)}. Nothing was measured.",
        columns,
        tuple(_cells(row, notes) for row in rows),
        notes=tuple(notes.texts),
        signatures=signatures(results),
    )


def ratio_table(rows: Sequence[SpeedRow]) -> Table | None:
    """Speed of the sizes against each other, the paper's and ours; None with one size only."""
    ratios = size_ratios(rows)
    if not ratios:
        return None
    sizes = [row.model.removeprefix("TrOCR-") for row in PUBLISHED]
    paper = [PUBLISHED[-1].seconds / row.seconds for row in PUBLISHED]
    reported = (
        *map(name, ("reported", _DECODERS[REFERENCE], NOT_STATED, NOT_STATED)),
        *(Cell(number(ratio, 2), values=(ratio,)) for ratio in paper),
    )
    ours = (
        (
            *map(name, ("measured", _DECODERS.get(decoder, decoder), batch, _precision(dtype))),
            *(_spread(found.get(size), lambda value: number(value, 2)) for size in sizes),
        )
        for (decoder, batch, dtype), found in ratios.items()
    )
    return Table(
        "speed-ratios",
        "Sentences/s of the sizes, over those of the largest",
        "Sentences/s over those of the largest size that was measured with the same decoder, batch "
        "size and precision; in brackets from the lowest over the highest to the highest over the "
        "lowest of the repetitions. The paper's from its Table 5.",
        (
            *(Column(head, key=True) for head in ("", "Decoder", "Batch", "Precision")),
            *(Column(size, parts=("low", "high")) for size in sizes),
        ),
        (reported, *ours),
    )


def label(row: SpeedRow) -> str:
    """A row in few words: "small (untrained), AR beam 10, batch 1, fp32"."""
    batches = [f"batch {size}" for size in row.batches]
    parts = (_model(row), _DECODERS.get(row.decoder, row.decoder), *batches)
    return plain(", ".join((*parts, *map(_precision, row.dtypes))))


def _lead(rows: Sequence[SpeedRow]) -> str:
    cut = sorted({row.figures.measured_lines for row in rows if row.figures and row.result})
    lead = (
        "Time is that of encoder and search, as fairseq-generate takes it: loading, resizing, the "
        "copy to the device, turning token ids into text and scoring are outside. Tokens are those "
        "of the best hypothesis, the end token counted and the start token not (CTC: symbols "
        "emitted). In brackets the range of the repetitions; the ratio is how many times as "
        "fast as that decoder of the same model, batch size and precision, on the same "
        "lines in turn; an encoder with a CTC head of its own runs it for every decoder; peak "
        "memory is the whole process's (on a GPU: of its allocations)"
    )
    if cut and cut != [SENTENCES]:
        lead += (
            f". Sums marked with ~ are extrapolated to {SENTENCES:,} lines from those that the "
            f"column Measured counts ({count_range(cut)}); speeds are as measured"
        )
    clocks = {
        f"{told['sm_mhz']} MHz"
        for row in rows
        if row.result and (told := row.result.row.extras.get("gpu_clocks"))
    }
    return lead + (f". SM clock just after measuring: {listing(sorted(clocks))}" if clocks else "")


def _read(result: Result) -> str:
    """The set, and which of its lines: costly systems read fewer."""
    row, condition = result.row, result.row.condition
    made = f"{synthetic(condition.dataset)}, " if synthetic(condition.dataset) else ""
    return (
        f"{plain(result.names.dataset)} ({made}{condition.split} split, sha256 "
        f"{row.dataset_sha256[:12]}, references {row.references}), of its first "
        f"{plural(condition.limit or SENTENCES, 'line')} as many as the column Measured counts, at "
        "even steps from the narrowest to the widest"
    )


def _cells(row: SpeedRow, notes: Notes) -> tuple[Cell, ...]:
    head = (*_names(row, notes), *_size(row))
    if row.figures is None:
        return (*head, *_absent(row, notes), *(Cell("") for _ in range(8)), Cell(row.device))
    figures = row.figures
    about: tuple[int, ...] = ()
    sums: tuple[int, ...] = ()
    if row.origin == "measured":
        single = figures.seconds.n == 1
        about = (notes.mark(_SINGLE if single else _ONE_PASS),) if figures.passes == 1 else ()
    if figures.extrapolated:
        sums = (notes.mark(f"extrapolated from {plural(figures.measured_lines, 'line')}"),)
    tilde = "~" if figures.extrapolated else ""
    known = figures.tokens is not None
    tokens = f"{tilde}{number(figures.tokens, 0)}" if known else DASH
    return (
        *head,
        Cell(f"{tilde}{figures.sentences:,}", values=(figures.sentences,), marks=sums),
        Cell(tokens, values=(figures.tokens,), marks=sums if known else ()),
        _spread(figures.seconds, lambda value: tilde + seconds_text(value), (*sums, *about)),
        _spread(figures.sentences_per_s, _rate, about),
        _spread(figures.tokens_per_s, _rate, about),
        _ratio(row, notes),
        *map(_value, (figures.encoder_ms, figures.decoder_ms)),
        Cell(number(figures.peak_mib, 0), values=(figures.peak_mib,)),
        cer_cell(row.result, notes) if row.result else Cell(DASH),
        _measured(row, notes),
        name(row.device),
    )


def _model(row: SpeedRow) -> str:
    mark = "reported" if row.origin == "reported" else row.weights
    return f"{row.model} ({mark})" if mark in ("reported", "untrained") else row.model


def _names(row: SpeedRow, notes: Notes) -> tuple[Cell, ...]:
    marks: tuple[int, ...] = ()
    if row.origin == "reported":
        marks = (notes.mark(_REPORTED),)
    elif row.result and reads_at_random(row.result.row):
        marks = (notes.mark(_RANDOM_HEAD),)
    batches = ", ".join(map(str, row.batches)) or NOT_STATED
    precisions = ", ".join(map(_precision, row.dtypes)) or NOT_STATED
    return (
        Cell(plain(_model(row)), marks=marks),
        name(_DECODERS.get(row.decoder, row.decoder)),
        Cell(batches),
        Cell(precisions),
    )


def _size(row: SpeedRow) -> tuple[Cell]:
    if row.parameters is None:
        return (Cell(""),)
    return (Cell(parameters(row.parameters), values=(row.parameters,)),)


def _absent(row: SpeedRow, notes: Notes) -> tuple[Cell, ...]:
    """In the place of the totals: that there are none, and why."""
    why = f"{row.reason} ({row.remedy})" if row.remedy else row.reason
    marks = (notes.mark(f"{row.origin}: {why}"),)
    if row.result:
        return (Cell(""), Cell(""), failed_cell(row.result, marks))
    return (Cell(""), Cell(""), Cell("not run", values=(f"not run: {why}",), marks=marks))


def _ratio(row: SpeedRow, notes: Notes) -> Cell:
    assert row.figures is not None
    if row.origin == "reported":
        return Cell("1")
    if row.figures.ratio is None:
        return Cell(DASH, marks=(notes.mark(_NO_REFERENCE),))
    if row.decoder == REFERENCE:
        return Cell("1", values=(1.0,))
    return _spread(row.figures.ratio, significant)


def _measured(row: SpeedRow, notes: Notes) -> Cell:
    """Lines x passes."""
    figures = row.figures
    assert figures is not None
    if row.origin == "reported":
        return Cell(f"{figures.measured_lines:,} lines")
    marks: tuple[int, ...] = ()
    if figures.distinct_lines < figures.measured_lines:
        repeated = f"{plural(figures.distinct_lines, 'line')} of the set, repeated"
        marks = (notes.mark(repeated),)
    text = f"{plural(figures.measured_lines, 'line')} x {figures.passes}"
    return Cell(text, values=(figures.measured_lines,), marks=marks)


def _spread(
    found: Spread | None, text: Callable[[float], str], marks: tuple[int, ...] = ()
) -> Cell:
    """A median with its range below; no range of a single number."""
    if found is None:
        return Cell(DASH)
    values = (found.median, found.low, found.high)
    if found.n == 1:
        return Cell(text(found.median), values=values[:1], marks=marks)
    return Cell(text(found.median), f"[{text(found.low)}, {text(found.high)}]", values, marks)


def _rate(value: float) -> str:
    """Two decimals as in the paper; slow systems keep three figures."""
    return number(value, 2) if value >= 1 else significant(value)


def _value(value: float | None) -> Cell:
    return Cell(significant(value), values=(value,))


def _precision(dtype: str) -> str:
    return PRECISIONS.get(dtype, dtype)


def count_range(counts: Sequence[int]) -> str:
    """Sorted counts in words: "3", "3 to 16"."""
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
