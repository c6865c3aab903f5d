"""Weights tuned on a validation split and frozen in `tuned.json` with their origin.

There are two such files: the user's own, which comes first, and the one that is shipped.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.core.errors import UserError
from bench.core.files import plain_errors, write_atomically
from bench.core.named import named
from bench.core.records import load as load_record
from bench.core.types import EncoderInfo
from decoders.base import Decoder, DecoderSpec

PATH = Path(__file__).with_name("tuned.json")  # the shipped one

FEW = 30  # lines under which weights follow single lines more than their language
_SHORT = 8  # hex digits of a hash in a sentence
_NAMED = 4  # conditions that a sentence names
_REMEDY = "restore it with git, or remove it and tune again"


class Tunable(Decoder):
    """An open decoder whose weights can be changed.

    values: the current weights; source: their origin in words. Its `extras` name its language
    model: `lm`, for which weights are tuned, and `lm_sha256`.
    """

    def __init__(self, spec: DecoderSpec, weights: tuple[dict[str, float], str]) -> None:
        super().__init__(spec)
        self.values, self.source = weights

    def reweight(self, values: Mapping[str, float]) -> None:
        """Decode with these values of options of `tunes` from now on."""
        self.values.update(values)


@dataclass(frozen=True)
class Tuned:
    """The weights of one decoder behind one encoder, and their origin.

    values: the best weights by option, which later runs use.
    weights: content hash of the encoder's weights.
    lm: the decoder's name for its language model; lm_sha256: its hash.
    dataset, split, dataset_sha256, lines: the set it was tuned on.
    conditions: of these lines, such as "clean" and "blot 3".
    options: the decoder's other options at the best point (its beam, its pruning).
    grid: the values or bounds of the search, of weights and perhaps of other options.
    cer: of the best point, micro, a fraction; greedy_cer: of the best path on the same lines.
    cer_map: an entry for each point: its values, "cer" and, where blocks are enough, "p" of its
        difference to the best point.
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
        options = {**self.options, **self.values}
        return {name: options[name] for name in self.grid}

    @property
    def identity(self) -> tuple[str, str, str]:
        """Decoder, encoder and language model: there is one entry for each."""
        return self.decoder, self.encoder, self.lm

    def source(self, weights: str, lm_sha256: str) -> str:
        """The origin of the values, and what has changed since, by the hashes in use."""
        changed = ["encoder weights"] * (self.weights != weights)
        changed += ["language model"] * (self.lm_sha256 != lm_sha256)
        since = f"; since then changed: {' and '.join(changed)}" if changed else ""
        few = f"only {self.lines} lines of " if self.lines < FEW else ""
        return (
            f"{few}{self.dataset}-{self.split}@{self.dataset_sha256[:_SHORT]} read by "
            f"{self.encoder}@{self.weights[:_SHORT]}, {_in_short(self.conditions)}{since}"
        )


@dataclass(frozen=True)
class _File:
    entries: tuple[Tuned, ...]
    schema: Literal[1] = 1


def _in_short(conditions: Sequence[str]) -> str:
    """Conditions in words; many damages of one severity are counted."""
    severities = {condition.rpartition(" ")[2] for condition in conditions[1:]}
    if len(conditions) <= _NAMED or len(severities) > 1:
        return " + ".join(conditions)
    return f"{conditions[0]} + {len(conditions) - 1} damages at severity {severities.pop()}"


def own_path() -> Path:
    """The user's own file: beside the project file, else in the user's configuration folder."""
    configured = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    folder = named().folder or Path(configured).expanduser() / "kaidoku"
    return folder / PATH.name


def load(path: Path | None = None) -> tuple[Tuned, ...]:
    """Read all frozen entries, by default of the shipped file."""
    path = path or PATH
    try:
        return load_record(_File, path.read_bytes(), str(path), _REMEDY).entries
    except (FileNotFoundError, NotADirectoryError):
        return ()


def find(decoder: str, encoder: str, lm: str, path: Path | None = None) -> Tuned | None:
    """The entry of a decoder behind an encoder with a language model, if there is one."""
    return next((e for e in load(path) if e.identity == (decoder, encoder, lm)), None)


def weights(
    spec: DecoderSpec, encoder: EncoderInfo, lm: tuple[str, str], *names: str
) -> tuple[dict[str, float], str]:
    """Choose the weights: the user's, else the tuned ones, else the untuned.

    The options of `tunes` are None where the user set none. `lm` is the decoder's name for its
    language model, and its hash; `names` are of entries to look up, of which the first match in the
    first file counts.

    Returns:
        The weights by option, and their origin in words.

    Raises:
        UserError: an entry lacks a weight that the decoder takes.
    """
    values, source = spec.untuned, spec.untuned_source
    for path, whose in ((own_path(), "; of the user's tuned.json"), (PATH, "")):
        entries = (find(name, encoder.name, lm[0], path) for name in names)
        if entry := next(filter(None, entries), None):
            if lacking := [name for name in spec.tunes if name not in entry.values]:
                raise UserError(
                    f"{path} lacks {', '.join(lacking)} of {entry.decoder} on {entry.encoder}; "
                    f"{_REMEDY}"
                )
            values, source = (
                entry.values,
                entry.source(encoder.weights_for(spec.needs), lm[1]) + whose,
            )
            break
    options = spec.settings()
    by_hand = {name: float(options[name]) for name in spec.tunes if options[name] is not None}
    if by_hand:
        rest = "" if len(by_hand) == len(spec.tunes) else f"; the others: {source}"
        source = f"set by hand: {', '.join(by_hand)}{rest}"
    return {**values, **by_hand}, source


def freeze(entry: Tuned, path: Path | None = None) -> Path:
    """Write an entry in the place of the one of the same identity; returns the file.

    The file is the shipped one by default.
    """
    path = path or PATH
    kept = [other for other in load(path) if other.identity != entry.identity]
    entries = sorted([*kept, entry], key=lambda e: e.identity)
    content = json.dumps(dataclasses.asdict(_File(tuple(entries))), indent=1)
    with plain_errors(path):
        write_atomically(path, f"{content}\n".encode())
    return path
