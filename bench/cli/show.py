"""`python -m bench show`: the module tree of an encoder or decoder, with shapes and counts."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.cli import PROGRAM, add_data_root
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options
from bench.core.registry import did_you_mean
from bench.core.types import Decoded, Encoded, Line, Runtime
from datasets import DATASETS
from decoders import DECODERS
from models import ENCODERS

if TYPE_CHECKING:
    from bench.analysis.show import Node
    from decoders.base import Decoder, DecoderSpec

Options = Mapping[str, Mapping[str, Any]]

_EPILOG = f"""\
examples:
  {PROGRAM} show mini                            the encoder with its heads
  {PROGRAM} show ar-beam                         the decoder at work on the default encoder
  {PROGRAM} show ctc-kenlm -o ctc-kenlm.beam=50
  {PROGRAM} show ar-greedy --encoder trocr-small --depth 2

Shapes are those of the first output of each module while --lines real lines go through it;
"-" means that it was not called. Stacked layers that are alike are one line (0-11: 12 x).
Shape letters: B lines, S encoder steps, D width of a state, T frames, V symbols.
"""


@dataclass(frozen=True)
class Sight:
    """What is shown of one thing.

    totals: parameter count by part.
    tree: None where there are no modules.
    """

    head: list[str]
    totals: dict[str, int]
    tree: Node | None


def add(subparsers: Any) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "show",
        help="the module tree of an encoder or decoder",
        description="The module tree of an encoder or decoder, with shapes and parameter counts.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="an encoder or a decoder")
    parser.add_argument(
        "--encoder",
        metavar="NAME",
        help=f"what a decoder reads from; default: {ENCODERS.names()[0]}",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        default=DATASETS.names()[0],
        help="where the lines come from; default: %(default)s",
    )
    parser.add_argument(
        "--lines", type=int, default=2, metavar="N", help="how many; default: %(default)s"
    )
    parser.add_argument("--depth", type=int, metavar="N", help="levels of the tree; default: all")
    parser.add_argument(
        "-o", dest="options", action="append", default=[], metavar="NAME.OPTION=VALUE",
        help="set an option; may be repeated",
    )  # fmt: skip
    add_data_root(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Print the tree of one encoder or decoder."""
    if args.name not in ENCODERS and args.name not in DECODERS:
        hint = did_you_mean(args.name, [*ENCODERS.names(), *DECODERS.names()])
        raise UserError(f"no encoder or decoder is called {args.name!r}{hint}")
    if args.name in ENCODERS and args.encoder:
        raise UserError(f"{args.name} is an encoder itself; leave out --encoder")
    if args.lines < 1 or (args.depth is not None and args.depth < 0):
        raise UserError("--lines has to be 1 or more, and --depth 0 or more")
    registries = (ENCODERS, DECODERS, DATASETS)
    options = typed_options(parse_options(args.options), registries)
    wanted = {args.name, _encoder_name(args), args.dataset}
    for name in options:
        if name not in wanted:
            raise UserError(f"options are given for {name!r}, which is not shown here")
    sight = _sight(args, options)
    if args.json:
        tree = dataclasses.asdict(sight.tree) if sight.tree else None
        record = {"name": args.name, "about": sight.head, "parameters": sight.totals, "tree": tree}
        print(json.dumps(record, indent=2))
    else:
        print(_text(sight, args.depth))
    return 0


