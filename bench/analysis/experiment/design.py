"""The design of the language experiment: `design.toml`, fixed before measuring.

Its question is what language gives when ink is lost. Readers of different training read the same
lines, clean and damaged, with growing doses of language in the same search, on text with less and
less language.

Background: Garrido-Munoz and Calvo-Zaragoza (CVPR 2025; 2026) on textual divergence, Borkar and
Smith (arXiv:2407.00250) on lacunae in TrOCR.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench.core.errors import UserError
from bench.core.registry import did_you_mean
from bench.core.types import Runtime

PATH = Path(__file__).with_name("design.toml")

ALPHA = 0.05  # of the family of contrasts, after Holm
CLEAN = "clean"  # the condition without damage
ENGLISH, RANDOM = "english", "random"  # the sets of most and of least language
ONE = "one-erased"  # the condition of Borkar and Smith
GREEDY = "ctc-greedy"


@dataclass(frozen=True)
class Treatment:
    """A condition of the lines. damage: registered name, "" for none; sets: () for all."""

    damage: str = ""
    severity: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dose:
    """A decoder with its options.

    weights: further options, by reader, or by "reader/condition" where they differ by condition.
    readers, sets, conditions: those that it reads; () for all.
    """

    decoder: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    readers: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()

    def reads(self, reader: str, level: str, condition: str) -> bool:
        """Check that the decoder is read in a cell."""
        return (
            reader in (self.readers or (reader,))
            and level in (self.sets or (level,))
            and condition in (self.conditions or (condition,))
        )

    @property
    def by_condition(self) -> bool:
        """True if its weights differ by condition; tables have it, plots do not."""
        return any("/" in name for name in self.weights)

    def settings(self, reader: str, condition: str) -> dict[str, Any]:
        """The options in a cell."""
        own = self.weights.get(f"{reader}/{condition}", self.weights.get(reader, {}))
        return {**self.options, **own}


Term = tuple[float, str, str, str, str]  # weight, set, condition, decoder, compared with


@dataclass(frozen=True)
class Contrast:
    """A claim: the sum of `terms`, in log-odds of a character read right, lies above 0.

    matched: two conditions of the second term's set, the worse read first. Its gain is then
        interpolated between them to where the baseline reads as many characters right as in the
        first term, since a gain in log-odds may depend on how much is left to gain.
    """

    name: str
    claim: str
    terms: tuple[Term, ...]
    matched: tuple[str, ...] = ()

    @property
    def compared(self) -> tuple[Term, ...]:
        """The terms, the second once for each condition that it is interpolated between."""
        if not self.matched:
            return self.terms
        first, (weight, level, _, system, other) = self.terms
        return (first, *((weight, level, one, system, other) for one in self.matched))


@dataclass(frozen=True)
class Design:
    """The cells and the claims.

    lines: number of lines from the start of each set's split; seed: of the damages.
    sets: registered name by level; doses: by name, without the baseline.
    options: the user's, for readers and decoders, by name.
    sha256: of the file.
    """

    split: str
    lines: int
    seed: int
    readers: tuple[str, ...]
    baseline: str
    sets: Mapping[str, str]
    conditions: Mapping[str, Treatment]
    doses: Mapping[str, Dose]
    contrasts: tuple[Contrast, ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    runtime: Runtime = field(default_factory=Runtime)
    sha256: str = ""

    @property
    def declared(self) -> bool:
        """Check that these are exactly the cells of the file."""
        own = dataclasses.replace(self, runtime=Runtime())
        return own == read_design()

    def systems(self, reader: str, level: str, condition: str) -> dict[str, Dose]:
        """The decoders of a cell, the ones without language first."""
        without = {name: Dose(name) for name in (GREEDY, self.baseline)}
        own = {n: dose for n, dose in self.doses.items() if dose.reads(reader, level, condition)}
        return without | own

    def treatments(self, level: str) -> dict[str, Treatment]:
        """The conditions in which a set is read."""
        return {
            name: one for name, one in self.conditions.items() if level in (one.sets or (level,))
        }


@functools.cache
def read_design() -> Design:
    """The design as it is fixed."""
    content = PATH.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return msgspec.convert({**tomllib.loads(content.decode()), "sha256": digest}, Design)


def chosen(
    readers: tuple[str, ...],
    lines: int | None,
    options: Mapping[str, Mapping[str, Any]],
    runtime: Runtime,
) -> Design:
    """The design with the user's choices; () and None leave what is fixed.

    Raises:
        UserError: an unknown reader, too few lines, or options of something outside of it.
    """
    design = read_design()
    for name in readers:
        if name not in design.readers:
            hint = did_you_mean(name, design.readers)
            raise UserError(f"the experiment has no reader {name!r}{hint}")
    if lines is not None and lines < 2:
        raise UserError(f"{lines} lines are no experiment; take 2 or more")
    known = {*design.readers, *(dose.decoder for dose in design.doses.values())}
    for name in options:
        if name not in known:
            raise UserError(
                f"options are given for {name!r}, which is not part of this experiment; "
                f"there are: {', '.join(sorted(known))}"
            )
    return dataclasses.replace(
        design,
        readers=readers or design.readers,
        lines=lines or design.lines,
        options=options,
        runtime=runtime,
    )
