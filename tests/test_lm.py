"""Language model files: read, refused, cached, built."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench import cli
from bench.core.errors import UserError
from bench.pipeline.leaks.leak import overlap
from datasets.corpus import documents
from decoders.language import kenlm_files
from decoders.language.arpa import MARKS, read_arpa, write_arpa
from decoders.language.kenlm_files import check_binary, load_kenlm
from decoders.language.lm import embedded_arpa, kenlm_lm, train_text
from decoders.language.ngram import estimate, words_of

TEXT = ["the cat sat on the mat", "the dog sat", "a cat and a dog", "naïve cats — sat"]

_any_word = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1)
_relaxed = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    """A small, whole 3-gram model."""
    path = tmp_path / "small.arpa"
    write_arpa(estimate([words_of(line) for line in TEXT], 3).model, path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("KAIDOKU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lm"


def bench(*words: object) -> int:
    """Exit code of a command line."""
    with pytest.raises(SystemExit) as left:
        cli.main([str(word) for word in words])
    return int(left.value.code or 0)


# ARPA files


@given(st.lists(st.lists(_any_word.filter(lambda word: word not in (*MARKS, "<UNK>")))))
@example([["nan", "-inf", "1", "\\end\\", "\\2-grams:", "ngram", "2=3", "#", "\\data\\"]])
@_relaxed
def test_what_is_written_is_read_again(tmp_path: Path, text: list[list[str]]) -> None:
    model = estimate([["one", "word"], *text], 3).model
    write_arpa(model, tmp_path / "x.arpa")
    again = read_arpa(tmp_path / "x.arpa")
    assert again.vocabulary == model.vocabulary
    for grams, same in zip(again.orders, model.orders, strict=True):
        np.testing.assert_array_equal(grams.context, same.context)
        np.testing.assert_array_equal(grams.word, same.word)
        np.testing.assert_array_equal(grams.log10_prob, same.log10_prob)
        np.testing.assert_array_equal(grams.log10_backoff, same.log10_backoff)


BREAKAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty file": (lambda b: b"", r"ends too early, before \\data\\"),
    "html": (lambda b: b"<!DOCTYPE html>\n" + b, "line 1: no ARPA file"),
    "byte order mark": (lambda b: b"\xef\xbb\xbf" + b, "byte order mark, .*; save it as UTF-8"),
    "no counts": (lambda b: b"\\data\\\n\n\\end\\\n", "promises no n-grams"),
    "counts out of order": (lambda b: b.replace(b"ngram 2=", b"ngram 3="), "'ngram 2=COUNT'"),
    "cut at a line": (lambda b: b[: b.index(b"\n", b.index(b"\\2-grams:") + 40) + 1], "too early"),
    "a line too many": (lambda b: b.replace(b"\n\n\\end", b"\n-1\ta a a\n\n\\end"), "more n-grams"),
    "a bigram too many": (lambda b: b.replace(b"\n\n\\3", b"\n-1\tsat a\n\n\\3"), "more 2-grams"),
    "a line too few": (lambda b: b[: b.rindex(b"-", 0, b.rindex(b"\n\n"))] + b"\n\\end\\\n", "but"),
    "not UTF-8": (lambda b: b.replace("ï".encode(), b"\xef"), "UTF-8"),
    "NaN probability": (lambda b: _field(b, "cat", 0, b"nan"), "nan is not a finite number"),
    "beyond float32": (lambda b: _field(b, "cat", 0, b"-1e39"), "not a finite number"),
    "above 0": (lambda b: _field(b, "cat", 0, b"0.5"), "above 0"),
    "no number": (lambda b: _field(b, "cat", 0, b"-1,5"), "'-1,5' is not a number"),
    "double space": (lambda b: _field(b, "the cat", 1, b"the  cat"), "expected 2 words"),
    "a word twice": (lambda b: _field(b, "cat", 1, b"dog"), "'dog' comes twice"),
    "a bigram twice": (lambda b: _field(b, "the dog", 1, b"the cat"), "2-grams above comes twice"),
    "an unknown word": (lambda b: _field(b, "the cat", 1, b"the bee"), "'bee' is not among"),
    "no context": (lambda b: _field(b, "the cat sat", 1, b"on cat sat"), "needs 'on cat' among"),
    "weight of the highest": (lambda b: _field(b, "the cat sat", 2, b"-1"), "no back-off weight"),
    "more after the end": (lambda b: b + b"-1\ta\n", "more after"),
}


def _field(data: bytes, words: str, column: int, value: bytes) -> bytes:
    """The file with one field of one n-gram's line changed (or added)."""
    lines = data.split(b"\n")
    at = next(i for i, line in enumerate(lines) if line.split(b"\t")[1:2] == [words.encode()])
    fields = lines[at].split(b"\t")
    lines[at] = b"\t".join([*fields[:column], value, *fields[column + 1 :]])
    return b"\n".join(lines)


@pytest.mark.parametrize("case", BREAKAGES)
def test_a_broken_arpa_file_is_refused_with_its_cause(arpa: Path, case: str) -> None:
    breakage, sentence = BREAKAGES[case]
    whole = arpa.read_bytes()
    arpa.write_bytes(breakage(whole))
    assert arpa.read_bytes() != whole
    with pytest.raises(UserError, match=sentence) as refused:
        kenlm_lm(str(arpa))
    assert str(refused.value).startswith(f"{arpa}, line ")
    assert "\n" not in str(refused.value)


