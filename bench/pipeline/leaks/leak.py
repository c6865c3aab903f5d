"""Leaks: test lines that also stand in the training lines or training text.

A model that has seen a test line's text, page, hand, block or image has too good a CER. Shared
texts favour decoders with a language model, and would look like a gain from language.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.core.metrics import normalise
from bench.core.named import kind_of
from bench.core.types import Image, Line, LineSet
from datasets.base import image_hash

Kind = Literal["text", "page", "writer", "block", "image", "near image"]
KINDS: tuple[Kind, ...] = get_args(Kind)

WORDS = 4  # a text of fewer ("Yours very truly") is often the same by chance
MOST = 0.01  # share of tested lines that may match by chance
_ROWS, _COLUMNS = 8, 64
# Differing bits of 512 below which images match. Different lines of 250 of Hooker's letters differ
# in 119 or more; of copies at half the size, as JPEG of quality 40, nine in ten differ in fewer
# than 72, brighter ones all in fewer than 44.
NEAR = 64
GRAM = 8  # words: as many in a row are hardly ever the same by chance

# Leaks of published splits.
KNOWN: Mapping[str, tuple[str, ...]] = {
    "iam": (
        "No line, form or prompt of the Aachen split's test is in its train; val and test share "
        "five prompts (forms f07-028, -032, -039, -042, -046).",
        "The split of RWTH (6482/976/2915, Teklia/IAM-line) has the same test lines as Aachen's "
        "(6161/966/2915), and 321 more train lines of the same forms.",
        "Aachen's val and test hold 548 and 1313 of the official test's 1861 lines: weights tuned "
        "or chosen on the one are no test on the other.",
        "The prompts are from the LOB corpus: keep it out of the text of a language model.",
    ),
    "hooker": (
        "All letters are by one hand, Joseph Hooker's: its splits keep letters apart, never hands, "
        "so that a CER on test is that of a hand which training on its train lines has seen.",
    ),
    "copiste": (
        "Its volunteers are not named: the splits keep texts apart, and hands may be in two.",
    ),
    "cvl": (
        "Its train and test sets hold the same seven texts: hold out text ids to test language.",
    ),
    "unipen": (
        "The splits are by writer, and writers were given the same prompts: of the test lines of "
        "four words and more 46 of 83 of source lex have the text of a train line, 208 of 507 of "
        "unipen-all, and 0 of 245 of bb*. So have 56 of 93 of val, where one hand of lex wrote "
        "all.",
    ),
}


@dataclass(frozen=True)
class Shared:
    """Tested lines that share something with learned ones.

    lines: how many; of: how many are comparable (texts of `WORDS` words, known pages, ...).
    example: ids of such a tested line and of a learned one; None where there is none.
    """

    kind: Kind
    lines: int
    of: int
    example: tuple[str, str] | None

    @property
    def share(self) -> float:
        """Share of the comparable lines; 0 without any."""
        return self.lines / self.of if self.of else 0.0


@dataclass(frozen=True)
class Leak:
    """The lines of one collection that share something with another.

    learned, tested: their names ("hooker train").
    """

    learned: str
    tested: str
    shared: tuple[Shared, ...]

    def of(self, kind: Kind) -> Shared:
        """The shared lines of a kind."""
        return next(shared for shared in self.shared if shared.kind == kind)

    @property
    def spoils(self) -> bool:
        """Whether a CER on these lines says little: too many texts or images were seen."""
        return any(self.of(kind).share > MOST for kind in ("text", "image", "near image"))

    @property
    def clean(self) -> bool:
        """Whether nothing at all is shared."""
        return not any(shared.lines for shared in self.shared)


def compare(learned: LineSet, tested: LineSet) -> Leak:
    """Look for the texts, pages, hands, blocks and images of tested lines among learned ones.

    Pages, hands and blocks (where these are no hands) are compared within one source only: names of
    different sources are unrelated.
    """
    return Leak(
        f"{learned.name} {learned.split}",
        f"{tested.name} {tested.split}",
        (
            _same("text", _texts(learned), _texts(tested)),
            _same("page", _places(learned, "page"), _places(tested, "page")),
            _same("writer", _places(learned, "writer"), _places(tested, "writer")),
            _same("block", _places(learned, "block"), _places(tested, "block")),
            _same("image", _images(learned), _images(tested)),
            _near(learned.lines, tested.lines),
        ),
    )


@dataclass(frozen=True)
class Overlap:
    """Test lines, and runs of `GRAM` words within them, that occur in a model's text.

    Words are compared as they stand; where the text breaks its lines does not matter.
    grams: distinct runs of `GRAM` words within a line; shorter lines have none.
    """

    lines: int
    lines_seen: int
    grams: int
    grams_seen: int

    @property
    def line_share(self) -> float | None:
        """Share of the lines that were seen; None without lines."""
        return self.lines_seen / self.lines if self.lines else None

    @property
    def gram_share(self) -> float | None:
        """Share of the runs of words that were seen; None without any."""
        return self.grams_seen / self.grams if self.grams else None


def overlap(lines: Iterable[str], text: Iterable[str]) -> Overlap:
    """Look for the lines of a test set, blank ones left out, in the text of a language model."""
    tested = [words for line in lines if (words := line.split())]
    stream = [word for line in text for word in line.split()]
    everything = f" {' '.join(stream)} "
    grams = {gram for words in tested for gram in _runs(words)}
    return Overlap(
        lines=len(tested),
        lines_seen=sum(f" {' '.join(words)} " in everything for words in tested),
        grams=len(grams),
        grams_seen=len(grams.intersection(_runs(stream))),
    )


def _runs(words: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(GRAM)), strict=False)


def seen_too_often(overlap: Overlap) -> bool:
    """Whether a language model has seen too much of the lines that it would be tested on."""
    return (overlap.line_share or 0.0) > MOST or (overlap.gram_share or 0.0) > MOST


def long_enough(text: str) -> bool:
    """Whether a text would hardly be the same by chance."""
    return len(text.split()) >= WORDS


def known(dataset: str) -> tuple[str, ...]:
    """Known leaks of a registered set or of a part of it ("unipen-all")."""
    return KNOWN.get(kind_of(dataset).partition("-")[0], ())


def image_bits(image: Image) -> NDArray[np.uint64]:
    """Hash an image to (8,) uint64: 512 bits, whether it grows lighter from column to column.

    The difference hash of N. Krawetz ("Kind of like that", 2013) on 8 rows and 64 steps.
    """
    small = cv2.resize(image, (_COLUMNS + 1, _ROWS), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = np.packbits(small[:, 1:] < small[:, :-1])
    return bits.view(np.uint64)


def _texts(lines: LineSet) -> list[tuple[str, str]]:
    texts = ((line.id, normalise(line.text)) for line in lines.lines)
    return [(name, text) for name, text in texts if long_enough(text)]


def _places(lines: LineSet, field: Literal["page", "writer", "block"]) -> list[tuple[str, str]]:
    named = (
        (line.id, getattr(line, field))
        for line in lines.lines
        if field != "block" or line.block != line.writer
    )
    return [(name, f"{lines.source}\x1f{value}") for name, value in named if value]


def _images(lines: LineSet) -> list[tuple[str, str]]:
    return [(line.id, image_hash(line.image)) for line in lines.lines if line.image.size]


def _same(
    kind: Kind, learned: Iterable[tuple[str, str]], tested: Sequence[tuple[str, str]]
) -> Shared:
    """Find tested lines with a value of a learned line."""
    where = {value: name for name, value in learned}
    shared = [(name, where[value]) for name, value in tested if value in where]
    return Shared(kind, len(shared), len(tested), shared[0] if shared else None)


def _near(learned: Sequence[Line], tested: Sequence[Line]) -> Shared:
    """Find tested lines whose image nearly equals a learned one."""
    old = [line for line in learned if line.image.size]
    new = [line for line in tested if line.image.size]
    exact = {image_hash(line.image) for line in old}
    shared: list[tuple[str, str]] = []
    if old and new:
        bits = np.stack([image_bits(line.image) for line in old])
        for line in new:
            if image_hash(line.image) in exact:
                continue
            distances = _differing(bits ^ image_bits(line.image))
            nearest = int(distances.argmin())
            if distances[nearest] < NEAR:
                shared.append((line.id, old[nearest].id))
    return Shared("near image", len(shared), len(new), shared[0] if shared else None)


_ONES = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)


def _differing(bits: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Count the bits set in each of (N, 8): (N,)."""
    differing: NDArray[np.int64] = _ONES[bits.view(np.uint16)].sum(axis=1, dtype=np.int64)
    return differing
