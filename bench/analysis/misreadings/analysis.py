"""All systems of one condition, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.analysis.evidence import Reading
from bench.analysis.misreadings.classes import VIEWS, Class, Unit, View
from bench.analysis.misreadings.hidden import Sight, sight
from bench.analysis.misreadings.profile import Change, Pair, Profile, changes, profile
from bench.analysis.misreadings.vocabulary import Vocabulary
from bench.core.progress import Report, silent

AGAINST = "ctc-greedy"  # reads ink alone: what others change of its errors is language's doing


@dataclass(frozen=True, eq=False)
class Analysis:
    """The misreadings of every system of a condition.

    profiles: in the order in which the readings were given.
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
        """The views that tell something, each with the classes that occur in some system.

        A view of one class would only repeat all edits.
        """
        found = [
            (view, [view[name] for name in view.classes if self._occurs(view[name])])
            for view in VIEWS
        ]
        return [(view, classes) for view, classes in found if len(classes) > 1]

    def confusions(self, unit: Unit, most: int | None = None) -> list[tuple[Pair, list[int]]]:
        """What was read as what, with its count in each profile, most frequent first.

        Pairs are in the order of the system that has most of them, so that one that a single
        system makes is not below those that all make a little.

        Args:
            unit: characters or words.
            most: how many pairs; None for all.
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
    against: str = AGAINST,
    report: Report = silent,
) -> Analysis:
    """Sort the edits of all systems of one condition.

    Args:
        readings: of one encoder, data set and damage, each with a CER; at least one.
        known: which words count as words.
        against: the decoder to compare with; the first of several with that name, and none
            where it is not among the readings.
        report: told what is being done and how far it is.

    Raises:
        UserError: the readings are not of the same lines.
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
