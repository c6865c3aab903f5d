"""Speed of our decoders and their peers on the same batches, alternating, in one run."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.core.errors import Unavailable, UserError
from bench.core.files import write_atomically
from bench.core.hashing import plain
from bench.core.metrics import count_edits
from bench.core.records import load
from bench.core.stopwatch import Stopwatch
from bench.core.types import Decoded, Line, Runtime
from bench.pipeline.measure import BlockMeasure
from bench.pipeline.opening import opened
from bench.pipeline.plan import Registries, Rounds
from datasets import DATASETS
from datasets.damage import DAMAGES
from datasets.damage.base import damaged_lines

FILE = "perf.json"

# An AR search against generate, one with a CTC draft or with a rounded head against one without,
# CTC with an n-gram against another search of the same model.
Group = Literal["search", "draft", "head", "n-gram"]

_SET, _SPLIT = "ink", "test"
_REST_S = 0.2


@dataclass(frozen=True)
class PeerSide:
    """A decoder of the registry with its options."""

    decoder: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its name in tables."""
        options = ", ".join(f"{key} {value}" for key, value in self.options.items())
        return f"{self.decoder} ({options})" if options else self.decoder


@dataclass(frozen=True)
class PeerComparison:
    """Two decoders on the same lines.

    lines: number of the first test lines of ink to read; batch: lines at a time.
    damage: its name and severity; None for clean lines.
    other_model: whether the peer has another language model, as in records up to 2026.
    rounds: in which each side has one turn.
    """

    group: Group
    encoder: str
    ours: PeerSide
    peer: PeerSide
    lines: int
    batch: int
    options: Mapping[str, Any] = field(default_factory=dict)
    damage: tuple[str, int] | None = None
    other_model: bool = False
    rounds: int = 5

    @property
    def peer_label(self) -> str:
        """The peer as a table names it."""
        return self.peer.label + (", other model" if self.other_model else "")

    @property
    def label(self) -> str:
        """For a progress bar, and to choose by."""
        damage = f", {self.damage[0]} {self.damage[1]}" if self.damage else ""
        return (
            f"{self.group}: {self.ours.label} against {self.peer_label} on {self.encoder}{damage}, "
            f"batch {self.batch}"
        )


@dataclass(frozen=True)
class PeerResult:
    """Seconds per round for all lines, and agreement of both sides.

    same: lines with equal texts.
    score_gap: largest difference of the scores of such lines; None where they have none.
    ours_cer, peer_cer: fractions; None for untrained weights.
    reason: why it was not run, and the remedy; all else is then empty.
    """

    comparison: PeerComparison
    ours_s: tuple[float, ...] = ()
    peer_s: tuple[float, ...] = ()
    same: int | None = None
    score_gap: float | None = None
    ours_cer: float | None = None
    peer_cer: float | None = None
    reason: str = ""

    @property
    def ratios(self) -> tuple[float, ...]:
        """Peer's seconds over ours in each round, so above 1 if ours is faster."""
        return tuple(p / o for o, p in zip(self.ours_s, self.peer_s, strict=True))


@dataclass(frozen=True)
class PeerRecord:
    """The results of a run.

    environment: code, software and machine (`bench.core.machine.environment`).
    results: in the order in which they were measured.
    """

    environment: Mapping[str, Any]
    runtime: Runtime
    results: tuple[PeerResult, ...] = ()


def comparisons(
    encoder: str, options: Mapping[str, Any] | None = None, words: Sequence[str] = ()
) -> list[PeerComparison]:
    """The comparisons whose label has all the words, slow architectures last.

    The encoder, with its options, is a trained one with a CTC head, for what depends on
    log-probabilities.
    """
    every = [
        *_ngrams(encoder, dict(options or {})),
        *(
            PeerComparison("draft", "mini", PeerSide("ar-draft"), PeerSide("ar-greedy"), 64, batch)
            for batch in (1, 16)
        ),
        _search("mini", batch=16, beam=5, rounds=5),
        _search("mini", batch=16, beam=1, rounds=5),
        _search("trocr-small", batch=8, beam=5),
        _search("trocr-small", batch=8, beam=10),
        _search("trocr-base", batch=8, beam=1),
        _search("trocr-base", batch=1, beam=10),
        _search("trocr-base", batch=8, beam=5),
        _search("trocr-base", batch=8, beam=10),
    ]
    every += [
        dataclasses.replace(
            _search(name, batch, beam),
            group="head",
            ours=PeerSide("ar-beam", {"beam": beam, "head": "bfloat16"}),
            peer=PeerSide("ar-beam", {"beam": beam}),
            lines=lines,
        )
        for name, lines, batch, beam in (
            ("mini", 300, 32, 5), ("trocr-base", 1, 1, 10), ("trocr-base", 8, 8, 5),
            ("trocr-base", 8, 8, 10),
        )
    ]  # fmt: skip
    return [one for one in every if all(word in one.label for word in words)]


