"""A small set whose images show misread lines, so that correcting them can be measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.registry import Entry, Registry
from bench.core.types import Line, LineSet, Runtime
from bench.pipeline.plan import ONCE, Registries, Selection, build_plan
from bench.pipeline.runner import Outcome, run
from bench.pipeline.store import RunStore
from datasets.base import Dataset, fingerprint
from decoders import DECODERS
from tests.harness_doubles import drawn, registries

# What was written, and what a reader makes of it.
LINES = (
    ("the quick brown fox", "the quick br0wn fox"),
    ("jumps over the lazy dog", "jurnps over the lazy dog"),
    ("far away from the sea", "far away from the sea"),
    ("in the meadow", "in the rneadow"),
    ("the hills", "the hi1ls"),
)


@dataclass(frozen=True)
class Misread(Dataset):
    """`LINES`."""

    def missing(self):
        return None

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        lines = tuple(
            Line(f"{split}-{i}", drawn(read), truth, f"writer-{i % 2}", split)
            for i, (truth, read) in enumerate(LINES[:limit])
        )
        return LineSet("misread", split, lines, (), fingerprint(lines), "made up", "CC0", "ascii")


def names() -> Registries:
    """An encoder that reads pixels, this set, and the project's own decoders and correctors."""
    doubles = registries()
    return Registries(
        encoders=doubles.encoders,
        decoders=DECODERS,
        datasets=Registry(
            "data set", {"misread": Entry("tests.misread_lines:Misread", "misread lines")}
        ),
        damages=doubles.damages,
    )


def measured(folder: Path, decoder: str, **options: Any) -> tuple[Any, Outcome]:
    """The row of a decoder on this set, and how the run went."""
    selection = Selection(
        encoders=("pixels",),
        decoders=(decoder,),
        datasets=("misread",),
        runtime=Runtime(batch_size=3),
        rounds=options.pop("rounds", ONCE),
        options=options,
    )
    outcome = run(build_plan(selection, names()), RunStore(folder))
    rows = RunStore(folder).rows()
    return (rows[-1] if rows else None), outcome
