"""Units and spelling of n-gram models, and the space of character models.

A file states neither, and a decoder for another unit or spelling writes nonsense with it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from bench.core.errors import UserError
from bench.core.metrics import visible
from decoders.language.arpa import BOS, EOS, MARKS, SPACE, NGramModel

Unit = Literal["word", "char"]

# Spellings of the space by tools. The last ones are characters too: a space only where none of the
# others occurs, and where hardly a character is likelier.
_CHARACTERS_TOO = ("|", "_", "\u00a0", "\u3000")
_SPACES = (SPACE, "<space>", "<spc>", "<sp>", "[space]", "␣", "␠", *_CHARACTERS_TOO)
_PIECE_BEGINS = (SPACE, "##", "Ġ", "_", "+", "￭")
_PIECE_ENDS = ("@@", "</w>", "_", "+", "￭")
_NO_WORDS = (*(space for space in _SPACES if space not in _CHARACTERS_TOO), "<w>")
# https://github.com/moses-smt/mosesdecoder/blob/master/scripts/tokenizer/tokenizer.perl
_MOSES = re.compile(r"&(?:amp|quot|apos|lt|gt|#124|#91|#93);|^@[-/,.]@$")
_NAMES = {"word": "words", "sub-word": "sub-words", "char": "characters"}
_TAKEN_BY = {
    "word": "ctc-ngram-word and ctc-kenlm take it",
    "char": "ctc-ngram takes it",
    "sub-word": "no decoder here takes it",
}
_MOST_MISSING = 0.1  # of the letters of an alphabet
_ONE_CASE = 0.75  # of the letters: a model whose words lack a case of more of them is in one case


def unit_of(vocabulary: Iterable[str]) -> Literal["word", "sub-word", "char"]:
    """Recognise the unit of a model by its entries; "word" where there are none."""
    entries = [word for word in vocabulary if word not in MARKS]
    words = [word for word in entries if word.lower() not in _SPACES]
    longer = [word for word in words if _length(word) > 1]
    pieces = [w for w in longer if w.startswith(_PIECE_BEGINS) or w.endswith(_PIECE_ENDS)]
    if len(pieces) > len(words) / 10:
        return "sub-word"
    if words and len(longer) < len(words) / 2:
        return "char"
    return "sub-word" if any(word.lower() in _NO_WORDS for word in entries) else "word"


def check_unit(vocabulary: Iterable[str], unit: Unit, path: Path) -> None:
    """Refuse a model of another unit, without sentence marks, or whose words no reader writes.

    Raises:
        UserError: naming the unit of the model and the decoders that take it, or how to convert it.
    """
    vocabulary = tuple(vocabulary)
    for mark in (BOS, EOS):
        if mark not in vocabulary:
            raise UserError(f"{path} has no {mark}; build it from text with sentence marks")
    own = unit_of(vocabulary)
    if own != unit:
        raise UserError(
            f"{path} is a language model of {_NAMES[own]}, and this needs one of {_NAMES[unit]}: "
            f"{_TAKEN_BY[own]}; or build one of {_NAMES[unit]} with "
            f"`python -m bench lm build --unit {unit}`"
        )
    if escaped := next((word for word in vocabulary if _MOSES.search(word)), None):
        raise UserError(
            f"{path} is of text that was escaped for Moses ({escaped}), which no reader writes; "
            "build it from the text before it was tokenised"
        )
    composed = sum(unicodedata.normalize("NFD", word) != word for word in vocabulary)
    apart = sum(unicodedata.normalize("NFC", word) != word for word in vocabulary)
    if apart > composed - apart:
        raise UserError(
            f"{path} writes accents as characters of their own (NFD), and readers write them "
            "composed (NFC); convert its ARPA file with `uconv -x any-nfc FILE -o NEW`"
        )


def check_case(words: Iterable[str], alphabet: Iterable[str], name: str, reader: str) -> None:
    """Refuse a model of words in small letters or in capitals only, where a reader writes both."""
    known, seen = set(alphabet), set("".join(words))
    pairs = [(s, s.upper()) for s in known if s != s.upper() and s.upper() in known]
    for lacks, cases in (("capitals", pairs), ("small letters", [pair[::-1] for pair in pairs])):
        lacking = sum(has in seen and other not in seen for has, other in cases)
        if pairs and lacking > _ONE_CASE * len(pairs):
            raise UserError(
                f"the words of {name} have no {lacks}, which {reader} writes; build a model from "
                "text with both with `python -m bench lm build`"
            )


def space_of(vocabulary: Sequence[str], model: NGramModel | None = None) -> str | None:
    """The entry that a character model writes for a space, by its numbers where they are known."""
    written = {word.lower(): word for word in vocabulary}
    space = next((written[space] for space in _SPACES if space in written), None)
    if space in _CHARACTERS_TOO and model is not None:
        log10_prob = model.orders[0].log10_prob
        likelier = int((log10_prob > log10_prob[vocabulary.index(space)]).sum())
        return space if likelier < max(5, len(vocabulary) // 10) else None
    return space


def missing_symbols(words: Iterable[str], alphabet: Sequence[str], name: str) -> tuple[str, ...]:
    """The symbols of a CTC alphabet that a character model, its space as `SPACE`, does not know.

    Raises:
        UserError: the space is one of them, or more than a tenth of the alphabet's letters.
    """
    known = set(words)
    missing = tuple(s for s in alphabet[1:] if (SPACE if s == " " else s) not in known)
    if " " in missing:
        raise UserError(
            f"{name} has no entry for the space ({SPACE}, <space> or |), so it knows no ends of "
            f"words; build it from text whose spaces are written as {SPACE}"
        )
    letters = [symbol for symbol in alphabet[1:] if symbol.isalpha()]
    lacking = [letter for letter in letters if letter in missing]
    if len(lacking) > _MOST_MISSING * len(letters):
        shown = " ".join(map(visible, lacking[:30])) + (" ..." if lacking[30:] else "")
        raise UserError(
            f"{name} lacks {len(lacking)} of the alphabet's {len(letters)} letters: {shown}; build "
            "one from text that has them with `python -m bench lm build --unit char`"
        )
    return missing


def _length(word: str) -> int:
    """Characters of a word, combining marks not counted."""
    return sum(not unicodedata.category(character).startswith("M") for character in word)
