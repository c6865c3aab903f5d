"""The interface of a data set.

A new set is a subclass of `Dataset` in its own file, whose `load` passes the results of `make_line`
to `gathered`, and a line in `datasets/__init__.py`; docs/extending.md shows a whole one.
Files are read by `datasets.files`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import unicodedata
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import numpy as np

from bench.core.errors import Unavailable, UserError, printable
from bench.core.metrics import normalise, visible
from bench.core.named import kind_of
from bench.core.progress import Report, silent
from bench.core.registry import did_you_mean
from bench.core.spill import Spill
from bench.core.types import BadLine, Image, Line, LineSet

Item = TypeVar("Item")

EMPTY = "its text is empty"  # the reason of a bad line

# A line beyond these is no line of writing, and would cost an encoder all memory.
MIN_SIDE = 4  # pixels
MAX_RATIO = 200  # width to height
_MOST_PIXELS = 8_000_000  # kept of a line; larger images are scaled down
_NO_CONTRAST = 8  # grey levels; an image within so few shows nothing
# Control characters, soft hyphens, zero-width and direction marks, and the replacement character of
# a bad conversion.
_UNWRITTEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffd]"
)
_ENTITY = re.compile(r"&(?:quot|amp|apos|lt|gt|nbsp|#\d{2,5}|#x[\da-fA-F]{2,4});")
_MISREAD = re.compile("[\u00c2\u00c3][\u0080-\u00bf]|\u00e2[\u0080\u20ac]|\u00e3[\u0080-\u0083]")
_JSON = re.compile(r"\{\s*\".*\}", re.DOTALL)
_PIPED = re.compile(r"[^\s|]+(?:\|[^\s|]+){2,}")
_NO_TEXT = ("nan", "NaN", "null", "NULL", "None", "<NA>")
_MOST_CHARACTERS = 10_000
_LONG = 10  # characters that no line has in less width than height

_report: ContextVar[Report] = ContextVar("report", default=silent)


class BadLinesError(UserError):
    """A strict set has unusable lines, which are in `lineset`."""

    def __init__(self, lineset: LineSet) -> None:
        super().__init__(self._sentence(lineset, lineset.bad[0]))
        self.lineset = lineset

    def _sentence(self, lineset: LineSet, first: BadLine) -> str:
        bad, good = len(lineset.bad), len(lineset.lines)
        return (
            f"{bad} of {bad + good} lines of {lineset.name} ({lineset.split}) cannot be used, "
            f"and strict was asked for; the first is {first.id}: {first.reason}"
        )


class NothingReadableError(BadLinesError):
    """A set has lines, but none of them is usable."""

    def _sentence(self, lineset: LineSet, first: BadLine) -> str:
        return (
            f"none of the {len(lineset.bad)} lines of {lineset.name} ({lineset.split}) can be "
            f"used; the first is {first.id}: {first.reason}"
        )


@dataclass(frozen=True)
class Dataset(ABC):
    """A registered data set; its fields are its options.

    splits: the splits that it may have.
    strict: refuse a split with an unusable line, instead of leaving the line out.
    rewrite: FROM=TO for each part of the texts that is to be read as another, such as editorial
        marks and superscripts (`⟦=,⟧=,²=2`); the references of a row say so.
    """

    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")

    strict: bool = field(default=False, kw_only=True)
    rewrite: tuple[str, ...] = field(default=(), kw_only=True)

    @abstractmethod
    def missing(self) -> Unavailable | None:
        """The reason and the remedy if it cannot be read here, else None."""

    @abstractmethod
    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        """Read the first `limit` lines of a split, always in the same order.

        A line that cannot be read becomes a `BadLine`, never an exception.

        Raises:
            Unavailable: the data is not here.
            UserError: the split does not exist, or a file lacks what it must have.
            BadLinesError: a line is unusable, and `strict` is set.
        """

    def split_names(self) -> tuple[str, ...]:
        """The available splits.

        Raises:
            Unavailable: they are read from the data, which is not here.
            UserError: a file lacks what it must have.
        """
        return self.splits

    def check_split(self, split: str, known: Sequence[str] = (), remedy: str = "") -> None:
        """Refuse an unknown split; known are `split_names` by default."""
        if split not in (known := known or self.split_names()):
            hint = did_you_mean(split, known)
            raise UserError(f"there is no split {split}{hint}{remedy and '; '}{remedy}")

    def gathered(
        self,
        name: str,
        split: str,
        items: Iterable[Line | BadLine],
        *,
        source: str,
        licence: str,
        references: str,
        total: int = 0,
        notes: Sequence[str] = (),
    ) -> LineSet:
        """Collect a loader's lines in order, unusable ones apart.

        Besides its bad lines these are lines with an id that is taken (results are paired by id),
        and absurdly small or long ones. A `listening` report is called for each line.

        Raises:
            BadLinesError: no line is usable, or one is not and `strict` is set.
        """
        report, spill = _report.get(), Spill()
        rewriting = Rewriting.of(self.rewrite)
        lines: dict[str, Line] = {}
        bad: list[BadLine] = []
        for count, item in enumerate(items):
            each = rewriting.line(item) if isinstance(item, Line) else item
            report(f"reading {split}", count, max(total, count))
            if isinstance(each, BadLine):
                bad.append(each)
            elif each.id in lines:
                bad.append(BadLine(each.id, "another line has the same id"))
            elif unfit := _unfit(each):
                bad.append(BadLine(each.id, unfit))
            else:
                lines[each.id] = dataclasses.replace(each, image=spill.keep(each.image))
        notes = [*notes, *_oddities(list(lines.values()))]
        made = LineSet(
            name=name,
            split=split,
            lines=tuple(lines.values()),
            # Bytes that are no text may be what is wrong with a line; its id is printed anyway.
            bad=tuple(BadLine(printable(line.id), printable(line.reason)) for line in bad),
            sha256=fingerprint(lines.values()),
            source=source,
            licence=licence,
            references=", ".join(filter(None, (references, str(rewriting)))),
            notes=tuple(printable(note) for note in notes),
        )
        if bad and not lines:
            raise NothingReadableError(made)
        if self.strict and bad:
            raise BadLinesError(made)
        return made


@dataclass(frozen=True)
class Rewriting:
    """Parts of texts to be read as others, longer ones first, all in one pass."""

    pairs: Mapping[str, str]

    @classmethod
    def of(cls, items: Sequence[str]) -> Rewriting:
        """Parse pairs of the form FROM=TO.

        Raises:
            UserError: one is not of this form, or two have the same FROM.
        """
        pairs: dict[str, str] = {}
        for item in items:
            head, equals, after = item[1:].partition("=")  # = itself may be rewritten
            before = unicodedata.normalize("NFC", item[:1] + head)
            if not equals:
                raise UserError(
                    f"rewrite has {item!r}; write FROM=TO, such as ²=2, or ⟦= to leave ⟦ out"
                )
            if pairs.setdefault(before, after) != after:
                raise UserError(f"rewrite has {before!r} twice; give it one meaning")
        return cls(pairs)

    def line(self, line: Line) -> Line | BadLine:
        """A line with its text rewritten; boxes of other characters are dropped."""
        if not self.pairs:
            return line
        longest = sorted(self.pairs, key=len, reverse=True)
        pattern = "|".join(map(re.escape, longest))
        text = normalise(re.sub(pattern, lambda found: self.pairs[found[0]], line.text))
        if not text:
            return BadLine(line.id, f"{EMPTY} after rewrite")
        if text == line.text:
            return line
        return dataclasses.replace(line, text=text, boxes=None, box_source="")

    def __str__(self) -> str:
        """The pairs in words.

        >>> str(Rewriting.of(["⟦=", "²=2"]))
        '"⟦" left out, "²" read as "2"'
        """
        return ", ".join(
            f'"{visible(before)}" read as "{visible(after)}"'
            if after
            else f'"{visible(before)}" left out'
            for before, after in self.pairs.items()
        )


def make_line(
    name: str,
    text: str | Callable[[], str],
    image: Callable[[], Image],
    split: str,
    writer: str = "",
    **facts: Any,
) -> Line | BadLine:
    """Make a line with its text normalised, or a bad line with the reason.

    `text` may be a function that reads it, as `image` is one: a ValueError or OSError of either
    becomes the reason. No other line of the split has this name; `facts` are fields of `Line`.
    """
    part = "text"
    try:
        if not (text := normalise(text if isinstance(text, str) else text())):
            return BadLine(name, EMPTY)
        part = "image"
        return Line(name, _bounded(image()), text, writer, split, **facts)
    except (ValueError, OSError) as error:
        return BadLine(name, f"its {part} cannot be read: {error}")


def _bounded(image: Image) -> Image:
    """Scale an image of too many pixels down, its proportions kept."""
    if image.size <= _MOST_PIXELS:
        return image
    import cv2

    height, width = image.shape
    scale = (_MOST_PIXELS / image.size) ** 0.5
    size = max(1, int(width * scale)), max(1, int(height * scale))
    smaller: Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return smaller


def absence(look: Callable[[], object]) -> Unavailable | None:
    """The reason that `look` raises, for `Dataset.missing`, else None."""
    try:
        look()
    except Unavailable as reason:
        return reason
    return None


@contextmanager
def listening(report: Report) -> Iterator[None]:
    """Report the progress of every set loaded inside the `with` block."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def _unfit(line: Line) -> str:
    """The reason why a line is unusable, else ""."""
    try:
        f"{line.id}{line.text}{line.writer}{line.page}{line.block}".encode()
    except UnicodeEncodeError:
        return "half of a UTF-16 pair stands in its text, id, writer or block"
    if len(line.text) > _MOST_CHARACTERS:
        return f"its text of {len(line.text)} characters is no line of writing"
    height, width = line.image.shape
    if min(height, width) < MIN_SIDE or width > MAX_RATIO * height:
        return f"its image of {width} x {height} pixels is no line of writing"
    return ""


