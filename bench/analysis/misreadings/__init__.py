"""Error analysis: classes of errors, and their changes by a decoder's language.

Everything follows from stored rows and their lines; no model is run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.analysis.evidence import Reading, aligned
from bench.analysis.experiment.design import GREEDY
from bench.analysis.misreadings.classes import (
    UNSEEN,
    VIEWS,
    Class,
    Misreading,
    Shares,
    Unit,
    View,
    Vocabulary,
    misreadings,
)
from bench.analysis.pictures import Picture, pictures
from bench.analysis.stats import Interval, holm, rate_difference
from bench.core.errors import UserError
from bench.core.hashing import plain
from bench.core.metrics import EditKind, is_looping, normalise
from bench.core.progress import Report, silent
from datasets.damage.visible import completed

Pair = tuple[str, str]  # the reference's character or word, and what was read; "" is none


@dataclass(frozen=True, eq=False)
class Sight:
    """The visible shares of a condition.

    by_id: (N,) share of each character of a line, `UNSEEN` if unknown; empty if nothing is hidden
        (a clean set, or a damage without a mask).
    estimated: whether places of characters are guessed, the source of some line having no boxes.
    absent: why nothing is known although something may have been hidden; "" otherwise.
    """

    by_id: Mapping[str, Shares] = field(default_factory=dict)
    estimated: bool = False
    absent: str = ""

    def of(self, line_id: str) -> Shares | None:
        """The visible shares of a line, as `misreadings` takes them."""
        return self.by_id.get(line_id, UNSEEN) if self.by_id else None


def sight(reading: Reading) -> Sight:
    """The visible shares of a reading's lines, equal for every system of a condition."""
    if reading.row.condition.severity == 0:
        return Sight()
    found = pictures(reading.row, [line.id for line in reading.lines])
    if found.absent:
        return Sight(absent=found.absent)
    if all(picture.visible is None for picture in found.by_id.values()):
        return Sight()
    return Sight(
        {line: _shares(picture) for line, picture in found.by_id.items()},
        any(picture.boxes is None for picture in found.by_id.values()),
    )


def _shares(picture: Picture) -> Shares:
    """Shares of the reference's characters, if normalising does not change it."""
    if picture.visible is None or normalise(picture.text) != picture.text:
        return UNSEEN
    return completed(picture.text, picture.visible.astype(np.float32))


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
        """Edits by class; an absent class has none, or does not apply."""
        return Counter(c for line in self.lines for each in line for c in each.classes)

    def pairs(self, unit: Unit) -> Counter[Pair]:
        """Confusions: pairs of a unit of the reference and its substitution."""
        return Counter((each.edit.truth, each.edit.read) for each in self._all(unit))

    @property
    def truncated(self) -> int:
        """Lines that ended at the token limit."""
        return sum(line.truncated for line in self.reading.lines)

    @property
    def looping(self) -> int:
        """Lines whose text ends in a loop, truncated or not."""
        return sum(is_looping(line.text) for line in self.reading.lines)

    def of_class(self, of: Class) -> NDArray[np.int64]:
        """(N,) edits of a class in each line."""
        counts = (sum(of in each.classes for each in line) for line in self.lines)
        return np.fromiter(counts, dtype=np.int64, count=len(self.lines))

    def _all(self, unit: Unit) -> Iterable[Misreading]:
        return (each for line in self.lines for each in line if each.unit == unit)


def profile(reading: Reading, known: Vocabulary, seen: Sight) -> Profile:
    """Sort all edits of a reading of trained weights by class."""
    found = (misreadings(line, known, seen.of(line.id)) for line in reading.lines)
    return Profile(reading, tuple(map(tuple, found)))


