"""Small language models for tests: trained in a second, so that what they score makes sense."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.training.fit import fit
from bench.training.lm import Paragraphs
from bench.training.recipes import CharLM
from decoders.language.causal import CharConfig

SENTENCES = (
    "the quick brown fox jumps over the lazy dog and runs away from the hounds",
    "in the meadow until evening falls upon the hills far away from the sea",
    "the lazy dog sleeps in the meadow and the quick fox runs over the hills",
)
TEXT = Paragraphs(SENTENCES * 8, SENTENCES, "three sentences")
SMALL = CharConfig(width=32, layers=1, heads=4, context=32)


@dataclass(frozen=True, kw_only=True)
class SmallLM(CharLM):
    """A training of seconds on text of its own."""

    own: Paragraphs = TEXT

    @property
    def paragraphs(self) -> Paragraphs:
        return self.own


@functools.cache
def small_weights() -> Path:
    """The weights file of a model that knows `SENTENCES` rather well."""
    return fit(small(Path(tempfile.mkdtemp(prefix="kaidoku-lm-")))).weights


def small(folder: Path, **more: Any) -> SmallLM:
    """A recipe of a small model."""
    chosen = {"steps": 40, "rate": 5e-2, "batch": 16, "dropout": 0.0, "save_every": 20, **more}
    return SmallLM(out=folder, width=32, layers=1, context=32, **chosen)
