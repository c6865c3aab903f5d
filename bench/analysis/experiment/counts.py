"""From stored texts to what the statistics need: edits and readings by class of character."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.analysis.experiment.cloze import Cloze
from bench.analysis.experiment.placing import Placed, place
from bench.analysis.experiment.run import SHARES, Measured, key
from bench.analysis.experiment.visibility import CLASSES, Shares, classes, shares_of
from bench.analysis.stats import Redrawn
from bench.core.types import Line
from bench.pipeline.opening import Track
from bench.pipeline.plan import Block

CLOZE = "cloze"  # stands for a system: the language model with the true text around the blanks

# The columns of a cell's sums.
EDITS, CHARACTERS = slice(0, 3), slice(3, 6)  # by class, as in `CLASSES`
INKED, RIGHT, WRONG = 6, 7, 8  # of hidden characters with ink: all, read right, read as others
COLUMNS = 9

Place = tuple[str, str, int, str]  # level, damage, severity, system


@dataclass(frozen=True, eq=False)
class Counts:
    """Sums of each cell over lines and seeds, by block.

    redrawn: the blocks (of all levels together) and their draws.
    cells: (blocks, COLUMNS) by level, damage, severity and system; the clean cell, severity 0, is
        there under every damage. Of `CLOZE` only the columns of hidden characters count.
    """

    redrawn: Redrawn
    cells: Mapping[Place, NDArray[np.float64]]


def count(measured: Measured, cloze: Cloze | None, track: Track) -> Counts:
    """Place the edits of every stored line, and let the language model fill in what is hidden.

    Args:
        measured: what the harness left.
        cloze: the model of the cloze test; None leaves the ceiling out.
        track: told of each condition.
    """
    blocks = sorted({line.block for found in measured.sets.values() for line in found.lines})
    redrawn = Redrawn(tuple(blocks))
    todo = [(level, block) for level, each in measured.blocks.items() for block in each]
    cells: dict[Place, NDArray[np.float64]] = {}
    for level, block in track(todo, "looking at every character"):
        condition, lines = block.condition, measured.sets[level].lines
        shares = shares_of(measured.store.path / SHARES, block, measured.sets[level])
        names = [line.block for line in lines]
        damages = measured.design.damages if block.damage is None else (condition.damage,)
        for system, rows in _systems(measured, cloze, level, block, shares):
            sums = redrawn.block_sums(rows, names)
            for damage in damages:
                cell = (level, damage, condition.severity, system)
                cells[cell] = cells.get(cell, np.zeros_like(sums)) + sums
    return Counts(redrawn, cells)


def _systems(
    measured: Measured, cloze: Cloze | None, level: str, block: Block, shares: Sequence[Shares]
) -> list[tuple[str, NDArray[np.float64]]]:
    """(lines, COLUMNS) of each system, and of the cloze test."""
    lines = measured.sets[level].lines
    found = []
    for system in measured.systems:
        row = measured.rows[key(level, block.condition, system.name)]
        texts = [result.text for result in measured.store.lines(row.key)]
        rows = [
            _columns(line, placed, visible)
            for line, visible, placed in zip(
                lines, shares, _placed(lines, texts, shares), strict=True
            )
        ]
        found.append((system.name, np.stack(rows)))
    if cloze is not None:
        guessed = [_guessed(cloze, *pair) for pair in zip(lines, shares, strict=True)]
        found.append((CLOZE, np.stack(guessed)))
    return found


def _placed(lines: Sequence[Line], texts: Sequence[str], shares: Sequence[Shares]) -> list[Placed]:
    return [
        place(line.text, text, visible)
        for line, text, visible in zip(lines, texts, shares, strict=True)
    ]


def _columns(line: Line, placed: Placed, visible: Shares) -> NDArray[np.float64]:
    kinds = classes(visible)
    blank = _hidden_ink(line.text, kinds)
    found = np.zeros(COLUMNS)
    found[EDITS] = np.bincount(kinds, placed.edits, len(CLASSES))
    found[CHARACTERS] = np.bincount(kinds, minlength=len(CLASSES))
    found[INKED] = blank.sum()
    found[RIGHT] = (placed.right & blank).sum()
    found[WRONG] = (placed.wrong & blank).sum() + placed.added[blank].sum()
    return found


def _guessed(cloze: Cloze, line: Line, visible: Shares) -> NDArray[np.float64]:
    kinds = classes(visible)
    blank = _hidden_ink(line.text, kinds)
    found = np.zeros(COLUMNS)
    found[INKED] = blank.sum()
    if blank.any():
        right = cloze.right(line.text, kinds == CLASSES.index("hidden"))
        found[RIGHT] = (right & blank).sum()
        found[WRONG] = (~right & blank).sum()
    return found


def _hidden_ink(text: str, kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Hidden characters that had ink: a space has none."""
    inked = np.array([character != " " for character in text])
    found: NDArray[np.bool_] = (kinds == CLASSES.index("hidden")) & inked
    return found
