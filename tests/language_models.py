"""Small language models for tests: trained in a second, so that what they score makes sense."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch

from bench.training.lm.run import LMOptions, LMWatcher, train_lm
from bench.training.lm.text import Paragraphs
from decoders.language.causal import CharConfig

SENTENCES = (
    "the quick brown fox jumps over the lazy dog and runs away from the hounds",
    "in the meadow until evening falls upon the hills far away from the sea",
    "the lazy dog sleeps in the meadow and the quick fox runs over the hills",
)
TEXT = Paragraphs(SENTENCES * 8, SENTENCES, "three sentences")
SMALL = CharConfig(width=32, layers=1, heads=4, context=32)


@functools.cache
def small_weights() -> Path:
    """The weights file of a model that knows `SENTENCES` rather well."""
    torch.manual_seed(0)
    folder = Path(tempfile.mkdtemp(prefix="kaidoku-lm-"))
    return train_lm(small_options(folder), silent()).weights


def small_options(folder: Path, **more) -> LMOptions:
    """A training of seconds."""
    given = {"steps": 120, "rate": 1e-2, "batch": 8, "dropout": 0.0, "save_every": 60, **more}
    return LMOptions(out=folder, text=TEXT, config=SMALL, **given)


def silent() -> LMWatcher:
    """Nobody looks."""
    return LMWatcher(lambda progress: None, lambda point: None)
