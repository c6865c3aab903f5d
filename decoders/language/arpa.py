"""Back-off n-gram models: their tables, and the ARPA files that hold them.

Format: the ARPA MIT-LL layout that SRILM, IRSTLM, lmplz and KenLM share
(http://www.speech.sri.com/projects/srilm/manpages/ngram-format.5.html). Files are read more
strictly than by KenLM, which will load them: it accepts NaN as a probability and repeated n-grams.
"""

from __future__ import annotations

import io
import math
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import IO, NoReturn, cast

import numpy as np
import rich.progress
from numpy.typing import NDArray
from rich.console import Console

from bench.core.errors import UserError
from bench.core.files import write_atomically

UNK, BOS, EOS = "<unk>", "<s>", "</s>"
MARKS = (UNK, BOS, EOS)
NO_UNK = -100.0  # KenLM's log10 probability of an unknown word where a model has no <unk>
SPACE = "▁"  # U+2581, the space as a word of a character model; ARPA words cannot be blank

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

_COUNT = re.compile(r"ngram +(\d{1,3})=\s*(\d{1,18})\s*$")
_SLOW_BYTES = 20_000_000  # about two seconds of reading; from here on a progress bar is shown
_BLANK = re.compile(r"(^| ) (?= |$)")  # a plain space as an entry, after a separating space
_BINARY = b"mmap lm "
_FLOAT32_MAX = 3.4e38
_ROUNDING = 0.02  # of a sum of probabilities that is 1
_BASES = {"10": 10, "e": math.e, "2": 2}
_MOST_FIT = 0.9  # share of the contexts whose sums are 1 in a sound model
_ABSURD = 10  # a sum of probabilities that no rounding explains


@dataclass(frozen=True, eq=False)
class NGrams:
    """All n-grams of one order, N of them, in the order of the file.

    context: (N,) int64, row of the first n-1 words in the order below; zeros for unigrams.
    word: (N,) int64, index of the last word in the vocabulary.
    log10_prob: (N,) float32.
    log10_backoff: (N,) float32, 0 where the n-gram is no context.
    """

    context: Rows
    word: Rows
    log10_prob: Floats
    log10_backoff: Floats

    def __len__(self) -> int:
        return len(self.word)


@dataclass(frozen=True, eq=False)
class NGramModel:
    """A back-off model. `orders[0]` lists the unigrams in the order of `vocabulary`.

    vocabulary: every word, the marks `<unk>`, `<s>`, `</s>` included.
    """

    vocabulary: tuple[str, ...]
    orders: tuple[NGrams, ...]

    @property
    def order(self) -> int:
        """Length of the longest n-grams."""
        return len(self.orders)

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of n-grams of each order, unigrams first."""
        return tuple(len(grams) for grams in self.orders)

    def texts(self) -> Iterator[list[str]]:
        """The n-grams of each order as their words with spaces between, unigrams first."""
        texts = list(self.vocabulary)
        yield texts
        for grams in self.orders[1:]:
            pairs = zip(grams.context.tolist(), grams.word.tolist(), strict=True)
            texts = [f"{texts[context]} {self.vocabulary[word]}" for context, word in pairs]
            yield texts


def write_arpa(model: NGramModel, path: Path, step: Callable[[], object] = lambda: None) -> None:
    """Write a model as lmplz would, whole or not at all; calls `step` once an order."""
    head = [f"ngram {n}={count}" for n, count in enumerate(model.counts, 1)]
    parts = ["\\data\\\n" + "\n".join(head) + "\n"]
    for n, (grams, texts) in enumerate(zip(model.orders, model.texts(), strict=True), 1):
        columns = [_decimals(grams.log10_prob), texts]
        if n < model.order:  # the highest order has no back-off weights
            columns.append(_decimals(grams.log10_backoff))
        lines = "".join("\t".join(fields) + "\n" for fields in zip(*columns, strict=True))
        parts.append(f"\\{n}-grams:\n{lines}")
        step()
    write_atomically(path, ("\n".join(parts) + "\n\\end\\\n").encode())


def _decimals(values: Floats) -> list[str]:
    """Shortest texts that give back the same float32, written as lmplz writes them."""
    distinct, which = np.unique(values, return_inverse=True)
    texts = [_decimal(value) for value in distinct]
    return [texts[i] for i in which.tolist()]


def _decimal(value: np.float32) -> str:
    if 0 < abs(value) < 1e-6:
        return np.format_float_scientific(value, trim="-", exp_digits=1)
    return np.format_float_positional(value, trim="-")


def read_arpa(path: Path) -> NGramModel:
    """Read and check a whole ARPA file.

    Raises:
        UserError: the file is not there, is no ARPA file, or is broken; the sentence names the
            line and what is wrong with it.
    """
    with _open(path) as file:
        return _Reader(path, file).model()


def is_arpa(path: Path) -> bool:
    """Distinguish a text file from one of KenLM's binaries."""
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
        model = NGramModel(tuple(vocabulary), tuple(orders))
        check_base(self.path, model.vocabulary, model.orders[0].log10_prob)
        _check_sums(self.path, model)
        return model

    def _counts(self) -> list[int]:
        line = self._filled_line("\\data\\")
        while line.startswith("#"):
            line = self._filled_line("\\data\\")
        if line.startswith("\ufeff"):
            self._fail(
                "it begins with a byte order mark, which KenLM cannot read; save it as UTF-8 "
                "without one"
            )
        if line != "\\data\\":
            self._fail(f"no ARPA file: it begins with {_short(line)} and not with \\data\\")
        counts: list[int] = []
        while line := self._line("the n-gram counts").strip():
            match = _COUNT.match(line)
            if not match or int(match[1]) != len(counts) + 1:
                self._fail(f"expected 'ngram {len(counts) + 1}=COUNT', found {_short(line)}")
            counts.append(int(match[2]))
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
            expected = "one word" if n == 1 else f"{n} words with single spaces between"
            self._fail(f"expected {expected}, found {_short(words)}")
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
        """The next line without its end."""
        raw = self.file.readline()
        if not raw:
            self._fail(f"the file ends too early, before {expected}; copy or download it again")
        self.number += 1
        try:
            return raw.rstrip(b"\r\n").decode()
        except UnicodeDecodeError:
            self._fail("not UTF-8; convert it with iconv")

    def _fail(self, what: str) -> NoReturn:
        raise UserError(f"{self.path}, line {self.number}: {what}")


