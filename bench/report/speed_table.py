"""TrOCR's speed table with the paper's rows above ours, and what differs between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.analysis.speed.job import LEAST_LINES, PARTS, REFERENCE, SENTENCES
from bench.core.files import write_files
from bench.core.types import UNTRAINED, Spread
from bench.report import render
from bench.report.cer import cer_cell, failed_cell, failed_since
from bench.report.conditions import sentences, short, signatures, synthetic
from bench.report.format import listing, number, plain, plural, significant
from bench.report.language import say, say_name, say_text
from bench.report.results import Result
from bench.report.speed import (
    DECODER_NAMES,
    NOT_STATED,
    PUBLISHED,
    Figures,
    SpeedRow,
    precision,
    reads_at_random,
    seconds_text,
    size_cell,
)
from bench.report.table import RANGE, Cell, Column, Table, declared, figure, keys, spread_cell

_REPORTED = (
    "reported by Li et al. (2021), arXiv:2109.10282, Table 5; not measured here; GPU, batch size "
    "and precision of that table are not stated; the authors' README (github.com/microsoft/unilm, "
    "trocr) evaluates with beam 10, batch 16 and fp16"
)
_SINGLE = "one batch, read once: no spread"
_ONE_PASS = "one pass; the range is that of {parts} parts of it with lines of like widths"
_RANDOM_HEAD = (
    "random CTC head: what greedy decoding costs does not depend on what the head says, while the "
    "number of its tokens does and would mean nothing; the head's time counts with the decoder's"
)
_UNTRAINED = "untrained weights of the same architecture, which have a speed but no CER"
_NO_TOTAL = "no totals: fewer than {least} lines were read"
_PAPERS = {f"trocr-{row.model}": row.model for row in PUBLISHED}  # its sizes by our names


def speed_table(rows: Sequence[SpeedRow]) -> Table:
    """The table: columns of the paper, then further ones."""
    columns = [
        Column(say("Model"), _model, key=True),
        *keys(
            (say("Decoder"), say("Batch"), say("Precision")),
            lambda row: DECODER_NAMES.get(row.decoder, row.decoder),
            lambda row: ", ".join(map(str, row.batches)) or say_name(NOT_STATED),
            lambda row: ", ".join(map(precision, row.dtypes)) or say_name(NOT_STATED),
        ),
        Column(say("Parameters"), lambda row: size_cell(row.parameters) if row.parameters else ""),
        _column(say("Total Sentences"), lambda _, own: _sum(own.sentences, own)),
        _column(say("Total Tokens"), lambda _, own: _sum(own.tokens, own)),
        Column(say("Total Time s"), lambda row: _or_reason(row, _total_time), RANGE),
        _column(say("Sentences/s"), lambda row, own: _pace(row, own.sentences_per_s), RANGE),
        _column(say("Tokens/s"), lambda row, own: _pace(row, own.tokens_per_s), RANGE),
        _column(say("Ratio to {system}", system=DECODER_NAMES[REFERENCE]), _ratio_cell, RANGE),
        *_part_columns(),
        _column(say("Peak MiB"), lambda _, own: figure(own.peak_mib, lambda mib: number(mib, 0))),
        _column(say("CER %"), _cer, RANGE),
        _column(say("Measured"), _measured_cell),
        Column(say("Device"), lambda row: say_name(row.device)),
    ]  # fmt: skip
    return _table(rows, columns)


def brief_table(rows: Sequence[SpeedRow], on_page: bool = False) -> Table:
    """The columns that fit beside each other on a terminal, without ranges.

    On a page of LaTeX, which is narrower, some of them go into a second table, and models have a
    footnote where the column of the CER would say that they are untrained.
    """

    def model(row: SpeedRow) -> Cell:
        cell = replace(_model(row), text=_brief_name(row))
        if not (on_page and row.weights == UNTRAINED):
            return cell
        return replace(cell, notes=(say(_UNTRAINED), *cell.notes))

    def brief(cell: Callable[[SpeedRow, Figures], Cell]) -> Callable[[SpeedRow, Figures], Cell]:
        return lambda row, own: replace(cell(row, own), detail="")

    pace = brief(lambda row, own: _pace(row, own.sentences_per_s))
    columns = [
        Column(say("Model"), model, key=True),
        *keys(
            (say("Decoder"), say("Batch")),
            lambda row: DECODER_NAMES.get(row.decoder, row.decoder),
            lambda row: (
                f"{', '.join(map(str, row.batches))} {'/'.join(map(precision, row.dtypes))}".strip()
            ),
        ),
        Column(say("Sentences/s"), lambda row: _or_reason(row, pace)),
        _column(say("Tokens/s"), brief(lambda row, own: _pace(row, own.tokens_per_s)), yields=1),
        _column(say("Ratio"), brief(_ratio_cell)),
        *_part_columns(),
        _column(say("CER %"), brief(_cer_or_untrained), yields=2),
    ]
    return _table(rows, columns, brief=True)


def _paper_table(rows: Sequence[SpeedRow]) -> Table:
    """The brief table of what was run, for a manuscript."""
    table = brief_table([row for row in rows if row.origin != "not run"], on_page=True)
    gone = sum(row.origin == "not run" for row in rows)
    words = say(
        "Left out here are {count} rows that did not run; speed.md has the reasons. ", count=gone
    )
    return replace(table, sentences=(*table.sentences, words)) if gone else table


def _column(
    head: str,
    cell: Callable[[SpeedRow, Figures], Cell],
    parts: tuple[str, ...] = (),
    yields: int = 0,
) -> Column[SpeedRow]:
    def of(row: SpeedRow) -> Cell:
        return cell(row, row.figures) if row.figures else Cell("")

    return Column(head, of, parts, yields=yields)


def _part_columns() -> list[Column[SpeedRow]]:
    return [
        _column(say("Encoder ms/line"), lambda _, own: figure(own.encoder_ms), yields=3),
        _column(say("Decoder ms/line"), lambda _, own: figure(own.decoder_ms), yields=3),
    ]


def _table(
    rows: Sequence[SpeedRow], columns: Sequence[Column[SpeedRow]], brief: bool = False
) -> Table:
    results = [row.result for row in rows if row.result]
    return declared(
        "speed",
        say("The speed table of TrOCR: reported and measured"),
        sentences(_lead(rows, brief), results, _read(results[0], _read_lines(rows)))
        if results
        else say("{lead}. Nothing was measured.", lead=_lead(rows, brief)),
        columns,
        rows,
        signatures=signatures(results),
        short=short(say("in brackets the range of the repetitions"), results) if results else "",
    )


def size_ratios(rows: Sequence[SpeedRow]) -> dict[tuple[str, int, str], dict[str, Spread]]:
    """Sentences/s of each size of TrOCR over those of the largest, by decoder, batch and precision.

    Sizes are measured one after the other, so that the range is from the lowest over the highest to
    the highest over the lowest. Only where there are two sizes.
    """
    groups: dict[tuple[str, int, str], dict[str, Spread]] = {}
    for row in rows:
        if row.origin == "measured" and row.figures and row.model in _PAPERS:
            key = (row.decoder, row.batches[0], row.dtypes[0])
            groups.setdefault(key, {})[_PAPERS[row.model]] = row.figures.sentences_per_s
    return {
        key: {size: _over(rate, list(rates.values())[-1]) for size, rate in rates.items()}
        for key, rates in groups.items()
        if len(rates) > 1
    }


def _over(top: Spread, bottom: Spread) -> Spread:
    if top is bottom:
        return Spread(1.0, 1.0, 1.0, 1)
    low, high = top.low / bottom.high, top.high / bottom.low
    return Spread(top.median / bottom.median, low, high, min(top.n, bottom.n))


def ratio_table(rows: Sequence[SpeedRow]) -> Table | None:
    """Speed of the sizes against each other, the paper's and ours; None with one size only."""
    ratios = size_ratios(rows)
    if not ratios:
        return None
    figures = {row.model: row.figures for row in PUBLISHED}
    published = {model: own.seconds for model, own in figures.items() if own and own.seconds}
    paper = {size: _over(published["large"], own) for size, own in published.items()}
    unknown = say_name(NOT_STATED)
    lines = [((say_name("reported"), DECODER_NAMES[REFERENCE], unknown, unknown), paper)]
    for (decoder, batch, dtype), own in ratios.items():
        names = (
            say_name("measured"),
            DECODER_NAMES.get(decoder, decoder),
            str(batch),
            precision(dtype),
        )
        lines.append((names, own))

    def name(head: str, place: int) -> Column[Any]:
        return Column(head, lambda line: line[0][place], key=True)

    def ratio(size: str) -> Column[Any]:
        return Column(
            size, lambda line: spread_cell(line[1].get(size), lambda value: number(value, 2)), RANGE
        )

    return declared(
        "speed-ratios",
        say("Sentences/s of the sizes, over those of the largest"),
        say(
            "Sentences/s over those of the largest size that was measured with the same decoder, "
            "batch size and precision; in brackets from the lowest over the highest to the highest "
            "over the lowest of the repetitions. The paper's from its Table 5."
        ),
        [
            *(
                name(head, n)
                for n, head in enumerate(("", say("Decoder"), say("Batch"), say("Precision")))
            ),
            *map(ratio, published),
        ],
        lines,
    )


