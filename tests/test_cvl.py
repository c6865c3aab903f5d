"""The user's copy of CVL, on a rendered one in the true layout."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bench.core.errors import Unavailable, UserError
from bench.core.types import LineSet
from datasets.base import BadLinesError
from datasets.cvl import Cvl, page_texts
from datasets.files import decode_text
from tests.cvl_layout import Copied, write_cvl, write_page

EVERY = (1, 2, 3, 4, 6, 7, 8)
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, NDArray[np.uint8]]]:
    """A copy of CVL that no test changes, and what was drawn."""
    root = tmp_path_factory.mktemp("cvl")
    return root, write_cvl(root)


@pytest.fixture
def own(copied: tuple[Path, dict[str, NDArray[np.uint8]]], tmp_path: Path) -> Path:
    """A copy of CVL to spoil."""
    return Path(shutil.copytree(copied[0], tmp_path / "cvl"))


def ids(found: LineSet) -> list[str]:
    return [line.id for line in found.lines]


def reasons(found: LineSet) -> dict[str, str]:
    return {line.id: line.reason for line in found.bad}


def test_lines_come_as_they_are_labelled(copied) -> None:
    """Words in order of reading, printed text and what is no word left out, umlauts whole."""
    root, drawn = copied
    found = Cvl(root=root, partition="published", texts=EVERY).load("test")
    assert not found.bad
    assert {line.id: line.text for line in found.lines} == {
        "0003-1-0": "Lines Triangles",
        "0003-1-1": "and other figures",
        "0003-4-0": "inhabit us",
        "0003-6-0": "du bist so sch\u00f6n",
        "0052-3-0": "Mail\u00fcfterl is",
        "0052-4-0": "organic beings",
        "0992-2-0": "sheet of paper",
    }
    assert ids(found) == sorted(ids(found))
    for line in found.lines:
        assert np.array_equal(line.image, drawn[line.id])  # RGB TIFF of a grey image
        assert (line.writer, line.page) == (line.id[:4], line.id[:6])
    assert "partition published" in found.references  # blank pages are left out
    assert found.references.endswith("without 0431+0992-1") and "0992-1-0" not in ids(found)


def test_a_held_out_text_is_in_no_other_split(copied) -> None:
    found = {split: Cvl(root=copied[0]).load(split) for split in SPLITS}
    assert {split: ids(lines) for split, lines in found.items()} == {
        "train": ["0001-2-0", "0001-7-0", "0992-2-0"],
        "val": ["0052-4-0"],
        "test": ["0003-1-0", "0003-1-1"],
    }
    assert "test 1, val 4" in found["test"].references


def test_the_published_split_is_the_folders(copied) -> None:
    published = Cvl(root=copied[0], partition="published")
    assert published.split_names() == ("train", "test")
    assert ids(published.load("train")) == ["0001-2-0", "0001-7-0"]
    with pytest.raises(UserError, match="there is no split val; there are: train, test"):
        published.load("val")
    with pytest.raises(UserError, match=r"no text 5; it has 1 \(Edwin"):
        Cvl(root=copied[0], texts=(1, 5))


def test_what_is_missing_is_said_with_where_to_get_it(own: Path, tmp_path: Path) -> None:
    assert Cvl(root=own).missing() is None
    absent = Cvl(root=tmp_path / "nowhere").missing()
    assert isinstance(absent, Unavailable)
    assert "zenodo" in str(absent) and "-o cvl.root=DIR" in str(absent)
    shutil.rmtree(own / "trainset")
    assert Cvl(root=own).missing() is None
    assert "trainset" in str(Cvl(root=own, partition="published").missing())
    shutil.rmtree(own / "testset" / "xml")
    assert "neither trainset nor testset" in str(Cvl(root=own).missing())
    with pytest.raises(Unavailable):
        Cvl(root=own).load("test")


def test_bad_input_costs_its_own_lines_only(own: Path) -> None:
    lines = own / "testset" / "lines"
    (lines / "0003" / "0003-1-0.tif").unlink()
    shutil.copy(lines / "0003" / "0003-1-1.tif", lines / "0003" / "0003-1-7.tif")
    image = lines / "0052" / "0052-4-0.tif"
    image.write_bytes(image.read_bytes()[:200])
    xml = own / "testset" / "xml" / "0003-4_attributes.xml"
    xml.write_bytes(xml.read_bytes()[:-90])
    (own / "testset" / "xml" / "0992-2_attributes.xml").unlink()
    made = Cvl(root=own, partition="published")
    found = made.load("test")
    assert ids(found) == ["0003-1-1", "0052-3-0"]
    why = reasons(found)
    assert list(why) == ["0003-1-0", "0003-1-7", "0003-4-0", "0052-4-0", "0992-2-0"]
    assert "no image lines/0003/0003-1-0" in why["0003-1-0"]
    assert "no transcription" in why["0003-1-7"]
    assert "not XML" in why["0003-4-0"]
    assert "cannot be read" in why["0052-4-0"]
    assert "missing" in why["0992-2-0"]
    with pytest.raises(BadLinesError, match="0003-1-0"):
        replace(made, strict=True).load("test")


def test_a_part_may_lie_elsewhere_and_images_be_of_any_format(own: Path, tmp_path: Path) -> None:
    for part in ("trainset", "testset"):
        (own / part).rename(tmp_path / part)
        (own / part).symlink_to(tmp_path / part)
    for image in (tmp_path / "testset").rglob("*.tif"):
        Image.open(image).save(image.with_suffix(".PNG"))
        image.unlink()
    assert ids(Cvl(root=own).load("test")) == ["0003-1-0", "0003-1-1"]


def test_a_line_of_another_page_is_not_read(own: Path) -> None:
    page = Copied("0003", 1, "testset", ("x",))
    words = '<AttrRegion attrType="1" text="{}"/>'
    regions = "".join(
        f'<AttrRegion attrType="2" id="{name}">{words.format("word")}</AttrRegion>'
        for name in ("0003-1-0", "0052-4-0", "../../../../etc/passwd", "")
    )
    write_page(own, page, f"<PcGts>{regions}</PcGts>")
    found = Cvl(root=own).load("test")
    assert ids(found) == ["0003-1-0"]
    assert "0003-1" in reasons(found)["0052-4-0"]
    assert "no transcription" in reasons(found)["0003-1-1"]


def test_words_without_numbers_are_read_from_left_to_right() -> None:
    def word(text: str, left: object, name: str = "") -> str:
        points = "".join(f'<Point x="{x}" y="0"/>' for x in (left, 999))
        return (
            f'<AttrRegion attrType="1" id="{name}" text="{text}"><minAreaRect>{points}'
            "</minAreaRect></AttrRegion>"
        )

    def page(*words: str, name: str = "0001-2-3") -> bytes:
        return f'<a><AttrRegion attrType="2" id="{name}">{"".join(words)}</AttrRegion></a>'.encode()

    assert page_texts(page(word("b", 20), word("a", -5.5)), "p") == {"0001-2-3": "a b"}
    numbered = page(word("b", 5, "0001-2-3-10"), word("a", 20, "0001-2-3-9"), name="")
    assert page_texts(numbered, "p") == {"0001-2-3": "a b"}
    assert page_texts(page(word("a", "x"), word(" ", 0)), "p") == {"0001-2-3": "a"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
@settings(max_examples=20, deadline=None)
@given(text=st.text(st.characters(codec="cp1252", exclude_categories=["C"]), min_size=9))
def test_text_is_read_in_every_encoding(encoding: str, text: str) -> None:
    text = "schön " + text
    if encoding.startswith("utf-16-"):  # known by its zero bytes: mostly Latin text, as here
        text += " " * 100
    assert decode_text(text.encode(encoding)) == text


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_break_the_reader(junk: bytes, place: int) -> None:
    page = (
        b'<?xml version="1.0" encoding="UTF-16"?><PcGts><AttrRegion attrType="2" fontType="2" '
        b'id="0001-1-0"><AttrRegion attrType="1" id="0001-1-0-0" text="w"/></AttrRegion></PcGts>'
    )
    assert page_texts(page, "a.xml") == {"0001-1-0": "w"}
    for document in (junk, page[:place] + junk + page[place:]):
        try:
            page_texts(document, "a.xml")
        except ValueError as error:
            assert "a.xml" in str(error)
