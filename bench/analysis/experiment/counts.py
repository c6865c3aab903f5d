"""Sums of edits and of characters read right, from stored texts.

`bench.core.metrics` counts edits; here each is attributed to a character of the reference. Of
several shortest edit scripts ("helo" for "hello": which l is missing?) the one that blames the
least visible characters is taken, so a reader never gets credit for a hidden character that its
neighbour explains as well. The visible shares are stored beside the rows.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.analysis.experiment import ideal
from bench.analysis.experiment.cloze import Cloze
from bench.analysis.experiment.design import Design
from bench.analysis.experiment.run import SHARES, Cell, Measured
from bench.analysis.stats import Redrawn
from bench.core.cache import keep, kept
from bench.core.hashing import code_version, digest
from bench.core.jit import compiled
from bench.core.metrics import normalise
from bench.core.types import Condition, Decoded, EncoderInfo, Line, LineResult, LineSet
from bench.pipeline.opening import Track
from bench.pipeline.plan import Block, Part
from datasets.damage.base import SUITE
from datasets.damage.cache import cached_lines
from datasets.damage.visible import HIDDEN, completed, visible_shares
from decoders.base import Decoder

CLOZE = "cloze"  # in place of a decoder: the language model with the true text around the blanks

# The columns of a line's sums. A hidden character has ink, and less than 20 % of it is left.
CHARACTERS, RIGHT, EDITS, HIDDEN_ONES, RESTORED = range(5)
COLUMNS = 5

Shares = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Counts:
    """Sums over the lines of each block.

    redrawn: the blocks of each level's set and their draws, the same where the blocks are.
    cells: (blocks, COLUMNS). `CLOZE` has only the columns of hidden characters.
    """

    redrawn: Mapping[str, Redrawn]
    cells: Mapping[Cell, NDArray[np.float64]]


def count(measured: Measured, cloze: Callable[[str], Cloze], track: Track) -> Counts:
    """Attribute the edits of every stored line; run the cloze test and the ideal reader.

    Both have the alphabet and the weights of the first reader.
    """
    names = {level: [x.block for x in own.lines] for level, own in measured.sets.items()}
    redrawn = {level: Redrawn(tuple(sorted(set(own)))) for level, own in names.items()}
    cells: dict[Cell, NDArray[np.float64]] = {}
    info = next(iter(measured.infos.values()))
    guessing, decoders = cloze(info.name), _Decoders(measured.design, info)
    for place_, block in track(list(measured.blocks.items()), "looking at every character"):
        reader, level, condition = place_
        lines = measured.sets[level].lines
        shares = shares_of(measured.store.path / SHARES, block, measured.sets[level])
        systems = {
            part.name: columns(lines, shares, measured.store.lines(row.key))
            for part in block.decoders
            if (row := measured.rows.get((*place_, part.name)))
        }
        readings = {reader: systems}
        if block.damage and reader == info.name:
            pairs = zip(lines, shares, strict=True)
            systems[CLOZE] = [_guessed(guessing, *pair) for pair in pairs]
            if all(line.boxes is not None for line in lines):
                encoded = ideal.encoded(lines, shares, info.alphabet)
                readings[ideal.NAME] = {
                    name: columns(lines, shares, decoder.decode(encoded))
                    for name, decoder in decoders.of(block).items()
                }
        for name, own in readings.items():
            for system, rows in own.items():
                sums = redrawn[level].block_sums(np.stack(rows), names[level])
                cells[name, level, condition, system] = sums
    return Counts(redrawn, cells)


class _Decoders:
    """The decoders of the ideal reader: those that are read behind all readers."""

    def __init__(self, design: Design, info: EncoderInfo) -> None:
        self._names = {
            design.baseline,
            *(n for n, dose in design.doses.items() if not dose.readers),
        }
        self._info, self._open = info, dict[tuple[str, Any], Decoder]()

    def of(self, block: Block) -> dict[str, Decoder]:
        """Open the decoders of a block, each once; by name."""
        own = [part for part in block.decoders if part.name in self._names]
        for part in own:
            if (part.name, part.thing) not in self._open:
                self._open[part.name, part.thing] = part.thing.open(self._info)
        return {part.name: self._open[part.name, part.thing] for part in own}


def columns(
    lines: Iterable[Line], visible: Iterable[Shares], read: Iterable[Decoded | LineResult]
) -> list[NDArray[np.float64]]:
    """(COLUMNS,) the sums of each line."""
    return [
        _sums(line, place(line.text, text.text, shares), shares)
        for line, shares, text in zip(lines, visible, read, strict=True)
    ]


def _sums(line: Line, placed: Placed, visible: Shares) -> NDArray[np.float64]:
    blank = _hidden(line.text, visible)
    sums = np.zeros(COLUMNS)
    sums[CHARACTERS], sums[RIGHT] = len(line.text), placed.right.sum()
    sums[EDITS] = placed.edits.sum()
    sums[HIDDEN_ONES], sums[RESTORED] = blank.sum(), (placed.right & blank).sum()
    return sums


def _guessed(cloze: Cloze, line: Line, visible: Shares) -> NDArray[np.float64]:
    blank = _hidden(line.text, visible)
    sums = np.zeros(COLUMNS)
    sums[HIDDEN_ONES] = blank.sum()
    if blank.any():
        sums[RESTORED] = (cloze.right(line.text, visible < HIDDEN) & blank).sum()
    return sums


def _hidden(text: str, visible: Shares) -> NDArray[np.bool_]:
    inked = np.array([character != " " for character in text])
    hidden: NDArray[np.bool_] = (visible < HIDDEN) & inked
    return hidden


def shares_of(folder: Path, block: Block, clean: LineSet) -> list[Shares]:
    """(len(text),) visible share of each character of each line of a block, gaps filled.

    A character without ink (a space) gets the larger share of its neighbours.
    """
    if block.damage is None:
        return [np.ones(len(line.text), np.float32) for line in clean.lines]
    path = folder / f"{_identity(block.damage, block.condition, clean)}.json"
    content = kept(path)
    if content is None:
        seen = [shares.tolist() for shares in _seen(block.damage, block.condition, clean)]
        keep(path, content := json.dumps(seen).encode())
    return [np.array(each, np.float32) for each in json.loads(content)]


def _seen(damage: Part, condition: Condition, clean: LineSet) -> Iterator[Shares]:
    pairs = cached_lines(
        damage.thing, clean.lines, condition.dataset, condition.severity, condition.seed
    )
    for line, damaged in zip(clean.lines, pairs, strict=True):
        yield completed(line.text, visible_shares(line, damaged))


def _identity(damage: Part, condition: Condition, clean: LineSet) -> str:
    modules = (type(damage.thing).__module__, "datasets.damage.visible")
    return digest(
        [
            SUITE, clean.sha256, dataclasses.asdict(condition), damage.options,
            code_version(modules), code_version((__name__,)),
        ]
    )  # fmt: skip


_RIGHT, _WRONG, _MISSING = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Placed:
    """The edits at each of the N characters of a reference.

    right: (N,) bool, read correctly; wrong: (N,) bool, substituted; deleted if neither.
    added: (N,) int64, insertions beside it.
    """

    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    added: NDArray[np.int64]

    @property
    def edits(self) -> NDArray[np.int64]:
        """(N,) edits at each character."""
        edits: NDArray[np.int64] = (~self.right).astype(np.int64) + self.added
        return edits


def place(reference: str, text: str, visible: NDArray[np.float32]) -> Placed:
    """Attribute the edits from a reference to a text; as many as in `metrics.score_line`.

    An insertion is attributed to the less visible of its two neighbours. The (N,) visible shares
    are those of the reference's characters, at least one.

    Raises:
        ValueError: the normaliser would change the reference, or a share is missing.
    """
    if not reference or normalise(reference) != reference:
        raise ValueError(f"{reference!r} is not as the normaliser leaves a text")
    if visible.shape != (len(reference),) or np.isnan(visible).any():
        raise ValueError("each character of the reference needs its visible share")
    kinds, added = _placed(_code_points(reference), _code_points(normalise(text)), visible)
    return Placed(kinds == _RIGHT, kinds == _WRONG, added)


def _code_points(text: str) -> NDArray[np.int32]:
    return np.array([ord(character) for character in text], np.int32)


@compiled
def _placed(
    truth: NDArray[np.int32], read: NDArray[np.int32], visible: NDArray[np.float32]
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Levenshtein's table with a surcharge for edits of visible characters.

    All surcharges sum to less than 1/4, so that no longer script is cheaper.
    """
    n, m = truth.size, read.size
    unit = 0.25 / (n + m + 1)
    beside = np.empty(n + 1, np.int64)  # the owner of an insertion before the i-th character
    for i in range(n + 1):
        before, after = max(i - 1, 0), min(i, n - 1)
        beside[i] = before if visible[before] <= visible[after] else after
    cost = np.empty((n + 1, m + 1))
    cost[0, 0] = 0.0
    for i in range(n + 1):
        extra = 1.0 + unit * visible[beside[i]]
        fault = 1.0 + unit * visible[i - 1]
        for j in range(m + 1):
            if i == 0 and j == 0:
                continue
            best = np.inf
            if i and j:
                same = truth[i - 1] == read[j - 1]
                best = cost[i - 1, j - 1] + (0.0 if same else fault)
            if i:
                best = min(best, cost[i - 1, j] + fault)
            if j:
                best = min(best, cost[i, j - 1] + extra)
            cost[i, j] = best
    kinds = np.empty(n, np.int8)
    added = np.zeros(n, np.int64)
    i, j = n, m
    while i or j:
        extra = 1.0 + unit * visible[beside[i]]
        fault = 1.0 + unit * visible[i - 1]
        same = i > 0 and j > 0 and truth[i - 1] == read[j - 1]
        if i and j and cost[i, j] == cost[i - 1, j - 1] + (0.0 if same else fault):
            i, j = i - 1, j - 1
            kinds[i] = _RIGHT if same else _WRONG
        elif i and cost[i, j] == cost[i - 1, j] + fault:
            i -= 1
            kinds[i] = _MISSING
        else:
            j -= 1
            added[beside[i]] += 1
    return kinds, added