def _lead(rows: Sequence[SpeedRow], brief: bool) -> str:
    cut = [lines for lines in _read_lines(rows) if lines >= LEAST_LINES]
    lead = say(
        "Time is that of encoder and search, as fairseq-generate takes it: loading, resizing, the "
        "copy to the device, turning token ids into text and scoring are outside. Tokens are those "
        "of the best hypothesis, the end token counted and the start token not (CTC: symbols "
        "emitted). The ratio is how many times as fast as {system} of the same model, batch size "
        "and precision, on the same lines in turn; encoder and decoder are those of the median "
        "pass and add up to it; an encoder with a CTC head of its own runs it for every decoder",
        system=DECODER_NAMES[REFERENCE],
    )
    if not brief:
        lead += say(
            "; in brackets the range of the repetitions; peak memory is the whole process's (on a "
            "GPU: of its allocations)"
        )
    if cut and cut != [SENTENCES] and not brief:
        lead += say(
            ". Sums marked with ~ are extrapolated to {sentences} lines from those that the column "
            "Measured counts ({cut}); speeds are as measured",
            sentences=f"{SENTENCES:,}",
            cut=_count_range(cut),
        )
    clocks = {
        f"{clocks['sm_mhz']} MHz"
        for row in rows
        if row.result and (clocks := row.result.row.extras.get("gpu_clocks"))
    }
    words = ". SM clock just after measuring: {clocks}"
    return lead + (say(words, clocks=listing(sorted(clocks))) if clocks else "")


