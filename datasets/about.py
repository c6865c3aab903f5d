"""Facts about registered sets that are printed beside their results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.core.named import kind_of
from bench.core.types import Line, LineResult


@dataclass(frozen=True)
class About:
    """A set's hands, blocks and ink.

    block: noun for a block (`Line.block`) that is not a hand; "" when blocks are hands.
    hands: number of hands in the whole set when blocks are not hands; None: unknown.
    synthetic: how its ink was made; "" for human handwriting.
    composed: how lines were made of human handwriting; "" for original lines.
    punctuation: whether its references have any.
    """

    block: str = ""
    hands: int | None = None
    synthetic: str = ""
    composed: str = ""
    punctuation: bool = True


_KNOWN: Mapping[str, About] = {  # by the first word of the registered name
    "lines": About(synthetic="rendered with stroke fonts"),
    "ink": About(composed="real strokes, composed lines"),
    "hooker": About("letter", 1),
    "copiste": About("text"),
    "page": About("page"),
    "alto": About("page"),
    "cvl": About(punctuation=False),
}


def about(dataset: str) -> About:
    """Facts about a registered set, or a part or level of it ("lines-random")."""
    return _KNOWN.get(kind_of(dataset).partition("-")[0], About())


@dataclass(frozen=True)
class Blocks:
    """The blocks of some lines, which are the units of resampling.

    noun: "writer", "letter", ...
    hands: None if every block is a hand; 0 if their number is unknown.
    """

    count: int
    noun: str = "writer"
    hands: int | None = None


def blocks_of(dataset: str, lines: Iterable[Line | LineResult]) -> Blocks:
    """Count the blocks of lines of a registered set, and the hands in them."""
    pairs = {(line.block, line.writer) for line in lines}
    count, known = len({block for block, _ in pairs}), about(dataset)
    if known.block:
        return Blocks(count, known.block, known.hands or 0)
    if all(block == writer for block, writer in pairs) and pairs != {("", "")}:
        return Blocks(count)
    return Blocks(count, "block", len({writer for _, writer in pairs} - {""}))
