"""Tables of the error analysis: what is misread, and what language changes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.analysis.misreadings.analysis import Analysis
from bench.analysis.misreadings.classes import Class, Unit
from bench.analysis.misreadings.profile import Change, Pair, Profile
from bench.analysis.stats import ALPHA, FEWEST, Interval, significant
from bench.core.metrics import EditKind
from bench.report.conditions import blocks, conditions, interval, signatures
from bench.report.format import number, plain, plural
from bench.report.remarks import cer_cell
from bench.report.results import Result
from bench.report.table import Cell, Column, Notes, Table, name

SPACE, NOTHING = "(space)", "(nothing)"  # in words: they survive every format they are pasted into

_THOUSAND = 1000.0
_KINDS: tuple[EditKind, ...] = ("substitution", "deletion", "insertion")


@dataclass(frozen=True, eq=False)
class Shown:
    """An analysis with what the report knows of its rows.

    number: of the condition in the report, from 1.
    results: of the profiles, in their order.
    brief: leave what all tables of the condition share to the first of them.
    """

    number: int
    analysis: Analysis
    results: tuple[Result, ...]
    brief: bool = False

    @property
    def title(self) -> str:
        """The condition in few words."""
        first = self.results[0]
        severity = first.row.condition.severity
        damage = f"{first.names.damage} {severity}" if severity else "clean"
        return f"{first.names.encoder} on {first.dataset}, {damage}"

    @property
    def decoders(self) -> list[str]:
        """What the decoders are called, in the order of the profiles."""
        return [result.names.decoder for result in self.results]

    @property
    def against(self) -> str:
        """What the decoder is called that the others are compared with; "" without one."""
        profiles = self.analysis.profiles
        base = self.analysis.against
        return "" if base is None else self.decoders[profiles.index(base)]

    @property
    def others(self) -> list[tuple[str, Mapping[Class, Change]]]:
        """The compared decoders with what they change."""
        found = self.analysis.changes
        return [
            (result.names.decoder, found[result.row.key])
            for result in self.results
            if result.row.key in found
        ]

    def sentence(self, lead: str) -> str:
        """The conditions of the numbers; their lead alone where they stand above already."""
        return f"{lead}." if self.brief else conditions(lead, self.results)


def tables(shown: Shown, most: int, once: bool = False) -> list[Table]:
    """All tables of a condition.

    Args:
        shown: the condition.
        most: rows of the tables of confusions.
        once: say the conditions above the first table alone, for tables that are read together.
    """
    found = [_kinds(shown)]
    shown = replace(shown, brief=once)
    found += [_classes(shown)]
    found += [_changes(shown)] if shown.others else []
    return [*found, _confusions(shown, "character", most), _confusions(shown, "word", most)]


def unit_text(unit: str) -> str:
    """A character or word of a confusion as it is shown."""
    return {"": NOTHING, " ": SPACE}.get(unit) or plain(unit) or f"U+{ord(unit[0]):04X}"


def _kinds(shown: Shown) -> Table:
    heads = ("Sub.", "Del.", "Ins.", "Edits", "Word edits", "Truncated", "Looping")
    notes = Notes()
    rows = tuple(
        (name(result.names.decoder), cer_cell(result, notes), *_counts(kind_counts(profile)))
        for result, profile in zip(shown.results, shown.analysis.profiles, strict=True)
    )
    return Table(
        f"misreadings-{shown.number}",
        f"Errors of {shown.title}",
        shown.sentence(
            f"CER in percent, {interval(shown.results)}; characters substituted, "
            "deleted and inserted, and all of these; word edits; lines that the token limit ended "
            "(truncated) and whose text ends in a loop (looping)"
        ),
        (Column("Decoder", key=True), Column("CER %", parts=("low", "high")), *map(Column, heads)),
        rows,
        notes=tuple(notes.texts),
        signatures=signatures(shown.results),
    )


def kind_counts(profile: Profile) -> list[int]:
    """S, D, I, all character edits, word edits, truncated and looping lines."""
    counts = [profile.kinds[kind] for kind in _KINDS]
    words = int(profile.reading.word_edits.sum())
    return [*counts, sum(counts), words, profile.truncated, profile.looping]


def _counts(values: Iterable[int]) -> list[Cell]:
    return [Cell(number(value, 0), values=(value,)) for value in values]


def _classes(shown: Shown) -> Table:
    profiles = shown.analysis.profiles
    rows: list[tuple[Cell, ...]] = []
    for view, classes in shown.analysis.views:
        for one in classes:
            counts = _counts(profile.classes[one] for profile in profiles)
            rows.append((name(view.name), name(one.name), *counts))
    return Table(
        f"classes-{shown.number}",
        f"Classes of errors: {shown.title}",
        shown.sentence(_classes_lead(shown)),
        (Column("View", key=True), Column("Class", key=True), *map(Column, shown.decoders)),
        tuple(rows),
        signatures=signatures(shown.results),
    )


def _classes_lead(shown: Shown) -> str:
    first, seen = shown.analysis.profiles[0].reading, shown.analysis.seen
    parts = [
        "Edits by class; the classes of a view add up to all character edits, those of the view "
        "word to all word edits; views in which all edits are of one class are left out. "
        f"{first.characters.sum():,} characters and {first.words.sum():,} words were to be read. "
        f"Words are told from non-words by {shown.analysis.known.source}",
    ]
    if seen.by_id:
        guess = ", their places guessed where the set has no boxes" if seen.estimated else ""
        parts.append(f"Hidden are characters of which under 20 % of the ink is left{guess}")
    if seen.absent:
        parts.append(f"What was hidden is not known ({seen.absent})")
    return ". ".join(parts)


def _changes(shown: Shown) -> Table:
    resampled = blocks(shown.results)
    mark = (
        f"* p at most {ALPHA:g} (randomisation by {resampled}, Holm over the table) and an "
        "interval without 0"
    )
    known = shown.results[0].blocks
    if known and known.count < FEWEST:
        mark = f"{plural(known.count, known.noun)}: too few for an interval or a test"
    rows: list[tuple[Cell, ...]] = []
    for view, classes in shown.analysis.views:
        for one in classes:
            cells = [_change(changes.get(one)) for _, changes in shown.others]
            rows.append((name(view.name), name(one.name), *cells))
    parts = ("added", "net per 1,000", "low", "high", "p (Holm)")
    return Table(
        f"changes-{shown.number}",
        f"What decoders change of the errors of {shown.against}: {shown.title}",
        shown.sentence(
            f"-errors of {shown.against} that a decoder does not make at that place, +errors that "
            "it makes anew, then the net change per 1,000 reference characters (view word: words) "
            f"with its 95 % paired interval over {resampled}; {mark}"
        ),
        (
            *(Column("View", key=True), Column("Class", key=True)),
            *(Column(decoder, parts=parts) for decoder, _ in shown.others),
        ),
        tuple(rows),
        signatures=signatures(shown.results),
    )


def _change(change: Change | None) -> Cell:
    """What a decoder removes and adds of a class; nothing where neither of the two has it."""
    if change is None:
        return Cell("0", values=(0, 0, 0.0, None, None, None))
    interval = change.interval
    ends = (_THOUSAND * interval.low, _THOUSAND * interval.high) if interval else (None, None)
    star = "*" if significant(interval, change.p) else ""
    return Cell(
        f"-{change.removed:,} +{change.added:,}{star}",
        " ".join(filter(None, (number(_THOUSAND * change.net, 2), per_thousand(interval)))),
        (change.removed, change.added, _THOUSAND * change.net, *ends, change.p),
    )


def per_thousand(interval: Interval | None) -> str:
    """An interval per 1,000: "[-1.20, 0.31]"; "" without one."""
    if interval is None:
        return ""
    low, high = _THOUSAND * interval.low, _THOUSAND * interval.high
    return f"[{number(low, 2)}, {number(high, 2)}]"


def _confusions(shown: Shown, unit: Unit, most: int) -> Table:
    pairs = shown.analysis.confusions(unit)
    left = len(pairs) - most
    rest = f"; {left:,} rarer pairs are left out" if left > 0 else ""
    return Table(
        f"confusions-{shown.number}" if unit == "character" else f"words-{shown.number}",
        f"What is read as what, {unit}s: {shown.title}",
        shown.sentence(
            f"How often each decoder read one {unit} as another, in one shortest edit script; "
            f"{NOTHING} read is a deletion, {NOTHING} in the reference an insertion{rest}"
        ),
        (Column("Reference", key=True), Column("Read", key=True), *map(Column, shown.decoders)),
        tuple(_confusion(pair, counts) for pair, counts in pairs[:most]),
        signatures=signatures(shown.results),
    )


def _confusion(pair: Pair, counts: Sequence[int]) -> tuple[Cell, ...]:
    return (*(name(unit_text(side)) for side in pair), *_counts(counts))
