"""Reading ARPA files that anyone may have written, each error with its line and its cause.

Read as strictly as KenLM reads them, because KenLM is what will load them, and then some:
KenLM takes NaN for a probability and n-grams that come twice.
"""

from __future__ import annotations

import io
import re
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn, cast

import numpy as np
import rich.progress
from rich.console import Console

from bench.core.errors import UserError
from decoders.language.arpa import SPACE, UNK, NGramModel, NGrams

_COUNT = re.compile(r"ngram +(\d{1,3})=\s*(\d{1,18})\s*$")
_SLOW_BYTES = 20_000_000  # about two seconds of reading; from here on a progress bar is shown
_COMPRESSED = {
    b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"]\0\0": "unlzma",
    b"\x28\xb5\x2f\xfd": "unzstd", b"PK\3\4": "unzip",
}  # fmt: skip
_BLANK = re.compile(r"(^| ) (?= |$)")  # a plain space as an entry, behind a space that parts
_BINARY = b"mmap lm "
_FLOAT32_MAX = 3.4e38


def read_arpa(path: Path) -> NGramModel:
    """Read and check a whole ARPA file.

    Raises:
        UserError: the file is not there, is no ARPA file, or is broken; the sentence names the
            line and what is wrong with it.
    """
    with _open(path) as file:
        return _Reader(path, file).model()


def is_arpa(path: Path) -> bool:
    """Whether a file looks like text and not like one of KenLM's binaries.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return not file.read(len(_BINARY)).startswith(_BINARY)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


class _Reader:
    """One pass over the lines of an ARPA file, each error with its line number."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.file = file
        self.number = 0
        self.has_blank = False

    def model(self) -> NGramModel:
        counts = self._counts()
        orders: list[NGrams] = []
        rows: dict[str, int] = {}  # text of each n-gram of the order below -> its row
        vocabulary: dict[str, int] = {}
        for n, count in enumerate(counts, 1):
            self._header(n, count)
            grams, rows = self._grams(n, count, n == len(counts), rows, vocabulary)
            vocabulary = vocabulary or rows
            self._check_once(grams, n, len(vocabulary))
            orders.append(grams)
        self._end()
        return NGramModel(tuple(vocabulary), tuple(orders))

    def _counts(self) -> list[int]:
        line = self._filled_line("\\data\\")
        while line.startswith("#"):
            line = self._filled_line("\\data\\")
        if line != "\\data\\":
            self._fail(f"no ARPA file: it begins with {_short(line)} and not with \\data\\")
        counts: list[int] = []
        while line := self._line("the n-gram counts").strip():
            found = _COUNT.match(line)
            if not found or int(found[1]) != len(counts) + 1:
                self._fail(f"expected 'ngram {len(counts) + 1}=COUNT', found {_short(line)}")
            counts.append(int(found[2]))
        if not counts:
            self._fail("the header promises no n-grams")
        return counts

    def _header(self, n: int, count: int) -> None:
        line = self._filled_line(f"\\{n}-grams:")
        if line == f"\\{n}-grams:":
            return
        if n > 1 and "\t" in line:
            self._fail(f"there are more {n - 1}-grams than the header promises")
        self._fail(f"expected \\{n}-grams: (the header promises {count}), found {_short(line)}")

    def _grams(
        self, n: int, count: int, highest: bool, rows: dict[str, int], vocabulary: dict[str, int]
    ) -> tuple[NGrams, dict[str, int]]:
        context, word = array("q"), array("q")
        prob, backoff = array("f"), array("f")
        own: dict[str, int] = {}
        for row in range(count):
            words, p, b = self._entry(n, row, count)
            if n == 1:
                words = UNK if words == "<UNK>" else words
                if words in own:
                    self._fail(f"the word {_short(words)} comes twice")
                context.append(0)
                word.append(row)
            else:
                before, _, last = words.rpartition(" ")
                if before not in rows:
                    self._fail(f"{_short(words)} needs {_short(before)} among the {n - 1}-grams")
                if last not in vocabulary:
                    self._fail(f"the word {_short(last)} is not among the 1-grams")
                context.append(rows[before])
                word.append(vocabulary[last])
            if highest and b != 0:
                self._fail(f"a {n}-gram is of the highest order and can have no back-off weight")
            if not highest or n == 1:
                own[words] = row
            prob.append(p)
            backoff.append(b)
        grams = NGrams(
            np.array(context, np.int64),
            np.array(word, np.int64),
            np.array(prob, np.float32),
            np.array(backoff, np.float32),
        )
        return grams, own

    def _entry(self, n: int, row: int, count: int) -> tuple[str, float, float]:
        """The words of the next line, its log10 probability and its log10 back-off weight."""
        line = self._line(f"the {n}-grams, {row} of {count} read")
        fields = line.split("\t")
        if not 2 <= len(fields) <= 3:
            if not line.strip() or line.startswith("\\"):
                self._fail(f"the header promises {count} {n}-grams, but there are {row}")
            self._fail(f"expected 'log10-probability TAB words', found {_short(line)}")
        words = fields[1]
        self.has_blank |= n == 1 and words == " "
        if self.has_blank:  # a character model with the space as it is
            words = _BLANK.sub(rf"\1{SPACE}", words)
        if not words or words.count(" ") != n - 1 or "  " in f" {words} ":
            wanted = "one word" if n == 1 else f"{n} words with single spaces between"
            self._fail(f"expected {wanted}, found {_short(words)}")
        p = self._number(fields[0])
        if p > 0:
            self._fail(f"the log10 probability {fields[0]} is above 0")
        return words, p, self._number(fields[2]) if len(fields) == 3 else 0.0

    def _number(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            self._fail(f"{_short(text)} is not a number")
        if not abs(value) < _FLOAT32_MAX:
            self._fail(f"{text} is not a finite number")
        return value

    def _check_once(self, grams: NGrams, n: int, words: int) -> None:
        if len(np.unique(grams.context * words + grams.word)) < len(grams):
            self._fail(f"one of the {n}-grams above comes twice")

    def _end(self) -> None:
        line = self._filled_line("\\end\\")
        if "\t" in line:
            self._fail("there are more n-grams of the highest order than the header promises")
        if line != "\\end\\":
            self._fail(f"expected \\end\\, found {_short(line)}")
        for raw in self.file:
            self.number += 1
            if raw.strip():
                self._fail(f"there is more after \\end\\: {_short(raw.decode(errors='replace'))}")

    def _filled_line(self, expected: str) -> str:
        while not (line := self._line(expected)).strip():
            pass
        return line

    def _line(self, expected: str) -> str:
        """The next line without its end; what is expected goes into the sentence at the end."""
        raw = self.file.readline()
        if not raw:
            self._fail(f"the file ends too early, before {expected}; was its copying broken off?")
        self.number += 1
        for magic, tool in _COMPRESSED.items():
            if self.number == 1 and raw.startswith(magic):
                self._fail(f"it is compressed; unpack it with {tool}")
        try:
            return raw.rstrip(b"\r\n").decode()
        except UnicodeDecodeError:
            self._fail("not UTF-8; convert it with iconv")

    def _fail(self, what: str) -> NoReturn:
        raise UserError(f"{self.path}, line {self.number}: {what}")


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    try:
        if path.stat().st_size < _SLOW_BYTES:
            with path.open("rb") as file:
                yield file
            return
        console = Console(stderr=True)
        title = f"reading {path.name}"
        with rich.progress.open(path, "rb", description=title, console=console) as shown:
            # Rich counts every call, and a call a line would cost more than the reading itself.
            yield io.BufferedReader(cast(io.RawIOBase, shown), 1 << 20)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
