"""Tables of the error analysis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis.misreadings import Analysis, Change, Pair, Profile
from bench.analysis.misreadings.classes import Class, Unit, View
from bench.analysis.stats import ALPHA, FEWEST, significant
from bench.core.metrics import EditKind, visible
from bench.report.cer import cer_cell
from bench.report.conditions import blocks, interval, sentences, signatures
from bench.report.format import number, plain, plural
from bench.report.language import say, say_name
from bench.report.results import Result
from bench.report.table import RANGE, Cell, Column, Table, count, declared, figure, keys
from decoders.language.lm import EMBEDDED_TEXT

SPACE, NOTHING = "(space)", "(nothing)"  # in words, which survive any format
PER_THOUSAND = 1000.0


@dataclass(frozen=True, eq=False)
class Shown:
    """An analysis with the results of its rows.

    number: of the condition in the report, from 1.
    results: of the profiles, in their order.
    """

    number: int
    analysis: Analysis
    results: tuple[Result, ...]

    @property
    def title(self) -> str:
        """The condition in few words."""
        first = self.results[0]
        severity = first.row.condition.severity
        return say(
            "{encoder} on {set}, {damage}",
            encoder=first.names.encoder,
            set=first.dataset,
            damage=f"{first.damage} {severity}" if severity else say("clean"),
        )

    @property
    def decoders(self) -> list[str]:
        """The names of the decoders, in the order of the profiles."""
        return [result.names.decoder for result in self.results]

    @property
    def against(self) -> str:
        """The name of the reference decoder; "" without one."""
        base = self.analysis.against
        return "" if base is None else self.decoders[self.analysis.profiles.index(base)]

    @property
    def others(self) -> list[tuple[str, Mapping[Class, Change]]]:
        """The compared decoders with what they change."""
        changes = self.analysis.changes
        return [
            (result.names.decoder, changes[result.row.key])
            for result in self.results
            if result.row.key in changes
        ]

    def sentences(self, lead: str) -> tuple[str, ...]:
        """The conditions of the numbers."""
        return sentences(lead, self.results)


@dataclass(frozen=True, eq=False)
class DecoderRow:
    """A row of the tables of kinds: a decoder with its misreadings."""

    shown: Shown
    result: Result
    profile: Profile


@dataclass(frozen=True, eq=False)
class ClassRow:
    """A row of the tables of classes."""

    shown: Shown
    view: View
    of: Class


@dataclass(frozen=True, eq=False)
class PairRow:
    """A row of the tables of confusions, with its count of each decoder."""

    shown: Shown
    pair: Pair
    counts: Sequence[int]


def tables(shown: Shown, most: int) -> list[Table]:
    """All tables of a condition, with the `most` frequent confusions."""
    return [
        _table(shown, "misreadings", say("Errors of {what}", what=shown.title),
               _kinds_lead(shown), kind_columns(), systems(shown)),
        _table(shown, "classes", say("Classes of errors: {what}", what=shown.title),
               _classes_lead(shown), class_columns(shown.decoders), kinds_of(shown)),
        *([_changes(shown)] if shown.others else []),
        _confusions(shown, "character", most),
        _confusions(shown, "word", most),
    ]  # fmt: skip


def _table(
    shown: Shown, slug: str, title: str, lead: str, columns: Sequence[Column[Any]],
    rows: Iterable[Any],
) -> Table:  # fmt: skip
    return declared(
        f"{slug}-{shown.number}",
        title,
        shown.sentences(lead),
        columns,
        rows,
        signatures=signatures(shown.results),
    )


def _kinds_lead(shown: Shown) -> str:
    return say(
        "CER in percent, {interval}; characters substituted, deleted and inserted, and all of "
        "these; word edits; lines that the token limit ended (truncated) and whose text ends in a "
        "loop (looping)",
        interval=interval(shown.results),
    )


def systems(shown: Shown) -> list[DecoderRow]:
    """The decoders of a condition."""
    pairs = zip(shown.results, shown.analysis.profiles, strict=True)
    return [DecoderRow(shown, result, profile) for result, profile in pairs]


def kind_columns() -> list[Column[DecoderRow]]:
    """CER and kinds of edits."""

    def edits(kind: EditKind, head: str) -> Column[DecoderRow]:
        return Column(head, lambda one: count(one.profile.kinds[kind]))

    return [
        *keys([say("Decoder")], lambda one: one.result.names.decoder),
        Column(say("CER %"), lambda one: cer_cell(one.result), RANGE),
        edits("substitution", say("Sub.")),
        edits("deletion", say("Del.")),
        edits("insertion", say("Ins.")),
        Column(say("Edits"), lambda one: count(one.profile.kinds.total())),
        Column(say("Word edits"), lambda one: count(int(one.profile.reading.word_edits.sum()))),
        Column(say("Truncated"), lambda one: count(one.profile.truncated)),
        Column(say("Looping"), lambda one: count(one.profile.looping)),
    ]


def kinds_of(shown: Shown) -> list[ClassRow]:
    """The classes that occur in a condition."""
    return [ClassRow(shown, view, one) for view, classes in shown.analysis.views for one in classes]


def _of_decoder(name: str, get: Callable[[Any, int], int]) -> Column[Any]:
    """Counts of a decoder; empty if a condition lacks it."""

    def cell(item: Any) -> Cell:
        decoders = item.shown.decoders
        if name not in decoders:
            return Cell("", values=(None,))
        return count(get(item, decoders.index(name)))

    return Column(name, cell)


def class_columns(decoders: Sequence[str]) -> list[Column[ClassRow]]:
    """Edits of a class by decoder."""
    return [
        *_class_keys(),
        *(
            _of_decoder(name, lambda kind, n: kind.shown.analysis.profiles[n].classes[kind.of])
            for name in decoders
        ),
    ]


def _class_keys() -> list[Column[ClassRow]]:
    return keys(
        (say("View"), say("Class")),
        lambda kind: say_name(kind.view.name),
        lambda kind: say_name(kind.of.name),
    )


def _classes_lead(shown: Shown) -> str:
    first, seen = shown.analysis.profiles[0].reading, shown.analysis.seen
    lead = say(
        "Edits by class; the classes of a view add up to all character edits, those of the view "
        "word to all word edits; views in which all edits are of one class are left out. "
        "{characters} characters and {words} words were to be read. Real words are {known}",
        characters=f"{first.characters.sum():,}",
        words=f"{first.words.sum():,}",
        known=vocabulary(shown),
    )
    if seen.by_id:
        guess = say(", their places guessed where the set has no boxes") if seen.estimated else ""
        words = "{lead}. Hidden are characters of which under 20 % of the ink is left{guess}"
        lead = say(words, lead=lead, guess=guess)
    if seen.absent:
        lead = say("{lead}. What was hidden is not known ({why})", lead=lead, why=seen.absent)
    return lead


def vocabulary(shown: Shown) -> str:
    """The words that count as real ones."""
    known = shown.analysis.known
    words = "the {count} words of {text}"
    if known.source == EMBEDDED_TEXT:
        words = "the {count} words of the {text}"
    return say(words, count=f"{known.size:,}", text=say_name(known.source))


def _changes(shown: Shown) -> Table:
    resampled = blocks(shown.results)
    mark = say(
        "* p at most {alpha} (randomisation by {blocks}, Holm over the table) and an interval "
        "without 0",
        alpha=f"{ALPHA:g}",
        blocks=resampled,
    )
    known = shown.results[0].blocks
    if known and known.count < FEWEST:
        counted = plural(known.count, known.noun)
        mark = say("{blocks}: too few for an interval or a test", blocks=counted)
    lead = say(
        "-errors of {against} that a decoder does not make at that place, +errors that it makes "
        "anew, then the net change per 1,000 reference characters (view word: words) with its 95 % "
        "paired interval over {blocks}; {mark}",
        against=shown.against,
        blocks=resampled,
        mark=mark,
    )
    parts = ("added", "net per 1,000", "low", "high", "p (Holm)")

    def column(decoder: str, changes: Mapping[Class, Change]) -> Column[ClassRow]:
        return Column(decoder, lambda kind: _change(changes.get(kind.of)), parts)

    title = say(
        "What decoders change of the errors of {against}: {what}",
        against=shown.against,
        what=shown.title,
    )
    columns = [*_class_keys(), *(column(*other) for other in shown.others)]
    return _table(shown, "changes", title, lead, columns, kinds_of(shown))


def _change(change: Change | None) -> Cell:
    """Edits of a class that a decoder removes and adds, if any."""
    if change is None:
        return Cell("0", values=(0, 0, 0.0, None, None, None))
    net = net_cell(change)
    star = "*" if significant(change.interval, change.p) else ""
    ends = net.values[1:] or (None, None)
    return Cell(
        f"-{change.removed:,} +{change.added:,}{star}",
        " ".join(filter(None, (net.text, net.detail))),
        (change.removed, change.added, net.values[0], *ends, change.p),
    )


def net_cell(change: Change) -> Cell:
    """The net change per 1,000 with its interval."""
    return figure(change.net, lambda value: number(value, 2), change.interval, scale=PER_THOUSAND)


def _confusions(shown: Shown, unit: Unit, most: int) -> Table:
    pairs = shown.analysis.confusions(unit)
    left = len(pairs) - most
    rest = say("; {left} rarer pairs are left out", left=f"{left:,}") if left > 0 else ""
    lead = say(
        "How often each decoder read one {unit} as another, in one shortest edit script; {nothing} "
        "read is a deletion, {nothing} in the reference an insertion{rest}",
        unit=say_name(unit),
        nothing=say(NOTHING),
        rest=rest,
    )
    slug, title = "confusions", "What is read as what, characters: {what}"
    if unit == "word":
        slug, title = "words", "What is read as what, words: {what}"
    columns = confusion_columns(shown.decoders)
    pairs_shown = confused(shown, unit, most)
    return _table(shown, slug, say(title, what=shown.title), lead, columns, pairs_shown)


def confused(shown: Shown, unit: Unit, most: int) -> list[PairRow]:
    """The most frequent confusions of a condition."""
    return [PairRow(shown, *pair) for pair in shown.analysis.confusions(unit, most)]


def confusion_columns(decoders: Sequence[str]) -> list[Column[PairRow]]:
    """Confusions by decoder."""
    return [
        *keys(
            (say("Reference"), say("Read")),
            lambda one: _unit_text(one.pair[0]),
            lambda one: _unit_text(one.pair[1]),
        ),
        *(_of_decoder(name, lambda one, n: one.counts[n]) for name in decoders),
    ]


def _unit_text(unit: str) -> str:
    return {"": say(NOTHING), " ": say(SPACE)}.get(unit) or plain(visible(unit))
