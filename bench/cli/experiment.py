"""`python -m bench experiment`: declared experiments over many systems."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

from cyclopts import App, Parameter

from bench.cli import PROGRAM
from bench.cli.options import WHAT, Inference, Lang, Names, Options, typed
from bench.core.bounds import Whole

if TYPE_CHECKING:
    from bench.analysis.experiment.design import Design
    from bench.analysis.experiment.finding import Finding
    from bench.pipeline.runner import Outcome
    from bench.pipeline.store import RunStore

app = App(
    name="experiment",
    help="What does language add?",
    help_epilogue=f"""\
examples:
  {PROGRAM} experiment language                               the whole design, as it is fixed
  {PROGRAM} experiment language --reader mini --lines 4       a quick look
  {PROGRAM} experiment language --lines 300                   more power
  {PROGRAM} experiment language -o mini.weights=runs/mini/mini.safetensors

Readers x doses of language x sets with less and less language x conditions of the ink. What is read
and claimed is fixed in bench/analysis/experiment/design.toml, whose hash the finding prints; other
choices are called exploratory there. The folder results/experiments/NAME then holds finding.md (one
page in plain words), summary.json (every number), rows.jsonl, tables/ and plots/.
An experiment that was stopped goes on when the same command is given again.

exit code 1: a system could not run or a cell failed; never because of the finding
""",
)


@Parameter(name="*", group=WHAT)
@dataclasses.dataclass(frozen=True)
class ExperimentChoices:
    """The cells of the experiment.

    Args:
        reader: some of the design's; default: all
        lines: of each set; default: the design's
    """

    reader: Names = ()
    lines: Whole | None = None
    options: Options = ()

    def design(self, inference: Inference) -> Design:
        """The design of the experiment."""
        from bench.analysis.experiment.design import chosen
        from bench.pipeline.plan import Registries

        options = typed(self.options, Registries())
        return chosen(self.reader, self.lines, options, inference.runtime())


@app.command
def language(
    *,
    choices: ExperimentChoices = ExperimentChoices(),
    inference: Inference = Inference(),
    out: str = "language",
    lang: Lang = None,
) -> int:
    """Measure what language gives when ink is lost.

    Args:
        out: folder under results/experiments, or a path with a slash
    """
    from bench.analysis.experiment.finding import declare, find, record
    from bench.analysis.experiment.run import EXPERIMENTS, build, measure
    from bench.cli.bars import RunProgress, track
    from bench.core.files import write_files
    from bench.pipeline import runs
    from bench.pipeline.plan import Registries
    from bench.pipeline.store import RunStore
    from bench.report.experiment import files

    design = choices.design(inference)
    plan, blocks = build(design, Registries())
    store = RunStore(runs.folder(out, EXPERIMENTS))
    declare(design, store)
    with RunProgress(plan) as progress:
        outcome, measured = measure(design, plan, blocks, store, progress)
    if measured is None:
        raise KeyboardInterrupt(
            f"interrupted; what is finished is in {store.path}, and the same command goes on there"
        )
    finding = find(measured, track)
    record(finding, store)
    write_files(store.path, files(finding))
    return _print(finding, outcome, store)


def _print(finding: Finding, outcome: Outcome, store: RunStore) -> int:
    from bench.cli.listing import behind
    from bench.report.experiment import in_short, origin
    from bench.report.language import say, say_text

    print(behind("", origin(finding)))
    for point in in_short(finding):
        print(behind("- ", point))
    files = "finding.md, summary.json, design.json, rows.jsonl, tables, plots"
    print("\n" + say("files in {path}: {files}", path=store.path, files=files))
    for system, why in finding.left_out.items():
        note = say("{system} is left out: {why}", system=system, why=say_text(why))
        print(say("note: {note}", note=note), file=sys.stderr)
    return int(bool(outcome.failed or finding.left_out))
