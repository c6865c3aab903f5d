"""What a damage left of each character, kept beside the rows of the experiment.

The shares are worked out while the damaged lines are at hand, so that nothing is damaged twice; a
folder that lacks some of them (its run was stopped in between) makes them again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.files import write_atomically
from bench.core.hashing import code_version, digest
from bench.core.types import Condition, Line, LineSet
from bench.pipeline.plan import Block, Part
from datasets.damage.base import SUITE, Damaged
from datasets.damage.cache import cached_lines
from datasets.damage.visible import HIDDEN, VISIBLE, visible_shares

Shares = NDArray[np.float32]

CLASSES = ("hidden", "partial", "visible")


class Watched:
    """A damage that remembers what it did; in all else the damage itself."""

    def __init__(self, damage: Any) -> None:
        self._damage = damage
        self.done: list[tuple[Line, Damaged]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._damage, name)

    def apply(self, line: Line, *args: Any, **options: Any) -> Damaged:
        """Damage a line and remember it."""
        damaged: Damaged = self._damage.apply(line, *args, **options)
        self.done.append((line, damaged))
        return damaged


class Shelf:
    """The visible shares of each condition, a file each.

    folder: made when something is first kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, block: Block, clean: LineSet, done: Sequence[tuple[Line, Damaged]]) -> None:
        """Work out and keep the shares of a condition, of all its lines in order."""
        shares = [completed(line.text, visible_shares(line, damaged)) for line, damaged in done]
        self.folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps([each.tolist() for each in shares])
        write_atomically(self._path(block, clean), content.encode())

    def shares(self, block: Block, clean: LineSet) -> list[Shares]:
        """(len(text),) visible share of each character of each line, none missing.

        A character without ink (a space) is as visible as the more visible of its neighbours.
        """
        if block.damage is None:
            return [np.ones(len(line.text), np.float32) for line in clean.lines]
        path = self._path(block, clean)
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError):
            self.keep(block, clean, _damaged(block.damage, block.condition, clean))
            found = json.loads(path.read_bytes())
        return [np.array(each, np.float32) for each in found]

    def _path(self, block: Block, clean: LineSet) -> Path:
        assert block.damage is not None
        modules = (type(block.damage.thing).__module__, "datasets.damage.visible")
        identity = [
            SUITE, clean.sha256, dataclasses.asdict(block.condition), block.damage.options,
            code_version(modules), code_version((__name__,)),
        ]  # fmt: skip
        return self.folder / f"{digest(identity)}.json"


def classes(shares: Shares) -> NDArray[np.int64]:
    """Of each character the place of its class in `CLASSES`."""
    found: NDArray[np.int64] = np.digitize(shares, (HIDDEN, VISIBLE))
    return found


def _damaged(damage: Part, condition: Condition, clean: LineSet) -> list[tuple[Line, Damaged]]:
    done = cached_lines(
        damage.thing, clean.lines, condition.dataset, condition.severity, condition.seed
    )
    return list(zip(clean.lines, done, strict=True))


def completed(text: str, shares: Shares) -> Shares:
    """Every character without ink gets the share of its more visible neighbour with ink.

    So a space is hidden only where the characters on both sides are: then nothing tells of it.
    """
    inked = np.flatnonzero(~np.isnan(shares))
    if not inked.size:  # no ink on the line: there was nothing that could be lost
        return np.ones(len(text), np.float32)
    places = np.arange(len(text))
    after = np.searchsorted(inked, places)
    right = shares[inked[np.minimum(after, inked.size - 1)]]
    left = shares[inked[np.maximum(np.searchsorted(inked, places, "right") - 1, 0)]]
    found: Shares = np.where(np.isnan(shares), np.maximum(left, right), shares)
    return found
