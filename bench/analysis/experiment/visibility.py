"""Visible share of each character of damaged lines, kept beside the rows of the experiment."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.core.files import write_atomically
from bench.core.hashing import code_version, digest
from bench.core.types import Condition, LineSet
from bench.pipeline.plan import Block, Part
from datasets.damage.base import SUITE
from datasets.damage.cache import cached_lines
from datasets.damage.visible import HIDDEN, VISIBLE, visible_shares

Shares = NDArray[np.float32]

CLASSES = ("hidden", "partial", "visible")


def shares_of(folder: Path, block: Block, clean: LineSet) -> list[Shares]:
    """(len(text),) visible share of each character of each line of a block, none missing.

    A character without ink (a space) is as visible as the more visible of its neighbours.

    Args:
        folder: keeps the shares of each damaged condition, a file each.
        block: a condition of the experiment.
        clean: its lines before the damage.
    """
    if block.damage is None:
        return [np.ones(len(line.text), np.float32) for line in clean.lines]
    path = folder / f"{_identity(block.damage, block.condition, clean)}.json"
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError):
        kept = [shares.tolist() for shares in _seen(block.damage, block.condition, clean)]
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(kept).encode())
    return [np.array(each, np.float32) for each in kept]


def _seen(damage: Part, condition: Condition, clean: LineSet) -> Iterator[Shares]:
    found = cached_lines(
        damage.thing, clean.lines, condition.dataset, condition.severity, condition.seed
    )
    for line, damaged in zip(clean.lines, found, strict=True):
        yield completed(line.text, visible_shares(line, damaged))


def _identity(damage: Part, condition: Condition, clean: LineSet) -> str:
    modules = (type(damage.thing).__module__, "datasets.damage.visible")
    return digest(
        [
            SUITE, clean.sha256, dataclasses.asdict(condition), damage.options,
            code_version(modules), code_version((__name__,)),
        ]
    )  # fmt: skip


def classes(shares: Shares) -> NDArray[np.int64]:
    """Of each character the place of its class in `CLASSES`."""
    found: NDArray[np.int64] = np.digitize(shares, (HIDDEN, VISIBLE))
    return found


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
