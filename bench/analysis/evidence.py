"""Stored rows joined with their lines, and comparable pairs of them.

Statistics, error analysis and pages of a run need only stored rows, and no model is run again. Two
systems are compared line by line, so they must have read the same lines under the same damage, and
their edits must have been counted by the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.analysis.stats import (
    FEWEST,
    Difference,
    Interval,
    holm,
    micro_interval,
    rate_difference,
    significant,
)
from bench.core.errors import UserError
from bench.core.metrics import normalise, score_line
from bench.core.types import LineResult, Row
from bench.pipeline.signature import damage_name, signature_parts
from bench.pipeline.store import RunStore


@dataclass(frozen=True, eq=False)
class Reading:
    """One system on one condition: a successful row and its lines in the order of the set."""

    row: Row
    lines: tuple[LineResult, ...]

    @property
    def system(self) -> str:
        """Encoder and decoder as registered: "mini:ctc-greedy"."""
        return f"{self.row.encoder}:{self.row.decoder}"

    @property
    def scored(self) -> bool:
        """Whether its weights are trained, so that its texts count."""
        return self.row.cer is not None

    @cached_property
    def blocks(self) -> tuple[str, ...]:
        """(N,) the block of each line, the unit of resampling."""
        return tuple(line.block for line in self.lines)

    @cached_property
    def edits(self) -> NDArray[np.int64]:
        """(N,) character edits of each line."""
        return _counts(line.edits for line in self.lines)

    @cached_property
    def characters(self) -> NDArray[np.int64]:
        """(N,) characters of each reference after the normaliser."""
        return _counts(len(normalise(line.reference)) for line in self.lines)

    @cached_property
    def word_edits(self) -> NDArray[np.int64]:
        """(N,) edits on words of each line."""
        return _counts(line.word_edits for line in self.lines)

    @cached_property
    def words(self) -> NDArray[np.int64]:
        """(N,) words of each reference after the normaliser."""
        return _counts(len(normalise(line.reference).split()) for line in self.lines)

    @cached_property
    def cer_interval(self) -> Interval | None:
        """The interval of the micro CER; None without a CER or with too few blocks."""
        return micro_interval(self.edits, self.characters, self.blocks) if self.scored else None

    @cached_property
    def corrector_gain(self) -> Difference | None:
        """The CER before the corrector minus the CER after it, paired by line.

        Positive if it helped; None without a corrector or without reference characters.
        """
        before = [line.uncorrected for line in self.lines]
        if not before or None in before:
            return None
        scores = [score_line(line.reference, line.uncorrected or "") for line in self.lines]
        edits = [score.edits for score in scores]
        return rate_difference(edits, self.edits, self.characters, self.blocks)

    def cer_less(self, other: Reading) -> Difference | None:
        """Its CER minus that of another system on the same lines, cached."""
        if other not in self._differences:
            lines = aligned(other, self)
            found = rate_difference(self.edits, lines.edits, self.characters, self.blocks)
            self._differences[other] = found
        return self._differences[other]

    @cached_property
    def _differences(self) -> dict[Reading, Difference | None]:
        return {}


def readings(
    stores: Iterable[RunStore], left_out: Callable[[str], None] = lambda why: None
) -> list[Reading]:
    """The rows of runs with their lines; a row in several of them counts once.

    `left_out` is called with a sentence for each row that failed, or whose lines are missing or
    damaged.

    Raises:
        UserError: the rows of a run cannot be read.
    """
    found: dict[str, Reading] = {}
    for store in stores:
        for row in store.rows():
            if row.key in found:
                continue
            if row.status != "ok":
                left_out(f"{_system_on(row)} failed: {row.reason}")
                continue
            try:
                found[row.key] = Reading(row, tuple(store.lines(row.key)))
            except UserError as error:
                left_out(f"{_system_on(row)} has no lines: {error}")
    return list(found.values())


def aligned(second: Reading, first: Reading) -> Reading:
    """Reorder the lines of a reading as in another reading of the same lines.

    Raises:
        UserError: another normaliser, data set, damage or severity, or other lines.
    """
    for what, of in _SAME.items():
        one, other = of(first.row), of(second.row)
        if one != other:
            raise UserError(
                f"{_system_on(first.row)} and {_system_on(second.row)} cannot be compared: {what} "
                f"differs ({one or 'not recorded'} and {other or 'not recorded'})"
            )
    return Reading(second.row, _in_order(first, second))


_SAME: dict[str, Callable[[Row], object]] = {
    "the data set": lambda row: row.condition.dataset,
    "the split": lambda row: row.condition.split,
    "the damage": damage_name,
    "the data (sha256, so the lines or how many of them)": lambda row: row.dataset_sha256,
    "the normaliser": lambda row: row.normaliser,
}  # in the order in which differences are reported


def _in_order(first: Reading, second: Reading) -> tuple[LineResult, ...]:
    ids = [line.id for line in first.lines]
    lines = second.lines
    if ids != [line.id for line in lines]:
        by_id = {line.id: line for line in lines}
        if not len(ids) == len(set(ids)) == len(lines) == len(by_id) or set(ids) != set(by_id):
            raise _unlike(first, second, "they did not read the same lines")
        lines = tuple(by_id[name] for name in ids)
    for one, other in zip(first.lines, lines, strict=True):
        if one.block != other.block or one.reference != other.reference:
            raise _unlike(first, second, f"line {one.id} has another block or reference")
    return lines


def _unlike(first: Reading, second: Reading, why: str) -> UserError:
    return UserError(
        f"{_system_on(first.row)} and {_system_on(second.row)} cannot be compared: {why}, though "
        "their rows name the same data; run both again"
    )


def _system_on(row: Row) -> str:
    place = ", ".join(filter(None, (row.condition.dataset, row.condition.damaged)))
    return f"{row.encoder}:{row.decoder} on {place}"


def _counts(values: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(values, dtype=np.int64)


def not_worse(conditions: Iterable[Sequence[Reading]]) -> frozenset[str]:
    """Keys of the best rows of each condition and of those that are not significantly worse.

    The test is approximate randomisation by blocks, two-sided because the best was chosen by the
    tested numbers, which favours it. All comparisons are one family (Holm). Skipped are readings
    without a CER, and conditions with too few blocks or with readings of different lines.
    """
    best_keys: list[str] = []
    behind: list[tuple[str, Difference]] = []
    for readings_of in conditions:
        scored = [reading for reading in readings_of if reading.row.cer is not None]
        if not scored or len(set(scored[0].blocks)) < FEWEST:
            continue
        best = min(scored, key=lambda reading: reading.row.cer or 0.0)
        try:
            gaps = [(one.row.key, one.cer_less(best)) for one in scored if one is not best]
        except UserError:
            continue
        best_keys.append(best.row.key)
        behind += [(key, gap) for key, gap in gaps if gap is not None]
    adjusted = holm([gap.p for _, gap in behind])
    equal = [
        key
        for (key, gap), p in zip(behind, adjusted, strict=True)
        if not significant(gap.interval, p)
    ]
    return frozenset([*best_keys, *equal])


# Rows that a text quotes


_KEY = re.compile(r"[0-9a-f]{6,}")
_BRACES = re.compile(r"(\w+:|)\{([^{}]*)\}(.*)", re.DOTALL)


def cited_rows(word: str, stores: Iterable[RunStore]) -> RunStore:
    """The rows with a signature or key, from the first run that has any.

    A word is a row's key or the beginning of it (six letters and more), its signature, or the
    signature below a table, in which braces list alternatives.

    Raises:
        UserError: no run has such a row, or the word is neither a key nor a signature.
    """
    word = word.strip().strip("`").strip()
    if not _KEY.fullmatch(word) and "|" not in word:
        raise UserError(
            f"{word!r} is neither a signature (e:...|d:...|s:...) nor the key of a row (six or "
            "more letters of 0-9, a-f); the one stands below the tables of a run, the other in "
            "its rows.jsonl"
        )
    looked = 0
    for store in stores:
        looked += 1
        if found := [row for row in store.rows() if _meant(word, row)]:
            return store.only(found)
    where = "that run" if looked == 1 else f"the {looked} runs that were looked through"
    raise UserError(f"no row of {where} has this key or signature: {word}; name another with --run")


def _meant(word: str, row: Row) -> bool:
    if "|" not in word:
        return row.key.startswith(word)
    if "{" not in word:
        return row.signature == word
    meant, own = word.split("|"), signature_parts(row).values()
    return len(meant) == len(own) and all(
        part in _alternatives(alike) for part, alike in zip(own, meant, strict=True)
    )


def _alternatives(part: str) -> Sequence[str]:
    """Alternatives of a part of a merged signature: "s:{a b}@1" is "s:a@1" or "s:b@1"."""
    braced = _BRACES.fullmatch(part)
    if braced is None:
        return (part,)
    return tuple(f"{braced[1]}{one}{braced[3]}" for one in braced[2].split(" "))