_cut = st.tuples(st.integers(0, 10**6), st.integers(0, 5))
_pieces = st.sampled_from(b"|nan|-inf|0|-1|\t| |\n|\r|\xff|\\end\\|cat|9".split(b"|"))


@given(st.lists(st.tuples(_cut, _pieces), min_size=1, max_size=3))
@_relaxed
def test_no_damage_ends_the_process(
    arpa: Path, damage: list[tuple[tuple[int, int], bytes]]
) -> None:
    data = arpa.read_bytes()
    for (at, gone), piece in damage:
        at %= len(data) + 1
        data = data[:at] + piece + data[at + gone :]
    path = arpa.with_name("damaged.arpa")
    path.write_bytes(data)
    try:
        model = load_kenlm(kenlm_lm(str(path)).path)
    except UserError:
        return
    assert math.isfinite(model.score("the cat saw the dog"))


# KenLM's binaries


def fake_binary(
    order: int = 2, words: bytes = b"<unk>\0<s>\0</s>\0the\0", strings: bool = True
) -> bytes:
    """A file with the header and the words of a binary, and nothing between."""
    magic = b"mmap lm http://kheafield.com/code format version 5\n\0".ljust(56, b"\0")
    sanity = struct.pack("<3f3IQ", 0, 1, -0.5, 1, 2**32 - 1, 0, 1)
    parameters = struct.pack("<B3xfI?3xI", order, 1.5, 0, strings, 1)
    counts = struct.pack(f"<{order}Q", *[4] * order)
    return magic + sanity + parameters + counts + bytes(64) + words


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (fake_binary()[:110], "ends within its header"),
        (fake_binary().replace(b"version 5", b"version 4"), "no KenLM binary of format version 5"),
        (fake_binary(strings=False), "holds no words"),
        (fake_binary()[:-1], "does not end with its 4 words"),
        (fake_binary(words=b"<unk>\0<s>\0</s>\0\xff\0"), "not UTF-8"),
        (fake_binary(words=b"<unk>\0<s>\0</s>\0a\0"), "model of characters"),
        (fake_binary(order=7), "order 7"),
        (fake_binary(), "KenLM cannot read"),  # its tables are missing
    ],
)
def test_a_broken_binary_is_refused(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        kenlm_lm(str(path))


def test_a_device_is_no_language_model() -> None:
    with pytest.raises(UserError, match="it is no regular file"):
        kenlm_lm("/dev/zero")


def test_a_binary_that_crashes_kenlm_is_refused(
    arpa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_binary(arpa, [*MARKS, "cat"])  # the check itself works
    monkeypatch.setattr(kenlm_files, "_SCORE_EVERY_WORD", "import os; os.abort()")
    with pytest.raises(UserError, match="KenLM crashes on"):
        check_binary(arpa, MARKS)


# The embedded model


def test_the_embedded_model_is_built_once_from_train_alone(cache: Path) -> None:
    first = kenlm_lm()
    arpa = embedded_arpa()
    made = arpa.stat().st_mtime_ns
    assert kenlm_lm() == first
    assert arpa.stat().st_mtime_ns == made
    assert arpa.parent == cache
    assert first.order == 3
    train = {
        word for document in documents("train") for p in document.paragraphs for word in p.split()
    }
    assert set(first.words) == train
    assert load_kenlm(first.path).order == 3
    assert not overlap(
        (p for d in documents("test") for p in d.paragraphs), train_text()
    ).lines_seen


def test_a_broken_cached_model_is_built_again() -> None:
    first = kenlm_lm()
    arpa = embedded_arpa()
    sound = arpa.read_bytes()
    for broken in (sound[:100_000], sound.replace(b"-3.1", b"-2.1", 1), b""):
        assert broken != sound
        arpa.write_bytes(broken)
        assert kenlm_lm() == first
        assert arpa.read_bytes() == sound


# Overlap


def test_overlap_ignores_where_the_text_breaks() -> None:
    text = ["one two three four five", "six seven eight nine"]
    seen = overlap(
        [
            "two three",
            "five six",
            "two four",
            "one two three four five six seven eight nine",  # two runs of eight words
            "one two three four five six seven eight ten",  # one of them again
            " ",
        ],
        text,
    )
    assert (seen.lines, seen.lines_seen) == (5, 3)
    assert (seen.grams, seen.grams_seen) == (3, 2)
    assert overlap([], text).line_share is None
    assert overlap(["two three"], text).gram_share is None


# The command


def test_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes("\ufeffthe cat sat\r\n\r\nthe dog sat\r\n".encode())
    out = tmp_path / "x.arpa"
    # Leaks have tests of their own, and reading the sets of the main job takes a while.
    words = ("lm", "build", "--text", text, "--order", 2, "--against", "none", "--out", out)
    assert bench(*words, "--json") == 0
    built = json.loads(capsys.readouterr().out)
    assert (built["order"], built["unit"], built["lines"]) == (2, "word", 2)
    assert built["counts"] == [7, 6]
    assert built["fallback_orders"] == [1, 2]
    assert kenlm_lm(str(out)).sha256 == built["sha256"]
    assert bench(*words) == 0
    assert "2-gram model of words" in capsys.readouterr().out
