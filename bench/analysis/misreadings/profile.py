"""What a system misreads on a condition, and what another misreads in its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.analysis.evidence import Reading, paired
from bench.analysis.misreadings.classes import VIEWS, Class, Unit
from bench.analysis.misreadings.hidden import Sight
from bench.analysis.misreadings.line import Misreading, misreadings
from bench.analysis.misreadings.vocabulary import Vocabulary
from bench.analysis.stats import Interval, holm, rate_difference
from bench.core.errors import UserError
from bench.core.metrics import EditKind, is_looping

Pair = tuple[str, str]  # the reference's character or word, and what was read; "" is none


@dataclass(frozen=True, eq=False)
class Profile:
    """The misreadings of a reading.

    lines: of each line of the reading, in its order.
    """

    reading: Reading
    lines: tuple[tuple[Misreading, ...], ...]

    @cached_property
    def kinds(self) -> Counter[EditKind]:
        """Character edits by kind."""
        return Counter(each.edit.kind for each in self._all("character"))

    @cached_property
    def classes(self) -> Counter[Class]:
        """Edits by class; a class that is not there has none, or does not apply."""
        return Counter(c for line in self.lines for each in line for c in each.classes)

    def pairs(self, unit: Unit) -> Counter[Pair]:
        """What was read as what, on characters or on words."""
        return Counter((each.edit.truth, each.edit.read) for each in self._all(unit))

    @property
    def truncated(self) -> int:
        """Lines that the token limit ended."""
        return sum(line.truncated for line in self.reading.lines)

    @property
    def looping(self) -> int:
        """Lines whose text ends in a loop, truncated or not."""
        return sum(is_looping(line.text) for line in self.reading.lines)

    def of_class(self, wanted: Class) -> NDArray[np.int64]:
        """(N,) edits of a class in each line."""
        counts = (sum(wanted in each.classes for each in line) for line in self.lines)
        return np.fromiter(counts, dtype=np.int64, count=len(self.lines))

    def _all(self, unit: Unit) -> Iterable[Misreading]:
        return (each for line in self.lines for each in line if each.unit == unit)


def profile(reading: Reading, known: Vocabulary, seen: Sight) -> Profile:
    """Sort all edits of a reading.

    Args:
        reading: of trained weights.
        known: tells non-words from real words.
        seen: of the condition.
    """
    found = (misreadings(line, known, seen.of(line.id)) for line in reading.lines)
    return Profile(reading, tuple(map(tuple, found)))


@dataclass(frozen=True)
class Change:
    """What one system does to a class of another's edits, on the same lines.

    An edit is removed where the other system made one of that class at that place of that line
    and this one did not, and added where it is the other way round.

    net: added less removed, over the reference's characters (of word classes its words).
    interval: of `net`, paired by blocks; None with too few of them, as the p.
    p: two-sided randomisation by blocks, adjusted by Holm over the family.
    """

    removed: int
    added: int
    net: float
    interval: Interval | None
    p: float | None


def changes(before: Profile, after: Sequence[Profile]) -> list[dict[Class, Change]]:
    """What each system changes of another's edits, by class.

    The family of the p-values is all classes that occur of all systems of `after`.

    Args:
        before: the system to compare with, such as one without language.
        after: the others, on the same condition.

    Returns:
        One mapping for each of `after`, with the classes that either of the two has.

    Raises:
        UserError: they did not read the same lines.
    """
    found = [_changes(before, each) for each in after]
    flat = [change for mapping in found for change in mapping.values()]
    adjusted = iter(holm([change.p for change in flat]))
    return [
        {c: Change(x.removed, x.added, x.net, x.interval, next(adjusted)) for c, x in each.items()}
        for each in found
    ]


def _changes(before: Profile, after: Profile) -> dict[Class, Change]:
    if paired(before.reading, after.reading).second.lines != after.reading.lines:
        raise UserError(
            f"{before.reading.system} and {after.reading.system} have the lines in another order; "
            "run both again"
        )
    old, new = _places(before), _places(after)
    there = [
        view[name]
        for view in VIEWS
        for name in view.classes
        if before.classes[view[name]] or after.classes[view[name]]
    ]
    return {each: _change(each, before, after, old, new) for each in there}


_Places = dict[Class, Counter[tuple[int, EditKind, int]]]


def _places(of: Profile) -> _Places:
    """Of each class the line, kind and place of its edits."""
    found: _Places = {}
    for number, line in enumerate(of.lines):
        for each in line:
            for one in each.classes:
                place = (number, each.edit.kind, each.edit.at)
                found.setdefault(one, Counter())[place] += 1
    return found


def _change(one: Class, before: Profile, after: Profile, old: _Places, new: _Places) -> Change:
    was, now = old.get(one, Counter()), new.get(one, Counter())
    reading = before.reading
    unit = next(view.unit for view in VIEWS if view.name == one.view)
    units = reading.characters if unit == "character" else reading.words
    found = rate_difference(after.of_class(one), before.of_class(one), units, reading.blocks)
    return Change(
        removed=(was - now).total(),
        added=(now - was).total(),
        net=found.value if found else 0.0,
        interval=found.interval if found else None,
        p=found.p if found else None,
    )
