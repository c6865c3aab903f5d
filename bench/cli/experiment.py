"""`python -m bench experiment`: declared experiments over many systems."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

from cyclopts import App, Parameter

from bench.analysis.experiment.design import DAMAGES, DECODERS, LINES, SEEDS
from bench.cli import PROGRAM
from bench.cli.options import WHAT, Count, Inference, Lang, Names, Numbers, Options, typed

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
  {PROGRAM} experiment language                      about half an hour on two cores
  {PROGRAM} experiment language --damage char_erase --lines 10 --seeds 0     a quick look
  {PROGRAM} experiment language --decoder ctc-ngram,ar-beam --out mine
  {PROGRAM} experiment language --lines 300 --seeds 0,1,2,3,4                 more power
  {PROGRAM} experiment language -o mini.weights=runs/mini/mini.safetensors

Damages (the same ink lost in four ways) x severities 0 to 5 x linguistic levels (english, shuffled,
pseudo, random) x decoders x seeds. What is claimed is written to design.json before anything is
measured. The folder results/experiments/NAME then holds finding.md (one page in plain words),
summary.json (every number), rows.jsonl, tables/ and plots/.
An experiment that was stopped goes on when the same command is given again.

exit code 1: a system could not run or a cell failed; never because of the finding
""",
)


@Parameter(name="*", group=WHAT)
@dataclasses.dataclass(frozen=True)
class ExperimentChoices:
    """The cells of the experiment.

    Args:
        encoder: one of `list`
        decoder: some of the default
        damage: some of the default
        lines: of each level
        seeds: of the damages
    """

    encoder: str = "mini"
    decoder: Names = DECODERS
    damage: Names = DAMAGES
    lines: int = LINES
    seeds: Numbers = SEEDS
    options: Options = ()

    def design(self, inference: Inference) -> Design:
        """The design of the experiment.

        Raises:
            UserError: an unknown name or option, or a value of a wrong type.
        """
        from bench.analysis.experiment.design import Design
        from bench.pipeline.plan import Registries

        return Design(
            self.encoder,
            self.decoder,
            self.damage,
            self.seeds,
            self.lines,
            typed(self.options, Registries()),
            inference.runtime(),
        )


@dataclasses.dataclass(frozen=True)
class _Inference(Inference):
    # Larger ones share the AR steps better, and have lines of less like widths: more padding.
    batch_size: Count = 12


@app.command
def language(
    *,
    choices: ExperimentChoices = ExperimentChoices(),
    inference: _Inference = _Inference(),
    out: str = "language",
    lang: Lang = None,
) -> int:
    """Does language help more, the more of the ink is lost?

    Args:
        out: folder under results/experiments, or a path with a slash
    """
    from bench.analysis.experiment.finding import declare, find, record
    from bench.analysis.experiment.run import EXPERIMENTS, build, measure
    from bench.cli.bars import RunProgress, track
    from bench.pipeline import runs
    from bench.pipeline.plan import Registries
    from bench.pipeline.store import RunStore

    registries, design = Registries(), choices.design(inference)
    plan = build(design, registries)
    store = RunStore(runs.folder(out, EXPERIMENTS))
    declare(design, store)
    with RunProgress(plan) as progress:
        outcome, measured = measure(design, plan, store, progress)
    if measured is None:
        raise KeyboardInterrupt(
            f"interrupted; what is finished is in {store.path}, and the same command goes on there"
        )
    finding = find(measured, registries, track)
    record(finding, store)
    _write(finding, store)
    return _print(finding, outcome, store)


def _write(finding: Finding, store: RunStore) -> None:
    from bench.core.files import write_files
    from bench.report import experiment

    write_files(store.path, experiment.files(finding))


def _print(finding: Finding, outcome: Outcome, store: RunStore) -> int:
    from bench.report.experiment import in_short
    from bench.report.language import say

    print(in_short(finding))
    files = "finding.md, summary.json, design.json, rows.jsonl, tables, plots"
    print("\n" + say("files in {path}: {files}", path=store.path, files=files))
    for system, why in finding.left_out.items():
        print(f"note: {system} is left out: {why}", file=sys.stderr)
    return int(bool(outcome.failed or finding.left_out))
