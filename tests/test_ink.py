"""The embedded set `ink` and the files that it is drawn from."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import UserError
from bench.report.conditions import synthetic
from datasets import DATASETS, embed
from datasets.about import about
from datasets.ink import Hands, InkLines, assign, beside
from datasets.joined import CHARACTERS
from datasets.levels import LEVELS, LONGEST, SHORTEST, line_texts
from datasets.sources import EMBEDDED
from datasets.splits import split_of
from datasets.unipen import TABLE, read_pieces, read_table

DATA = Path(__file__).parents[2] / "shared" / "data"
NAMES = ("ink", "ink-shuffled", "ink-pseudo", "ink-random")


@pytest.fixture(scope="module")
def levels():
    return {name: DATASETS.create(name).load("test") for name in NAMES}


def test_every_level_has_the_same_hands_and_about_the_same_lengths(levels):
    english = levels["ink"].lines
    assert len(english) == 300 and len({line.writer for line in english}) >= 16
    assert len({line.writer for line in DATASETS.create("ink").load("val").lines}) >= 12
    assert max(Counter(line.writer for line in english).values()) <= 300 / 16
    for made in levels.values():
        assert [line.writer for line in made.lines] == [line.writer for line in english]
        longer = [len(a.text) - len(b.text) for a, b in zip(made.lines, english, strict=True)]
        assert abs(np.mean(longer)) < 0.5 and np.abs(longer).max() <= 12
        assert len({line.id for line in made.lines}) == 300 and not made.bad


def test_english_is_of_the_documents_of_its_split(levels):
    texts = set(line_texts("test", "english"))
    assert all(line.text in texts for line in levels["ink"].lines)
    assert all(SHORTEST <= len(line.text) <= LONGEST for line in levels["ink"].lines)


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


def test_a_prefix_of_the_set_has_the_same_pixels(levels):
    few = InkLines().load("test", 5)
    for short, whole in zip(few.lines, levels["ink"].lines, strict=False):
        assert short.id == whole.id and (short.image == whole.image).all()


def test_what_it_cannot_give_is_refused():
    with pytest.raises(UserError, match="no train split"):
        InkLines().load("train")
    with pytest.raises(UserError, match="did you mean shuffled"):
        InkLines("shufled").load()


def test_lines_go_to_the_writer_with_fewest_who_has_the_letters():
    hands: Hands = {"a": {c: [] for c in "ab"}, "b": {c: [] for c in "abc"}}
    lines = assign(["ab", "ba", "c", "d", "aa"], hands, 9, "test")
    assert sorted(text for _, text in lines) == ["aa", "ab", "ba", "c"]
    assert ("b", "c") in lines and 1 <= sum(writer == "a" for writer, _ in lines) <= 3
    assert beside([("a", "ab")], ["cc", "ba"], hands) == [("a", "ba")]
    assert beside([("a", "ab")], ["acb"], hands) == [("a", "ab")]  # without what a lacks


@pytest.mark.parametrize("level", LEVELS)
def test_no_writer_of_the_embedded_files_is_one_of_training(level):
    lines = InkLines(level).load("val", 20).lines
    assert {split_of(line.writer) for line in lines} == {"val"}
    writers = {piece.writer for piece in read_pieces(EMBEDDED / CHARACTERS)}
    writers |= {row["writer"] for row in read_table(EMBEDDED / TABLE)}
    assert {split_of(writer) for writer in writers} == {"val", "test"}


@pytest.mark.skipif(not DATA.is_dir(), reason="the whole sets are not here")
def test_building_again_gives_the_same_bytes(tmp_path):
    embed.build(DATA, tmp_path / "again")
    for file in (tmp_path / "again").iterdir():
        assert file.read_bytes() == (EMBEDDED / file.name).read_bytes(), file.name
    assert sum(f.stat().st_size for f in EMBEDDED.iterdir()) < 12e6


def test_captions_say_that_its_lines_are_composed():
    assert synthetic("ink-random") == "real strokes, composed lines"
    assert about("ink").synthetic == ""