def _read_lines(rows: Sequence[SpeedRow]) -> list[int]:
    """The counts of lines that systems read, ascending."""
    return sorted({row.figures.measured_lines for row in rows if row.figures and row.result})


def _read(result: Result, lines: Sequence[int]) -> str:
    """The set, and which of its lines: costly systems read fewer."""
    row, condition = result.row, result.row.condition
    made = synthetic(condition.dataset)
    return say(
        "{set} ({made}{split} split, sha256 {hash}, references {references}), {counts} of its "
        "first {first}, at even steps from the narrowest to the widest",
        set=plain(result.names.dataset),
        made=f"{made}, " if made else "",
        split=condition.split,
        hash=row.dataset_sha256[:12],
        references=say_text(row.references),
        counts=_count_range(lines or [0]),
        first=plural(condition.limit or SENTENCES, "line"),
    )


def _brief_name(row: SpeedRow) -> str:
    """The model; its weights stand in the column of the CER."""
    return say("{model} (paper)", model=row.model) if row.origin == "reported" else plain(row.model)


def _model(row: SpeedRow) -> Cell:
    notes = (say(_REPORTED),) if row.origin == "reported" else ()
    if row.result and reads_at_random(row.result.row):
        notes = (say(_RANDOM_HEAD),)
    if row.result:
        notes = (*notes, *failed_since(row.result))
    return Cell(plain(row.title), notes=notes)


def _cer(row: SpeedRow, _: Figures) -> Cell:
    return cer_cell(row.result) if row.result else figure(None)


def _cer_or_untrained(row: SpeedRow, figures: Figures) -> Cell:
    return Cell(say_name(UNTRAINED)) if row.weights == UNTRAINED else _cer(row, figures)


def _sum(value: float | None, figures: Figures) -> Cell:
    notes = _of_sums(figures) if value is not None or figures.sentences is None else []
    return figure(value, lambda known: _tilde(figures) + number(known, 0), notes=notes)


def _tilde(figures: Figures) -> str:
    return "~" if figures.extrapolated else ""


def _of_sums(figures: Figures) -> list[str]:
    if figures.sentences is None:
        return [say(_NO_TOTAL, least=LEAST_LINES)]
    lines = plural(figures.measured_lines, "line")
    return [say("extrapolated from {lines}", lines=lines)] if figures.extrapolated else []


def _of_passes(row: SpeedRow) -> list[str]:
    figures = row.figures
    if row.origin != "measured" or figures is None or figures.passes > 1:
        return []
    return [say(_SINGLE) if figures.sentences_per_s.n == 1 else say(_ONE_PASS, parts=PARTS)]


def _or_reason(row: SpeedRow, cell: Callable[[SpeedRow, Figures], Cell]) -> Cell:
    """A cell of the figures, or the reason why there are none."""
    if row.figures:
        return cell(row, row.figures)
    why = f"{say_name(row.origin)}: {say_text(row.reason)}"
    why += f" ({say_text(row.remedy)})" if row.remedy else ""
    if row.result:
        return failed_cell(row.result, (why,))
    return Cell(say("not run"), values=(why,), notes=(why,))


def _total_time(row: SpeedRow, figures: Figures) -> Cell:
    if figures.seconds is None:
        return figure(None, notes=[say(_NO_TOTAL, least=LEAST_LINES)])
    notes = [*_of_sums(figures), *_of_passes(row)]
    return spread_cell(figures.seconds, lambda value: _tilde(figures) + seconds_text(value), notes)


