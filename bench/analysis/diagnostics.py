"""Causes of a decoder's errors: its search, its model, or an unreachable reference.

Each decoder searches for the text with the highest score under its own objective. A wrong line is
a search error if its reference scores higher than the hypothesis (a wider beam could fix it), and a
model error if it scores lower (only another model or other weights can fix it). The oracle CER is
that of the best of a decoder's k hypotheses: a lower bound for re-ranking them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bench.core.errors import Unavailable, UserError
from bench.core.metrics import normalise, score_line
from bench.core.types import Condition, Encoded, Line
from bench.pipeline.opening import Bench, Track, opened
from bench.pipeline.plan import Registries, Selection, build_plan
from datasets.base import spread
from datasets.damage.cache import cached_lines
from decoders.base import Decoder

Kind = Literal["right", "search", "model", "unreachable", "unknown"]

TOLERANCE = 1e-3  # natural log: scores that differ by less are the same but for rounding


@dataclass(frozen=True)
class LineFinding:
    """One line of one decoder.

    kind: "right" without edits; "unreachable" if the reference has the score minus infinity (a
        character that the decoder cannot write, a line too short for CTC); "unknown" if the
        decoder cannot score texts.
    edits: of the decoder's texts, best first.
    """

    id: str
    kind: Kind
    edits: tuple[int, ...]
    characters: int


@dataclass(frozen=True)
class DecoderErrors:
    """One decoder under one condition."""

    decoder: str
    condition: Condition
    options: Mapping[str, Any]
    lines: tuple[LineFinding, ...]

    def count(self, kind: Kind) -> int:
        """Lines of a kind."""
        return sum(line.kind == kind for line in self.lines)

    def share(self, kind: Kind) -> float | None:
        """Share of all character edits that lie in lines of a kind; None without an edit."""
        edits: Counter[str] = Counter()
        for line in self.lines:
            edits[line.kind] += line.edits[0]
        return edits[kind] / edits.total() if edits.total() else None

    @property
    def width(self) -> int:
        """The largest number of hypotheses of a line."""
        return max((len(line.edits) for line in self.lines), default=1)

    def oracle(self, width: int) -> float | None:
        """Micro CER of the best of the first `width` texts of each line; 1 is the plain CER."""
        characters = sum(line.characters for line in self.lines)
        edits = sum(min(line.edits[:width]) for line in self.lines)
        return edits / characters if characters else None


@dataclass(frozen=True)
class Diagnosis:
    """All findings, condition by condition.

    skipped: decoders that cannot run here, and why.
    """

    encoder: str
    weights: str
    dataset_sha256: str
    findings: tuple[DecoderErrors, ...]
    skipped: tuple[tuple[str, str], ...]


def diagnose(asked: Selection, registries: Registries, track: Track) -> Diagnosis:
    """Read the lines with every decoder, and score references and hypotheses.

    The limit is spread evenly over the split.

    Raises:
        UserError: an unknown name or option, untrained weights, no decoder that can run here.
        Unavailable: a prerequisite is not here.
    """
    (encoder,), (dataset,) = asked.encoders, asked.datasets
    plan = build_plan(asked, registries)
    skipped = [(item.label, str(Unavailable(item.reason, item.remedy))) for item in plan.skipped]
    if not plan.blocks:
        raise UserError("; ".join(f"{name}: {why}" for name, why in skipped))
    with opened(encoder, registries, asked.options, asked.runtime, track, trained=True) as bench:
        loaded = bench.lines(dataset, asked.split)
        clean = spread(loaded.lines, asked.limit) if asked.limit else list(loaded.lines)
        decoders, unfit = _opened(bench, [part.name for part in plan.blocks[0].decoders])
        skipped += unfit
        if not decoders:
            raise UserError("; ".join(f"{name}: {why}" for name, why in skipped))
        findings: list[DecoderErrors] = []
        for block in plan.blocks:
            at, lines = block.condition, clean
            if block.damage is not None:
                made = cached_lines(block.damage.thing, clean, at.dataset, at.severity, at.seed)
                pairs = zip(made, track(clean, f"damaging lines: {at.damaged}"), strict=True)
                lines = [result.line for result, _ in pairs]
            findings += _findings(bench, decoders, at, lines)
        weights = bench.info.weights
    return Diagnosis(encoder, weights, loaded.sha256, tuple(findings), tuple(skipped))


def _opened(bench: Bench, names: Sequence[str]) -> tuple[dict[str, Decoder], list[tuple[str, str]]]:
    """Open the decoders that fit, with as many hypotheses as their beam holds."""
    decoders, skipped = {}, []
    for name in names:
        try:
            spec = bench.spec(name)
            settings = spec.settings()
            if {"beam", "nbest"} <= settings.keys() and "nbest" not in bench.options.get(name, {}):
                spec = bench.spec(name, nbest=settings["beam"])
            decoders[name] = bench.decoder(spec)
        except Unavailable as absent:
            skipped.append((name, str(absent)))
    return decoders, skipped


def _findings(
    bench: Bench, decoders: Mapping[str, Decoder], condition: Condition, lines: Sequence[Line]
) -> Iterator[DecoderErrors]:
    lines_of: dict[str, list[LineFinding]] = {name: [] for name in decoders}
    doing = f"reading lines: {condition.damaged or 'clean'}"
    for batch in bench.encode(lines, doing=doing):
        for name, decoder in decoders.items():
            lines_of[name] += line_findings(decoder, batch.encoded, batch.lines)
    for name, decoder in decoders.items():
        yield DecoderErrors(name, condition, decoder.spec.settings(), tuple(lines_of[name]))


def line_findings(
    decoder: Decoder, encoded: Encoded, lines: Sequence[Line]
) -> Iterable[LineFinding]:
    """Classify the lines of a batch by the errors of one open decoder."""
    read = decoder.decode(encoded)
    pairs = [[one.text, normalise(line.text)] for one, line in zip(read, lines, strict=True)]
    scores = decoder.score(encoded, pairs)
    for place, (one, line) in enumerate(zip(read, lines, strict=True)):
        texts = [text for text, _ in one.nbest] or [one.text]
        counted = [score_line(line.text, text) for text in texts]
        edits = tuple(score.edits for score in counted)
        own = None if scores is None else scores[place].tolist()
        kind = _kind(edits[0], one.score, own)
        yield LineFinding(line.id, kind, edits, counted[0].characters)


def _kind(edits: int, own: float | None, scores: Sequence[float] | None) -> Kind:
    """Classify a line.

    Args:
        edits: of the hypothesis.
        own: its score in the search, which may have summed several spellings of the text.
        scores: of the text and of the reference under the decoder's objective.
    """
    if not edits:
        return "right"
    if scores is None:
        return "unknown"
    text, reference = scores
    if reference == -np.inf:
        return "unreachable"
    gap = reference - max(text, -np.inf if own is None else own)
    return "search" if gap > TOLERANCE else "model"
