"""Text against reference: the only place that normalises text or counts edits.

A rate is never clipped and never rounded here, and counts are carried as far as possible: a
cell's CER is the sum of its edits over the sum of its reference characters (micro average).

Empty references: every character read there counts as an insertion of the cell, and the line adds
no reference characters. A cell whose references are all empty has no CER (None). Lines with an
empty reference have no CER of their own, so they are left out of the macro average and of the
median.
"""

from __future__ import annotations

import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import Levenshtein

from bench.core.types import EditCounts, Edited, LineResult

NORMALISER = "nfc-ws1"  # rename whenever `normalise` changes: the name is in keys and signatures

LOOP_REPEATS = 4
LOOP_CHARACTERS = 20

EditKind = Literal["substitution", "deletion", "insertion"]

_KINDS: dict[str, EditKind] = {
    "replace": "substitution",
    "delete": "deletion",
    "insert": "insertion",
}


@dataclass(frozen=True)
class Edit:
    """One step of a shortest edit script; a unit is a character or a word.

    at: place in the units of the normalised reference; what was inserted stands before that unit.
    read_at: place in the units of the normalised hypothesis; what was left out is missing there.
    truth: the unit of the reference; "" of an insertion.
    read: the unit that was read; "" of a deletion.
    """

    kind: EditKind
    at: int
    read_at: int
    truth: str
    read: str


@dataclass(frozen=True)
class LineScore(Edited):
    """Edit counts of one line.

    characters, words: of the normalised reference.
    substitutions, deletions, insertions: of one shortest edit script from reference to
        hypothesis on code points. Their sum is unique; where several shortest scripts exist,
        the split between the three is the one of rapidfuzz's alignment.
    word_edits: the same distance on words.
    """

    substitutions: int
    deletions: int
    insertions: int
    characters: int
    words: int
    word_edits: int


# Printable by Unicode, and yet blank: fillers, joiners, variation selectors.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}


def normalise(text: str) -> str:
    """Unicode NFC, no white space at the ends, every run of white space one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def visible(text: str) -> str:
    """Replace each character that no font shows by itself with its code point.

    >>> visible("a\u200bb"), visible("\u0301")
    ('aU+200Bb', 'U+0301')
    """
    shown = ""
    for place, c in enumerate(text):
        bare = place == 0 and unicodedata.category(c) in ("Mn", "Me")  # a mark without its letter
        hidden = bare or not c.isprintable() or c in _BLANK
        shown += f"U+{ord(c):04X}" if hidden else c
    return shown


def _spaces_at_punctuation(text: str) -> str:
    """Remove spaces that touch a punctuation mark: "Mr ." and "Mr." are one."""
    return re.sub(r" ?([^\w ]) ?", r"\1", text)


def _no_punctuation(text: str) -> str:
    """Remove Unicode's punctuation and symbols."""
    kept = (c if unicodedata.category(c)[0] not in "PS" else "" for c in text)
    return normalise("".join(kept))


# Differences that may be ignored, on both sides alike, each by a function of a normalised text.
# Published CERs differ in these by points, and some references lack what the writers wrote.
LENIENT: Mapping[str, Callable[[str], str]] = {
    "spaces at punctuation": _spaces_at_punctuation,
    "case": str.casefold,
    "punctuation": _no_punctuation,
}


def lenient_edits(reference: str, hypothesis: str, ignored: str) -> tuple[int, int]:
    """Count character edits and reference characters, ignoring one of `LENIENT`."""
    truth, read = (LENIENT[ignored](normalise(text)) for text in (reference, hypothesis))
    return Levenshtein.distance(truth, read), len(truth)


def score_line(reference: str, hypothesis: str) -> LineScore:
    """Count the edits of one line after normalising both sides."""
    truth, read = normalise(reference), normalise(hypothesis)
    tags = Counter(edit.tag for edit in Levenshtein.editops(truth, read))
    return LineScore(
        substitutions=tags["replace"],
        deletions=tags["delete"],
        insertions=tags["insert"],
        characters=len(truth),
        words=len(truth.split()),
        word_edits=Levenshtein.distance(truth.split(), read.split()),
    )


