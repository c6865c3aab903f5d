"""Work on language model files behind `bench lm`: read text, look into a model, fit a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.errors import UserError
from decoders.language.arpa import MARKS
from decoders.language.arpa_reader import is_arpa, read_arpa
from decoders.language.kenlm_files import check_binary, load_kenlm, read_binary_header
from decoders.language.lm import file_hash
from decoders.language.ngram import characters_of, words_of
from decoders.language.perplexity import (
    Log10,
    Perplexity,
    Unknown,
    perplexity,
    score_arpa,
    score_kenlm,
)

UNITS: dict[str, Callable[[str], list[str]]] = {"word": words_of, "char": characters_of}

_Score = Callable[[Sequence[Sequence[str]]], tuple[Log10, Unknown]]


@dataclass(frozen=True)
class ModelFile:
    """What a language model file holds.

    unit: "char" when every word of it is one character long, else "word".
    size: bytes.
    counts: n-grams of each order, unigrams first.
    """

    path: Path
    unit: str
    size: int
    sha256: str
    counts: tuple[int, ...]
    _score: _Score = field(repr=False, compare=False)

    def fit(self, lines: Iterable[str]) -> Perplexity:
        """How well the model predicts lines, each a sentence; blank ones are left out.

        Raises:
            UserError: there is nothing to predict.
        """
        sentences = [words for line in lines if (words := UNITS[self.unit](line))]
        if not sentences:
            raise UserError("there is no text to measure the language model on")
        return perplexity(*self._score(sentences), len(sentences))


def open_model(path: Path) -> ModelFile:
    """Read and check an ARPA file or a KenLM binary.

    Raises:
        UserError: the file is missing or broken.
        Unavailable: a binary needs the package kenlm.
    """
    score: _Score
    if is_arpa(path):
        model = read_arpa(path)
        counts, vocabulary = model.counts, model.vocabulary
        score = partial(score_arpa, model)
    else:
        header = read_binary_header(path)
        counts, vocabulary = header.counts, header.vocabulary
        check_binary(path, vocabulary)
        score = partial(score_kenlm, load_kenlm(path))
    return ModelFile(path, _unit(vocabulary), path.stat().st_size, file_hash(path), counts, score)


def read_text(paths: Iterable[Path]) -> list[str]:
    """The lines of text files that are not blank.

    Raises:
        UserError: a file is missing, no text, or not UTF-8.
    """
    lines = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 text; convert it with iconv") from error
        if "\0" in text:
            raise UserError(f"{path} is no text file: it has NUL characters")
        lines += [line for line in text.split("\n") if line.strip()]
    return lines


def _unit(vocabulary: Iterable[str]) -> str:
    words = [word for word in vocabulary if word not in MARKS]
    return "char" if words and all(len(word) == 1 for word in words) else "word"
