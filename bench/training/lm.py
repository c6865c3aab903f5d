"""Recipe of the embedded language model: a causal transformer over characters."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bench.core.errors import UserError
from bench.core.files import read_text
from bench.training.batches import StepStream, in_background
from bench.training.files import Point, write_weights
from bench.training.fit import Training
from bench.training.recipes import CharLM, Log
from datasets.corpus import documents
from datasets.seeds import stream
from decoders.language.causal import (
    PARAGRAPH,
    SPACE,
    SYMBOLS,
    CharConfig,
    bits,
    encode,
    new_net,
    paragraph_scores,
    save_notes,
    stored,
)
from decoders.language.lm import EMBEDDED_TEXT, train_text
from decoders.language.ngram import characters_of, estimate
from decoders.language.perplexity import score_arpa

BASELINE_ORDER = 6
_SAMPLE = 30  # train paragraphs scored at each validation
_HELD_OUT = 10  # one paragraph in so many, of text without a val split
_NOISE = 0.02  # share of wrong characters


@dataclass(frozen=True)
class Paragraphs:
    """Training and validation text in whole paragraphs. name: for rows."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    name: str


class _CharLMTraining(Training):
    """The next character of each place of a window."""

    measure = "val"

    def __init__(self, recipe: CharLM, log: Log) -> None:
        self.recipe, self.text = recipe, recipe.paragraphs
        self.config = CharConfig(width=recipe.width, layers=recipe.layers, context=recipe.context)
        self.net = new_net(self.config, recipe.dropout)
        self.windows = Windows(joined(self.text.train), recipe.context, recipe.batch, recipe.seed)
        epoch = max(1, len(self.windows.text) // (recipe.batch * recipe.context))
        super().__init__(recipe, nn.ModuleDict({"net": self.net}), epoch)

    @property
    def identity(self) -> Mapping[str, str]:
        text = "\n".join((*self.text.train, "", *self.text.val))
        return {
            "text": hashlib.sha256(text.encode()).hexdigest()[:16],
            "network": " ".join(f"{k}={v}" for k, v in asdict(self.config).items()),
            "seed": str(self.recipe.seed),
        }

    @property
    def weights(self) -> Path:
        return self.recipe.out / "lm.safetensors"

    def batches(self, step: int) -> Iterator[Tensor]:
        return in_background(StepStream(self.windows, step), self.recipe.workers)

    def loss(self, batch: Tensor) -> Tensor:
        """Mean cross-entropy a character, natural logarithm."""
        inputs, targets = batch
        logits = self.net(input_ids=inputs).logits
        return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    def validate(self, module: Any) -> Mapping[str, float]:
        """Bits a character; train far below val means over-fitting."""
        train = self.text.train[:: max(1, len(self.text.train) // _SAMPLE)]
        read = {"val": self.text.val, "train": train}
        config = self.config
        return {k: bits(paragraph_scores(module["net"], config, v)) for k, v in read.items()}

    def describe(self, values: Mapping[str, float]) -> str:
        return f"bits a character: train {values['train']:.3f}, val {values['val']:.3f}"

    def export(self, module: Any, points: Sequence[Point]) -> None:
        recipe, point = self.recipe, points[-1]
        notes = {
            "trained_on": self.text.name,
            "text": self.identity["text"],
            "steps": str(point.step),
            "bits_val": repr(point["val"]),
            "bits_train": repr(point["train"]),
            "rate": str(recipe.peak()),
            "batch": str(recipe.batch),
            "dropout": str(recipe.dropout),
            "weight_decay": str(recipe.weight_decay),
            "seed": str(recipe.seed),
        }
        state = stored(module["net"].state_dict())
        write_weights(self.weights, state, save_notes(self.config, notes))


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of running text that begin with a word, (2, B, context): inputs and targets.

    noise: share of the characters read that are replaced by any other, so that the model recovers
        after a misread one, and over-fits later; the targets stay unchanged.
    """

    text: NDArray[np.int64]
    context: int
    size: int
    seed: int
    noise: float = _NOISE

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Places at which windows may begin."""
        starts = np.flatnonzero((self.text == SPACE) | (self.text == PARAGRAPH))
        starts = starts[starts + self.context < len(self.text)]
        if not len(starts):
            raise UserError(f"there is too little text: give {self.context} characters at least")
        return starts

    def batch(self, step: int) -> Tensor:
        """The windows of a step, the same in every run."""
        rng = stream("kaidoku-lm-1", self.seed, step)
        chosen = rng.choice(self.starts, self.size)
        drawn = self.text[chosen[:, None] + np.arange(self.context + 1)]
        both = np.stack([drawn[:, :-1], drawn[:, 1:]])
        wrong = rng.random(both[0].shape) < self.noise
        both[0][wrong] = rng.integers(len(SYMBOLS), size=int(wrong.sum()))
        return torch.from_numpy(both)


def joined(paragraphs: Sequence[str]) -> NDArray[np.int64]:
    """(T,) characters of all paragraphs, the sign of a paragraph before, between and behind."""
    ids = [PARAGRAPH]
    for paragraph in paragraphs:
        ids += [*encode(" ".join(paragraph.split())), PARAGRAPH]
    return np.array(ids, np.int64)


def read_paragraphs(files: Sequence[Path]) -> Paragraphs:
    """Read text to learn, a paragraph a line; without files the train and val text of the corpus.

    Raises:
        UserError: a file cannot be read, or there are too few paragraphs.
    """
    if files:
        return held_out(read_text(files), ", ".join(path.name for path in files))
    val = tuple(p for document in documents("val") for p in document.paragraphs)
    return Paragraphs(train_text(), val, EMBEDDED_TEXT)


def held_out(paragraphs: Sequence[str], name: str) -> Paragraphs:
    """Hold out every tenth paragraph for validation."""
    if len(paragraphs) < _HELD_OUT:
        raise UserError(
            f"{name} has {len(paragraphs)} paragraphs (lines of the file that are not blank); "
            f"{_HELD_OUT} at least are needed, one of which is kept for validation"
        )
    val = tuple(paragraphs[_HELD_OUT - 1 :: _HELD_OUT])
    train = tuple(p for i, p in enumerate(paragraphs) if i % _HELD_OUT != _HELD_OUT - 1)
    return Paragraphs(train, val, name)


def baseline(text: Paragraphs) -> float:
    """Bits a character of the val text by a Kneser-Ney n-gram model of the train text.

    Both predict every character and the end of a paragraph.
    """
    model = estimate(map(characters_of, text.train), BASELINE_ORDER).model
    log10, _ = score_arpa(model, [characters_of(paragraph) for paragraph in text.val])
    return float(-log10.mean() / math.log10(2))
