"""Language model files: look into one, and fit it to a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.core.errors import UserError
from bench.core.files import content_hash
from decoders.language.arpa import SPACE, is_arpa, read_arpa
from decoders.language.kenlm_files import check_binary, load_kenlm, read_binary_header
from decoders.language.lm import UNITS
from decoders.language.packed import unpacked
from decoders.language.perplexity import (
    Log10,
    Perplexity,
    Unknown,
    perplexity,
    score_arpa,
    score_kenlm,
)
from decoders.language.units import space_of, unit_of

_Score = Callable[[Sequence[Sequence[str]]], tuple[Log10, Unknown]]


@dataclass(frozen=True)
class ModelFile:
    """A language model file.

    unit: "char", "word" or "sub-word".
    size: bytes.
    counts: n-grams of each order, unigrams first.
    space: what a model of characters writes for a space.
    """

    path: Path
    unit: str
    size: int
    sha256: str
    counts: tuple[int, ...]
    space: str
    _score: _Score = field(repr=False, compare=False)

    def fit(self, lines: Iterable[str]) -> Perplexity:
        """Measure how well the model predicts lines, each a sentence; blank ones are left out.

        Raises:
            UserError: there is nothing to predict, or its sub-words are unknown.
        """
        if self.unit not in UNITS:
            raise UserError(
                f"{self.path} is a model of {self.unit}s, which part text in ways of their own; "
                "measure a model of words or characters"
            )
        sentences = [words for line in lines if (words := UNITS[self.unit](line))]
        if self.unit == "char":
            sentences = [[self.space if c == SPACE else c for c in line] for line in sentences]
        if not sentences:
            raise UserError("there is no text to measure the language model on")
        return perplexity(*self._score(sentences), len(sentences))


def open_model(path: Path) -> ModelFile:
    """Read and check an ARPA file or a KenLM binary, plain or compressed.

    Raises:
        UserError: the file is missing or broken.
        Unavailable: a binary needs the package kenlm.
    """
    score: _Score
    path = unpacked(path)
    if is_arpa(path):
        model = read_arpa(path)
        counts, vocabulary = model.counts, model.vocabulary
        score = partial(score_arpa, model)
    else:
        header = read_binary_header(path)
        counts, vocabulary = header.counts, header.vocabulary
        check_binary(path, vocabulary)
        score = partial(score_kenlm, load_kenlm(path))
    space = space_of(vocabulary) or SPACE
    unit, size = unit_of(vocabulary), path.stat().st_size
    return ModelFile(path, unit, size, content_hash(path, 64), counts, space, score)
