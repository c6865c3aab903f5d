"""The lines of a set, damaged: each with another one at hand, as bleed-through needs it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from bench.core.types import Line
from datasets.damage.base import SUITE, Damage, Damaged


def damaged_lines(
    damage: Damage, lines: Sequence[Line], dataset: str, severity: int, seed: int
) -> Iterator[Damaged]:
    """Damage the lines of a set, in order.

    Raises:
        UserError: the severity is not one of 0 to 5.
    """
    for line, other in zip(lines, others(lines, dataset, seed), strict=True):
        yield damage.apply(line, dataset, severity, seed, other)


def others(lines: Sequence[Line], dataset: str, seed: int) -> list[Line | None]:
    """For each line another of the same set; None when there is no other.

    The lines stand in a ring in the order of their hashes and each gets the next, so that a line
    more or less in the set changes the choice for few.
    """
    if len(lines) < 2:
        return [None] * len(lines)
    place = sorted(range(len(lines)), key=lambda i: (_hash(dataset, lines[i].id, seed), i))
    found: list[Line | None] = [None] * len(lines)
    for here, following in zip(place, [*place[1:], place[0]], strict=True):
        found[here] = lines[following]
    return found


def _hash(dataset: str, line: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{SUITE}|{dataset}|{line}|other|{seed}".encode()).digest()
