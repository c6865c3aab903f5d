"""`python -m bench dev`: what decoders cost, and what they are made of."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from bench import ROOT
from bench.cli import PROGRAM
from bench.cli.options import (
    DataRoot,
    Inference,
    Json,
    Lang,
    Machine,
    Options,
    parts_of_system,
    print_json,
    typed,
)
from bench.core.bounds import Count
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options
from bench.core.types import Runtime

if TYPE_CHECKING:
    from bench.analysis.perf import PeerComparison, PeerRecord
    from bench.analysis.show import Node

app = App(
    name="dev",
    help="For developers of decoders and encoders: peers, traces, search errors, modules.",
    help_epilogue=f"""\
examples:
  {PROGRAM} dev perf n-gram              our searches against their peers
  {PROGRAM} dev trace mini:ctc-ngram     where the time goes
  {PROGRAM} dev diagnose --limit 50      do errors come from the search or the model?
  {PROGRAM} dev show mini                modules, shapes, parameters
""",
)
_PERF = f"""\
examples:
  {PROGRAM} dev perf                              every comparison
  {PROGRAM} dev perf n-gram                       those whose name has the word
  {PROGRAM} dev perf search trocr-base            ... all of the words
  {PROGRAM} dev perf --list                       their names
  {PROGRAM} dev perf n-gram --encoder ./runs/tiny/model -o ./runs/tiny/model.head=FILE

Let nothing else run meanwhile.

exit code 1: a comparison could not be run
"""
_TRACE = f"""\
examples:
  {PROGRAM} dev trace mini:ctc-greedy
  {PROGRAM} dev trace mini:ar-beam --lines 8 --batch-size 1 -o ar-beam.beam=10
  {PROGRAM} dev trace mini:ctc-ngram --out my-traces

A system is ENCODER:DECODER. Look at the traces with
  tensorboard --logdir results/traces   after pip install '.[trace]'; its charts need internet
  chrome://tracing                      open the file that is named; works without internet
  https://ui.perfetto.dev               the same file

The profiler slows down what it watches, so a trace is no measurement: speeds come from the
commands run and dev perf.
"""
_SHOW = f"""\
examples:
  {PROGRAM} dev show mini                            the encoder with its heads
  {PROGRAM} dev show trocr-small -o trocr-small.untrained=true

Shapes are those of the first output of each module while --lines real lines go through it;
"-" means that it was not called. Stacked layers that are alike are one line (0-11: 12 x).
"""

app.command(
    "bench.cli.diagnose:app",
    name="diagnose",
    help="Count search errors, model errors and oracle CER of decoders.",
)


@app.command(help_epilogue=_PERF, usage=f"{PROGRAM} dev perf [OPTIONS] [WORDS...]")
def perf(
    *words: str,
    names_only: Annotated[bool, Parameter(name="--list")] = False,
    encoder: str = "mini",
    options: Options = (),
    machine: Machine = Machine(),
    out: str = "perf",
    lang: Lang = None,
) -> int:
    """Compare the speed of our decoders with their peers'.

    Both read the same input, alternating; the table has the ratio's spread and whether both read
    the same texts.

    Args:
        words: only comparisons whose name has all
        names_only: names of the comparisons, run none
        encoder: whose log-probabilities the n-gram searches read
        out: folder under results/runs, or a path with a slash
    """
    from bench.analysis.perf import comparisons
    from bench.core.files import write_files
    from bench.pipeline import runs
    from bench.pipeline.opening import check_runtime
    from bench.report import render
    from bench.report.language import say
    from bench.report.perf import table as table_of
    from models import ENCODERS

    ENCODERS.entry(encoder)
    typed = typed_options(parse_options(options), (ENCODERS,))
    chosen = comparisons(encoder, typed.get(encoder), words)
    if not chosen:
        raise UserError(
            f"no comparison has {' '.join(words)!r} in its name; {PROGRAM} dev perf --list names "
            "all"
        )
    if names_only:
        print("\n".join(one.label for one in chosen))
        return 0
    folder = runs.folder(out)
    runtime = machine.runtime()
    check_runtime(runtime)
    record = _compared(chosen, runtime, folder)
    table = table_of(record)
    files = render.files(table, "perf")
    write_files(folder, files)
    print(render.printed([table]))
    written = ", ".join(("perf.json", *files))
    print(say("files in {path}: {files}", path=folder, files=written))
    return int(any(result.reason for result in record.results))


def _compared(comparisons: Sequence[PeerComparison], runtime: Runtime, folder: Path) -> PeerRecord:
    """Run comparisons; the record is written after each of them."""
    from rich.console import Console

    from bench.analysis.perf import PeerRecord, compare, write
    from bench.cli.bars import bars
    from bench.core.hashing import plain
    from bench.core.machine import environment

    record = PeerRecord(plain(environment()), runtime)
    with bars(Console(stderr=True)) as bar:
        task = bar.add_task("", total=2 * len(comparisons))
        for one in comparisons:
            bar.update(task, description=one.label)
            result = compare(one, runtime, lambda sides: bar.advance(task, sides))
            record = dataclasses.replace(record, results=(*record.results, result))
            write(folder, record)
    return record


@dataclasses.dataclass(frozen=True)
class _Traced(Inference):
    batch_size: Count = 8


@app.command(help_epilogue=_TRACE)
def trace(
    system: str,
    /,
    *,
    dataset: str = "ink",
    split: str = "test",
    lines: Count = 16,
    inference: _Traced = _Traced(),
    options: Options = (),
    out: Path | None = None,
    lang: Lang = None,
    as_json: Json = False,
    data_root: DataRoot = None,
) -> int:
    """Read some lines under torch's profiler and write the trace.

    Args:
        system: ENCODER:DECODER, as in mini:ctc-greedy
        dataset: one of `list`
        split: of the set
        lines: how many to read
        out: folder of the traces; default: results/traces
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's tracer talks on stderr otherwise
    from bench.analysis.trace import trace as write_trace
    from bench.cli.bars import Steps
    from bench.pipeline.opening import opened
    from bench.pipeline.plan import Registries
    from bench.report import render
    from bench.report.trace import tables

    encoder, decoder = parts_of_system(system)
    folder, names = out or ROOT / "results" / "traces", Registries()
    with (
        Steps(system) as steps,
        opened(encoder, names, typed(options, names), inference.runtime()) as bench,
    ):
        reader = bench.decoder(bench.spec(decoder))
        images = [line.image for line in bench.lines(dataset, split, lines).lines]
        name = system.replace("/", "-").replace(":", "-")
        traced = write_trace(name, bench, reader, images, folder, steps.report)
    if as_json:
        record = {"system": system, **dataclasses.asdict(traced)}
        print_json(record)
        return 0
    print(render.printed(tables(traced, system, f"{dataset} ({split})")))
    print(f"tensorboard --logdir {folder}")
    print(f"chrome://tracing or https://ui.perfetto.dev: {traced.path}")
    return 0


