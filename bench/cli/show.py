"""`python -m bench show`: the module tree of an encoder or decoder, with shapes and counts."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cyclopts import App

from bench.cli import PROGRAM
from bench.cli.options import DataRoot, Json, Options, print_json
from bench.cli.selection import typed
from bench.core.errors import UserError
from bench.core.registry import did_you_mean
from bench.core.types import Decoded, Encoded, Line, Runtime

if TYPE_CHECKING:
    from bench.analysis.show import Node
    from bench.pipeline.opening import Bench
    from decoders.base import Decoder, DecoderSpec

app = App(
    name="show",
    help_epilogue=f"""\
examples:
  {PROGRAM} show mini                            the encoder with its heads
  {PROGRAM} show ar-beam                         the decoder at work on the default encoder
  {PROGRAM} show ctc-kenlm -o ctc-kenlm.beam=50
  {PROGRAM} show ar-greedy --encoder trocr-small --depth 2

Shapes are those of the first output of each module while --lines real lines go through it;
"-" means that it was not called. Stacked layers that are alike are one line (0-11: 12 x).
Shape letters: B lines, S encoder steps, D width of a state, T frames, V symbols.
""",
)


@dataclasses.dataclass(frozen=True)
class Description:
    """The shown parts of an encoder or decoder.

    parameters: by part.
    tree: None where there are no modules.
    """

    about: list[str]
    parameters: dict[str, int]
    tree: Node | None


@app.default
def run(
    name: str,
    /,
    *,
    encoder: str | None = None,
    dataset: str | None = None,
    lines: int = 2,
    depth: int | None = None,
    options: Options = (),
    data_root: DataRoot = None,
    as_json: Json = False,
) -> int:
    """Print the module tree of an encoder or decoder, with shapes and parameter counts.

    Args:
        name: an encoder or a decoder
        encoder: what a decoder reads from; default: the first of `list`
        dataset: where the lines come from; default: the first of `list`
        lines: how many
        depth: levels of the tree; default: all
    """
    import torch

    from bench.pipeline.opening import opened
    from bench.pipeline.plan import Registries

    names = Registries()
    is_encoder = name in names.encoders
    if not is_encoder and name not in names.decoders:
        hint = did_you_mean(name, [*names.encoders.names(), *names.decoders.names()])
        raise UserError(f"no encoder or decoder is called {name!r}{hint}")
    if is_encoder and encoder:
        raise UserError(f"{name} is an encoder itself; leave out --encoder")
    if lines < 1 or (depth is not None and depth < 0):
        raise UserError("--lines has to be 1 or more, and --depth 0 or more")
    behind = name if is_encoder else encoder or names.encoders.names()[0]
    source = dataset or names.datasets.names()[0]
    values = typed(options, names)
    if unused := [other for other in values if other not in (name, behind, source)]:
        raise UserError(f"options are given for {unused[0]!r}, which is not shown here")
    runtime = Runtime(batch_size=lines, threads=torch.get_num_threads())
    with opened(behind, names, values, runtime) as bench:
        chosen = bench.lines(source, "test", lines).lines
        shapes = ", ".join("x".join(map(str, line.image.shape)) for line in chosen)
        head = f"input: {len(chosen)} lines of {source} (test), H x W = {shapes} px"
        described = (_encoder if is_encoder else _decoder)(name, bench, chosen, head)
    if as_json:
        print_json({"name": name, **dataclasses.asdict(described)})
    else:
        print(_text(described, depth))
    return 0


def _encoder(name: str, bench: Bench, lines: Sequence[Line], head: str) -> Description:
    from bench.analysis.show import trace

    tree = trace(bench.encoder.module(), lambda: list(bench.encode(lines)))
    about = _about(bench.registries.encoders.target(name))
    weights = f"weights: {bench.info.weights}"
    return Description([f"encoder {name}", about, weights, head], dict(bench.info.parameters), tree)


def _decoder(name: str, bench: Bench, lines: Sequence[Line], head: str) -> Description:
    spec = bench.spec(name)
    decoder = bench.decoder(spec)
    (batch,) = bench.encode(lines)
    tree, decoded = _decode(decoder, batch.encoded)
    about = [
        *(f"decoder {name}", _about(type(spec))),
        *(f"  {option} = {value}" for option, value in spec.settings().items()),
        *(head, f"encoder: {bench.info.name}, {_reads(spec, batch.encoded)}"),
        *(f"{extra}: {value}" for extra, value in decoder.extras().items()),
        *(f"not applied: {option} {value}" for option, value in spec.ignored(bench.info).items()),
        *_texts(batch.lines, decoded),
    ]
    return Description(about, {"ar": tree.parameters} if tree else {}, tree)


def _decode(decoder: Decoder, encoded: Encoded) -> tuple[Node | None, list[Decoded]]:
    """Decode, and trace the network that the decoder runs, if it runs one."""
    from bench.analysis.show import trace

    if decoder.spec.needs == "log_probs" or encoded.ar is None:
        return None, decoder.decode(encoded)
    decoded: list[Decoded] = []
    tree = trace(encoded.ar.decoder, lambda: decoded.extend(decoder.decode(encoded)))
    return tree, decoded


def _about(target: Any) -> str:
    return (inspect.getdoc(target) or "").partition("\n")[0]


def _reads(spec: DecoderSpec, encoded: Encoded) -> str:
    """The decoder's input with its shape."""
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


def _text(described: Description, depth: int | None) -> str:
    blocks = ["\n".join(line for line in described.about if line)]
    if described.tree is not None:
        blocks.append(_tree_text(described.tree, depth))
    if described.parameters:
        totals = [f"{name}: {count:,} parameters" for name, count in described.parameters.items()]
        total = f"all: {sum(described.parameters.values()):,} parameters"
        blocks.append("\n".join([*totals, *([total] if len(totals) > 1 else [])]))
    if described.tree is None:
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
