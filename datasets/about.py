"""Facts about registered sets that stand beside every number on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.core.types import Line, LineResult


@dataclass(frozen=True)
class About:
    """A set's hands, blocks and ink.

    block: noun of the blocks (`Line.block`) where these are no hands; "" where they are.
    hands: how many hands the whole set has, where its blocks do not tell; None: not known.
    synthetic: how its ink was made; "" of ink that people wrote.
    composed: how lines were made of ink that people wrote; "" of lines that they wrote.
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
    return _KNOWN.get(dataset.partition("-")[0], About())


def named(dataset: str) -> str:
    """A set's name, and that it is synthetic where it is: "lines (synthetic)"."""
    return f"{dataset} (synthetic)" if about(dataset).synthetic else dataset


@dataclass(frozen=True)
class Blocks:
    """The blocks of some lines: what statistics resample.

    noun: "writer", "letter", ...
    hands: None where every block is a hand; 0 where nothing says how many there are.
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
    if all(block == writer for block, writer in pairs):
        return Blocks(count)
    return Blocks(count, "block", len({writer for _, writer in pairs} - {""}))