def _search(encoder: str, batch: int, beam: int, rounds: int = 3) -> PeerComparison:
    """`ar-beam` or `ar-greedy` against generate, at the same beam, on one batch."""
    ours = PeerSide("ar-greedy") if beam == 1 else PeerSide("ar-beam", {"beam": beam})
    options = {} if encoder == "mini" else {"untrained": True}
    peer = PeerSide("ar-hf", {"beam": beam})
    return PeerComparison("search", encoder, ours, peer, batch, batch, options, rounds=rounds)


def _ngrams(encoder: str, options: Mapping[str, Any]) -> list[PeerComparison]:
    """Pair n-gram searches with peers that read the same model, and `ctc-gap` with `ctc-ngram`.

    pyctcdecode reads the word model, flashlight-text the character model.
    """
    pairs = (
        ("ctc-ngram-word", "ctc-kenlm"), ("ctc-ngram", "ctc-flashlight"), ("ctc-gap", "ctc-ngram"),
    )  # fmt: skip
    return [
        PeerComparison(
            "n-gram", encoder, PeerSide(ours, {"beam": 100}), PeerSide(peer, {"beam": 100}),
            lines=300, batch=64, options=options, damage=damage, rounds=9 if damage is None else 3,
        )
        for damage in (None, ("blot", 2))
        for ours, peer in pairs
    ]  # fmt: skip


def compare(
    comparison: PeerComparison, runtime: Runtime, advanced: Callable[[float], None] = lambda x: None
) -> PeerResult:
    """Run a comparison."""
    runtime = dataclasses.replace(runtime, batch_size=comparison.batch)
    try:
        return _measured(comparison, runtime, advanced)
    except Unavailable as absent:
        reason = "; ".join(filter(None, (absent.reason, absent.remedy)))
        return PeerResult(comparison, reason=reason)
    except UserError as error:
        return PeerResult(comparison, reason=str(error))


def _measured(
    comparison: PeerComparison, runtime: Runtime, advanced: Callable[[float], None]
) -> PeerResult:
    """Alternate both sides on each batch, with a rest before each turn.

    The rest keeps the clean-up of one side's workers out of the other's time.
    """
    rounds = Rounds(comparison.rounds, 0.0, math.inf, together_s=math.inf, rest_s=_REST_S)
    options = {comparison.encoder: comparison.options}
    with opened(comparison.encoder, Registries(), options, runtime) as bench:
        lines = _lines(comparison)
        sides = {
            name: bench.decoder(bench.spec(side.decoder, **side.options))
            for name, side in (("ours", comparison.ours), ("peer", comparison.peer))
        }
        images, watch = [line.image for line in lines], Stopwatch.for_device(runtime.device)
        measure = BlockMeasure(bench.encoder, sides, images, runtime, watch)
        measure.run(rounds, advanced)
        trained = bench.info.trained
    read, seconds = {}, {}
    for name in sides:
        reading = measure.readings[name]
        if reading.failure:
            return PeerResult(comparison, reason=reading.failure)
        read[name] = [reading.decoded[place] for place in range(len(lines))]
        seconds[name] = tuple(sum(lap.wall_s for lap in laps) for laps in measure.whole(name))
    alike = [(a, b) for a, b in zip(*read.values(), strict=True) if a.text == b.text]
    gaps = [abs(a.score - b.score) for a, b in alike if a.score is not None and b.score is not None]
    return PeerResult(
        comparison,
        seconds["ours"],
        seconds["peer"],
        same=len(alike),
        score_gap=max(gaps, default=None),
        ours_cer=_cer(lines, read["ours"]) if trained else None,
        peer_cer=_cer(lines, read["peer"]) if trained else None,
    )


def _lines(comparison: PeerComparison) -> Sequence[Line]:
    lines: Sequence[Line] = DATASETS.create(_SET).load(_SPLIT, comparison.lines).lines
    if comparison.damage is None:
        return lines
    name, severity = comparison.damage
    damage = DAMAGES.create(name)
    return [result.line for result in damaged_lines(damage, lines, _SET, severity, 0)]


def _cer(lines: Sequence[Line], decoded: Sequence[Decoded]) -> float | None:
    pairs = ((line.text, one.text) for line, one in zip(lines, decoded, strict=True))
    edits, characters = count_edits(pairs)
    return edits / characters if characters else None


def write(folder: Path, record: PeerRecord) -> Path:
    """Write the record, whole or not at all."""
    text = json.dumps(plain(dataclasses.asdict(record)), indent=2, ensure_ascii=False)
    write_atomically(folder / FILE, f"{text}\n".encode())
    return folder / FILE


def read(folder: Path) -> PeerRecord:
    """The record of a folder.

    Raises:
        OSError: there is none.
        UserError: it is damaged.
    """
    path = folder / FILE
    return load(PeerRecord, path.read_bytes(), str(path), "delete it")