def check_base(path: Path, vocabulary: Sequence[str], logs: Floats) -> None:
    """Refuse logarithms of base e or 2, and absurd ones, by the sum of the words' probabilities."""
    words = np.array([word != BOS for word in vocabulary])
    chosen = logs[words].astype(np.float64)
    if (10**chosen).sum() >= _ABSURD:
        raise UserError(
            f"{path} has words whose probabilities add up to more than {_ABSURD}, not to 1; build "
            "it again"
        )
    fitting = [name for name, b in _BASES.items() if abs((b**chosen).sum() - 1) < _ROUNDING]
    if fitting and fitting[0] != "10":  # the sum is less in a file of a part of the words
        factor = math.log(10, _BASES[fitting[0]])
        raise UserError(
            f"{path} has logarithms of base {fitting[0]}, and ARPA files and their binaries have "
            f"those of base 10; divide all numbers of the ARPA file by {factor:.6f}"
        )


def _check_sums(path: Path, model: NGramModel) -> None:
    """Refuse orders in another base, and absurd back-off weights.

    The words after a context add up to 1, or less in a file of a part of them.

    Raises:
        UserError: with the order.
    """
    words = len(model.vocabulary)
    suffix = np.zeros(words, np.int64)  # the row of an n-gram without its first word
    for n, (low, high) in enumerate(pairwise(model.orders), 1):
        keys = low.context * words + low.word
        order = np.argsort(keys)
        ends = suffix[high.context] * words + high.word
        found = order[np.searchsorted(keys, ends, sorter=order).clip(max=len(keys) - 1)]
        known = keys[found] == ends  # a pruned model may lack some
        suffix = np.where(known, found, -1)
        whole = np.bincount(high.context, ~known, len(low)) == 0
        followed = whole & (np.bincount(high.context, minlength=len(low)) > 0)
        if not followed.any():
            continue
        for own, below in product(_BASES, repeat=2):  # base 10 first
            sums = _sums(low, high, found, _BASES[own], _BASES[below])
            if np.mean(abs(sums[followed] - 1) < _ROUNDING) > _MOST_FIT:
                if own == below == "10":
                    break
                other, order_of = (below, n) if own == "10" else (own, n + 1)
                raise UserError(
                    f"{path} has logarithms of base {other} in its {order_of}-grams, and ARPA "
                    "files have those of base 10 alone; build it again"
                )
        if not (_sums(low, high, found, 10, 10)[whole] < _ABSURD).all():
            raise UserError(
                f"{path} has {n}-grams after which the probabilities of all words add up to more "
                f"than {_ABSURD}, not to 1; build it again"
            )


def _sums(low: NGrams, high: NGrams, found: Rows, own: float, below: float) -> NDArray[np.float64]:
    """The probabilities of all words after each context, summed, with logarithms of two bases."""
    with np.errstate(over="ignore", invalid="ignore"):
        seen = np.bincount(high.context, own ** high.log10_prob.astype(np.float64), len(low))
        lower = below ** low.log10_prob[found].astype(np.float64)
        left = 1 - np.bincount(high.context, lower, len(low))
        return np.asarray(seen + below ** low.log10_backoff.astype(np.float64) * left, np.float64)


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
            # Rich counts every call, which would cost more than the reading if done each line.
            yield io.BufferedReader(cast(io.RawIOBase, shown), 1 << 20)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