def _sight(args: argparse.Namespace, options: Options) -> Sight:
    """Open what is needed, send the lines through, and look."""
    import torch

    from bench.analysis.show import trace
    from bench.pipeline.opening import opened
    from bench.pipeline.plan import Registries

    is_encoder = args.name in ENCODERS
    name = args.name if is_encoder else _encoder_name(args)
    runtime = Runtime(batch_size=args.lines, threads=torch.get_num_threads())
    with opened(name, Registries(), options, runtime) as bench:
        lines = bench.lines(args.dataset, "test", args.lines).lines
        shapes = ", ".join("x".join(map(str, line.image.shape)) for line in lines)
        head = [f"input: {len(lines)} lines of {args.dataset} (test), H x W = {shapes} px"]
        info = bench.info
        if is_encoder:
            whole = trace(bench.encoder.module(), lambda: list(bench.encode(lines)))
            about = [_about(ENCODERS.target(args.name)), f"weights: {info.weights}"]
            return Sight([f"encoder {args.name}", *about, *head], dict(info.parameters), whole)
        spec = bench.spec(args.name)
        decoder = bench.decoder(spec)
        (batch,) = bench.encode(lines)
        tree, decoded = _decode(decoder, batch.encoded)
        extras = [f"{name}: {value}" for name, value in decoder.extras().items()]
        ignored = spec.ignored(info)
        extras += [f"not applied: {name} {value}" for name, value in ignored.items()]
    texts = _texts(batch.lines, decoded)
    head += [f"encoder: {info.name}, {_reads(spec, batch.encoded)}", *extras, *texts]
    about = [f"decoder {args.name}", _about(type(spec)), *_settings(spec)]
    return Sight([*about, *head], {"ar": tree.parameters} if tree else {}, tree)


def _decode(decoder: Decoder, encoded: Encoded) -> tuple[Node | None, list[Decoded]]:
    """What a decoder reads, and the tree of the network that it runs, if it runs one."""
    from bench.analysis.show import trace

    if decoder.spec.needs == "log_probs" or encoded.ar is None:
        return None, decoder.decode(encoded)
    decoded: list[Decoded] = []
    tree = trace(encoded.ar.decoder, lambda: decoded.extend(decoder.decode(encoded)))
    return tree, decoded


def _encoder_name(args: argparse.Namespace) -> str:
    return args.encoder or ENCODERS.names()[0]


def _about(target: Any) -> str:
    return (inspect.getdoc(target) or "").partition("\n")[0]


def _settings(spec: DecoderSpec) -> list[str]:
    """The options of a decoder with their values."""
    return [f"  {name} = {value}" for name, value in spec.settings().items()]


def _reads(spec: DecoderSpec, encoded: Encoded) -> str:
    """What the decoder is given, with its shape."""
    read = []
    if spec.needs != "log_probs":
        read.append(f"states (B, S, D) = {tuple(encoded.states.shape)}")
    if spec.needs != "states":
        shape = None if encoded.log_probs is None else tuple(encoded.log_probs.shape)
        read.append(f"log_probs (B, T, V) = {shape}" if shape else "no log_probs")
    return " and ".join(read)


def _texts(lines: Sequence[Line], decoded: Sequence[Decoded]) -> list[str]:
    return [
        f"read as: {one.text!r} ({one.tokens} tokens); written: {line.text!r}"
        for line, one in zip(lines, decoded, strict=True)
    ]


def _text(sight: Sight, depth: int | None) -> str:
    blocks = ["\n".join(line for line in sight.head if line)]
    if sight.tree is not None:
        blocks.append(_tree_text(sight.tree, depth))
    if sight.totals:
        totals = [f"{name}: {count:,} parameters" for name, count in sight.totals.items()]
        total = f"all: {sum(sight.totals.values()):,} parameters"
        blocks.append("\n".join([*totals, *([total] if len(totals) > 1 else [])]))
    if sight.tree is None:
        blocks.append("no module of its own")
    return "\n\n".join(blocks)


def _tree_text(tree: Node, depth: int | None) -> str:
    """Module, output shape and parameters in three columns; layers that are alike in one line."""
    from bench.analysis.show import branches

    rows = [("module", "first output", "parameters")]
    for branch in branches(tree, depth):
        node = branch.node
        times = f" ({branch.repeats} x)" if branch.repeats > 1 else ""
        kind = "" if branch.name == node.kind else f": {node.kind}"
        shape = "-" if node.shape is None else str(node.shape).replace(",)", ")")
        count = f"{branch.repeats} x {node.parameters:,}" if times else f"{node.parameters:,}"
        rows.append(("  " * branch.depth + branch.name + kind + times, shape, count))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}" for row in rows
    )
