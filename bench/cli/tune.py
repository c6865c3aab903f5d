"""`python -m bench tune`: tune and freeze a decoder's weights."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

from bench.cli import PROGRAM
from bench.cli.options import (
    HOW,
    WHAT,
    DataRoot,
    Inference,
    Json,
    Lang,
    Names,
    Options,
    print_json,
    typed,
)
from bench.core.bounds import Count, Whole
from bench.core.errors import UserError
from bench.pipeline.runs import CHECKS

_LINES = Group("on what", sort_key=1.5)

app = App(
    name="tune",
    help_epilogue=f"""\
examples:
  {PROGRAM} tune --encoder mini --dataset ink --split val
  {PROGRAM} tune --encoder mini --limit 50 --dry-run        a quick look, nothing is frozen
  {PROGRAM} tune --decoder ctc-ngram --grid beam=8,32,100   other numbers of the decoder too
  {PROGRAM} tune --decoder ctc-greedy+speller               the weights of a corrector
  {PROGRAM} tune --damage none,blot,noise --severity 2 -o ctc-kenlm.beam=100

Without --damage every line is read clean and again damaged (each damage in its turn), so that the
errors are as many as those of a test. The best weights are written to tuned.json beside
kaidoku.toml (without such a file to ~/.config/kaidoku) together with what they were tuned on. Runs
use them from then on, before the shipped ones, where these options are not set by hand. What was
tried, with how flat the CER lies around the best, is written as a table. A search that was stopped
goes on where it was.
""",
)


@Parameter(name="*", group=_LINES)
@dataclasses.dataclass(frozen=True)
class TuningLines:
    """The lines that weights are tuned on.

    Args:
        dataset: one of `list`
        split: val and no other
        limit: the first N lines only
        damage: damages, one a line in turn; add none to read each line clean as well
        severity: of the damages
        seed: of the damages
    """

    dataset: str = "ink"
    split: str = "val"
    limit: Count | None = None
    damage: Names = ("all",)
    severity: Whole = 3
    seed: Whole = 0


@app.default
def run(
    *,
    encoder: Annotated[str, Parameter(group=WHAT)] = "mini",
    decoder: Annotated[str, Parameter(group=WHAT)] = "ctc-kenlm",
    grid: Annotated[tuple[str, ...], Parameter(group=WHAT, metavar="OPTION=V,V,...")] = (),
    options: Annotated[Options, Parameter(group=WHAT)] = (),
    lines: TuningLines = TuningLines(),
    data_root: DataRoot = None,
    inference: Inference = Inference(),
    out: Annotated[Path | None, Parameter(group=HOW)] = None,
    into_shipped: Annotated[bool, Parameter(group=HOW)] = False,
    dry_run: Annotated[bool, Parameter(group=HOW)] = False,
    lang: Annotated[Lang, Parameter(group=HOW)] = None,
    as_json: Annotated[Json, Parameter(group=HOW)] = False,
) -> int:
    """Tune the weights of a decoder on a validation split.

    Args:
        grid: values to try in the place of the decoder's own; may be repeated
        out: folder of the table; default: results/checks/tuning
        into_shipped: write the weights into the file that is shipped; for maintainers
        dry_run: print the best weights, freeze nothing
    """
    from bench.analysis.tuning import tune
    from bench.cli.bars import track
    from bench.core.files import write_files
    from bench.pipeline.plan import CLEAN, Registries, Selection
    from bench.report import render
    from bench.report.language import say
    from bench.report.tuning import notes, stem, table
    from decoders.tuned import PATH, freeze, own_path

    names = Registries()
    damages = (CLEAN, *names.damages.names()) if "all" in lines.damage else lines.damage
    asked = Selection(
        (encoder,),
        (decoder,),
        (lines.dataset,),
        damages=damages,
        severities=(lines.severity,),
        split=lines.split,
        limit=lines.limit,
        seed=lines.seed,
        runtime=inference.runtime(),
        options=typed(options, names),
    )
    entry = tune(asked, names, track, dict(map(_values, grid)))
    path = None if dry_run else freeze(entry, PATH if into_shipped else own_path())
    for sentence in notes(entry):
        print(say("note: {note}", note=sentence), file=sys.stderr)
    if as_json:
        print_json(dataclasses.asdict(entry))
        return 0
    print(render.printed([table(entry)]))
    print(say("frozen in {path}", path=path) if path else say("nothing was frozen (--dry-run)"))
    made = render.files(table(entry), stem(entry), ("md", "csv"))
    for file in write_files(out or CHECKS / "tuning", made):
        print(say("written: {file}", file=file))
    return 0


def _values(item: str) -> tuple[str, tuple[float, ...]]:
    """Parse `alpha=0.5,0.7`."""
    option, _, values = item.partition("=")
    try:
        return option.strip(), tuple(float(value) for value in values.split(","))
    except ValueError:
        raise UserError(
            f"--grid {item} is not of the form OPTION=NUMBER,NUMBER,..., such as "
            "--grid alpha=0.3,0.5"
        ) from None
