"""Search errors, model errors and oracle CER as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.diagnostics import DecoderErrors, Diagnosis, Kind
from bench.core.types import Condition
from bench.report.format import DASH, number, percent, plural
from bench.report.language import say
from bench.report.results import damage_of, marked
from bench.report.table import Cell, Column, Table, count, declared, keys, rate

_KINDS: tuple[tuple[Kind, str], ...] = (
    ("search", "search errors"),
    ("model", "model errors"),
    ("unreachable", "unreachable"),
)
_ABOUT_KINDS = (
    "Wrong lines, and in brackets the share of all wrong characters that is theirs. Search "
    "error: the reference scores higher than what was read, under the decoder's own "
    "objective. Model error: it does not. Unreachable: the decoder cannot write it."
)
_ABOUT_ORACLE = "Of the best of the first k texts; @1 is the CER of the decoder."


def tables(diagnosis: Diagnosis) -> Iterator[Table]:
    """A table for each condition, a row for each decoder."""
    for condition in dict.fromkeys(finding.condition for finding in diagnosis.findings):
        own = [one for one in diagnosis.findings if one.condition == condition]
        yield _table(diagnosis, condition, own)


def _table(diagnosis: Diagnosis, condition: Condition, findings: Sequence[DecoderErrors]) -> Table:
    damage = say(", {damage}", damage=damage_of(condition)) if condition.damaged else ""
    about_kinds = (say(_ABOUT_KINDS),)
    about_oracle = (say(_ABOUT_ORACLE),)

    def of_kind(kind: Kind, head: str) -> Column[DecoderErrors]:
        parts = (say("% of edits"),)
        return Column(say(head), lambda one: _kind(one, kind), parts, notes=about_kinds)

    def oracle(width: int) -> Column[DecoderErrors]:
        head = say("oracle @{width}", width=width)
        return Column(head, lambda one: _oracle(one, width), notes=about_oracle)

    return declared(
        slug=f"diagnostics-{condition.damage}-{condition.severity}" if damage else "diagnostics",
        title=say(
            "Search and model errors of {encoder} on {set}{damage}",
            encoder=diagnosis.encoder,
            set=marked(condition.dataset),
            damage=damage,
        ),
        conditions=say(
            "{lines} of {set}{spread}{damage}, read by {encoder}. CER % (micro).",
            lines=plural(len(findings[0].lines), "line"),
            set=f"{condition.dataset}-{condition.split}@{diagnosis.dataset_sha256[:8]}",
            spread=say(", evenly spread over it") if condition.limit else "",
            damage=damage,
            encoder=f"{diagnosis.encoder}@{diagnosis.weights[:8]}",
        ),
        columns=[
            *keys([say("decoder")], lambda one: one.decoder),
            Column(say("beam"), lambda one: count(one.options.get("beam"))),
            Column(say("wrong lines"), lambda one: count(len(one.lines) - one.count("right"))),
            *(of_kind(kind, head) for kind, head in _KINDS),
            *map(oracle, _widths(max(one.width for one in findings))),
        ],
        rows=findings,
    )


def _kind(finding: DecoderErrors, kind: Kind) -> Cell:
    if finding.count("unknown"):  # the decoder cannot score texts
        return Cell(DASH, values=(None, None))
    lines, share = finding.count(kind), finding.share(kind)
    part = None if share is None else 100 * share
    return Cell(number(lines, 0), f"[{percent(share, 0)} %]", (lines, part))


def _oracle(finding: DecoderErrors, width: int) -> Cell:
    """The oracle CER of the n best texts; empty beyond the first width that holds all of them."""
    if width > 1 and width // 2 >= finding.width:
        return Cell("", values=(None,))
    return rate(finding.oracle(width))


def _widths(most: int) -> list[int]:
    """1, 2, 4, ... up to the first that is not less than the most texts."""
    widths = [1]
    while widths[-1] < most:
        widths.append(2 * widths[-1])
    return widths
