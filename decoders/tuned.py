"""Weights tuned on a validation split and frozen in `tuned.json`, with what they were tuned on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.core.files import plain_errors, write_atomically
from bench.core.records import load as load_record
from bench.core.types import EncoderInfo
from decoders.base import Decoder, DecoderSpec

PATH = Path(__file__).with_name("tuned.json")

_SHORT = 8  # hex digits of a hash in a sentence
_NAMED = 4  # conditions that a sentence names
_REMEDY = "restore it with git, or remove it and tune again"


class Tunable(Decoder):
    """An open decoder whose weights can be changed.

    Its `extras` name its language model: `lm`, what the weights are tuned for, and `lm_sha256`.

    values: the weights in force; source: where they come from, in words.
    """

    def __init__(self, spec: DecoderSpec, weights: tuple[dict[str, float], str]) -> None:
        """Start from what `weights` returns."""
        super().__init__(spec)
        self.values, self.source = weights

    def reweight(self, values: Mapping[str, float]) -> None:
        """Decode with these values of options of `tunes` from now on."""
        self.values.update(values)


@dataclass(frozen=True)
class Tuned:
    """The weights of one decoder behind one encoder, and where they come from.

    values: the weights that were best, by option; they are what later runs use.
    weights: content hash of the encoder's weights.
    lm: what the decoder calls its language model; lm_sha256: its hash.
    dataset, split, dataset_sha256, lines: the set it was tuned on.
    conditions: how these lines were read, such as "clean" and "blot 3".
    options: the decoder's other options at the best point (its beam, its pruning).
    grid: the values that were tried, or between which; of weights and perhaps of other options.
    cer: of the best point, micro, a fraction; greedy_cer: of the best path on the same lines.
    cer_map: one entry a point that was tried: its values, its "cer", and, where
        blocks are enough, with "p" how likely a gap as large to the best point is by chance.
    """

    decoder: str
    encoder: str
    values: Mapping[str, float]
    weights: str
    lm: str
    lm_sha256: str
    dataset: str
    split: str
    dataset_sha256: str
    lines: int
    conditions: tuple[str, ...]
    options: Mapping[str, Any]
    grid: Mapping[str, tuple[float, ...]]
    cer: float
    greedy_cer: float
    cer_map: tuple[Mapping[str, float], ...]

    @property
    def best(self) -> Mapping[str, float]:
        """The value of each option of the grid at the best point."""
        found = {**self.options, **self.values}
        return {name: found[name] for name in self.grid}

    @property
    def identity(self) -> tuple[str, str, str]:
        """What there is one entry of."""
        return self.decoder, self.encoder, self.lm

    def source(self, weights: str, lm_sha256: str) -> str:
        """Where the values come from, and what is no longer as it was then.

        Args:
            weights: of the encoder at hand.
            lm_sha256: of the language model at hand.
        """
        changed = [
            what
            for what, then, now in (
                ("encoder weights", self.weights, weights),
                ("language model", self.lm_sha256, lm_sha256),
            )
            if then != now
        ]
        since = f"; since then changed: {' and '.join(changed)}" if changed else ""
        return (
            f"{self.dataset}-{self.split}@{self.dataset_sha256[:_SHORT]} read by "
            f"{self.encoder}@{self.weights[:_SHORT]}, {_in_short(self.conditions)}{since}"
        )


@dataclass(frozen=True)
class _File:
    entries: tuple[Tuned, ...]
    schema: Literal[1] = 1


def _in_short(conditions: Sequence[str]) -> str:
    """Conditions in words; of many damages of one severity the number, for the file names them."""
    severities = {condition.rpartition(" ")[2] for condition in conditions[1:]}
    if len(conditions) <= _NAMED or len(severities) > 1:
        return " + ".join(conditions)
    return f"{conditions[0]} + {len(conditions) - 1} damages at severity {severities.pop()}"


def load(path: Path | None = None) -> tuple[Tuned, ...]:
    """Every frozen entry; none where nothing was tuned yet.

    Args:
        path: the file; the project's own by default.

    Raises:
        UserError: the file is broken.
    """
    path = path or PATH
    try:
        return load_record(_File, path.read_bytes(), str(path), _REMEDY).entries
    except FileNotFoundError:
        return ()


def find(decoder: str, encoder: str, lm: str, path: Path | None = None) -> Tuned | None:
    """The entry of a decoder behind an encoder with a language model, if there is one."""
    return next((e for e in load(path) if e.identity == (decoder, encoder, lm)), None)


def weights(
    spec: DecoderSpec,
    names: Sequence[str],
    encoder: EncoderInfo,
    lm: tuple[str, str],
    untuned: tuple[Mapping[str, float], str],
) -> tuple[dict[str, float], str]:
    """The weights in force: the user's, else the tuned ones, else the untuned.

    Args:
        spec: of a decoder, whose options of `tunes` are None where the user left them open.
        names: under which entries are looked up; the first that there is counts.
        encoder: whose output is decoded.
        lm: what the decoder calls its language model, and its hash.
        untuned: the weights where nobody has tuned, and in words where they come from.

    Returns:
        The weights by option, and in words where they come from.
    """
    entries = (find(name, encoder.name, lm[0]) for name in names)
    values, source = untuned
    if entry := next(filter(None, entries), None):
        values, source = entry.values, entry.source(encoder.weights, lm[1])
    options = spec.settings()
    given = {name: float(options[name]) for name in spec.tunes if options[name] is not None}
    if given:
        rest = "" if len(given) == len(spec.tunes) else f"; the others: {source}"
        source = f"set by hand: {', '.join(given)}{rest}"
    return {**values, **given}, source


def freeze(entry: Tuned, path: Path | None = None) -> Path:
    """Put an entry into the file, in the place of the one of the same identity.

    Returns:
        The file.

    Raises:
        UserError: the file is broken, or may not be written to.
    """
    path = path or PATH
    kept = [other for other in load(path) if other.identity != entry.identity]
    entries = sorted([*kept, entry], key=lambda e: e.identity)
    content = json.dumps(dataclasses.asdict(_File(tuple(entries))), indent=1)
    with plain_errors(path):
        write_atomically(path, f"{content}\n".encode())
    return path