@dataclass(frozen=True)
class Change:
    """Change of one class of edits from one system to another, on the same lines.

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
    """Changes of one system's edits by each of the others on the same condition, by class.

    The family of the p-values is all classes that occur of all systems of `after`.

    Returns:
        One mapping for each of `after`, with the classes that either of the two has.

    Raises:
        UserError: they did not read the same lines.
    """
    found = [_changes(before, each) for each in after]
    flat = [change for mapping in found for change in mapping.values()]
    adjusted = iter(holm([change.p for change in flat]))
    return [
        {one: replace(change, p=next(adjusted)) for one, change in each.items()} for each in found
    ]


def _changes(before: Profile, after: Profile) -> dict[Class, Change]:
    if aligned(after.reading, before.reading).lines != after.reading.lines:
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


@dataclass(frozen=True, eq=False)
class Analysis:
    """The misreadings of every system of a condition.

    profiles: in the order of the readings.
    known: which words count as words.
    seen: what was hidden.
    against: the profile that the others are compared with; None without one.
    changes: what each of the others changes of it, by key of its row.
    """

    profiles: tuple[Profile, ...]
    known: Vocabulary
    seen: Sight
    against: Profile | None = None
    changes: Mapping[str, Mapping[Class, Change]] = field(default_factory=dict)

    @property
    def views(self) -> list[tuple[View, list[Class]]]:
        """The informative views, each with the classes that occur in any system.

        A view of one class would only repeat all edits.
        """
        found = [
            (view, [view[name] for name in view.classes if self._occurs(view[name])])
            for view in VIEWS
        ]
        return [(view, classes) for view, classes in found if len(classes) > 1]

    def confusions(self, unit: Unit, most: int | None = None) -> list[tuple[Pair, list[int]]]:
        """Confusions with their count in each profile, most frequent first; `most` of them, or all.

        Pairs are in the order of the system that has most of them, so that one that a single system
        makes is not below those that all make a little.
        """
        counted = [each.pairs(unit) for each in self.profiles]
        pairs = {
            pair: [counts[pair] for counts in counted] for counts in counted for pair in counts
        }
        ordered = sorted(pairs.items(), key=lambda item: (-max(item[1]), -sum(item[1]), item[0]))
        return ordered[:most]

    def _occurs(self, one: Class) -> bool:
        return any(each.classes[one] for each in self.profiles)


def analyse(
    readings: Sequence[Reading],
    known: Vocabulary,
    against: str = GREEDY,
    report: Report = silent,
) -> Analysis:
    """Sort the edits of all systems of one condition, each with a CER.

    The others are compared with the decoder `against`, the first of that name; not at all where no
    reading has it.
    """
    report("looking at what was hidden", 0, 1)
    seen = sight(readings[0])
    profiles = []
    for count, reading in enumerate(readings):
        report("sorting errors", count, len(readings))
        profiles.append(profile(reading, known, seen))
    base = next((each for each in profiles if each.reading.row.decoder == against), None)
    if base is None:
        return Analysis(tuple(profiles), known, seen)
    report("comparing", 0, 1)
    others = [each for each in profiles if each is not base]
    keys = [each.reading.row.key for each in others]
    found = dict(zip(keys, changes(base, others), strict=True))
    return Analysis(tuple(profiles), known, seen, base, found)


def record(analysis: Analysis) -> dict[str, Any]:
    """All counts of a condition.

    Rates are fractions. A view whose classes do not apply (nothing was hidden) has no counts.
    """
    row = analysis.profiles[0].reading.row
    against = analysis.against
    return {
        "encoder": row.encoder,
        "condition": plain(vars(row.condition)),
        "dataset_sha256": row.dataset_sha256,
        "vocabulary": f"the {analysis.known.size:,} words of {analysis.known.source}",
        "hidden_unknown": analysis.seen.absent,
        "against": against.reading.row.key if against else None,
        "systems": [_system(each, analysis) for each in analysis.profiles],
    }


def _system(profile: Profile, analysis: Analysis) -> dict[str, Any]:
    row = profile.reading.row
    changes = analysis.changes.get(row.key)
    return {
        "key": row.key,
        "signature": row.signature,
        "decoder": row.decoder,
        "cer": row.cer,
        "characters": int(profile.reading.characters.sum()),
        "words": int(profile.reading.words.sum()),
        "word_edits": int(profile.reading.word_edits.sum()),
        "kinds": dict(profile.kinds),
        "truncated_lines": profile.truncated,
        "looping_lines": profile.looping,
        "classes": _by_view(profile.classes),
        "changes": None
        if changes is None
        else _by_view({c: _change_record(changes[c]) for c in changes}),
        "confusions": [[*pair, count] for pair, count in profile.pairs("character").most_common()],
        "words_confused": [[*pair, count] for pair, count in profile.pairs("word").most_common()],
    }


def _by_view(values: Mapping[Class, Any]) -> dict[str, dict[str, Any]]:
    return {
        view.name: {name: values[view[name]] for name in view.classes if view[name] in values}
        for view in VIEWS
    }


def _change_record(change: Change) -> dict[str, Any]:
    interval = change.interval
    return {
        "removed": change.removed,
        "added": change.added,
        "net": change.net,
        "interval": [interval.low, interval.high] if interval else None,
        "p_holm": change.p,
    }
