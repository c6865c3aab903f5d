"""Lines whose words have outlines of their own: the line's is taken, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.core.errors import UserError
from datasets.base import NothingReadableError
from datasets.page_xml import parse_alto, parse_page
from datasets.pages import PageLines

FIXTURES = Path(__file__).parent / "fixtures" / "alto"
WORD = '<Shape><Polygon POINTS="50 25 90 25 90 68 50 68"/></Shape>'
OWN = '<Shape><Polygon POINTS="40,20 560,30 560,80 40,70"/></Shape>'
BOX = 'HPOS="50" VPOS="25" WIDTH="500" HEIGHT="43"'


def test_the_first_word_is_not_the_line() -> None:
    (line,) = PageLines("alto", FIXTURES / "string-polygon").load().lines
    height, width = line.image.shape
    assert width >= 500 and height < 80


@pytest.mark.parametrize(
    ("attributes", "inside", "corners"),
    [
        (BOX, f'<String CONTENT="one">{WORD}</String>', [[50, 25], [550, 25], [550, 68], [50, 68]]),
        (BOX, f'{OWN}<String CONTENT="one">{WORD}</String>', "own"),
        (BOX, f'<String CONTENT="one">{WORD}</String>{OWN}', "own"),
        ("", f'<String CONTENT="one">{WORD}</String>{OWN}', "own"),
        ("", f'<String CONTENT="one">{WORD}</String>', []),
        (BOX, f"<Shape><Ellipse/></Shape><String CONTENT='one'>{WORD}</String>", "box"),
    ],
)
def test_an_alto_line_has_its_own_outline_or_its_box(attributes, inside, corners) -> None:
    document = (
        f'<alto><Layout><Page WIDTH="600" HEIGHT="400"><TextLine {attributes}>{inside}'
        "</TextLine></Page></Layout></alto>"
    )
    (line,) = parse_alto(document.encode(), "p.xml").lines
    if corners == "own":
        corners = [[40, 20], [560, 30], [560, 80], [40, 70]]
    polygon = line.polygon if len(line.polygon) else line.box
    if corners == "box":
        corners = [[50, 25], [550, 25], [550, 68], [50, 68]]
    assert np.array_equal(np.zeros((0, 2)) if polygon is None else polygon,
                          np.array(corners, float).reshape(-1, 2))  # fmt: skip


def test_a_line_without_either_is_set_aside() -> None:
    document = f'<alto><TextLine><String CONTENT="one">{WORD}</String></TextLine></alto>'
    (line,) = parse_alto(document.encode(), "p.xml").lines
    assert line.box is None and not len(line.polygon)


def test_a_page_line_has_its_own_outline() -> None:
    text = "<TextEquiv><Unicode>one</Unicode></TextEquiv>"
    word = f'<Word id="w"><Coords points="1,1 2,1 2,2"/>{text}</Word>'
    document = (
        '<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"><Page>'
        f'<TextLine id="l">{word}<Coords points="10,10 90,10 90,40 10,40"/></TextLine>'
        f'<TextLine id="m">{word}</TextLine></Page></PcGts>'
    )
    own, none = parse_page(document.encode(), "p.xml").lines
    assert own.polygon.tolist() == [[10, 10], [90, 10], [90, 40], [10, 40]]
    assert not len(none.polygon)


def test_words_are_spaced_as_the_file_spaces_them() -> None:
    (line,) = PageLines("alto", FIXTURES / "no-SP-before-comma").load().lines
    assert line.text == "Hello, you"
    document = "<alto><TextLine><String CONTENT='no'/><String CONTENT='SP'/></TextLine></alto>"
    assert parse_alto(document.encode(), "p.xml").lines[0].text == "no SP"


@pytest.mark.parametrize("x", ["inf", "nan", "1e999", "abc", "520px", ""])
def test_a_point_that_is_no_number_spoils_its_outline(x: str) -> None:
    """Dropping it alone would pair the x of each point with the y of another."""
    points = f"20,50 {x},50 520,90 20,90"
    coords = f'<Coords points="{points}"/><Baseline points="{points}"/>'
    document = f"<PcGts><Page><TextLine>{coords}</TextLine></Page></PcGts>"
    (line,) = parse_page(document.encode(), "p.xml").lines
    assert not len(line.polygon) and line.baseline is not None and not len(line.baseline)
    shape = f'<Shape><Polygon POINTS="{points}"/></Shape>'
    document = f"<alto><TextLine {BOX}>{shape}</TextLine></alto>"
    (line,) = parse_alto(document.encode(), "p.xml").lines
    assert not len(line.polygon) and line.box is not None


def test_numbers_are_read_however_they_are_written() -> None:
    document = "<PcGts><Page><TextLine><Coords points='{}'/></TextLine></Page></PcGts>"
    for points in ("2e1,+50 .5,5.", "2e1 , 50; .5 ; 5", "20 50 0.5 5"):
        (line,) = parse_page(document.format(points).encode(), "p.xml").lines
        assert line.polygon.tolist() == [[20, 50], [0.5, 5]]


@pytest.mark.parametrize("width", ["1e9", "nan", "-5", "600px"])
def test_a_page_size_that_is_none_is_refused(width: str) -> None:
    for document, parse in (
        (f"<PcGts><Page imageWidth='{width}' imageHeight='300'/></PcGts>", parse_page),
        (f"<alto><Page WIDTH='{width}' HEIGHT='300'/></alto>", parse_alto),
    ):
        with pytest.raises(UserError, match=f"a page of {width} x 300, which no page measures"):
            parse(document.encode(), "p.xml")


@pytest.mark.parametrize("points", ["20,50 20,50 20,50", "20,50 520,50 300,50"])
def test_an_outline_without_an_area_is_none(points: str, tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "string-polygon" / "p.png", tmp_path)
    line = f"<TextLine {{}}><Shape><Polygon POINTS='{points}'/></Shape><String CONTENT='x'/>"
    for box in ('HPOS="50" VPOS="25" WIDTH="500" HEIGHT="-5"', ""):
        (tmp_path / "p.xml").write_text(f"<alto><Page>{line.format(box)}</TextLine></Page></alto>")
        with pytest.raises(NothingReadableError, match="nothing tells its outline"):
            PageLines("alto", tmp_path).load()
