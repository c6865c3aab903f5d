"""The embedded set: corpus, levels, handwriting, pixels."""

import subprocess
import sys
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.errors import UserError
from datasets import DATASETS
from datasets.corpus import documents
from datasets.handwriting import style_of, write
from datasets.levels import LEVELS, LONGEST, SHORTEST, line_texts, wrap
from datasets.lines import RenderedLines
from datasets.raster import draw_strokes, fit_strokes
from datasets.seeds import stream


def test_corpus_splits_by_whole_document():
    splits = {split: {d.id for d in documents(split)} for split in ("train", "val", "test")}
    assert {split: len(ids) for split, ids in splits.items()} == {
        "train": 144,
        "val": 16,
        "test": 32,
    }
    assert sum(map(len, splits.values())) == len(documents()) == 192
    assert all(doc.paragraphs and doc.title for doc in documents())


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_has_lines_of_20_to_70_clean_characters(level):
    lines = line_texts("test", level)
    assert len(lines) > 1500
    for line in lines:
        assert SHORTEST <= len(line) <= LONGEST
        assert line == " ".join(line.split())
        assert line.isascii()


def test_levels_keep_the_length_profile_and_lose_the_language():
    english, pseudo, random = (line_texts("test", x) for x in ("english", "pseudo", "random"))
    assert [len(x) for x in english] == [len(x) for x in pseudo] == [len(x) for x in random]
    vocabulary = {w.lower() for line in line_texts("train", "english") for w in line.split()}

    def known(lines: list[str]) -> float:
        words = [w.lower() for line in lines for w in line.split() if len(w) > 3]
        return sum(w in vocabulary for w in words) / len(words)

    assert known(english) > 0.7
    assert known(line_texts("test", "shuffled")) == pytest.approx(known(english), abs=0.05)
    assert known(pseudo) < 0.02
    assert known(random) < 0.02


def test_shuffled_keeps_the_words_and_breaks_their_order():
    def words(level: str) -> list[str]:
        return [w for line in line_texts("val", level) for w in line.split()]

    def pairs(level: str) -> set[tuple[str, str]]:
        return {p for line in line_texts("val", level) for p in pairwise(line.split())}

    assert set(words("shuffled")) <= set(words("english"))
    assert len(words("shuffled")) > 0.95 * len(words("english"))
    assert len(pairs("shuffled") & pairs("english")) < 0.1 * len(pairs("english"))


@given(st.text("ab cd", max_size=300))
@settings(max_examples=60, deadline=None)
def test_wrap_never_splits_or_invents_words(paragraph):
    lines = wrap(paragraph, stream("test"))
    joined = [w for line in lines for w in line.split()]
    it = iter(paragraph.split())
    assert all(any(word == other for other in it) for word in joined)  # a subsequence


def test_hands_of_splits_are_disjoint_and_many(monkeypatch):
    blank = write("", "w", "l")
    monkeypatch.setattr("datasets.lines.write", lambda *_: blank)
    sets = {split: RenderedLines(size=1500).load(split) for split in ("train", "val", "test")}
    hands = {split: {line.writer for line in found.lines} for split, found in sets.items()}
    assert {split: len(names) for split, names in hands.items()} == {
        "train": 200, "val": 40, "test": 60,
    }  # fmt: skip
    assert len(set.union(*hands.values())) == 300
    few = RenderedLines().load("test")
    assert len({line.id for line in few.lines}) == 300 and not few.bad
    assert [line.id for line in few.lines] == [line.id for line in sets["test"].lines[:300]]


def test_boxes_hold_their_characters():
    """Erasing a character's columns takes its ink, and nearly nothing of the others."""
    for line in DATASETS.create("lines").load("test", 20).lines:
        assert line.boxes is not None
        assert line.boxes.shape == (len(line.text), 2)
        assert (line.boxes[:, 1] > line.boxes[:, 0]).all()
        assert (np.diff(line.boxes[:, 0]) > 0).all()
        darkness = 255 - line.image.astype(float)
        paper = np.median(darkness)
        ink = np.clip(darkness - paper - 25, 0, None).sum(0)
        spaces = [i for i, c in enumerate(line.text) if c == " "]
        inside = sum(_ink(ink, line.boxes[i]) for i in spaces)
        assert inside < 0.12 * ink.sum()  # slanted neighbours lean in, no more


def _ink(columns: Any, box: Any) -> float:
    return float(columns[max(0, round(float(box[0]))) : round(float(box[1]))].sum())


def test_the_same_bytes_in_another_process():
    code = "from datasets import DATASETS; print(DATASETS.create('lines').load('test', 12).sha256)"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    np.random.seed(5)  # global state must not matter
    assert DATASETS.create("lines").load("test", 12).sha256 == other


def test_styles_differ_between_writers_and_stay_with_a_writer():
    assert style_of("a") == style_of("a")
    assert style_of("a") != style_of("b")
    widths = [write("the same words", f"w{i}", "l").shape[1] for i in range(12)]
    assert max(widths) > 1.3 * min(widths)


@pytest.mark.parametrize("text", ["", " ", "é", "\u3042x", "a" * 400])
def test_odd_texts_are_written_all_the_same(text):
    writing = write(text, "w", "l")
    assert writing.boxes.shape == (len(text), 2)
    coverage = draw_strokes(writing.strokes, writing.shape, writing.widths)
    assert coverage.shape == writing.shape


def test_unknown_level_and_split():
    with pytest.raises(UserError, match="pseudo"):
        RenderedLines(level="psuedo").load()
    with pytest.raises(UserError, match="val"):
        DATASETS.create("lines").load("valid")


def test_hugging_face_names_say_whose_folder_this_is():
    with pytest.raises(ImportError, match="Hugging Face"):
        from datasets import load_dataset  # noqa: F401


def test_strokes_fit_the_height_and_land_where_they_should():
    square = [np.array([[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]], np.float32)]
    placed, shape = fit_strokes(square, 64, 6)
    assert shape == (64, 64)
    coverage = draw_strokes(placed, shape, 2.0)
    rows = np.flatnonzero(coverage.max(1) > 0.5)
    assert (rows[0], rows[-1]) == (5, 58)
    assert coverage[32, 30] == 0


def test_pen_width_is_in_pixels():
    line = [np.array([[10, 20], [90, 20]], np.float32)]
    for width in (1.0, 2.0, 4.0):
        coverage = draw_strokes(line, (40, 100), width)
        assert coverage[:, 50].sum() == pytest.approx(width, abs=0.55)
    fine = draw_strokes(line, (40, 100), [np.array([1.0, 4.0], np.float32)])
    assert cv2.countNonZero((fine > 0).astype(np.uint8)) > 0


def test_a_stroke_of_one_point_is_a_dot():
    point = np.array([[5.0, 5.0]], np.float32)
    for width in (2.0, [np.array([2.0], np.float32)]):
        assert draw_strokes([point], (10, 10), width).sum() == pytest.approx(4, abs=2)
