"""`python -m bench dev diagnose`: search errors and model errors of decoders."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, get_args

from cyclopts import App, Parameter

from bench.cli import PROGRAM
from bench.cli.options import (
    HOW,
    WHAT,
    DataRoot,
    Form,
    Inference,
    Json,
    Lang,
    Names,
    Numbers,
    Options,
    print_json,
    typed,
)
from bench.core.bounds import Count, Whole

if TYPE_CHECKING:
    from bench.analysis.diagnostics import Diagnosis
    from bench.pipeline.plan import Selection

app = App(
    name="diagnose",
    help_epilogue=f"""\
examples:
  {PROGRAM} dev diagnose                                   every decoder behind mini, clean lines
  {PROGRAM} dev diagnose --decoder ctc-beam,ar-beam --damage none,blot --severity 1,3,5
  {PROGRAM} dev diagnose --format tex > errors.tex         also md and csv
  {PROGRAM} dev diagnose --json | jq '.findings[] | [.decoder, .search, .model]'

A wrong line is a search error when its reference scores higher than what was read under the
decoder's own objective, which a wider beam could mend, and a model error when it does not. The
oracle CER at k is that of the best of the first k texts of the decoder.
""",
)


@Parameter(name="*", group=WHAT)
@dataclasses.dataclass(frozen=True)
class DiagnosisChoices:
    """The decoders and conditions that are looked at.

    Args:
        encoder: one of `list`
        decoder: decoders; default: all
        dataset: one of `list`
        damage: damages, and none for the clean set
        severity: 1 to 5
        seed: of the damages
        limit: lines, evenly spread over the split
    """

    encoder: str = "mini"
    decoder: Names = ()
    dataset: str = "ink"
    split: str = "test"
    damage: Names = ("none",)
    severity: Numbers = (3,)
    seed: Whole = 0
    limit: Count = 200
    options: Options = ()

    def selection(self, inference: Inference) -> Selection:
        """The cells that these options choose."""
        from bench.pipeline.plan import Registries, Selection
        from datasets.damage.base import check_severities

        names = Registries()
        check_severities(self.severity, least=1)
        return Selection(
            (self.encoder,),
            self.decoder or tuple(names.decoders.names()),
            (self.dataset,),
            split=self.split,
            damages=self.damage,
            severities=self.severity,
            seed=self.seed,
            limit=self.limit,
            options=typed(self.options, names),
            runtime=inference.runtime(),
        )


@app.default
def run(
    *,
    choices: DiagnosisChoices = DiagnosisChoices(),
    data_root: DataRoot = None,
    inference: Inference = Inference(),
    form: Annotated[Form, Parameter(group=HOW)] = "text",
    lang: Annotated[Lang, Parameter(group=HOW)] = None,
    as_json: Annotated[Json, Parameter(group=HOW)] = False,
) -> int:
    """Count search errors, model errors and oracle CER of decoders behind one encoder."""
    from bench.analysis.diagnostics import diagnose
    from bench.cli.bars import track
    from bench.pipeline.plan import Registries
    from bench.report import render
    from bench.report.diagnostics import tables
    from bench.report.language import say

    diagnosis = diagnose(choices.selection(inference), Registries(), track)
    if as_json:
        print_json(_record(diagnosis))
        return 0
    print(render.printed(tables(diagnosis), form))
    for decoder, why in diagnosis.skipped:
        print(say("could not run here: {decoder}: {why}", decoder=decoder, why=why))
    return 0


def _record(diagnosis: Diagnosis) -> dict[str, Any]:
    from bench.analysis.diagnostics import Kind

    return {
        "encoder": diagnosis.encoder,
        "weights": diagnosis.weights,
        "dataset_sha256": diagnosis.dataset_sha256,
        "skipped": dict(diagnosis.skipped),
        "findings": [
            {
                "decoder": one.decoder,
                "condition": dataclasses.asdict(one.condition),
                "options": dict(one.options),
                **{kind: one.count(kind) for kind in get_args(Kind)},
                "oracle_cer": [one.oracle(width) for width in range(1, one.width + 1)],
                "lines": [dataclasses.asdict(line) for line in one.lines],
            }
            for one in diagnosis.findings
        ],
    }
