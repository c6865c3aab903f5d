"""Search errors, model errors and oracle CER as tables."""

from __future__ import annotations

from collections.abc import Iterator

from bench.analysis.diagnostics import Diagnosis, Finding, Kind
from bench.core.types import Condition
from bench.pipeline.plan import CLEAN
from bench.report.format import DASH, number, percent, plural
from bench.report.table import Cell, Column, Notes, Table, name
from datasets.about import named

_KINDS: tuple[tuple[Kind, str], ...] = (
    ("search", "search errors"),
    ("model", "model errors"),
    ("unreachable", "unreachable"),
)


def tables(diagnosis: Diagnosis) -> Iterator[Table]:
    """A table for each condition, a row for each decoder."""
    conditions = dict.fromkeys(finding.condition for finding in diagnosis.findings)
    for condition in conditions:
        found = [one for one in diagnosis.findings if one.condition == condition]
        yield _table(diagnosis, condition, found)


def _table(diagnosis: Diagnosis, condition: Condition, found: list[Finding]) -> Table:
    widths = _widths(max(one.width for one in found))
    notes = Notes()
    marks = (
        notes.mark(
            "Wrong lines, and in brackets the share of all wrong characters that is theirs. Search "
            "error: the reference scores higher than what was read, under the decoder's own "
            "objective. Model error: it does not. Unreachable: the decoder cannot write it."
        ),
    )
    oracle = (notes.mark("Of the best of the first k texts; @1 is the CER of the decoder."),)
    damage = "" if condition.damage == CLEAN else f", {condition.damage} {condition.severity}"
    lines = plural(len(found[0].lines), "line")
    dataset = named(condition.dataset)
    return Table(
        slug=f"diagnostics-{condition.damage}-{condition.severity}" if damage else "diagnostics",
        title=f"Search and model errors of {diagnosis.encoder} on {dataset}{damage}",
        conditions=(
            f"{lines} of {condition.dataset}-{condition.split}@{diagnosis.dataset_sha256[:8]}"
            f"{', evenly spread over it' if condition.limit else ''}{damage}, read by "
            f"{diagnosis.encoder}@{diagnosis.weights[:8]}. CER % (micro)."
        ),
        columns=(
            Column("decoder", key=True),
            Column("beam"),
            Column("wrong lines"),
            *(Column(head, parts=("% of edits",), marks=marks) for _, head in _KINDS),
            *(Column(f"oracle @{width}", marks=oracle) for width in widths),
        ),
        rows=tuple(_row(one, widths) for one in found),
        notes=tuple(notes.texts),
    )


def _row(finding: Finding, widths: list[int]) -> tuple[Cell, ...]:
    beam = finding.options.get("beam")
    wrong = len(finding.lines) - finding.count("right")
    return (
        name(finding.decoder),
        Cell(number(beam, 0), values=(beam,)),
        Cell(number(wrong, 0), values=(wrong,)),
        *(_kind(finding, kind) for kind, _ in _KINDS),
        *(_oracle(finding, width) for width in widths),
    )


def _kind(finding: Finding, kind: Kind) -> Cell:
    if finding.count("unknown"):  # the decoder cannot score texts
        return Cell(DASH, values=(None, None))
    count, share = finding.count(kind), finding.share(kind)
    part = None if share is None else 100 * share
    return Cell(number(count, 0), f"[{percent(share, 0)} %]", (count, part))


def _oracle(finding: Finding, width: int) -> Cell:
    """Nothing for more texts than the decoder tells, but the first width that holds all."""
    if width > 1 and width // 2 >= finding.width:
        return Cell("", values=(None,))
    cer = finding.oracle(width)
    return Cell(percent(cer), values=(None if cer is None else 100 * cer,))


def _widths(most: int) -> list[int]:
    """1, 2, 4, ... up to the first that is not less than the most texts."""
    widths = [1]
    while widths[-1] < most:
        widths.append(2 * widths[-1])
    return widths
