"""Cells: their keys and their rows."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from bench import __version__
from bench.core import metrics
from bench.core.hashing import code_version, digest, plain
from bench.core.named import without_paths
from bench.core.options import settings
from bench.core.records import SCHEMA
from bench.core.types import (
    UNTRAINED,
    Correction,
    Decoded,
    EncoderInfo,
    Line,
    LineResult,
    LineSet,
    Row,
    Spent,
    Timing,
)
from bench.pipeline.leaks.check import leaks_of_row
from bench.pipeline.plan import Block, Part
from bench.pipeline.signature import signature
from datasets.damage.base import SUITE
from decoders.base import DecoderSpec
from decoders.correctors.base import REFUSED

SLOTS = "lines_with_equal_slots"  # an entry of `Row.extras`
MEASURING = ("bench.pipeline.runner",)  # with all its imports: the measuring code


@dataclass(frozen=True, eq=False)
class Origin:
    """The environment that all cells of a run share.

    environment: hash of the environment record.
    machine: hash of the part of it that can change text or time.
    """

    environment: str
    machine: str


@dataclass(frozen=True, eq=False)
class Cell:
    """One decoder of a block, with the facts known so far.

    info: of the open encoder; None when it could not be opened.
    lines: the clean set; None when it could not be loaded.
    extras: facts that the open decoder reports.
    """

    block: Block
    decoder: Part
    origin: Origin
    info: EncoderInfo | None = None
    lines: LineSet | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def cell(self) -> str:
        """Hash of the request, independent of code, weights and data."""
        return digest(
            {
                "encoder": self.block.encoder.name,
                "decoder": [self.decoder.name, _settings(self.decoder.thing)],
                "options": self._options(),
                "condition": dataclasses.asdict(self.block.condition),
                "runtime": dataclasses.asdict(self.block.runtime),
            }
        )

    @functools.cached_property
    def key(self) -> str:
        """Hash of everything that can change the text or the time."""
        block = self.block
        damage = block.damage
        return digest(
            {
                "schema": SCHEMA,
                "encoder": [_identity(block.encoder), self.info and self.info.weights],
                "decoder": [_identity(self.decoder), self.extras],
                "condition": dataclasses.asdict(block.condition),
                "data": self.lines and self.lines.sha256,
                "damage": damage and [SUITE, _identity(damage)],
                "rounds": dataclasses.asdict(block.rounds),
                "speed": not block.no_speed,
                "runtime": dataclasses.asdict(self.block.runtime),
                "machine": self.origin.machine,
                "measuring": measuring_version(),
                "normaliser": metrics.NORMALISER,
            }
        )

    @property
    def with_speed(self) -> Cell:
        """The cell with its speed."""
        return dataclasses.replace(self, block=dataclasses.replace(self.block, no_speed=""))

    def failed(self, reason: str, started: str) -> Row:
        """The row of a cell that could not be measured."""
        return self._row("failed", started, reason=without_paths(reason))

    def ok(
        self,
        results: Sequence[LineResult],
        timing: Timing | None,
        started: str,
        ink_lost: float | None,
        extras: Mapping[str, Any] = {},
        spent: Mapping[str, float] = {},
    ) -> Row:
        """The row of a measured cell; rates only where the weights are trained.

        Args:
            results: all lines, in the order of the set.
            timing: of the decoder; None in a block without speed.
            started: when the block began.
            ink_lost: mean share over the lines, where the damage defines it.
            extras: further facts for the row, not part of its key.
            spent: the cost of the corrector, by kind.
        """
        trained = self.info is not None and self.info.trained
        return self._row(
            "ok",
            started,
            foreign=self._outside_alphabet(results),
            ink_lost=ink_lost,
            timing=timing,
            leak=leaks_of_row(self.block.dataset, self.lines, self.extras) if self.lines else None,
            correction=corrected(results, trained, spent),
            extras=extras,
            **_counted(results, trained),
        )

    def _outside_alphabet(self, results: Sequence[LineResult]) -> int:
        alphabet = self.decoder.thing.alphabet(self.info) if self.info else ()
        if not alphabet:
            return 0
        return metrics.outside_alphabet((result.reference for result in results), alphabet)

    def _parameters(self) -> dict[str, int]:
        """Parameters of the parts that run: the encoder and the heads that the decoder reads."""
        other = {"states": "ctc", "log_probs": "ar"}.get(self.decoder.thing.needs)
        parts = self.info.parameters if self.info else {}
        return {part: count for part, count in parts.items() if part != other}

    def _row(self, status: Any, started: str, extras: Mapping[str, Any] = {}, **more: Any) -> Row:
        block, info, lines = self.block, self.info, self.lines
        known: dict[str, Any] = {}
        if lines and lines.notes:
            known["set_notes"] = lines.notes
        if info and info.origin:
            known["encoder_origin"] = info.origin
        if info and info.notes:
            known["encoder_notes"] = info.notes
        if block.no_speed:
            known["no_speed"] = block.no_speed
        row = Row(
            key=self.key,
            cell=self.cell,
            status=status,
            encoder=block.encoder.name,
            weights=info.weights if info else "",
            parameters=self._parameters(),
            decoder=self.decoder.name,
            options=plain(_settings(self.decoder.thing)),
            condition=block.condition,
            dataset_sha256=lines.sha256 if lines else "",
            references=lines.references if lines else "",
            runtime=self.block.runtime,
            version=__version__,
            normaliser=metrics.NORMALISER,
            suite=SUITE if block.damage else "",
            signature="",
            environment=self.origin.environment,
            started=started,
            unreadable=len(lines.bad) if lines else 0,
            **self._options(),
            decoder_options=plain(self.decoder.options),
            extras=plain({**self.extras, **known, **extras}),
            **more,
        )
        return dataclasses.replace(row, signature=signature(row))

    def _options(self) -> dict[str, Any]:
        """The user's options of all parts but the decoder."""
        block = self.block
        parts = {"encoder": block.encoder, "dataset": block.dataset, "damage": block.damage}
        return {f"{name}_options": plain(part.options) for name, part in parts.items() if part}


