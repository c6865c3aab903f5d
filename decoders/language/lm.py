"""Word language models for decoders: the embedded one, and a user's own ARPA or KenLM file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.core.cache import cache_folder, intact, seal
from bench.core.errors import UserError
from bench.core.files import content_hash
from bench.core.types import EncoderInfo
from datasets.corpus import documents
from decoders.language.arpa import BOS, EOS, MARKS, NGramModel, write_arpa
from decoders.language.arpa_reader import is_arpa, read_arpa
from decoders.language.kenlm_files import (
    BinaryHeader,
    build_binary,
    check_binary,
    load_kenlm,
    read_binary_header,
)
from decoders.language.ngram import MAX_ORDER, characters_of, estimate, words_of
from decoders.language.units import Unit, check_unit

MIN_ORDER = 2  # KenLM loads no unigram models
EMBEDDED_TEXT = "train documents of the embedded corpus"
UNITS: Mapping[str, Callable[[str], list[str]]] = {"word": words_of, "char": characters_of}
_RECIPE = "1"  # part of the cached files' names; change it when the same text gives other numbers


@dataclass(frozen=True)
class WordLM:
    """A word n-gram model on disk that KenLM is known to load.

    path: ARPA file or KenLM binary.
    unigrams: its words without the marks, which pyctcdecode wants beside the file.
    sha256: of the ARPA file when it is known (a binary made from it has the same hash), else of
        the binary.
    trained_on: the text behind it, as a row says it.
    """

    path: Path
    unigrams: tuple[str, ...]
    sha256: str
    order: int
    trained_on: str


def word_lm(order: int = 3) -> WordLM:
    """The embedded model, estimated from the corpus' train documents at first use and cached.

    A sentence of it is a whole paragraph: lines break anywhere, so what stands at the beginning
    of a line says nothing, and whole paragraphs predict the words of val lines better than
    paragraphs broken into lines do. Decode with it without sentence boundaries.

    Args:
        order: 2 to 6.

    Raises:
        UserError: an order that KenLM does not take, or the cache may not be written to.
        Unavailable: kenlm is not installed.
    """
    if not MIN_ORDER <= order <= MAX_ORDER:
        raise UserError(f"KenLM takes orders from {MIN_ORDER} to {MAX_ORDER}, not {order}")
    arpa = embedded_arpa(order)
    return replace(read_word_lm(arpa), path=_fastest(arpa), trained_on=EMBEDDED_TEXT)


def embedded_arpa(order: int = 3, unit: Unit = "word") -> Path:
    """The cached ARPA file of an embedded model, made if it is not there or is damaged.

    Args:
        order: 1 to 6.
        unit: what it is a model of: words, or characters with `ngram.SPACE` between words.

    Raises:
        UserError: an order outside 1 to 6, or the cache may not be written to.
    """
    text = train_text()
    content = "\n".join((_RECIPE, *text))
    key = hashlib.sha256(content.encode()).hexdigest()[:16]
    path = cache_folder("lm") / f"{unit}-{order}gram-{key}.arpa"
    if not intact(path):
        write_arpa(estimate(map(UNITS[unit], text), order).model, path)
        seal(path)
    return path


def read_word_lm(path: Path) -> WordLM:
    """A user's own model, checked so that loading it can end no run.

    Raises:
        UserError: the file is missing or broken, or KenLM cannot use it; the sentence says why.
        Unavailable: kenlm is not installed.
    """
    path = path.expanduser()
    model = read_arpa(path) if is_arpa(path) else read_binary_header(path)
    _check_fit(path, model)
    check_unit(model.vocabulary, "word", path)
    if isinstance(model, BinaryHeader):
        check_binary(path, model.vocabulary)
    else:
        load_kenlm(path)
    return WordLM(
        path=path,
        unigrams=tuple(word for word in model.vocabulary if word not in MARKS),
        sha256=content_hash(path, 64),
        order=len(model.counts),
        trained_on=f"unknown text ({path.name})",
    )


def train_text() -> tuple[str, ...]:
    """The text of the embedded model: every paragraph of the corpus' train documents."""
    return tuple(p for document in documents("train") for p in document.paragraphs)


def writable_words(words: Sequence[str], path: Path, encoder: EncoderInfo) -> tuple[str, ...]:
    """The words of a model that an encoder's CTC alphabet can write.

    Args:
        words: of the model, without its marks.
        path: of the model.
        encoder: whose alphabet.

    Raises:
        UserError: none of them.
    """
    known = set("".join(encoder.alphabet))
    writable = tuple(word for word in words if known.issuperset(word))
    if not writable:
        raise UserError(
            f"{encoder.name} can write none of the {len(words)} words of {path}; give a language "
            "model of words in its alphabet"
        )
    return writable


def _fastest(arpa: Path) -> Path:
    """The binary of a cached ARPA file, made if this machine can; else the file itself."""
    binary = arpa.with_suffix(".bin")
    try:
        if intact(binary):
            check_binary(binary, MARKS)  # another machine, or another KenLM, may have made it
            return binary
    except UserError:
        binary.unlink()
    if not build_binary(arpa, binary):
        return arpa
    seal(binary)
    return binary


def _check_fit(path: Path, model: NGramModel | BinaryHeader) -> None:
    order = len(model.counts)
    if not MIN_ORDER <= order <= MAX_ORDER:
        raise UserError(
            f"{path} has n-grams up to order {order}, but KenLM takes models of order "
            f"{MIN_ORDER} to {MAX_ORDER}"
        )
    for mark in (BOS, EOS):
        if mark not in model.vocabulary:
            raise UserError(f"{path} has no {mark}; build it from text with sentence marks")
