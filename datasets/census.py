"""Counts of any data set, split by split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.core.errors import Unavailable
from bench.core.types import BadLine, Line
from datasets.base import BadLinesError, Dataset, spread

SHOWN = 12  # lines of a split that are kept to be looked at


@dataclass(frozen=True)
class SplitCount:
    """The counts of a split.

    writers, blocks: number of distinct ones.
    bad: lines that cannot be used.
    """

    split: str
    lines: int
    writers: int
    blocks: int
    bad: int


@dataclass(frozen=True)
class Census:
    """The counts of a set.

    alphabet: every character of the texts, sorted.
    bad: unusable lines, with their split.
    notes: see `LineSet`.
    tags: lines by their tags.
    shown: evenly spaced lines of each split.
    absent: splits that are not here, with the reason.
    """

    name: str
    source: str
    licence: str
    references: str
    splits: tuple[SplitCount, ...]
    alphabet: str
    bad: tuple[tuple[str, BadLine], ...]
    shown: tuple[Line, ...]
    absent: tuple[tuple[str, Unavailable], ...] = ()
    notes: tuple[str, ...] = ()
    tags: Mapping[str, int] = field(default_factory=dict)

    @property
    def lines(self) -> int:
        """Lines of all splits."""
        return sum(count.lines for count in self.splits)


def take(
    name: str, dataset: Dataset, splits: Sequence[str] = (), limit: int | None = None
) -> Census:
    """Read splits to their end and count them, one at a time in memory.

    The bad lines of a strict set are counted, not raised: the caller decides. A split that is not
    here is noted, and the others are counted.

    Raises:
        Unavailable: the data of none of the splits is here.
        UserError: there is no such split, or a file lacks what it must have.
    """
    absent: list[tuple[str, Unavailable]] = []
    counts: list[SplitCount] = []
    alphabet: set[str] = set()
    bad: list[tuple[str, BadLine]] = []
    notes: list[str] = []
    shown: list[Line] = []
    tags: Counter[str] = Counter()
    stated = ("", "", "")
    for split in splits or dataset.split_names():
        try:
            lineset = dataset.load(split, limit)
        except BadLinesError as error:
            lineset = error.lineset
        except Unavailable as reason:
            absent.append((split, reason))
            continue
        writers, blocks = ({getattr(x, k) for x in lineset.lines} for k in ("writer", "block"))
        counts.append(
            SplitCount(
                split=lineset.split,
                lines=len(lineset.lines),
                writers=len(writers - {""}),
                blocks=len(blocks - {""}),
                bad=len(lineset.bad),
            )
        )
        stated = (lineset.source, lineset.licence, lineset.references)
        bad += [(split, line) for line in lineset.bad]
        notes += lineset.notes
        shown += spread(lineset.lines, SHOWN)
        for line in lineset.lines:
            tags.update(line.tags)
            alphabet.update(line.text)
    if absent and not counts:
        raise absent[0][1]
    return Census(
        name=name,
        source=stated[0],
        licence=stated[1],
        references=stated[2],
        splits=tuple(counts),
        alphabet="".join(sorted(alphabet)),
        bad=tuple(bad),
        shown=tuple(shown),
        absent=tuple(absent),
        notes=tuple(notes),
        tags=dict(tags.most_common()),
    )
