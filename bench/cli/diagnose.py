"""`python -m bench diagnose`: do the errors of a decoder come from its search or from its model?"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM, add_data_root
from bench.cli.runtime import add_runtime, runtime_of
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options, words

if TYPE_CHECKING:
    from bench.analysis.diagnostics import Diagnosis
    from bench.pipeline.plan import Selection
    from bench.report.table import Table

_EPILOG = f"""\
examples:
  {PROGRAM} diagnose                                   every decoder behind mini, clean lines
  {PROGRAM} diagnose --decoder ctc-beam,ar-beam --damage none,blot --severity 1,3,5
  {PROGRAM} diagnose --decoder ar-beam -o ar-beam.beam=10 --limit 50
  {PROGRAM} diagnose --out results/diagnostics         also as markdown, LaTeX and CSV
  {PROGRAM} diagnose --json | jq '.findings[] | [.decoder, .search, .model]'

A wrong line is a search error when its reference scores higher than what was read under the
decoder's own objective, which a wider beam could mend, and a model error when it does not. The
oracle CER at k is that of the best of the first k texts that the decoder tells.
"""


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "diagnose",
        help="do errors come from the search or the model?",
        description="Search errors, model errors and oracle CER of decoders behind one encoder.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to look at")
    what.add_argument("--encoder", default="mini", metavar="NAME", help="default: %(default)s")
    what.add_argument("--decoder", action="append", metavar="NAMES", help="default: all")
    what.add_argument("--dataset", default="lines", metavar="NAME", help="default: %(default)s")
    what.add_argument("--split", default="test", help="default: %(default)s")
    what.add_argument(
        "--damage",
        action="append",
        metavar="NAMES",
        help="and none for the clean set; default: none",
    )
    what.add_argument("--severity", action="append", metavar="N", help="1 to 5; default: 3")
    what.add_argument("--seed", type=int, default=0, help="of the damages; default: %(default)s")
    what.add_argument(
        "--limit", type=int, default=200, metavar="N",
        help="lines, evenly spread over the split; default: %(default)s",
    )  # fmt: skip
    what.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option of anything above; may be repeated",
    )  # fmt: skip
    add_data_root(parser)
    how = parser.add_argument_group("how")
    add_runtime(how)
    how.add_argument("--out", type=Path, metavar="DIR", help="write the tables there as well")
    how.add_argument("--json", action="store_true", help="every line, for programs")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Read, score, tell."""
    from bench.analysis.diagnostics import diagnose
    from bench.cli.bars import track
    from bench.pipeline.plan import Registries
    from bench.report import render
    from bench.report.diagnostics import tables

    found = diagnose(_selection(args), Registries(), track)
    made = list(tables(found))
    if args.out is not None:
        _write(args.out, made)
    if args.json:
        print(json.dumps(_record(found), indent=2))
        return 0
    for table in made:
        print(render.terminal(table, shutil.get_terminal_size().columns))
    for decoder, why in found.skipped:
        print(f"could not run here: {decoder}: {why}")
    return 0


def _selection(args: argparse.Namespace) -> Selection:
    """What the options ask for.

    Raises:
        UserError: an unknown name or option, or a value of a wrong type.
    """
    from bench.pipeline.plan import CLEAN, Registries, Selection
    from datasets.damage.base import SEVERITIES

    names = Registries()
    registries = (names.encoders, names.decoders, names.datasets, names.damages)
    damages = words(args.damage) or (CLEAN,)
    severities = words(args.severity) or ("3",)
    if unknown := [word for word in severities if word not in map(str, SEVERITIES[1:])]:
        raise UserError(f"severity {unknown[0]} is not one of 1 to {SEVERITIES[-1]}")
    for damage in damages:
        if damage != CLEAN:
            names.damages.entry(damage)
    return Selection(
        encoders=(args.encoder,),
        decoders=words(args.decoder) or tuple(names.decoders.names()),
        datasets=(args.dataset,),
        split=args.split,
        damages=damages,
        severities=tuple(map(int, severities)),
        seed=args.seed,
        limit=args.limit,
        options=typed_options(parse_options(args.options), registries),
        runtime=runtime_of(args),
    )


def _write(folder: Path, made: list[Table]) -> None:
    from bench.core.files import write_atomically
    from bench.report import render

    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(render.markdown(table) for table in made)
    write_atomically(folder / "diagnostics.md", text.encode())
    for table in made:
        write_atomically(folder / f"{table.slug}.tex", render.latex(table).encode())
        write_atomically(
            folder / f"{table.slug}.csv", render.spreadsheet(table).encode("utf-8-sig")
        )


def _record(found: Diagnosis) -> dict[str, Any]:
    """A diagnosis for programs: counts, oracle CERs and every line."""
    return {
        "encoder": found.encoder,
        "weights": found.weights,
        "dataset_sha256": found.dataset_sha256,
        "skipped": dict(found.skipped),
        "findings": [
            {
                "decoder": one.decoder,
                "condition": dataclasses.asdict(one.condition),
                "options": dict(one.options),
                "right": one.count("right"),
                "search": one.count("search"),
                "model": one.count("model"),
                "unreachable": one.count("unreachable"),
                "unknown": one.count("unknown"),
                "oracle_cer": [one.oracle(width) for width in range(1, one.width + 1)],
                "lines": [dataclasses.asdict(line) for line in one.lines],
            }
            for one in found.findings
        ],
    }
