"""`python -m bench check`: over-fitting of a system, and leaks between splits."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from cyclopts import App

from bench.cli import PROGRAM
from bench.cli.listing import behind
from bench.cli.options import (
    DataRoot,
    Files,
    Inference,
    Json,
    Lang,
    Options,
    parts_of_system,
    print_json,
    typed,
)
from bench.core.bounds import Count

if TYPE_CHECKING:
    from bench.analysis.overfit import OverfitCheck

app = App(
    name="check",
    help="Is a system over-fitted? Does a split leak?",
    help_epilogue=f"""\
examples:
  {PROGRAM} check overfit --system mini:ctc-greedy --dataset hooker
  {PROGRAM} check overfit --system mini:ar-beam --dataset lines --limit 100
  {PROGRAM} check overfit --system mini:ctc-greedy -o mini.weights=runs/mini/mini.safetensors

  {PROGRAM} check leak
  {PROGRAM} check leak --dataset hooker
  {PROGRAM} check leak --dataset iam -o iam.root=~/IAM --text my-letters.txt

A system is ENCODER:DECODER. The same number of lines of the train, val and test split is read.
On a set that the system never learned from the check compares the splits alone.

exit code 1: over-fitted, no verdict is possible, more than one text or image in a hundred in
two splits, or a hand, document or image of a val or test line in what shipped weights learned
""",
)


@app.command
def overfit(
    *,
    system: str = "mini:ctc-greedy",
    dataset: str = "lines",
    limit: Count = 300,
    options: Options = (),
    inference: Inference = Inference(),
    lang: Lang = None,
    as_json: Json = False,
    data_root: DataRoot = None,
) -> int:
    """Compare CER on lines that were learned from with CER on lines that were not.

    Args:
        system: ENCODER:DECODER
        dataset: default: lines, whose train split every machine has
        limit: lines of each split
    """
    from bench.analysis.overfit import check
    from bench.cli.bars import track
    from bench.pipeline.plan import Registries, Selection
    from bench.report import render
    from bench.report.overfit import table, verdict

    encoder, decoder = parts_of_system(system)
    names = Registries()
    asked = Selection(
        (encoder,),
        (decoder,),
        (dataset,),
        limit=limit,
        runtime=inference.runtime(),
        options=typed(options, names),
    )
    result = check(asked, names, track)
    if as_json:
        print_json(_record(result))
    else:
        print(render.printed([table(result)]))
        print("\n" + behind("", verdict(result)))
    return 0 if result.verdict in ("better on training lines", "no sign of over-fitting") else 1


def _record(result: OverfitCheck) -> dict[str, Any]:
    splits = {
        score.split: {
            "lines": len(score.edits),
            "edits": sum(score.edits),
            "characters": sum(score.characters),
            "cer": score.cer,
            "sha256": score.sha256,
        }
        for score in result.scores
    }
    ratio = result.ratio
    return {
        "system": f"{result.encoder}:{result.decoder}",
        "weights": result.weights,
        "dataset": result.dataset,
        "trained_on": result.trained_on,
        "splits": splits,
        "ratio": dataclasses.asdict(ratio) if ratio else None,
        "verdict": result.verdict,
    }


@app.command
def leak(
    *,
    dataset: str = "",
    text: Files = (),
    options: Options = (),
    lang: Lang = None,
    as_json: Json = False,
    data_root: DataRoot = None,
) -> int:
    """Find test lines in the training data of shipped weights, or in other splits of a set.

    Hands, pages, images and texts are compared, and test lines that a language model has read.

    Args:
        dataset: compare its splits instead of the shipped weights; with --text alone: ink
        text: text of a language model; default: that of the embedded one
    """
    from bench.cli.bars import track
    from bench.core.files import read_text
    from bench.pipeline.leaks.check import check_splits, check_text
    from bench.pipeline.leaks.leak import known, seen_too_often
    from bench.pipeline.leaks.weights import check_weights
    from bench.pipeline.plan import MAIN_SETS, Part, Registries
    from bench.report import render
    from bench.report.leak import of_weights, table, verdict
    from decoders.language.lm import train_text

    names = Registries()
    given = typed(options, names)
    dataset = dataset or ("ink" if text else "")
    parts = [
        Part(name, names.datasets.create(name, given.get(name)), given.get(name, {}))
        for name in ([dataset] if dataset else MAIN_SETS)
    ]
    if not dataset:
        found = check_weights(parts, track)
        if as_json:
            print_json({"weights": [dataclasses.asdict(one) for one in found]})
        else:
            for sentence in of_weights(found).splitlines():
                print(behind("", sentence))
        return int(any(one.spoilt for one in found))
    (part,) = parts
    leaks = check_splits(part, track)
    texts = check_text(read_text(text) if text else train_text(), [part], track)
    if as_json:
        record = {
            "dataset": dataset,
            "splits": [dataclasses.asdict(one) for one in leaks],
            "text": [dataclasses.asdict(one) for one in texts],
            "known": known(dataset),
        }
        print_json(record)
    else:
        print(render.printed([table(dataset, leaks)]))
        for sentence in verdict(dataset, leaks, texts).splitlines():
            print(behind("", sentence))
    return int(any(one.spoils for one in leaks) or any(seen_too_often(t.overlap) for t in texts))