def character_edits(reference: str, hypothesis: str) -> list[Edit]:
    """List the character edits that `score_line` counts, from left to right."""
    return _script(normalise(reference), normalise(hypothesis))


def word_edits(reference: str, hypothesis: str) -> list[Edit]:
    """List the word edits that `score_line` counts, from left to right."""
    return _script(normalise(reference).split(), normalise(hypothesis).split())


def _script(truth: Sequence[str], read: Sequence[str]) -> list[Edit]:
    return [
        Edit(
            kind=_KINDS[step.tag],
            at=step.src_pos,
            read_at=step.dest_pos,
            truth="" if step.tag == "insert" else truth[step.src_pos],
            read="" if step.tag == "delete" else read[step.dest_pos],
        )
        for step in Levenshtein.editops(truth, read)
    ]


def count_edits(pairs: Iterable[tuple[str, str]]) -> tuple[int, int]:
    """Sum edits and reference characters over pairs of reference and text, for a micro CER."""
    scores = [score_line(reference, text) for reference, text in pairs]
    return sum(score.edits for score in scores), sum(score.characters for score in scores)


def is_looping(text: str) -> bool:
    """Recognise a text that ends in a repetition, as of a decoder that cannot stop.

    A loop is a unit of any length that repeats to the end of the normalised text (the last
    repetition may be cut off), at least `LOOP_REPEATS` times and over at least `LOOP_CHARACTERS`
    characters. Shorter rows of dots and "ha ha ha" are writing, not loops.
    """
    tail = normalise(text)[::-1]
    for period in range(1, len(tail) // LOOP_REPEATS + 1):
        same = period
        while same < len(tail) and tail[same] == tail[same - period]:
            same += 1
        if same >= LOOP_REPEATS * period and same >= LOOP_CHARACTERS:
            return True
    return False


def outside_alphabet(references: Iterable[str], alphabet: Sequence[str]) -> int:
    """Count characters of the normalised references outside an alphabet; they stay errors."""
    known = set("".join(alphabet))
    return sum(character not in known for text in references for character in normalise(text))


def totals(results: Iterable[LineResult]) -> EditCounts:
    """Sum the lines of a cell.

    A line counts as `empty` when nothing was read although its reference is not empty, and as
    `over_half` when its edits are more than half of its reference characters.
    """
    counts: Counter[str] = Counter()
    for result in results:
        truth, read = normalise(result.reference), normalise(result.text)
        counts.update(
            lines=1,
            characters=len(truth),
            substitutions=result.substitutions,
            deletions=result.deletions,
            insertions=result.insertions,
            words=len(truth.split()),
            word_edits=result.word_edits,
            empty=bool(truth) and not read,
            over_half=2 * result.edits > len(truth),
            truncated=result.truncated,
            looping=is_looping(read),
            tokens=result.tokens,
            output_characters=len(read),
        )
    return EditCounts(**{name: int(counts[name]) for name in EditCounts.__dataclass_fields__})


def cer(counts: EditCounts) -> float | None:
    """Micro character error rate, a fraction that may be over 1; None without characters."""
    return counts.edits / counts.characters if counts.characters else None


def wer(counts: EditCounts) -> float | None:
    """Micro word error rate, a fraction that may be over 1; None without words."""
    return counts.word_edits / counts.words if counts.words else None


def macro_cer(results: Iterable[LineResult]) -> float | None:
    """Mean of the lines' own CERs, every line alike; None when no line has one."""
    rates = _line_rates(results)
    return statistics.fmean(rates) if rates else None


def median_cer(results: Iterable[LineResult]) -> float | None:
    """Median of the lines' own CERs; None when no line has one."""
    rates = _line_rates(results)
    return statistics.median(rates) if rates else None


def _line_rates(results: Iterable[LineResult]) -> list[float]:
    lengths = ((result, len(normalise(result.reference))) for result in results)
    return [result.edits / length for result, length in lengths if length]