@app.command(help_epilogue=_SHOW)
def show(
    encoder: str,
    /,
    *,
    dataset: str = "ink",
    lines: Count = 2,
    options: Options = (),
    lang: Lang = None,
    data_root: DataRoot = None,
    as_json: Json = False,
) -> int:
    """Print the module tree of an encoder, with shapes and parameter counts.

    Args:
        encoder: one of `list`
        dataset: where the lines come from
        lines: how many
    """
    from bench.analysis.show import module_tree
    from bench.core.machine import thread_count
    from bench.pipeline.opening import opened
    from bench.pipeline.plan import Registries
    from bench.report.format import plural
    from bench.report.language import say, say_name, say_text

    names = Registries()
    about = names.encoders.entry(encoder).summary
    values = typed(options, names)
    if unused := [name for name in values if name not in (encoder, dataset)]:
        raise UserError(f"options are given for {unused[0]!r}, which is not shown here")
    runtime = Runtime(batch_size=lines, threads=thread_count())
    with opened(encoder, names, values, runtime) as bench:
        chosen = bench.lines(dataset, "test", lines).lines
        tree = module_tree(bench.encoder.module(), lambda: list(bench.encode(chosen)))
        info = bench.info
    if as_json:
        tree_record = dataclasses.asdict(tree)
        print_json({"name": encoder, "parameters": dict(info.parameters), "tree": tree_record})
        return 0
    shapes = ", ".join("x".join(map(str, line.image.shape)) for line in chosen)
    print(say("encoder {name}: {summary}", name=encoder, summary=say_text(about)))
    print(say("weights: {path}", path=info.weights))
    words = "input: {lines} of {set} (test), H x W = {shapes} px"
    print(say(words, lines=plural(len(chosen), "line"), set=dataset, shapes=shapes))
    print(f"\n{_tree_text(tree)}\n")
    for name, count in (*info.parameters.items(), ("all", sum(info.parameters.values()))):
        print(say("{name}: {count} parameters", name=say_name(name), count=f"{count:,}"))
    return 0


def _tree_text(tree: Node) -> str:
    """Module, output shape and parameters in three columns; layers that are alike in one line."""
    from bench.analysis.show import branches
    from bench.report.format import padded, width_of
    from bench.report.language import say

    rows = [(say("module"), say("first output"), say("parameters"))]
    for branch in branches(tree):
        node = branch.node
        times = f" ({branch.repeats} x)" if branch.repeats > 1 else ""
        kind = "" if branch.name == node.kind else f": {node.kind}"
        shape = "-" if node.shape is None else str(node.shape).replace(",)", ")")
        count = f"{branch.repeats} x {node.parameters:,}" if times else f"{node.parameters:,}"
        rows.append(("  " * branch.depth + branch.name + kind + times, shape, count))
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{padded(row[0], widths[0])}  {padded(row[1], widths[1])}  "
        f"{' ' * (widths[2] - width_of(row[2]))}{row[2]}"
        for row in rows
    )
