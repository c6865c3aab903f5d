"""Counts of any data set, split by split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.core.errors import Unavailable
from bench.core.types import BadLine, Line
from datasets.base import BadLinesError, Dataset, image_hash, spread

SHOWN = 12  # lines of a split that are kept to be looked at
_EXAMPLE = 5  # lines of a group that are named


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
class Repeats:
    """Texts or images that occur in several lines.

    groups: texts or images that occur more than once.
    lines: lines in these groups.
    across: groups with lines of more than one split.
    example: "split/id" of the lines of one group, one across splits if there is any.
    """

    groups: int
    lines: int
    across: int
    example: tuple[str, ...]


@dataclass(frozen=True)
class Census:
    """The counts of a set.

    alphabet: every character of the texts, sorted.
    texts, images: repeated ones; images are compared by pixels.
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
    texts: Repeats
    images: Repeats
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
    texts: dict[str, list[str]] = {}
    images: dict[str, list[str]] = {}
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
            texts.setdefault(line.text, []).append(f"{split}/{line.id}")
            images.setdefault(image_hash(line.image), []).append(f"{split}/{line.id}")
    if absent and not counts:
        raise absent[0][1]
    return Census(
        name=name,
        source=stated[0],
        licence=stated[1],
        references=stated[2],
        splits=tuple(counts),
        alphabet="".join(sorted(alphabet)),
        texts=_repeats(texts.values()),
        images=_repeats(images.values()),
        bad=tuple(bad),
        shown=tuple(shown),
        absent=tuple(absent),
        notes=tuple(notes),
        tags=dict(tags.most_common()),
    )


def _repeats(places: Iterable[Sequence[str]]) -> Repeats:
    groups = [group for group in places if len(group) > 1]
    across = [group for group in groups if len({place.partition("/")[0] for place in group}) > 1]
    return Repeats(
        groups=len(groups),
        lines=sum(map(len, groups)),
        across=len(across),
        example=tuple(next(iter(across + groups), ())[:_EXAMPLE]),
    )
