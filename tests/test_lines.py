"""The embedded sets `lines` and `ink`: corpus, levels, handwriting, pixels."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.errors import Unavailable, UserError
from datasets import DATASETS, embed
from datasets.corpus import documents
from datasets.handwriting import write
from datasets.ink import InkLines
from datasets.joined import CHARACTERS
from datasets.levels import LONGEST, SHORTEST, line_texts, wrap
from datasets.lines import RenderedLines
from datasets.raster import draw_strokes, fit_strokes
from datasets.root import set_data_root
from datasets.seeds import stream
from datasets.sources import EMBEDDED
from datasets.splits import split_of
from datasets.unipen import (
    COLUMNS,
    STROKES,
    TABLE,
    Unipen,
    draw,
    read_index,
    read_pieces,
    read_strokes,
)


def test_corpus_splits_by_whole_document():
    splits = {split: {d.id for d in documents(split)} for split in ("train", "val", "test")}
    assert [len(ids) for ids in splits.values()] == [144, 16, 32]
    assert sum(map(len, splits.values())) == len(documents()) == 192
    assert all(doc.paragraphs and doc.title for doc in documents())


def test_levels_keep_the_length_profile_and_lose_the_language():
    english, pseudo, random = (line_texts("test", x) for x in ("english", "pseudo", "random"))
    shuffled = line_texts("test", "shuffled")
    for line in (*english, *pseudo, *random, *shuffled):
        assert SHORTEST <= len(line) <= LONGEST and line.isascii()
        assert line == " ".join(line.split())
    assert [len(x) for x in english] == [len(x) for x in pseudo] == [len(x) for x in random]
    pairs = [{p for x in lines for p in pairwise(x.split())} for lines in (shuffled, english)]
    assert len(pairs[0] & pairs[1]) < 0.1 * len(pairs[1])
    vocabulary = {w.lower() for line in line_texts("train", "english") for w in line.split()}

    def known(lines: list[str]) -> float:
        words = [w.lower() for line in lines for w in line.split() if len(w) > 3]
        return sum(w in vocabulary for w in words) / len(words)

    assert known(english) > 0.7
    assert known(shuffled) == pytest.approx(known(english), abs=0.05)
    assert known(pseudo) < 0.02
    assert known(random) < 0.02


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
        edges = np.maximum(0, np.rint(line.boxes)).astype(int)
        inside = sum(ink[edges[i, 0] : edges[i, 1]].sum() for i in spaces)
        assert inside < 0.12 * ink.sum()  # slanted neighbours lean in, no more


def test_unknown_level_and_split():
    with pytest.raises(UserError, match="pseudo"):
        RenderedLines(level="psuedo").load()
    with pytest.raises(UserError, match="val"):
        DATASETS.create("lines").load("valid")


def test_hugging_face_names_say_whose_folder_this_is():
    with pytest.raises(ImportError, match="Hugging Face"):
        from datasets import load_dataset  # noqa: F401


def test_strokes_fit_the_height_and_have_the_width_of_the_pen():
    square = [np.array([[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]], np.float32)]
    placed, shape = fit_strokes(square, 64, 6)
    assert shape == (64, 64)
    coverage = draw_strokes(placed, shape, 2.0)
    rows = np.flatnonzero(coverage.max(1) > 0.5)
    assert (rows[0], rows[-1]) == (5, 58)
    assert coverage[32, 30] == 0
    line = [np.array([[10, 20], [90, 20]], np.float32)]
    for width in (1.0, 4.0):
        coverage = draw_strokes(line, (40, 100), width)
        assert coverage[:, 50].sum() == pytest.approx(width, abs=0.55)


def test_a_stroke_of_one_point_is_a_dot():
    point = np.array([[5.0, 5.0]], np.float32)
    for width in (2.0, [np.array([2.0], np.float32)]):
        assert draw_strokes([point], (10, 10), width).sum() == pytest.approx(4, abs=2)


DATA = Path(__file__).parents[2] / "shared" / "data"
NAMES = ("ink", "ink-shuffled", "ink-pseudo", "ink-random")


@pytest.fixture(scope="module")
def levels():
    return {name: DATASETS.create(name, {"size": 100}).load("test") for name in NAMES}


def test_every_level_has_the_same_hands_and_about_the_same_lengths(levels):
    english = levels["ink"].lines
    assert len(english) == 100 and len({line.writer for line in english}) >= 16
    texts = set(line_texts("test", "english"))
    assert all(line.text in texts for line in english)
    few = InkLines().load("test", 2).lines
    assert all((a.image == b.image).all() for a, b in zip(few, english, strict=False))
    assert max(Counter(line.writer for line in english).values()) <= 100 / 12
    for made in levels.values():
        assert [line.writer for line in made.lines] == [line.writer for line in english]
        longer = [len(a.text) - len(b.text) for a, b in zip(made.lines, english, strict=True)]
        assert abs(np.mean(longer)) < 1 and np.abs(longer).max() <= 12
        assert len({line.id for line in made.lines}) == 100 and not made.bad


def test_boxes_hold_all_ink_in_order(levels):
    for line in levels["ink"].lines[:60]:
        assert line.image.shape[0] == 64 and line.boxes.shape == (len(line.text), 2)
        assert (line.boxes[:, 1] >= line.boxes[:, 0]).all()
        middles = line.boxes.mean(1)
        assert (np.diff(middles) > 0).mean() > 0.95  # a `t` may cross its neighbour
        inside = np.zeros(line.image.shape[1], bool)
        for left, right in line.boxes:
            inside[max(0, int(left) - 3) : int(np.ceil(right)) + 3] = True
        assert (line.image[:, ~inside] > 250).all()
        for char, (left, right) in zip(line.text, line.boxes, strict=True):
            if char != " ":
                assert line.image[:, int(left) : int(np.ceil(right)) + 1].min() < 128


def test_no_writer_is_one_of_training():
    assert {split_of(line.writer) for line in InkLines().load("val", 20).lines} == {"val"}
    writers = {piece.writer for piece in read_pieces(EMBEDDED / CHARACTERS)}
    writers |= {row["writer"] for row in read_index(EMBEDDED / TABLE)}
    assert {split_of(writer) for writer in writers} == {"val", "test"}
    with pytest.raises(UserError, match="no split train"):
        InkLines().load("train")
    with pytest.raises(UserError, match="did you mean shuffled"):
        InkLines("shufled").load()


@pytest.mark.skipif(not DATA.is_dir(), reason="the whole sets are not here")
def test_building_again_gives_the_same_bytes(tmp_path):
    embed.build(DATA, tmp_path / "again")
    for file in (tmp_path / "again").iterdir():
        assert file.read_bytes() == (EMBEDDED / file.name).read_bytes(), file.name
    assert sum(f.stat().st_size for f in EMBEDDED.iterdir()) < 12e6


# The data set `unipen`


def test_ink_is_black_on_white_and_stands_upright() -> None:
    strokes = [[[0, 0], [0, 100]], [[0, 100], [300, 100]]]
    image = draw([np.array(stroke, np.float32) for stroke in strokes])
    assert image.dtype == np.uint8 and image.shape == (64, 3 * 52 + 12)
    assert image[58, 6] < 100 and image[6, 160] < 100  # y grows upwards: the long stroke is on top
    assert image[58, 160] == 255
    inked = np.flatnonzero((image < 128).any(1))
    assert (inked[0], inked[-1]) == (5, 58)  # 6 px of margin less half a pen of 2 px


def _root(tmp_path: Path, rows: list[list[str]], records: list[object]) -> Path:
    table = "\n".join("\t".join(row) for row in [list(COLUMNS), *rows]) + "\n"
    (tmp_path / TABLE).write_text(table)
    text = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records)
    (tmp_path / STROKES).write_bytes(gzip.compress(text.encode()))
    return tmp_path


def _row(file: str, split: str = "test", text: str = "two words") -> list[str]:
    return [file, "w", split, "9", "64", "OK", text]


@pytest.fixture
def chosen_root(tmp_path: Path) -> Iterator[Path]:
    set_data_root(tmp_path)
    yield tmp_path
    set_data_root(None)


GOOD = [[[0, 0], [9, 9]]]


def test_a_line_without_end_is_read_in_parts(tmp_path: Path) -> None:
    path = tmp_path / STROKES
    path.write_bytes(gzip.compress(b" " * (1 << 25)))
    assert [len(part) for part in read_strokes(path)] == [1 << 24] * 2


def test_a_line_that_cannot_be_read_is_bad_and_the_others_are_kept(chosen_root: Path) -> None:
    names = [f"bba_w_0000{i}.png" for i in range(8)]
    rows = [_row(name) for name in names]
    rows[7] = _row(names[7], text="  ")
    odd: list[Any] = [GOOD, None, None, [], [[[0, 0], [1]]], [[["a", "b"]]], [[[0, 1e999]]], GOOD]
    records: list[object] = [
        {"file": name, "strokes": s} for name, s in zip(names, odd, strict=True)
    ]
    records[1:3] = [{"file": "other.png", "strokes": GOOD}, "{not json"]
    _root(chosen_root, rows, records)
    found = Unipen().load("test")
    assert [line.id for line in found.lines] == ["bba_w_00000"]
    assert [bad.id for bad in found.bad] == [name[:-4] for name in names[1:]]
    assert all(bad.reason for bad in found.bad)


def test_subsets_splits_and_limits(chosen_root: Path) -> None:
    names = ("bba_a_0", "aga_b_0", "lex_c_0", "lex_c_1", "bbd_d_0")
    files = [f"{name}.png" for name in names]
    rows = [_row(file, "val" if "c_0" in file else "test") for file in files]
    _root(chosen_root, rows, [{"file": file, "strokes": GOOD} for file in files])

    def ids(subset: str, split: str = "test", limit: int | None = None) -> list[str]:
        return [line.id for line in Unipen(subset).load(split, limit).lines]

    assert ids("bb+lex") == ["bba_a_0", "lex_c_1", "bbd_d_0"]
    assert ids("bb") == ["bba_a_0", "bbd_d_0"]
    assert ids("lex") == ["lex_c_1"] and ids("lex", "val") == ["lex_c_0"]
    assert ids("all") == ["bba_a_0", "aga_b_0", "lex_c_1", "bbd_d_0"]
    assert ids("bb+lex", limit=2) == ["bba_a_0", "lex_c_1"]
    assert ids("bb", "train") == [] and ids("bb", limit=0) == []


def test_wrong_names_and_missing_files_are_user_errors(chosen_root: Path) -> None:
    with pytest.raises(Unavailable) as absent:
        Unipen().load("train")
    assert absent.value.remedy == "python -m bench data get unipen"
    assert len(Unipen("lex").load("test", 3).lines) == 3  # embedded
    _root(chosen_root, [_row("bba_a_0.png")], [{"file": "bba_a_0.png", "strokes": GOOD}])
    with pytest.raises(UserError, match="did you mean bb"):
        Unipen("bbx").load()
    with pytest.raises(UserError, match="did you mean test"):
        Unipen().load("tests")
    (chosen_root / TABLE).write_text("a\tb\n")
    with pytest.raises(UserError, match=r"columns a, b.*data get unipen"):
        Unipen().load()
    whole = (chosen_root / STROKES).read_bytes()
    for broken in (whole[:-12], b"plain text", whole[:-8] + b"\0" * 8):
        (chosen_root / STROKES).write_bytes(broken)
        with pytest.raises(UserError, match=r"is damaged.*data get unipen"):
            list(read_strokes(chosen_root / STROKES))
