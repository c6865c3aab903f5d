"""Why a decoder errs: because of its search, because of its model, or because nothing could help.

Each decoder looks for the text with the highest score under an objective of its own. A wrong line
whose reference scores higher than what was read is a search error: a wider beam could mend it. One
whose reference scores lower is a model error: no search can mend it, only another model or other
weights. The oracle CER is that of the best of the k texts that a decoder told first: what a second
pass over them could reach at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from bench.core.errors import Unavailable, UserError
from bench.core.metrics import normalise, score_line
from bench.core.registry import did_you_mean
from bench.core.types import Condition, Decoded, Encoded, EncoderInfo, Line, Runtime
from bench.pipeline.measure import sorted_batches
from bench.pipeline.plan import CLEAN, MAIN_SEVERITY, Registries
from bench.pipeline.reading import Track, open_trained, opened
from bench.pipeline.runner import check_runtime
from datasets.base import spread
from datasets.damage.cache import cached_lines
from decoders.base import Decoder, DecoderSpec
from models.base import Encoder

Kind = Literal["right", "search", "model", "unreachable", "unknown"]

TOLERANCE = 1e-3  # natural log: scores that differ by less are the same but for rounding


@dataclass(frozen=True)
class Job:
    """What to look at, by registered names.

    damages: conditions beside or instead of the clean set, which is called `CLEAN`.
    limit: lines, spread evenly over the split; None for all.
    options: of encoder, decoders, data set and damages, by name.
    """

    encoder: str
    decoders: tuple[str, ...]
    dataset: str
    split: str = "test"
    damages: tuple[str, ...] = (CLEAN,)
    severities: tuple[int, ...] = (MAIN_SEVERITY,)
    seed: int = 0
    limit: int | None = 200
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    runtime: Runtime = field(default_factory=Runtime)


@dataclass(frozen=True)
class LineFinding:
    """One line of one decoder.

    kind: "right" when nothing is wrong; "unreachable" when the reference has the score minus
        infinity (a character that the decoder cannot write, a line too short for CTC);
        "unknown" when the decoder cannot score texts.
    edits: of the texts that were told, best first.
    gap: score of the reference less that of the text, in a "search" or "model" line; else None.
    """

    id: str
    kind: Kind
    edits: tuple[int, ...]
    characters: int
    gap: float | None


@dataclass(frozen=True)
class Finding:
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
        """Most texts that were told of a line."""
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
    findings: tuple[Finding, ...]
    skipped: tuple[tuple[str, str], ...]


def diagnose(job: Job, registries: Registries, track: Track) -> Diagnosis:
    """Read the lines with every decoder, and score references and readings.

    Raises:
        UserError: an unknown name or option, untrained weights, no decoder that can run here.
        Unavailable: something that it needs is not here.
    """
    check_runtime(job.runtime)
    if job.limit is not None and job.limit < 1:
        raise UserError(f"a limit of {job.limit} lines leaves nothing to read")
    dataset = registries.datasets.create(job.dataset, job.options.get(job.dataset))
    if absent := dataset.missing():
        raise absent
    if job.split not in dataset.splits:
        hint = did_you_mean(job.split, dataset.splits)
        raise UserError(f"{job.dataset} has no split {job.split!r}{hint}")
    options = job.options.get(job.encoder)
    encoder = open_trained(registries.encoders, job.encoder, options, job.runtime)
    for each in track([dataset], f"loading {job.dataset}"):
        found = each.load(job.split)
    clean = spread(found.lines, job.limit) if job.limit else list(found.lines)
    if not clean:
        raise UserError(f"{job.dataset} has no line in its split {job.split}")
    with ExitStack() as stack:
        decoders, skipped = _opened(job, registries, encoder.info, stack)
        if not decoders:
            raise UserError("; ".join(f"{name}: {why}" for name, why in skipped))
        findings: list[Finding] = []
        for condition in _conditions(job):
            lines = _damaged(job, registries, condition, clean, track)
            findings += _findings(encoder, decoders, condition, lines, job.runtime, track)
    return Diagnosis(
        job.encoder, encoder.info.weights, found.sha256, tuple(findings), tuple(skipped)
    )


def _opened(
    job: Job, registries: Registries, info: EncoderInfo, stack: ExitStack
) -> tuple[dict[str, Decoder], list[tuple[str, str]]]:
    """The decoders that fit, open and telling as many texts as their beam holds."""
    decoders, skipped = {}, []
    for name in job.decoders:
        try:
            spec = _widest(registries, name, job.options.get(name, {}))
            if spec.needs != "states" and not info.alphabet:
                raise Unavailable(f"{info.name} has no CTC head")
            decoders[name] = stack.enter_context(opened(spec, info))
        except Unavailable as absent:
            skipped.append((name, str(absent)))
    return decoders, skipped


def _widest(registries: Registries, name: str, options: Mapping[str, Any]) -> DecoderSpec:
    spec: DecoderSpec = registries.decoders.create(name, options)
    settings = spec.settings()
    if {"beam", "nbest"} <= settings.keys() and "nbest" not in options:
        spec = registries.decoders.create(name, {**options, "nbest": settings["beam"]})
    return spec


def _conditions(job: Job) -> Iterator[Condition]:
    for damage in job.damages:
        for severity in (0,) if damage == CLEAN else job.severities:
            yield Condition(job.dataset, job.split, damage, severity, job.seed, job.limit)


def _damaged(
    job: Job, registries: Registries, condition: Condition, lines: Sequence[Line], track: Track
) -> Sequence[Line]:
    if condition.damage == CLEAN:
        return lines
    damage = registries.damages.create(condition.damage, job.options.get(condition.damage))
    doing = f"damaging lines: {condition.damage} {condition.severity}"
    results = cached_lines(damage, lines, condition.dataset, condition.severity, condition.seed)
    return [result.line for result, _ in zip(results, track(lines, doing), strict=True)]


def _findings(
    encoder: Encoder,
    decoders: Mapping[str, Decoder],
    condition: Condition,
    lines: Sequence[Line],
    runtime: Runtime,
    track: Track,
) -> Iterator[Finding]:
    """Of each decoder; every batch is encoded once."""
    found: dict[str, list[LineFinding]] = {name: [] for name in decoders}
    widths = [line.image.shape[1] for line in lines]
    doing = f"reading lines: {condition.damage} {condition.severity}"
    for batch in track(sorted_batches(widths, runtime.batch_size), doing):
        chosen = [lines[place] for place in batch]
        encoded = encoder.encode(encoder.prepare([line.image for line in chosen]))
        for name, decoder in decoders.items():
            found[name] += judged(decoder, encoded, chosen)
    for name, decoder in decoders.items():
        yield Finding(name, condition, decoder.spec.settings(), tuple(found[name]))


def judged(decoder: Decoder, encoded: Encoded, lines: Sequence[Line]) -> Iterable[LineFinding]:
    """What one open decoder does with one batch."""
    read = decoder.decode(encoded)
    pairs = [[one.text, normalise(line.text)] for one, line in zip(read, lines, strict=True)]
    scores = decoder.score(encoded, pairs)
    for place, (one, line) in enumerate(zip(read, lines, strict=True)):
        yield _judged(one, line, None if scores is None else scores[place].tolist())


def _judged(read: Decoded, line: Line, scores: Sequence[float] | None) -> LineFinding:
    told = [text for text, _ in read.nbest] or [read.text]
    counted = [score_line(line.text, text) for text in told]
    edits = tuple(score.edits for score in counted)
    kind, gap = _kind(edits[0], read.score, scores)
    return LineFinding(line.id, kind, edits, counted[0].characters, gap)


def _kind(
    edits: int, told: float | None, scores: Sequence[float] | None
) -> tuple[Kind, float | None]:
    """What is wrong with a line, and by how much its reference scores higher.

    Args:
        edits: of the text that was read.
        told: its score as the decoder told it; a search may have found more of a text than its
            usual spelling is worth.
        scores: of the text and of the reference under the decoder's objective.
    """
    if scores is None:
        return ("unknown" if edits else "right"), None
    text, reference = scores
    if not edits:
        return "right", None
    if reference == -np.inf:
        return "unreachable", None
    gap = reference - max(text, -np.inf if told is None else told)
    return ("search" if gap > TOLERANCE else "model"), gap
