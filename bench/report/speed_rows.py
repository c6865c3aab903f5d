"""The rows of TrOCR's speed table, unrounded: reported, measured, failed, not run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.analysis.speed.job import REFERENCE, SENTENCES, SIZES, System
from bench.core.stopwatch import spread
from bench.core.types import UNTRAINED, Row, Spread
from bench.pipeline.plan import Skipped
from bench.pipeline.signature import PRECISIONS
from bench.report.format import plain
from bench.report.results import Result
from bench.report.speed import PUBLISHED, Pace

Origin = Literal["reported", "measured", "failed", "not run"]

NOT_STATED = "not stated"
_SIZE_OF = {name: size for size, name in SIZES.items()}
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
    """The numbers of a row, for `SENTENCES` lines.

    tokens: of the best hypotheses, up to and including the end token; of a random CTC head None.
    seconds: of encoder and search.
    measured_lines: what was read; where it is not `sentences`, sums are extrapolated from it.
    distinct_lines: of these; the others are repeats.
    passes: over the measured lines.
    ratio: how many times as fast as the paper's decoder behind the same encoder, measured beside
        it; None where that was not measured.
    None where it is not known.
    """

    sentences: int
    tokens: float | None
    seconds: Spread
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
        return self.measured_lines != self.sentences


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
        numbers = dataclasses.asdict(figures) if figures else {}
        extrapolated = {"extrapolated": figures.extrapolated} if figures else {}
        return {
            **fields,
            **numbers,
            **extrapolated,
            "cer": result.row.cer if result else None,
            "signature": result.row.signature if result else None,
        }

    @property
    def title(self) -> str:
        """The model, and that its numbers are the paper's or its weights are random."""
        mark = "reported" if self.origin == "reported" else self.weights
        return f"{self.model} ({mark})" if mark in ("reported", UNTRAINED) else self.model

    @property
    def label(self) -> str:
        """The row in few words: "small (untrained), AR beam 10, batch 1, fp32"."""
        parts = (self.title, DECODER_NAMES.get(self.decoder, self.decoder))
        batches = (f"batch {size}" for size in self.batches)
        return plain(", ".join((*parts, *batches, *map(precision, self.dtypes))))


def speed_rows(
    results: Sequence[Result], systems: Sequence[System], absent: Mapping[System, Skipped]
) -> list[SpeedRow]:
    """The paper's rows, then one for each system of the job.

    Args:
        results: of the run; others than those of `systems` are passed over.
        systems: in the order of the table.
        absent: why some could not run.
    """
    measured = {_system(result.row): result for result in results}
    rows = [_reported(published) for published in PUBLISHED]
    for system in systems:
        if system in measured:
            reference = measured.get(system._replace(decoder=REFERENCE))
            rows.append(_measured(measured[system], reference))
        elif system in absent:
            _add_absent(rows, system, absent[system])
    return rows


def size_ratios(rows: Sequence[SpeedRow]) -> dict[tuple[str, int, str], dict[str, Spread]]:
    """Sentences/s of each size of TrOCR over those of the largest, by decoder, batch and precision.

    Sizes are measured one after the other, so that the range is from the lowest over the highest to
    the highest over the lowest. Only where there are two sizes.
    """
    groups: dict[tuple[str, int, str], dict[str, Spread]] = {}
    for row in rows:
        if row.origin == "measured" and row.figures and row.model != "mini":
            key = (row.decoder, row.batches[0], row.dtypes[0])
            groups.setdefault(key, {})[row.model] = row.figures.sentences_per_s
    return {
        key: {size: _over(rate, list(rates.values())[-1]) for size, rate in rates.items()}
        for key, rates in groups.items()
        if len(rates) > 1
    }


def reads_at_random(row: Row) -> bool:
    """Whether a CTC head that was never trained decided how many symbols there are."""
    return row.weights == UNTRAINED and "ctc" in row.parameters


def _system(row: Row) -> System:
    return System(row.encoder, row.decoder, row.runtime.dtype, row.runtime.batch_size)


def _reported(row: Pace) -> SpeedRow:
    figures = Figures(
        row.sentences,
        row.tokens,
        spread([row.seconds]),
        spread([row.sentences_per_s]),
        spread([row.tokens_per_s]),
        measured_lines=row.sentences,
        distinct_lines=row.sentences,
        passes=1,
    )
    model = row.model.removeprefix("TrOCR-")
    return SpeedRow(
        "reported", model, "the authors'", REFERENCE, (), (), NOT_STATED, row.parameters, figures
    )


def _measured(result: Result, reference: Result | None) -> SpeedRow:
    row = result.row
    device = row.runtime.device  # a GPU by its name; the processor stands in the conditions
    return SpeedRow(
        "measured" if row.status == "ok" else "failed",
        _SIZE_OF.get(row.encoder, row.encoder),
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


def _add_absent(rows: list[SpeedRow], system: System, item: Skipped) -> None:
    """A row for a system that did not run; batches and precisions of one reason share it."""
    model = _SIZE_OF.get(system.encoder, system.encoder)
    own = (model, system.decoder, item.reason, item.remedy)
    batches, dtypes = [system.batch_size], [system.dtype]
    for place, row in enumerate(rows):
        if (row.model, row.decoder, row.reason, row.remedy) == own:
            batches = [*row.batches, *batches]
            dtypes = [*row.dtypes, *dtypes]
            del rows[place]
            break
    rows.append(
        SpeedRow(
            "not run", model, "", system.decoder, tuple(dict.fromkeys(batches)),
            tuple(dict.fromkeys(dtypes)), "", reason=item.reason, remedy=item.remedy,
        )
    )  # fmt: skip


def _figures(row: Row, reference: Row | None) -> Figures | None:
    if row.counts is None or row.timing is None:
        return None
    lines, rate = row.counts.lines, row.timing.lines_per_s.median
    tokens = None if reads_at_random(row) else row.counts.tokens / lines  # of a line
    rates = _rates(row) or [rate]
    speed = Spread(rate, min(*rates, rate), max(*rates, rate), len(rates))
    return Figures(
        SENTENCES,
        None if tokens is None else SENTENCES * tokens,
        Spread(SENTENCES / rate, SENTENCES / speed.high, SENTENCES / speed.low, speed.n),
        speed,
        None if tokens is None else _scaled(speed, tokens),
        measured_lines=lines,
        distinct_lines=int(row.extras.get("distinct_lines", lines)),
        passes=row.timing.lines_per_s.n,
        encoder_ms=1000.0 * row.timing.encode_s / lines,
        decoder_ms=1000.0 * row.timing.decode_s.median / lines,
        peak_mib=row.timing.peak_mib,
        ratio=_ratio(row, reference) if reference else None,
    )


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


def _over(top: Spread, bottom: Spread) -> Spread:
    if top is bottom:
        return Spread(1.0, 1.0, 1.0, 1)
    low, high = top.low / bottom.high, top.high / bottom.low
    return Spread(top.median / bottom.median, low, high, min(top.n, bottom.n))


def precision(dtype: str) -> str:
    """Its short name, as signatures have it."""
    return PRECISIONS.get(dtype, dtype)
