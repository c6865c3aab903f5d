"""`python -m bench errors`: classes of errors, and their changes by language."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from bench.analysis.evidence import readings
from bench.analysis.experiment.design import GREEDY
from bench.analysis.misreadings import analyse, record
from bench.analysis.misreadings.classes import Vocabulary, vocabulary
from bench.cli import PROGRAM
from bench.cli.bars import Steps
from bench.cli.options import DataRoot, Form, Json, Lang, Names, check_workbook, print_json
from bench.cli.stored import Run, open_run
from bench.core.bounds import Count
from bench.core.errors import UserError
from bench.core.files import write_atomically
from bench.core.registry import did_you_mean
from bench.core.types import Row
from bench.pipeline.store import RunStore
from bench.report import render
from bench.report.errors import Shown, tables
from bench.report.language import say, say_text
from bench.report.results import Result, collect, grouped
from datasets.base import listening

_EPILOG = f"""\
examples:
  {PROGRAM} errors                                the newest run, its clean sets
  {PROGRAM} errors --run mine --dataset lines --damage char_erase,blot --severity 3
  {PROGRAM} errors --run mine --decoder ctc-greedy,ctc-ngram --top 30
  {PROGRAM} errors --run mine --xlsx errors.xlsx        for Excel and LibreOffice, with line images
  {PROGRAM} errors --run mine --json | jq '.[0].systems[] | [.decoder, .classes.what]'

Every class is defined in docs/errors.md. Rows of untrained weights read nothing that means
anything and are left out.
"""

EMBEDDED = "embedded"

_ALL = "all"
_CLEAN = "none"

app = App(name="errors", help_epilogue=_EPILOG)


@Parameter(name="*", group=Group("what to look at (of what the run holds)", sort_key=1))
@dataclass(frozen=True)
class Choice:
    """The rows to look at.

    Args:
        encoder: encoders; default: all
        decoder: decoders; default: all
        dataset: data sets; default: all
        damage: damages, none for the clean set, or all; default: none, all with --severity
        severity: 0 to 5; default: all
    """

    encoder: Names = ()
    decoder: Names = ()
    dataset: Names = ()
    damage: Names = ()
    severity: Names = ()

    def of(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that the options select, by default the clean sets if there are any.

        Raises:
            UserError: the run has nothing of a name, or nothing of them all together.
        """
        if not rows:
            raise UserError("the run has no row yet; finish it, or name another")
        damages = self.damage
        if not damages and not self.severity and any(r.condition.damage == _CLEAN for r in rows):
            damages = (_CLEAN,)
        named: dict[str, tuple[tuple[str, ...], Callable[[Row], str]]] = {
            "encoder": (self.encoder, lambda row: row.encoder),
            "decoder": (self.decoder, lambda row: row.decoder),
            "data set": (self.dataset, lambda row: row.condition.dataset),
            "damage": (damages, lambda row: row.condition.damage),
            "severity": (self.severity, lambda row: str(row.condition.severity)),
        }
        found = list(rows)
        for what, (names, of) in named.items():
            if names and _ALL not in names:
                _check_names(what, names, map(of, rows))
                found = [row for row in found if of(row) in names]
        if not found:
            words = ", ".join(f"{what} {'/'.join(names)}" for what, (names, _) in named.items()
                              if names)  # fmt: skip
            raise UserError(f"the run has no row of {words} together; choose fewer")
        return found


@app.default
def run(
    *,
    run: Run = None,
    choice: Choice | None = None,
    against: str | None = None,
    vocabulary: Annotated[str | None, Parameter(metavar="FILE")] = None,
    top: Count = 15,
    data_root: DataRoot = None,
    form: Form = "text",
    xlsx: Path | None = None,
    lang: Lang = None,
    as_json: Json = False,
) -> int:
    """Sort the errors of a run.

    Confusions and classes of errors, decoders side by side, and which classes a decoder removes and
    adds. No model is run.

    Args:
        against: compare with this decoder; default: ctc-greedy if there
        vocabulary: ARPA file or KenLM binary whose words count as words, or embedded; default: that
            of the run's word model
        top: confusions in a table, and worst lines in the workbook
        xlsx: write an Excel workbook
    """
    if as_json and form != "text":
        raise UserError(f"give --json or --format {form}, not both")
    if xlsx is not None:
        check_workbook(xlsx)
    left_out: list[str] = []
    with Steps("errors") as steps, listening(steps.report):
        store = open_run(run)
        rows = (choice or Choice()).of(store.rows())
        if against:
            _check_names("decoder", [against], (row.decoder for row in rows))
        found = _shown(store.only(rows), against or GREEDY, vocabulary, left_out, steps)
        if xlsx is not None:
            from bench.report.workbook import workbook  # openpyxl need not be installed

            write_atomically(xlsx, workbook(found, top, steps.report))
    for why in left_out:
        print(say("left out: {reason}", reason=say_text(why)), file=sys.stderr)
    if as_json:
        print_json([record(shown.analysis) for shown in found])
    else:
        made = [table for shown in found for table in tables(shown, top)]
        print(render.printed(made, form))
        if xlsx is not None:
            print(say("written: {file}", file=xlsx))
    return int(bool(left_out))


def _shown(
    chosen: RunStore, against: str, words: str | None, left_out: list[str], steps: Steps
) -> list[Shown]:
    steps.report("loading lines", 0, 1)
    read = {one.row.key: one for one in readings([chosen], left_out.append) if one.scored}
    if not read:
        why = left_out[0] if left_out else "untrained weights have none"
        raise UserError(f"none of the chosen rows has a CER: {why}")
    known = vocabulary_of(words, [one.row for one in read.values()])
    shown: list[Shown] = []
    results = [result for result in collect(chosen) if result.row.key in read]
    results.sort(key=lambda r: (r.place.encoder, r.place.dataset, not r.clean))  # clean sets first
    for group in grouped(results, _condition):
        analysis = analyse([read[r.row.key] for r in group], known, against, steps.report)
        shown.append(Shown(len(shown) + 1, analysis, tuple(group)))
    return shown


def _condition(result: Result) -> tuple[Any, ...]:
    """The common parts of results that stand side by side, besides their setting."""
    names = result.names
    return names.encoder, names.dataset, names.damage, result.row.condition


def vocabulary_of(asked: str | None, rows: Iterable[Row]) -> Vocabulary:
    """The vocabulary that separates words from non-words.

    Args:
        asked: a file, `EMBEDDED`, or None for the word model that the rows were read with; the
            embedded one where they name none.
        rows: of the run.

    Raises:
        UserError: the file is no model, or the rows were read with several.
    """
    if asked is None:
        # A word model says how many words it has; what it is stands in the decoder's options.
        models = {
            str(row.options.get("lm") or EMBEDDED) for row in rows if "lm_words" in row.extras
        }
        if len(models) > 1:
            raise UserError(
                f"the rows were read with several word models ({', '.join(sorted(models))}); name "
                "the one whose words count with --vocabulary"
            )
        asked = models.pop() if models else EMBEDDED
        if asked != EMBEDDED and not Path(asked).is_file():
            raise UserError(
                f"the word model {asked} of the rows is not here; name one with --vocabulary, such "
                f"as --vocabulary {EMBEDDED}"
            )
    return vocabulary(None if asked == EMBEDDED else Path(asked))


def _check_names(what: str, names: Iterable[str], there: Iterable[str]) -> None:
    known = list(dict.fromkeys(there))
    for name in names:
        if name not in known:
            raise UserError(f"the run has no {what} {name!r}{did_you_mean(name, known)}")
