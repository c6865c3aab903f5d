"""`python -m bench compare`: systems in pairs, on the same lines."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console

from bench.analysis.compare import Comparison, NamedSystem, compare, sides
from bench.analysis.evidence import Reading, readings
from bench.cli import PROGRAM
from bench.cli.options import Form, Json, Lang, Names, Numbers, print_json
from bench.cli.stored import Run, Runs
from bench.core.errors import UserError
from bench.core.types import Row
from bench.report import render
from bench.report.compare import tables
from bench.report.language import say, say_text
from bench.report.results import Result, collect

_EPILOG = f"""\
examples:
  {PROGRAM} compare mini:ctc-greedy mini:ctc-ngram          of the newest run
  {PROGRAM} compare mini:ctc-greedy mini:ctc-ngram mini:ar-beam --damage none
  {PROGRAM} compare mini:ctc-greedy mini:ctc-ngram --damage char_erase --severity 3,5
  {PROGRAM} compare before/mini:ar-beam after/mini:ar-beam  the same system in two runs
  {PROGRAM} compare --run mine mini:ctc-greedy mini:ctc-ngram --format tex > pair.tex

A system is encoder:decoder as the tables call it, and RUN/encoder:decoder where it is of another
run than the newest; the second of each pair is compared with the first. Nothing is measured
again. Results of other data, damage, normaliser or schema are refused.

exit code 1: a row of a system failed or has no lines
"""

app = App(name="compare", help_epilogue=_EPILOG)


@app.default
def run(
    *systems: Annotated[str, Parameter(required=True, metavar="SYSTEM")],
    run: Run = None,
    dataset: Names = (),
    damage: Names = (),
    severity: Numbers = (),
    form: Form = "text",
    lang: Lang = None,
    as_json: Json = False,
) -> int:
    """Compare systems line by line from what runs have stored.

    Differences with intervals and p-values, speed and cost.

    Args:
        systems: [RUN/]encoder:decoder
        dataset: only these data sets; default: all
        damage: only these damages, and none for the clean set; default: all
        severity: only these severities; 0 is the clean set; default: all
    """
    if as_json and form != "text":
        raise UserError(f"give --json or --format {form}, not both")
    if len(set(systems)) < len(systems):
        raise UserError("a system is named twice; name each once")

    def chosen(row: Row) -> bool:
        condition = row.condition
        return (
            (not dataset or condition.dataset in dataset)
            and (not damage or condition.damage in damage)
            and (not severity or condition.severity in severity)
        )

    left_out: list[str] = []
    results: dict[tuple[str, str], Result] = {}
    with Console(stderr=True).status(say("resampling")):
        runs, known = Runs(run), []
        for word in systems:
            named = runs.named(word, chosen)
            known.append(NamedSystem(word, tuple(readings([named], left_out.append))))
            results |= {(word, result.row.key): result for result in collect(named)}
        for why in left_out:  # first: it may be why there is nothing to compare
            print(say("left out: {reason}", reason=say_text(why)), file=sys.stderr)
        comparisons = compare(known)
    if as_json:
        print_json(_record(comparisons))
    else:
        shown = {(side.label, side.reading.row.key) for side in sides(comparisons)}
        of = {key: result for key, result in results.items() if key in shown}
        print(render.printed(tables(comparisons, of), form))
    return int(bool(left_out))


def _record(comparisons: list[Comparison]) -> dict[str, Any]:
    """All results as JSON holds them: of each side its row by `key`, no lines."""
    pairs = [
        {
            **_fields(pair),
            "first": pair.first.label,
            "second": pair.second.label,
            "lines": pair.lines and pair.lines._asdict(),
        }
        for pair in comparisons
    ]
    systems = []
    for side in sides(comparisons):
        row = side.reading.row
        own = {name: getattr(row, name) for name in ("key", "signature", "cer", "wer")}
        fields = {name: value for name, value in _fields(side).items() if name != "reading"}
        systems.append({**fields, **own, "condition": _fields(row.condition)})
    return {"pairs": pairs, "systems": systems}


def _fields(thing: Any) -> Any:
    """The fields of a dataclass, those inside of it likewise, save for readings."""
    if isinstance(thing, Reading) or not dataclasses.is_dataclass(thing):
        return thing
    return {f.name: _fields(getattr(thing, f.name)) for f in dataclasses.fields(thing)}
