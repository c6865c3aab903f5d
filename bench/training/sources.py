"""Sources of training lines, each of which draws a new line at every call."""

from __future__ import annotations

import gzip
import hashlib
import json
import string
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.training.augment import pen_image
from datasets.handwriting import write
from datasets.joined import CHARACTERS, WORDS, Bank, Ink, join, read_bank, spaced
from datasets.levels import line_texts, pseudo
from datasets.raster import Stroke, draw_strokes, fit_strokes, on_paper
from datasets.splits import may_learn
from models.images import HEIGHT, WIDEST, darkness, to_height

PEN_LINES = "unipen_lines.strokes.jsonl.gz"
SCANS = {  # the French ones add hands and paper
    "hooker": "hooker_lines.parquet",
    "copiste": "copiste_fr_lines.parquet",
    "poilus": "poilus_fr_lines.parquet",
    "cremma20": "cremma20_fr_lines.parquet",
}
FILES = (PEN_LINES, WORDS, CHARACTERS, *SCANS.values())
VALIDATION = ("unipen-all", "hooker")  # val of `unipen` is a single hand
# Shares of the lines that `mini` learns. Half are not English: real ink joined into other text, and
# French.
MINI = {
    "unipen-lines": 0.14,
    "joined-words": 0.16,
    "joined-characters": 0.15,
    "hooker": 0.36,
    "copiste": 0.06,
    "poilus": 0.07,
    "cremma20": 0.01,
    "rendered": 0.05,
}
# Its AR head learns English, and long lines apart: they are few, and most of UNIPEN's characters.
MINI_HEAD = {
    "rendered": 0.08,
    "joined-characters": 0.26,
    "joined-words": 0.06,
    "unipen-lines": 0.12,
    "unipen-long": 0.26,
    "hooker": 0.22,
}
_LONG = 70  # characters
_PRINTABLE = [c for c in string.printable if "!" <= c <= "~" and c != "\\"]
_COMMON = list(string.ascii_letters + string.digits) + list(".,-'\"():;!?")


