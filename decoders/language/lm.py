"""N-gram models for decoders: the embedded ones, and a user's own ARPA or KenLM file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.core.cache import cache_folder, intact, seal
from bench.core.errors import UserError
from bench.core.files import content_hash
from bench.core.named import file_of_model, title_of
from bench.core.types import EncoderInfo
from datasets.corpus import documents
from decoders.language.arpa import (
    MARKS,
    SPACE,
    NGramModel,
    is_arpa,
    read_arpa,
    write_arpa,
)
from decoders.language.kenlm_files import (
    BinaryHeader,
    check_binary,
    load_kenlm,
    read_binary_header,
)
from decoders.language.ngram import MAX_ORDER, characters_of, check_order, estimate, words_of
from decoders.language.packed import unpacked
from decoders.language.units import Unit, check_case, check_unit, space_of

EMBEDDED = "embedded"
EMBEDDED_TEXT = "train documents of the embedded corpus"
UNITS: Mapping[str, Callable[[str], list[str]]] = {"word": words_of, "char": characters_of}
_MIN_KENLM = 2  # KenLM loads no unigram models
_RECIPE = "1"  # part of the cached files' names; change it when the same text gives other numbers


@dataclass(frozen=True)
class NGramLM:
    """A model of words or characters on disk.

    path: ARPA file or KenLM binary.
    words: its entries without the marks.
    name: key of tuned weights: `EMBEDDED` whatever its text, or the hash of the file.
    sha256: of the file.
    trained_on: the text behind it, as a row has it.
    """

    path: Path
    words: tuple[str, ...]
    name: str
    sha256: str
    order: int
    trained_on: str

    @property
    def identity(self) -> tuple[str, str]:
        """Name and hash, by which tuned weights are looked up."""
        return self.name, self.sha256

    def extras(self) -> dict[str, Any]:
        """Its fields in a row."""
        return {
            "lm": self.name,
            "lm_sha256": self.sha256,
            "lm_order": self.order,
            "lm_trained_on": self.trained_on,
        }


@dataclass(frozen=True, eq=False)
class ArpaLM(NGramLM):
    """A model with its numbers in memory.

    model: in one of characters the space is `SPACE`, whatever the file writes.
    space: in a model of characters the entry of the file that is the space.
    """

    model: NGramModel
    space: str = SPACE


def check_embedded_order(path: str, order: int, default: int) -> None:
    """Refuse an order outside 1 to 6, or an order together with a file, which has its own."""
    check_order(order)
    if path and order != default:
        raise UserError("order applies to the embedded model; leave it out with a file")


def ngram_lm(path: str, unit: Unit, order: int) -> ArpaLM:
    """A user's own ARPA file, or the embedded model of an order, estimated at first use and cached.

    The path is an ARPA file, plain or compressed, or its name in the project file; "" for the
    embedded model.

    Raises:
        UserError: the file is missing or broken, is a KenLM binary, or a model of another unit;
            or the cache may not be written to.
    """
    given = file_of_model(path) if path else embedded_arpa(order, unit)
    file = unpacked(given)
    if not is_arpa(file):
        raise UserError(
            f"{given} is a KenLM binary, whose numbers cannot be read; give the ARPA file that it "
            "was made from"
        )
    model = read_arpa(file)
    check_unit(model.vocabulary, unit, file)
    space = (space_of(model.vocabulary, model) if unit == "char" else None) or SPACE
    words = tuple(SPACE if word == space else word for word in model.vocabulary)
    lm = _lm(file, words, model.order, title_of(given))
    if not path:
        lm = replace(lm, name=EMBEDDED, trained_on=EMBEDDED_TEXT)
    return ArpaLM(**vars(lm), model=replace(model, vocabulary=words), space=space)


def kenlm_lm(path: str = "") -> NGramLM:
    """A word model that KenLM is known to load: a user's own, or the embedded trigram.

    A sentence of the embedded model is a whole paragraph: lines break anywhere, so the beginning
    of a line means nothing, and whole paragraphs predict the words of val lines better than
    paragraphs broken into lines do. Decode with it without sentence boundaries.

    The path is an ARPA file or a KenLM binary, or its name in the project file.

    Raises:
        UserError: the file is missing or broken, or KenLM cannot use it; the cache may not be
            written to.
        Unavailable: kenlm is not installed.
    """
    if path:
        return _checked(file_of_model(path))
    return replace(_checked(embedded_arpa()), name=EMBEDDED, trained_on=EMBEDDED_TEXT)


def embedded_arpa(order: int = 3, unit: Unit = "word") -> Path:
    """The cached ARPA file of an embedded model, made if it is not there or is damaged.

    Raises:
        UserError: an order outside 1 to 6, or the cache may not be written to.
    """
    text = train_text()
    key = hashlib.sha256("\n".join((_RECIPE, *text)).encode()).hexdigest()[:16]
    path = cache_folder("lm") / f"{unit}-{order}gram-{key}.arpa"
    if not intact(path):
        write_arpa(estimate(map(UNITS[unit], text), order).model, path)
        seal(path)
    return path


def train_text() -> tuple[str, ...]:
    """The text of the embedded model: every paragraph of the corpus' train documents."""
    return tuple(p for document in documents("train") for p in document.paragraphs)


def writable_words(lm: NGramLM, encoder: EncoderInfo) -> tuple[str, ...]:
    """The words of a model that an encoder's CTC alphabet can write.

    Raises:
        UserError: none of them, or they are in one case where the alphabet has two.
    """
    known = set("".join(encoder.alphabet))
    writable = tuple(word for word in lm.words if known.issuperset(word))
    if not writable:
        raise UserError(
            f"{encoder.name} can write none of the {len(lm.words)} words of {lm.path}; give a "
            "language model of words in its alphabet"
        )
    check_case(writable, encoder.alphabet, str(lm.path), encoder.name)
    return writable


def word_extras(lm: NGramLM, unwritable: int) -> dict[str, Any]:
    """The fields of a word model in a row, with the words outside of the encoder's alphabet."""
    return {**lm.extras(), "lm_words": len(lm.words), "lm_words_foreign": unwritable}


def _lm(path: Path, vocabulary: tuple[str, ...], order: int, title: str) -> NGramLM:
    words = tuple(word for word in vocabulary if word not in MARKS)
    sha256 = content_hash(path, 64)
    return NGramLM(path, words, sha256, sha256, order, f"unknown text ({title})")


def _checked(given: Path) -> NGramLM:
    """Read a word model, checked so that loading it cannot end a run."""
    path = unpacked(given)
    model = read_arpa(path) if is_arpa(path) else read_binary_header(path)
    order = len(model.counts)
    if not _MIN_KENLM <= order <= MAX_ORDER:
        raise UserError(
            f"{path} has n-grams up to order {order}, but KenLM takes models of order "
            f"{_MIN_KENLM} to {MAX_ORDER}"
        )
    check_unit(model.vocabulary, "word", path)
    if isinstance(model, BinaryHeader):
        check_binary(path, model.vocabulary)
    else:
        load_kenlm(path)
    return _lm(path, model.vocabulary, order, title_of(given))