def _ratio_cell(row: SpeedRow, figures: Figures) -> Cell:
    if row.origin == "reported":
        return Cell("1")
    if figures.ratio is None:
        words = "{system} was not measured at this batch size and precision"
        return figure(None, notes=[say(words, system=DECODER_NAMES[REFERENCE])])
    if row.decoder == REFERENCE:
        return Cell("1", values=(1.0,))
    return spread_cell(figures.ratio)


def _measured_cell(row: SpeedRow, figures: Figures) -> Cell:
    if row.origin == "reported":
        return Cell(plural(figures.measured_lines, "line"))
    repeats = figures.distinct_lines < figures.measured_lines
    note = say("{lines} of the set, repeated", lines=plural(figures.distinct_lines, "line"))
    text = f"{plural(figures.measured_lines, 'line')} x {figures.passes}"
    return Cell(text, values=(figures.measured_lines,), notes=(note,) if repeats else ())


def _pace(row: SpeedRow, rate: Spread | None) -> Cell:
    """A rate with two decimals as in the paper; slow systems keep three figures."""

    def show(value: float) -> str:
        return number(value, 2) if value >= 1 else significant(value)

    return spread_cell(rate, show, _of_passes(row))


def _count_range(counts: Sequence[int]) -> str:
    """Sorted counts in words: "3", "3 to 16"."""
    if len(counts) == 1:
        return f"{counts[0]:,}"
    return say("{least} to {most}", least=f"{counts[0]:,}", most=f"{counts[-1]:,}")


def differences(rows: Sequence[SpeedRow]) -> list[str]:
    """The differences between the paper's measurement and this one, a sentence or two each."""
    sentences = [
        say(
            "The paper states neither the GPU nor the number of GPUs, batch size or precision of "
            "its speed table; the authors' README evaluates with beam 10, batch 16 and fp16, which "
            "is the default here on a GPU. Absolute times are therefore no comparison; the ratios "
            "of the sizes are the fairer check, since the machine cancels out of them."
        )
    ]
    measured = [row for row in rows if row.result and row.figures]
    if not measured:
        return sentences
    first = measured[0].result
    assert first is not None
    runtime, condition = first.row.runtime, first.row.condition
    sentences.append(
        say(
            "Here: {machine}, device {device}, {threads}, {software}. The search is transformers' "
            "with a KV cache, the paper's is fairseq's.",
            machine=plain(first.setting.machine),
            device=runtime.device,
            threads=plural(runtime.threads, "thread"),
            software=first.setting.software,
        )
    )
    if untrained := sorted({row.model for row in measured if row.weights == UNTRAINED}):
        sentences.append(
            say(
                "The weights of {models} are not here (python -m bench data get NAME fetches "
                "them): random weights of the same architecture did the same work, each line made "
                "to emit as many tokens as its width lets expect, on average as many as in the "
                "paper's table. They are marked untrained and have no CER.",
                models=listing(untrained),
            )
        )
    if condition.dataset != "iam":
        sentences.append(
            say(
                "Lines are those of {set}, not of IAM: the encoder's work does not depend on them, "
                "the decoder's does through their number of tokens.",
                set=plain(first.names.dataset),
            )
        )
    cut = _read_lines(measured)
    if cut != [SENTENCES]:
        sentences.append(
            say(
                "The paper read {sentences} lines, here {counts} were read: speeds are measured, "
                "totals are extrapolated, and there are none from fewer than {least} lines.",
                sentences=f"{SENTENCES:,}",
                counts=_count_range(cut),
                least=LEAST_LINES,
            )
        )
    sentences.append(
        say(
            "The paper's timer counts its first batch, in which the machine warms up; here that is "
            "left out."
        )
    )
    return sentences


# The files


def write(folder: Path, rows: Sequence[SpeedRow]) -> list[Path]:
    """Write speed.md (tables, what differs from the paper), and the same for programs."""
    table, ratios = speed_table(rows), ratio_table(rows)
    parts = [
        f"# {say('The speed table of TrOCR')}\n",
        render.markdown(table),
        f"## {say('What differs from the paper')}\n",
        *(f"- {render.markdown_text(sentence)}" for sentence in differences(rows)),
        "",
        *([render.markdown(ratios)] if ratios else []),
    ]
    files = {
        "speed.md": "\n".join(parts).encode(),
        **render.files(table, "speed", ("csv",)),
        **render.files(_paper_table(rows), "speed", ("tex",)),
        "speed.json": (json.dumps([row.record() for row in rows], indent=2) + "\n").encode(),
        **(render.files(ratios, "speed-ratios", ("csv",)) if ratios else {}),
    }
    return write_files(folder, files)