@dataclass(frozen=True)
class Texts:
    """Draws texts, mostly not English, to teach the encoder ink and not language.

    english: chance of a line of the train documents as it stands; the rest is pseudo-words,
        shuffled words and random characters in equal parts.
    capitals: chance of a text in capitals throughout.
    """

    english: float = 0.0
    capitals: float = 0.0

    @cached_property
    def _lines(self) -> list[str]:
        return line_texts("train", "english")

    @cached_property
    def _vocabulary(self) -> list[str]:
        return [word for line in self._lines for word in line.split()]

    def draw(self, rng: np.random.Generator, longest: int = 70) -> str:
        """A text of 3 to `longest` characters."""
        length = int(rng.integers(min(12, longest - 1), longest + 1))
        text = self._mixed(rng, length)
        return text.upper() if self.capitals and rng.random() < self.capitals else text

    def _mixed(self, rng: np.random.Generator, length: int) -> str:
        if rng.random() < self.english:
            return _cut(self._running(int(rng.integers(len(self._lines))), length), length)
        kind = int(rng.integers(3))
        if kind == 0:
            line = pseudo(self._lines[int(rng.integers(len(self._lines)))], rng)
            return _cut(line, length)
        if kind == 1:
            return self._shuffled(length, rng)
        return _random(length, rng)

    def _running(self, first: int, length: int) -> str:
        """Join lines from the first on until they are long enough."""
        text = self._lines[first]
        while len(text) < length:
            first = (first + 1) % len(self._lines)
            text += " " + self._lines[first]
        return text

    def _shuffled(self, length: int, rng: np.random.Generator) -> str:
        size = max(14, length // 5)
        words = [self._vocabulary[i] for i in rng.integers(len(self._vocabulary), size=size)]
        return _cut(" ".join(words), length)


def _cut(text: str, length: int) -> str:
    """At most `length` characters, cut at a space where there is one."""
    if len(text) <= length:
        return text
    space = text.rfind(" ", 0, length + 1)
    return text[: space if space > 2 else length].strip()


def _random(length: int, rng: np.random.Generator) -> str:
    """Random characters in groups: letters of one case, digits, or anything printable."""
    groups: list[str] = []
    while sum(map(len, groups)) + len(groups) < length:
        size = int(rng.integers(1, 9))
        pool = (
            list(string.ascii_lowercase),
            list(string.ascii_uppercase),
            list(string.digits),
            _COMMON,
            _PRINTABLE,
        )[int(rng.choice(5, p=(0.35, 0.1, 0.15, 0.2, 0.2)))]
        groups.append("".join(pool[i] for i in rng.integers(len(pool), size=size)))
    return _cut(" ".join(groups), length)


@dataclass(frozen=True, eq=False)
class Sample:
    """A training line.

    ink: (64, W) darkness as drawn; (48, W) once squeezed for PP-OCR's network.
    centres: (len(text),) where the middle of each character stands, as a fraction of the width;
        None where the source does not know.
    """

    ink: NDArray[np.float32]
    text: str
    centres: NDArray[np.float32] | None = None


class Source(Protocol):
    """Draws one training line.

    placed: whether it knows where the characters stand.
    """

    placed: ClassVar[bool]

    def draw(self, rng: np.random.Generator, longest: int) -> Sample:
        """A line."""


@dataclass(frozen=True)
class Rendered:
    """Stroke-font lines in the hands of any number of train writers."""

    placed: ClassVar[bool] = True
    texts: Texts
    writers: int = 1000

    def draw(self, rng: np.random.Generator, longest: int) -> Sample:
        """Render a text in a hand that no val or test line is written in."""
        text = self.texts.draw(rng, longest)
        writer = f"train-{int(rng.integers(self.writers)):03d}"
        line = str(rng.integers(1 << 40))
        writing = write(text, writer, line)
        coverage = draw_strokes(writing.strokes, writing.shape, writing.widths, supersample=2)
        centres = writing.boxes.mean(1) / np.float32(writing.shape[1])
        return Sample(darkness(to_height(on_paper(coverage, writer, line))), text, centres)


@dataclass(frozen=True, eq=False)
class JoinedCharacters:
    """A writer's isolated UNIPEN characters set side by side into any text."""

    placed: ClassVar[bool] = True
    bank: Bank
    texts: Texts

    def draw(self, rng: np.random.Generator, longest: int) -> Sample:
        """Join characters; those that the writer never wrote are left out of the text."""
        writers = self.bank.character_writers
        own = self.bank.characters[writers[int(rng.integers(len(writers)))]]
        letter_gap, word_gap = float(rng.uniform(0.0, 0.4)), float(rng.uniform(0.7, 1.8))
        while True:
            text = "".join(c for c in self.texts.draw(rng, longest) if c == " " or c in own)
            text = " ".join(text.split())
            if text:
                break
        pieces = spaced(text, own, letter_gap, word_gap, rng)
        strokes, spans = join(pieces, rng)
        return _drawn(strokes, text, rng, [(left + right) / 2 for left, right in spans])


@dataclass(frozen=True, eq=False)
class JoinedWords:
    """A writer's isolated UNIPEN words in random order."""

    placed: ClassVar[bool] = False
    bank: Bank

    @cached_property
    def words(self) -> dict[str, list[str]]:
        """The words of each writer, in order."""
        return {writer: sorted(self.bank.words[writer]) for writer in self.bank.word_writers}

    def draw(self, rng: np.random.Generator, longest: int) -> Sample:
        """Join words up to a random length."""
        writers = self.bank.word_writers
        writer = writers[int(rng.integers(len(writers)))]
        own, texts = self.bank.words[writer], self.words[writer]
        length = int(rng.integers(min(8, longest - 1), longest + 1))
        word_gap = float(rng.uniform(0.7, 2.2))
        chosen: list[str] = []
        pieces: list[tuple[Ink, float]] = []
        while not chosen or len(" ".join(chosen)) < length:
            word = texts[int(rng.integers(len(texts)))]
            forms = own[word]
            gap = word_gap * float(rng.uniform(0.75, 1.3)) if chosen else 0.0
            pieces.append((forms[int(rng.integers(len(forms)))], gap))
            chosen.append(word)
        return _drawn(join(pieces, rng)[0], " ".join(chosen), rng)


@dataclass(frozen=True, eq=False)
class PenLines:
    """UNIPEN's own lines of the train writers.

    lines: strokes, text and writer.
    """

    placed: ClassVar[bool] = False
    lines: Sequence[tuple[list[Stroke], str, str]]

    @staticmethod
    def read(path: Path, twice: tuple[str, ...] = ()) -> PenLines:
        """Read the train lines' strokes; those of the contributors `twice` count double."""
        lines = []
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                if may_learn(row["writer"]):
                    strokes = [np.array(s, np.float32).reshape(-1, 2) for s in row["strokes"]]
                    upright = [s * np.array([1, -1], np.float32) for s in strokes]
                    copies = 2 if row["writer"].partition("/")[0] in twice else 1
                    lines += [(upright, row["text"], row["writer"])] * copies
        return PenLines(lines)

    def draw(self, rng: np.random.Generator, longest: int) -> Sample:
        """Draw a line with a pen of random width; `longest` has no effect."""
        strokes, text, _ = self.lines[int(rng.integers(len(self.lines)))]
        return _drawn(strokes, text, rng)


@dataclass(frozen=True, eq=False)
class Scans:
    """Scanned lines of a Parquet set's train split.

    lines: encoded image, text, and the document or hand that the splits were made by.
    """

    placed: ClassVar[bool] = False
    lines: Sequence[tuple[bytes, str, str]]

    @staticmethod
    def read(path: Path, fold: bool = False) -> Scans:
        """Read the train lines; `fold` removes accents."""
        table = pq.read_table(path, columns=["image", "text", "writer", "split"])
        lines = [
            (row["image"]["bytes"], _fold(row["text"]) if fold else row["text"], row["writer"])
            for row in table.to_pylist()
            if row["split"] == "train"
        ]
        return Scans(lines)

    def draw(self, rng: np.random.Generator, longest: int) -> Sample:
        """Draw a scanned line; `longest` has no effect."""
        data, text, _ = self.lines[int(rng.integers(len(self.lines)))]
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        return Sample(darkness(to_height(image)), text)


def sources(
    root: Path | None, shares: Mapping[str, float], texts: Texts, twice: tuple[str, ...] = ()
) -> list[tuple[float, Source]]:
    """List the sources of a mixture whose files are in the data root, with their shares.

    `texts` are for rendered lines, which need no file, and joined characters; lines of the
    contributors `twice` of UNIPEN count double.
    """
    here = {path.name for path in root.iterdir()} if root and root.is_dir() else set()
    available: dict[str, Source] = {"rendered": Rendered(texts)}
    if root and {WORDS, CHARACTERS} <= here:
        bank = read_bank(root)
        available["joined-characters"] = JoinedCharacters(bank, texts)
        available["joined-words"] = JoinedWords(bank)
    if root and PEN_LINES in here:
        available["unipen-lines"] = pen = PenLines.read(root / PEN_LINES, twice)
        available["unipen-long"] = PenLines([line for line in pen.lines if len(line[1]) > _LONG])
    for name, file in SCANS.items():
        if root and file in here and name in shares:
            available[name] = Scans.read(root / file, fold=name != "hooker")
    return [(share, available[name]) for name, share in shares.items() if name in available]


def data_hash(root: Path | None) -> str:
    """SHA-256 over the training files, in a fixed order; of nothing without a data root."""
    digest = hashlib.sha256()
    for path in (root / name for name in FILES) if root else ():
        if path.is_file():
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def pick(mixture: Sequence[tuple[float, Source]], rng: np.random.Generator) -> Source:
    """Draw a source with a probability in proportion to its share."""
    shares = np.array([share for share, _ in mixture])
    return mixture[int(rng.choice(len(mixture), p=shares / shares.sum()))][1]


def _drawn(
    strokes: list[Stroke], text: str, rng: np.random.Generator, middles: Sequence[float] = ()
) -> Sample:
    """Draw strokes at 64 px with a margin and a pen of random width; without text if they are flat.

    middles: of the characters but for spaces, in the strokes' coordinates, where they are known.
    """
    margin = float(rng.uniform(2.0, 8.0))
    placed, shape = fit_strokes(strokes, HEIGHT, margin)
    if shape[1] > WIDEST:  # a dash alone, drawn as high as a line, fills the memory
        return Sample(np.zeros((HEIGHT, HEIGHT), np.float32), "")
    pen = float(rng.uniform(0.9, 3.2))
    ink = darkness(pen_image(draw_strokes(placed, shape, pen, supersample=2)))
    if not middles:
        return Sample(ink, text)
    across = np.concatenate([stroke[:, 0] for stroke in strokes])
    scale = (shape[1] - 2 * margin) / max(float(np.ptp(across)), 1e-6)
    inked = [place for place, char in enumerate(text) if char != " "]
    at = (np.array(middles) - across.min()) * scale + margin
    # A space stands half way between its neighbours.
    centres = np.interp(range(len(text)), inked, at / shape[1])
    return Sample(ink, text, centres.astype(np.float32))


def _fold(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.replace("œ", "oe").replace("\u2019", "'"))
    return "".join(c for c in plain if not unicodedata.combining(c))