def _oddities(lines: Sequence[Line]) -> Iterator[str]:
    """Note how many lines have images or texts that are likely to be wrong, by kind."""
    for name, is_odd in _ODD.items():
        odd = [line.id for line in lines if is_odd(line)]
        if odd:
            yield f"{name}: {len(odd)} of {len(lines)}, the first {odd[0]}"
    if copies := list(_copies(lines)):
        words = "lines that repeat the image and the text of another"
        yield f"{words}: {len(copies)} of {len(lines)}, the first {copies[0]}"


def _copies(lines: Sequence[Line]) -> Iterator[str]:
    """The ids of lines that an earlier one equals, as if a file or a table were there twice."""
    seen: set[tuple[str, tuple[int, ...], int]] = set()
    for line in lines:
        key = line.text, line.image.shape, zlib.crc32(line.image.tobytes())
        if key in seen:
            yield line.id
        seen.add(key)


def _is_inverted(line: Line) -> bool:
    """Whether an image shows light ink on a dark ground."""
    ink, ground, light = np.percentile(line.image[::4, ::4], (1, 50, 99))
    return bool(ground < 128 and light - ground > max(_NO_CONTRAST, 2 * (ground - ink)))


# Tests of lines by the words of their note.
_ODD: Mapping[str, Callable[[Line], bool]] = {
    "images without contrast": lambda line: bool(np.ptp(line.image) < _NO_CONTRAST),
    "images light on dark, where readers expect dark on light": _is_inverted,
    "images taller than wide, as if turned, vertical or of a whole page": lambda line: (
        line.image.shape[0] > line.image.shape[1] and len(line.text) >= _LONG
    ),
    "texts with invisible or replaced characters (U+00AD, U+200B, U+FFFD, ...)": lambda line: bool(
        _UNWRITTEN.search(line.text)
    ),
    "texts with HTML entities, such as &quot;, which the option rewrite can replace": lambda line: (
        bool(_ENTITY.search(line.text))
    ),
    "texts with | between words, which the option rewrite can replace": lambda line: bool(
        _PIPED.fullmatch(line.text)
    ),
    "texts that are nan, null or None, as programs write an empty one": lambda line: (
        line.text in _NO_TEXT
    ),
    "texts that are JSON objects, as those for Donut": lambda line: bool(
        _JSON.fullmatch(line.text)
    ),
    "texts converted to UTF-8 from a wrong encoding (\u00c3\u00a9 for \u00e9)": lambda line: bool(
        _MISREAD.search(line.text)
    ),
}


def fingerprint(lines: Iterable[Line]) -> str:
    """SHA-256 over ids, texts, blocks and pixels, in order."""
    digest = hashlib.sha256()
    for line in lines:
        head = f"{line.id}\x1f{line.text}\x1f{line.block}\x1f{line.image.shape}\x1e"
        digest.update(head.encode())
        digest.update(line.image.tobytes())
    return digest.hexdigest()


def image_hash(image: Image) -> str:
    """SHA-256 over the pixels and their shape."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def named_in(dataset: str, trained_on: str) -> bool:
    """Whether a description of training data names any part of a data set.

    >>> named_in("unipen-lex", "Unipen-all (train), 684 M printed lines")
    True
    >>> named_in("lines", "hooker (train)")
    False
    """
    words = re.findall(r"[a-z0-9]+", trained_on.lower())
    return any(name.partition("-")[0].lower() in words for name in (dataset, kind_of(dataset)))


def spread(lines: Sequence[Item], count: int) -> list[Item]:
    """Choose `count` evenly spaced lines; the first ones alone are of few writers."""
    count = min(count, len(lines))
    return [lines[place * len(lines) // count] for place in range(count)]