def joined(rows: Sequence[Row], results: Sequence[LineResult]) -> Row:
    """Make the row of a cell from those of its shards and all lines in the order of the set."""
    ink = [
        (row.ink_lost, row.counts.lines) for row in rows if row.counts and row.ink_lost is not None
    ]
    spent, extras = Counter[str](), dict[str, Any]()
    for row in rows:
        costs = cast(dict[str, Any], row.correction or {})
        spent.update({kind: costs[kind] for kind in Spent.__annotations__ if kind in costs})
        slots = extras.get(SLOTS, 0) + row.extras.get(SLOTS, 0)
        extras |= {**row.extras, **({SLOTS: slots} if slots else {})}
    trained = rows[0].weights != UNTRAINED
    return dataclasses.replace(
        rows[0],
        foreign=sum(row.foreign for row in rows),
        ink_lost=sum(lost * lines for lost, lines in ink) / sum(n for _, n in ink) if ink else None,
        correction=corrected(results, trained, spent),
        extras=extras,
        **_counted(results, trained),
    )


def _counted(results: Sequence[LineResult], trained: bool) -> dict[str, Any]:
    counts = metrics.totals(results)
    if not trained:
        return {"counts": counts}
    return {
        "counts": counts,
        "cer": metrics.cer(counts),
        "wer": metrics.wer(counts),
        "cer_macro": metrics.macro_cer(results),
        "cer_median": metrics.median_cer(results),
    }


def line_result(line: Line, decoded: Decoded) -> LineResult:
    """Make the stored record of a line: raw texts and their edit counts."""
    score = metrics.score_line(line.text, decoded.text)
    return LineResult(
        id=line.id,
        writer=line.writer,
        reference=line.text,
        text=decoded.text,
        tokens=decoded.tokens,
        score=plain(decoded.score),
        truncated=decoded.truncated,
        substitutions=score.substitutions,
        deletions=score.deletions,
        insertions=score.insertions,
        word_edits=score.word_edits,
        uncorrected=decoded.uncorrected,
        verdict=decoded.verdict,
        block=line.block,
    )


def corrected(
    lines: Sequence[LineResult], trained: bool, spent: Mapping[str, float] = {}
) -> Correction | None:
    """Compare the lines of a cell with those before its corrector; None without one.

    Returns:
        "improved", "same", "worse": lines with fewer, as many and more character edits than before;
        "changed": lines with another text, after normalising; "refused": refused answers by reason;
        "edits_before", "cer_before", "wer_before": before correction (rates are None for untrained
        weights); and what the corrector spent, by kind.
    """
    if not lines or any(line.uncorrected is None for line in lines):
        return None
    before = [metrics.score_line(line.reference, line.uncorrected or "") for line in lines]
    gains = [one.edits - line.edits for one, line in zip(before, lines, strict=True)]
    edits, characters = sum(x.edits for x in before), sum(x.characters for x in before)
    words, word_edits = sum(x.words for x in before), sum(x.word_edits for x in before)
    rates = trained and characters > 0
    return {
        "improved": sum(gain > 0 for gain in gains),
        "same": sum(gain == 0 for gain in gains),
        "worse": sum(gain < 0 for gain in gains),
        "changed": sum(
            metrics.normalise(line.text) != metrics.normalise(line.uncorrected or "")
            for line in lines
        ),
        "refused": refusals(lines),
        "edits_before": edits,
        "cer_before": edits / characters if rates else None,
        "wer_before": word_edits / words if rates and words else None,
        **cast(Spent, spent),
    }


def refusals(lines: Sequence[LineResult]) -> Mapping[str, int]:
    """Answers that were refused, by reason, the most frequent first."""
    reasons = Counter(
        line.verdict[len(REFUSED) :] for line in lines if line.verdict.startswith(REFUSED)
    )
    return dict(reasons.most_common())


def _identity(part: Part) -> list[Any]:
    """Name, options and code of a part."""
    things = part.thing.parts if isinstance(part.thing, DecoderSpec) else (part.thing,)
    return [part.name, _settings(part.thing), _version(tuple(type(x).__module__ for x in things))]


def _settings(thing: Any) -> dict[str, Any]:
    return thing.settings() if isinstance(thing, DecoderSpec) else settings(thing)


def measuring_version() -> str:
    """Hash of the measuring code."""
    return _version(MEASURING)


@functools.cache
def _version(modules: tuple[str, ...]) -> str:
    """The code version, cached since code edited during a run is not the code that runs."""
    return code_version(modules)
