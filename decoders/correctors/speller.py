"""A speller: replaces words that are not in the train text by words that are."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from bench.core.errors import UserError
from bench.core.options import check_least
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders.base import Decoder
from decoders.correctors.base import CorrectedLine, Corrector, CorrectorSpec
from decoders.language.lm import EMBEDDED, EMBEDDED_TEXT, train_text

_CORE = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")  # a word without punctuation around it
_BACK_OFF = 0.4  # stupid backoff, Brants et al. 2007


@dataclass(frozen=True)
class SpellerSpec(CorrectorSpec):
    """Dictionary and bigram on non-words: the baseline of every language model.

    A word of letters that the vocabulary lacks is replaced by its word with the least
    `price` * edits - ln p(word | word before), if that is below `unknown`, the price of leaving an
    unknown word. Candidates come from SymSpell (W. Garbe, symmetric deletes, by symspellpy).
    Capitals and punctuation around a word stay; words with a digit, short ones, and capitalised
    ones inside a line (names) are left alone.

    unknown: in natural logarithms; 0 leaves all words alone. None is the value tuned for the
        encoder, see `decoders/tuned.json`.
    price: of one edit.
    distance: most edits of a word.
    shortest: least letters of a word to correct.
    text: a UTF-8 text file to take the vocabulary from; "" for the embedded train text.
    """

    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "unknown": (0.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 23.0, 26.0),
    }
    untuned: ClassVar[Mapping[str, float]] = {"unknown": 18.0}

    unknown: float | None = None
    price: float = 6.0
    distance: int = 2
    shortest: int = 4
    text: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.distance <= 3:
            raise UserError(f"distance is 1 to 3 edits, not {self.distance}")
        check_least(self, 1, "shortest")
        check_least(self, 0, "unknown", "price")

    def open(self, encoder: EncoderInfo, decoder: Decoder) -> Corrector:
        """Read the text and index its words."""
        return _Speller(self, decoder)


class _Speller(Corrector):
    spec: SpellerSpec

    def __init__(self, spec: SpellerSpec, decoder: Decoder) -> None:
        super().__init__(spec, decoder)
        lines = _lines(Path(spec.text).expanduser()) if spec.text else train_text()
        self._words = _Words.of(lines, spec.distance)

    def correct(self, encoded: Encoded, lines: Sequence[Decoded]) -> list[CorrectedLine]:
        return [CorrectedLine(self._spelled(line.text)) for line in lines]

    def extras(self) -> Mapping[str, Any]:
        words, own = self._words, Path(self.spec.text).name
        return {
            "lm": own or EMBEDDED,
            "lm_sha256": words.sha256,
            "lm_trained_on": f"unknown text ({own})" if own else EMBEDDED_TEXT,
            "lm_words": len(words.counts),
        }

    def _spelled(self, line: str) -> str:
        """A line with its non-words replaced."""
        before, first = "", True
        made, end = [], 0
        for match in _CORE.finditer(line):
            word = match.group()
            made.append(line[end : match.start()])
            end = match.end()
            if self._doubtful(line, match, first):
                word = self._nearest(word, before)
            made.append(word)
            before, first = word.lower(), False
        return "".join((*made, line[end:]))

    def _doubtful(self, line: str, match: re.Match[str], first: bool) -> bool:
        word = match.group()
        around = line[max(match.start() - 1, 0) : match.end() + 1]
        named = word[0].isupper() and not word.isupper() and not first
        return (
            len(word) >= self.spec.shortest
            and not named
            and not any(character.isdigit() for character in around)
            and word.lower() not in self._words.counts
        )

    def _nearest(self, word: str, before: str) -> str:
        words, low = self._words, word.lower()
        best, least = low, self.values["unknown"]
        for term, edits in words.near(low, self.spec.distance):
            cost = self.spec.price * edits - words.log_prob(term, before)
            if cost < least:
                best, least = term, cost
        return word if best == low else _as(word, best)


@dataclass(frozen=True, eq=False)
class _Words:
    """A vocabulary with the counts of its words and word pairs, in lower case."""

    counts: Counter[str]
    pairs: Counter[tuple[str, str]]
    index: Any
    sha256: str

    @classmethod
    def of(cls, lines: Iterable[str], distance: int) -> _Words:
        from symspellpy import SymSpell

        counts: Counter[str] = Counter()
        pairs: Counter[tuple[str, str]] = Counter()
        for line in lines:
            words = [word.lower() for word in _CORE.findall(line)]
            counts.update(words)
            pairs.update(pairwise(words))
        if not counts:
            raise UserError("the text of the speller has no words; give another one")
        index = SymSpell(max_dictionary_edit_distance=distance)
        for word, count in counts.items():
            index.create_dictionary_entry(word, count)
        listed = "\n".join(f"{word} {count}" for word, count in sorted(counts.items()))
        return cls(counts, pairs, index, hashlib.sha256(listed.encode()).hexdigest())

    def near(self, word: str, distance: int) -> Iterable[tuple[str, int]]:
        """Words at most so many edits away, the nearest and then the most frequent first."""
        from symspellpy import Verbosity

        terms = self.index.lookup(word, Verbosity.ALL, max_edit_distance=distance)
        return ((one.term, one.distance) for one in terms)

    def log_prob(self, word: str, before: str) -> float:
        """Natural log of p(word | word before), by stupid backoff."""
        if pair := self.pairs[before, word]:
            return math.log(pair / self.counts[before])
        return math.log(_BACK_OFF * self.counts[word] / self.counts.total())


def _as(word: str, other: str) -> str:
    """Write another word with the capitals of a word."""
    if word.isupper():
        return other.upper()
    return other[:1].upper() + other[1:] if word[0].isupper() else other


def _lines(path: Path) -> Sequence[str]:
    try:
        return path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error})") from error
