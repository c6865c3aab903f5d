"""`page` and `alto`: documents of every version to lines, and lines out of pages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bench.core.errors import Unavailable, UserError
from datasets.base import BadLinesError, NothingReadableError
from datasets.crops import crop, outlines
from datasets.page_xml import OtherFormatError, PageLine, Points, parse_alto, parse_page
from datasets.pages import PageLines
from datasets.root import data_root

PAGE_NS = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
FIXTURES = Path(__file__).parent / "fixtures" / "alto"
ALTO_NS = "http://www.loc.gov/standards/alto/ns-v4#"


def page(
    lines: str, attributes: str = 'imageWidth="400" imageHeight="300"', ns: str = PAGE_NS
) -> str:
    """A PAGE document with these lines."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><PcGts xmlns="{ns}"><Metadata/>'
        f"<Page {attributes}><TextRegion>{lines}</TextRegion></Page></PcGts>"
    )


def alto(
    lines: str, head: str = "", attributes: str = 'WIDTH="400" HEIGHT="300"', ns: str = ALTO_NS
) -> str:
    """An ALTO document with these lines."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><alto xmlns="{ns}">{head}<Layout>'
        f"<Page {attributes}><PrintSpace><TextBlock>{lines}</TextBlock></PrintSpace></Page>"
        "</Layout></alto>"
    )


def page_line(name: str, text: str, top: int, bottom: int = 0, base: int = 0) -> str:
    """A line from column 20 to 380, with a baseline where `base` says it is."""
    bottom = bottom or top + 40
    coords = f'<Coords points="20,{top} 380,{top} 380,{bottom} 20,{bottom}"/>'
    baseline = f'<Baseline points="20,{base} 380,{base}"/>' if base else ""
    return (
        f'<TextLine id="{name}">{coords}{baseline}'
        f"<TextEquiv><Unicode>{text}</Unicode></TextEquiv></TextLine>"
    )


def alto_line(text: str, top: int, unit: float = 1) -> str:
    box = f'HPOS="{20 * unit}" VPOS="{top * unit}" WIDTH="{360 * unit}" HEIGHT="{40 * unit}"'
    return f'<TextLine {box}><String CONTENT="{text}"/></TextLine>'


def scan(width: int = 400, height: int = 300) -> Image.Image:
    """Paper of grey 200 with a bar of ink, grey level 10 * n, in the n-th fifth."""
    image = Image.new("L", (width, height), 200)
    for n in range(5):
        top = (n * 60 + 25) * height // 300
        span = (60 * width // 400, top, 340 * width // 400, top + 9 * height // 300)
        ImageDraw.Draw(image).rectangle(span, fill=10 * n)
    return image


def ink_of(line: NDArray[np.uint8]) -> int:
    return int(line.min())


def put(folder: Path, name: str, content: str | bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def shown(spec: PageLines, split: str = "test") -> list[tuple[str, str, int]]:
    """Id, text and ink of every line; none may be bad."""
    found = spec.load(split)
    assert not found.bad, found.bad
    return [(line.id, line.text, ink_of(line.image)) for line in found.lines]


def test_page_lines_have_their_own_text_before_that_of_their_words() -> None:
    found = parse_page(
        page(
            '<TextLine id="a"><Coords points="10,20 90,20 90,60"/><Baseline points="10,50 90,50"/>'
            "<Word><TextEquiv><Unicode>word</Unicode></TextEquiv></Word>"
            "<TextEquiv><Unicode>one  <b>&amp; t</b>wo </Unicode></TextEquiv></TextLine>"
            '<TextLine><Coords points="1,1 9,1 9,9"/>'
            "<Word><TextEquiv><PlainText>first</PlainText></TextEquiv></Word><Word/>"
            "<Word><TextEquiv><Unicode>second</Unicode></TextEquiv></Word></TextLine>"
            '<TextLine id="c"><TextEquiv index="1"><Unicode>worse</Unicode></TextEquiv>'
            '<TextEquiv index="0"><Unicode>e\u0301</Unicode></TextEquiv></TextLine>'
            "<TextEquiv><Unicode>the region</Unicode></TextEquiv>",
            'imageFilename="a/b.jpg" imageWidth="100" imageHeight="200"',
        ).encode(),
        "p.xml",
    )
    assert (found.image, found.size, found.pixels) == ("a/b.jpg", (100, 200), True)
    assert [(line.item, line.text) for line in found.lines] == [
        ("a", "one & two"), ("01", "first second"), ("c", "\u00e9"),
    ]  # fmt: skip
    first, _, last = found.lines
    assert first.polygon.tolist() == [[10, 20], [90, 20], [90, 60]]
    assert first.baseline is not None and first.baseline.tolist() == [[10, 50], [90, 50]]
    assert last.polygon.shape == (0, 2) and last.baseline is None


@pytest.mark.parametrize("version", ["2010-03-19", "2019-07-15", ""])
def test_every_version_of_page(version: str) -> None:
    ns = version and f"http://schema.primaresearch.org/PAGE/gts/pagecontent/{version}"
    points = '<Point x="1" y="2"/><Point x="9" y="2"/><Point x="9" y="7"/>'
    coords = "<TextLine><Coords points='2e1 , 50; .5 ; 5'/></TextLine>"
    text = page(f"<TextLine><Coords>{points}</Coords></TextLine>{coords}", ns=ns)
    line, odd = parse_page(text.encode("utf-8"), "p.xml").lines
    assert line.polygon.tolist() == [[1, 2], [9, 2], [9, 7]]
    assert odd.polygon.tolist() == [[20, 50], [0.5, 5]]


@pytest.mark.parametrize(
    "ns", [*(f"http://www.loc.gov/standards/alto/ns-v{v}#" for v in (2, 3, 4)), "",
           "http://schema.ccs-gmbh.com/ALTO", "http://bibnum.bnf.fr/ns/alto_prod"],
)  # fmt: skip
def test_every_version_of_alto(ns: str) -> None:
    lines = (
        '<TextLine HPOS="5" VPOS="6" WIDTH="10" HEIGHT="4" BASELINE="9.5"><String CONTENT="un"/>'
        '<SP/><String CONTENT="mathe\u0301"/><HYP CONTENT="-"/></TextLine>'
        '<TextLine BASELINE="1 5 8 5"><Shape><Polygon POINTS="1 2 8 2 8 6"/></Shape></TextLine>'
        '<TextLine HPOS="x" VPOS="6" WIDTH="10" HEIGHT="4" BASELINE="4"/>'
    )
    head = (
        "<Description><MeasurementUnit>mm10</MeasurementUnit><sourceImageInformation>"
        "<fileName> C:\\scans\\x.tif </fileName></sourceImageInformation></Description>"
    )
    found = parse_alto(alto(lines, head, ns=ns).encode(), "p.xml")
    assert (found.image, found.size, found.pixels) == ("C:\\scans\\x.tif", (400, 300), False)
    first, second, third = found.lines
    assert (first.item, first.text, second.item) == ("00", "un math\u00e9-", "01")
    assert first.box is not None
    assert first.box.tolist() == [[5, 6], [15, 6], [15, 10], [5, 10]]
    assert first.baseline is not None and first.baseline.tolist() == [[5, 9.5], [15, 9.5]]
    assert second.box is None and second.polygon.tolist() == [[1, 2], [8, 2], [8, 6]]
    assert second.baseline is not None and second.baseline.tolist() == [[1, 5], [8, 5]]
    assert third.box is None and third.baseline is not None and not len(third.baseline)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not XML"),
        (page("").encode()[:-20], "not XML"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares entities"),
        (page("", ns="urn:mine").encode(), "is no PAGE XML: its root is {urn:mine}PcGts"),
        (page('</TextRegion></Page><Page imageWidth="1"><TextRegion>').encode(), "2 pages"),
        (page("", 'imageWidth="1e9" imageHeight="3"').encode(), "of 1e9 x 3, which is"),
        (page("", 'imageWidth="600px" imageHeight="3"').encode(), "of 600px x 3, which is"),
        (page("<TextEquiv><Unicode>a b</Unicode></TextEquiv>").encode(), "but no TextLine; export"),
    ],
)  # fmt: skip
def test_what_is_no_transcription_is_a_user_error(content: bytes, reason: str) -> None:
    with pytest.raises(UserError, match=f"^p.xml.*{re.escape(reason)}") as caught:
        parse_page(content, "p.xml")
    assert not isinstance(caught.value, OtherFormatError) and len(str(caught.value)) < 200


# Words have outlines of their own: the line's is taken, and nothing else.

BOX = 'HPOS="50" VPOS="25" WIDTH="500" HEIGHT="43"'


def test_words_are_spaced_as_the_file_spaces_them() -> None:
    (line,) = PageLines("alto", FIXTURES / "no-SP-before-comma").load().lines
    assert line.text == "Hello, you"
    document = alto("<TextLine><String CONTENT='no'/><String CONTENT='SP'/></TextLine>")
    assert parse_alto(document.encode(), "p.xml").lines[0].text == "no SP"
    for hyphen in ("CONTENT='-'", "CONTENT='&#173;'", ""):
        for word in ("con", "con-"):
            words = f"<TextLine><String CONTENT='{word}'/><HYP {hyphen}/></TextLine>"
            assert parse_alto(alto(words).encode(), "p.xml").lines[0].text == "con-"
    words = "<TextLine><String CONTENT='con\u00ac'/><HYP/></TextLine>"
    assert parse_alto(alto(words).encode(), "p.xml").lines[0].text == "con\u00ac"
    (line,) = PageLines("alto", FIXTURES / "string-polygon").load().lines
    assert line.image.shape[1] >= 500 and line.image.shape[0] < 80


@pytest.mark.parametrize("x", ["inf", "1e999", "520px", ""])
def test_a_point_that_is_no_number_spoils_its_outline(x: str) -> None:
    """Dropping it alone would pair the x of each point with the y of another."""
    points = f"20,50 {x},50 520,90 20,90"
    lines = f'<TextLine><Coords points="{points}"/><Baseline points="{points}"/></TextLine>'
    (line,) = parse_page(page(lines).encode(), "p.xml").lines
    assert not len(line.polygon) and line.baseline is not None and not len(line.baseline)
    shape = f'<TextLine {BOX}><Shape><Polygon POINTS="{points}"/></Shape></TextLine>'
    (line,) = parse_alto(alto(shape).encode(), "p.xml").lines
    assert not len(line.polygon) and line.box is not None


def _outlined(top: float, baseline: float, bottom: float, item: str = "a") -> PageLine:
    return PageLine(
        item=item,
        text="text",
        polygon=np.array([[10.0, top], [210, top], [210, bottom], [10, bottom]]),
        baseline=np.array([[12.0, baseline], [208, baseline]]),
    )


def test_a_ribbon_is_rebuilt_from_its_baseline() -> None:
    """Ascents 60, 80, 100, 15: the median is 70; 15 is below 0.55 of it."""
    lines = [_outlined(100 - a, 100, 120) for a in (60, 80, 100, 15)]
    *good, ribbon = outlines(lines)
    assert all(o is line.polygon for o, line in zip(good, lines, strict=False))
    assert ribbon.tolist() == [[12, 30], [208, 30], [208, 128], [12, 128]]
    for usual, believed in ((300, 110), (30, 45)):  # an unlikely ascent is not
        lines = [_outlined(400 - usual, 400, 410) for _ in range(3)] + [_outlined(398, 400, 410)]
        assert 400 - outlines(lines)[-1][:, 1].min() == believed


def test_a_crop_shows_the_line_on_paper_and_nothing_else() -> None:
    page = Image.new("L", (300, 200), 180)
    draw = ImageDraw.Draw(page)
    draw.rectangle((40, 40, 260, 60), fill=20)  # ink of the line above
    draw.rectangle((60, 100, 240, 110), fill=30)  # ink of the line
    outline: Points = np.array([[50.0, 45], [250, 90], [250, 130], [50, 130]])
    cut = np.array(crop(page, outline, 112))
    assert cut.shape == (130 + 6 - (45 - 6), 250 + 6 - (50 - 6))
    ink = np.argwhere(cut == 30)
    assert ink.min(0).tolist() == [100 - 39, 60 - 44] and ink.max(0).tolist() == [71, 196]
    assert set(np.unique(cut[:, 120:])) <= {30, 180}  # above the slope is paper, no foreign ink
    over: Points = np.array([[0.0, 0], [288, 0], [288, 212], [0, 212]])
    assert crop(page, over, 100).size == (round(294 * 100 / 200), 100)


def test_lines_are_cut_out_of_their_pages(tmp_path: Path) -> None:
    scan().save(tmp_path / "p1.png")
    lines = "".join(page_line(f"l{n}", f"line {n}", 60 * n + 10) for n in range(5))
    put(tmp_path, "p1.xml", page(lines))
    spec = PageLines("page", tmp_path)
    assert spec.missing() is None and spec.split_names() == ("test",)
    assert shown(spec) == [(f"p1_l{n}", f"line {n}", 10 * n) for n in range(5)]
    found = spec.load(limit=2)
    assert [line.page for line in found.lines] == [line.block for line in found.lines] == ["p1"] * 2
    assert (found.name, found.references, found.licence) == ("page", "page-xml", "not stated")
    assert found.lines[0].image.shape == (40 + 12, 360 + 12)
    low = PageLines("page", tmp_path, height=26).load(limit=1)
    assert low.lines[0].image.shape == (26, 186)
    with pytest.raises(UserError, match="height is 0; give at least 1"):
        PageLines("page", tmp_path, height=0)


@pytest.mark.parametrize(
    ("document", "said", "picture"),
    [
        ("p.xml", "", "p.jpg"),
        ("p.xml", "other.png", "other.png"),
        ("p.xml", "C:\\scans\\other.PNG", "other.png"),
        ("p.xml", "https://example.org/none.jpg", "P.TIF"),
        ("page/p.xml", "p.png", "p.png"),
        ("xml/deep/p.xml", "q.png", "images/q.png"),
        ("p.jpg.xml", "", "p.jpg"),
    ],
)
def test_pictures_are_found_where_exports_put_them(
    tmp_path: Path, document: str, said: str, picture: str
) -> None:
    (tmp_path / picture).parent.mkdir(exist_ok=True)
    scan().save(tmp_path / picture)
    put(tmp_path, document, page(page_line("l", "text", 190), f'imageFilename="{said}"'))
    ((_, _, ink),) = shown(PageLines("page", tmp_path))
    assert abs(ink - 30) < 20  # as JPEG keeps it


def test_folders_are_splits_and_an_option_is_stronger(tmp_path: Path) -> None:
    for folder in ("train/a", "validation", "eval", "val/test"):
        put(tmp_path, f"{folder}/p.xml", page(page_line("l", folder, 10)))
        scan().save(tmp_path / folder / "p.png")
    spec = PageLines("page", tmp_path)
    assert spec.split_names() == ("train", "val", "test")
    assert [line.text for line in spec.load("train").lines] == ["train/a"]
    assert [line.text for line in spec.load("validation").lines] == ["validation"]
    assert [line.text for line in spec.load("test").lines] == ["eval", "val/test"]
    assert len(PageLines("page", tmp_path, split="train").load("train").lines) == 4
    with pytest.raises(UserError, match=r"a folder dev9, or assign all of them to it with -o page"):
        spec.load("dev9")


@pytest.mark.parametrize("place", ["b.xml", "letters/b.xml"])
def test_documents_beside_folders_of_splits_are_not_test_in_silence(
    tmp_path: Path, place: str
) -> None:
    put(tmp_path, "train/a.xml", page(page_line("1", "a", 0)))
    put(tmp_path, "mets.xml", "<mets/>")  # no document of lines
    assert PageLines("page", tmp_path).split_names() == ("train",)
    put(tmp_path, place, page(page_line("1", "b", 0)))
    spec = PageLines("page", tmp_path)
    for look in (spec.split_names, spec.load):
        with pytest.raises(UserError, match=f"{place} is in no folder train, val or test"):
            look()
    assert PageLines("page", tmp_path, split="val").split_names() == ("val",)


TAGS = (
    '<Tags><OtherTag ID="T1" LABEL="handwritten"/><OtherTag ID="T2" LABEL="printed"/>'
    '<LayoutTag ID="R1" LABEL="letterhead"/></Tags>'
)


def tagged(text: str, top: int, tags: str) -> str:
    return alto_line(text, top).replace("<TextLine", f'<TextLine TAGREFS="{tags}"')


def test_lines_of_one_tag_are_kept_and_a_mixture_is_said(tmp_path: Path) -> None:
    scan().save(tmp_path / "p.png")
    lines = tagged("a", 0, "T1") + tagged("b", 60, " T2 R1 X9") + tagged("c", 120, "T1")
    put(tmp_path, "p.xml", alto(lines + alto_line("d", 180), TAGS))
    every = PageLines("alto", tmp_path).load()
    assert [line.tags for line in every.lines] == [
        ("handwritten",), ("printed", "letterhead"), ("handwritten",), (),
    ]  # fmt: skip
    (note,) = every.notes
    assert note == (
        "handwriting and print are mixed (handwritten 2, printed 1 lines); "
        "-o alto.only=TAG keeps one"
    )
    kept = PageLines("alto", tmp_path, only="handwritten").load()
    assert [(line.id, line.text) for line in kept.lines] == [("p_00", "a"), ("p_02", "c")]
    assert kept.notes == () and kept.bad == ()
    assert [x.id for x in PageLines("alto", tmp_path, only="handwritten").load(limit=1).lines] == [
        "p_00"
    ]
    with pytest.raises(UserError, match="no line has the tag 'handwriten'; did you mean handw"):
        PageLines("alto", tmp_path, only="handwriten").load()


def test_tags_of_a_block_are_those_of_its_lines(tmp_path: Path) -> None:
    scan().save(tmp_path / "p.png")
    block = alto(tagged("a", 0, "R1") + alto_line("b", 60), TAGS).replace(
        "<TextBlock>", '<TextBlock TAGREFS="T2">'
    )
    put(tmp_path, "p.xml", block)
    found = PageLines("alto", tmp_path).load()
    assert [line.tags for line in found.lines] == [("letterhead", "printed"), ("printed",)]
    assert found.notes == ()  # print alone


def test_the_production_of_page_lines_is_their_tag(tmp_path: Path) -> None:
    scan().save(tmp_path / "p.png")
    own = page_line("1", "a", 0).replace("<TextLine", '<TextLine production="typewritten"')
    region = page(own + page_line("2", "b", 60)).replace(
        "<TextRegion>", '<TextRegion production="handwritten-printscript">'
    )
    put(tmp_path, "p.xml", region)
    found = PageLines("page", tmp_path).load()
    assert [line.tags for line in found.lines] == [("typewritten",), ("handwritten-printscript",)]
    assert "(handwritten-printscript 1, typewritten 1 lines)" in found.notes[0]


def test_the_check_of_a_set_lists_its_tags(tmp_path: Path, call: Any) -> None:
    scan().save(tmp_path / "p.png")
    put(tmp_path, "p.xml", alto(tagged("a", 0, "T1") + tagged("b", 60, "T2"), TAGS))
    checking = (
        "data",
        "check",
        "alto",
        "-o",
        f"alto.root={tmp_path}",
        "--out",
        str(tmp_path / "o"),
    )
    code, shown, _ = call(*checking)
    assert code == 0 and "handwritten 1, printed 1" in shown and "are mixed" in shown
    code, shown, _ = call(*checking, "--lang", "ja")
    assert "行のタグ" in shown and "手書きと活字が混在" in shown
    assert json.loads(call(*checking, "--json")[1])[0]["census"]["tags"] == {
        "handwritten": 1, "printed": 1,
    }  # fmt: skip


def marked(turns: int) -> tuple[NDArray[np.uint8], str]:
    """A page of 400 x 300 that was turned, with a line whose first letter alone is black."""
    upright = np.full((300, 400), 200, np.uint8)
    upright[100:120, 40:60] = 0
    upright[100:120, 80:360] = 120
    corners = np.array([[20, 90], [380, 90], [380, 130], [20, 130]])
    base = np.array([[20, 122], [380, 122]])

    def points(old: NDArray[Any]) -> str:
        x, y = old.T
        moved = {0: (x, y), 1: (y, 400 - x), -1: (300 - y, x), 2: (400 - x, 300 - y)}[turns]
        return " ".join(f"{a},{b}" for a, b in zip(*moved, strict=True))

    line = (
        f'<TextLine id="1"><Coords points="{points(corners)}"/>'
        f'<Baseline points="{points(base)}"/><TextEquiv><Unicode>note</Unicode></TextEquiv>'
        "</TextLine>"
    )
    height, width = np.rot90(upright, turns).shape
    stated = f'imageWidth="{width}" imageHeight="{height}"'
    return np.ascontiguousarray(np.rot90(upright, turns)), page(line, stated)


@pytest.mark.parametrize(
    ("turns", "backwards"),
    # A line on its head with a baseline from the left may as well hang from it, as Hebrew does.
    [(0, False), (0, True), (1, False), (1, True), (-1, False), (-1, True), (2, False)],
)
def test_a_note_along_the_side_is_turned_along_its_baseline(
    tmp_path: Path, turns: int, backwards: bool
) -> None:
    picture, document = marked(turns)
    if backwards:  # the outline says on which side the letters' tops are
        document = re.sub(
            '(Baseline points=")([^ ]+) ([^"]+)', lambda m: f"{m[1]}{m[3]} {m[2]}", document
        )
    Image.fromarray(picture).save(tmp_path / "p.png")
    put(tmp_path, "p.xml", document)
    (line,) = PageLines("page", tmp_path).load().lines
    assert abs(line.image.shape[1] - 372) < 3 and abs(line.image.shape[0] - 52) < 3
    left, right = line.image[:, :100], line.image[:, 100:]
    assert left.min() == 0 and right.min() == 120
    assert np.argwhere(line.image < 150)[:, 0].mean() < line.image.shape[0] / 2


@pytest.mark.parametrize("attribute", ["orientation", "readingOrientation", "ROTATION"])
@pytest.mark.parametrize("turns", [0, 1, -1, 2])
def test_without_a_baseline_the_document_says_how_to_turn(
    tmp_path: Path, turns: int, attribute: str
) -> None:
    picture, document = marked(turns)
    Image.fromarray(picture).save(tmp_path / "p.png")
    document = re.sub("<Baseline[^>]*>", "", document)
    document = document.replace("<TextRegion", f'<TextRegion {attribute}="{90 * turns + 3}"')
    kind: Any = "page"
    if attribute == "ROTATION":
        kind = "alto"
        points = [text.split(",") for text in re.findall(r"\d+,\d+", document)]
        xs, ys = ([int(point[axis]) for point in points] for axis in (0, 1))
        left, top = min(xs), min(ys)
        box = f'HPOS="{left}" VPOS="{top}" WIDTH="{max(xs) - left}" HEIGHT="{max(ys) - top}"'
        document = alto(f'<TextLine {box}><String CONTENT="note"/></TextLine>', attributes="")
        document = document.replace("<TextBlock", f'<TextBlock ROTATION="{90 * turns}"')
    put(tmp_path, "p.xml", document)
    (line,) = PageLines(kind, tmp_path).load().lines
    assert line.image.shape[1] > 4 * line.image.shape[0]
    assert line.image[:, :100].min() == 0 and line.image[:, 100:].min() == 120


def test_a_statement_that_the_outline_contradicts_is_passed_over(tmp_path: Path) -> None:
    scan().save(tmp_path / "p.png")
    lines = page_line("1", "flat as it is", 10)
    put(tmp_path, "p.xml", page(lines).replace("<TextRegion", '<TextRegion orientation="90"'))
    put(tmp_path, "q.xml", page(lines).replace("<TextRegion", '<TextRegion orientation="45"'))
    scan().save(tmp_path / "q.png")
    found = PageLines("page", tmp_path).load()
    assert [line.image.shape[1] > 300 for line in found.lines] == [True]
    assert "turned by 45 degrees" in found.bad[0].reason


def test_lines_that_nobody_knows_how_to_turn_are_set_aside(tmp_path: Path) -> None:
    scan().save(tmp_path / "p.png")
    slanted = page_line("1", "slanted", 10).replace(
        "<TextEquiv>", '<Baseline points="20,290 380,20"/><TextEquiv>'
    )
    tall = '<TextLine id="2"><Coords points="50,25 80,25 80,280 50,280"/><TextEquiv><Unicode>{}'
    end = "</Unicode></TextEquiv></TextLine>"
    one = tall.replace('"2"', '"3"').format("I") + end
    put(tmp_path, "p.xml", page(slanted + tall.format("a note") + end + one))
    found = PageLines("page", tmp_path).load()
    assert [line.text for line in found.lines] == ["I"]
    assert [line.id for line in found.bad] == ["p_1", "p_2"]
    assert "at a slant" in found.bad[0].reason and "higher than wide" in found.bad[1].reason


def test_vertical_writing_is_set_aside_and_a_turned_line_is_not(tmp_path: Path) -> None:
    picture, document = marked(-1)
    for name, stated in (("p", ""), ("q", ' readingOrientation="-90"')):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
        region = f'<TextRegion readingDirection="top-to-bottom"{stated}'
        put(tmp_path, f"{name}.xml", document.replace("<TextRegion", region))
    found = PageLines("page", tmp_path).load()
    assert [line.id for line in found.lines] == ["q_1"]
    assert [line.id for line in found.bad] == ["p_1"] and "vertically" in found.bad[0].reason
    Image.fromarray(np.rot90(picture)).save(tmp_path / "p.png")
    box = 'HPOS="20" VPOS="90" WIDTH="360" HEIGHT="40" BASEDIRECTION="ttb"'
    line = f'<TextLine {box}><String CONTENT="note"/></TextLine>'
    put(tmp_path, "p.xml", alto(line, attributes=""))
    with pytest.raises(UserError, match="vertically"):
        PageLines("alto", tmp_path).load()


def test_transkribus_exports_are_read_in_either_format(tmp_path: Path) -> None:
    """PAGE and ALTO side by side, METS and metadata above them, pictures in the folder itself."""
    scan().save(tmp_path / "0001.png")
    put(tmp_path, "mets.xml", '<mets xmlns="http://www.loc.gov/METS/"/>')
    put(tmp_path, "metadata.xml", "<trpDocMetadata/>")
    put(tmp_path, "page/0001.xml", page(page_line("l", "of page", 10)))
    put(tmp_path, "alto/0001.xml", alto(alto_line("of alto", 70)))
    put(tmp_path, ".trash/0001.xml", "no XML")
    assert shown(PageLines("page", tmp_path)) == [("page/0001_l", "of page", 0)]
    assert shown(PageLines("alto", tmp_path)) == [("alto/0001_00", "of alto", 10)]


def test_points_are_measured_in_pixels_of_the_picture(tmp_path: Path) -> None:
    put(tmp_path, "p.xml", page(page_line("l", "text", 190)))
    scan(800, 600).save(tmp_path / "p.png")
    (line,) = PageLines("page", tmp_path).load().lines
    assert ink_of(line.image) == 30 and line.image.shape == (80 + 12, 720 + 12)
    scan(800, 300).save(tmp_path / "p.png")
    with pytest.raises(NothingReadableError, match="has 800 x 300 pixels, the document 400 x 300"):
        PageLines("page", tmp_path).load()
    tenths = "<Description><MeasurementUnit>mm10</MeasurementUnit></Description>"
    size = 'WIDTH="1000" HEIGHT="750"'
    put(tmp_path, "p.xml", alto(alto_line("text", 190, 2.5), tenths, size))
    scan().save(tmp_path / "p.png")
    (line,) = PageLines("alto", tmp_path).load().lines
    assert ink_of(line.image) == 30 and line.image.shape == (52, 372)
    put(tmp_path, "p.xml", alto(alto_line("text", 190), tenths, ""))
    with pytest.raises(NothingReadableError, match="it states no page size"):
        PageLines("alto", tmp_path).load()


@pytest.mark.parametrize("size", ["400x300", "300x400"])
def test_a_photo_lies_as_the_document_saw_it(tmp_path: Path, size: str) -> None:
    """EXIF says to turn it; tools that make documents heed that, or do not."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = scan() if size == "400x300" else scan().transpose(Image.Transpose.ROTATE_90)
    stored.save(tmp_path / "p.png", exif=exif)
    put(tmp_path, "p.xml", page(page_line("l", "text", 190)))
    assert shown(PageLines("page", tmp_path)) == [("p_l", "text", 30)]


def test_bad_lines_and_pages_are_told_and_lose_no_other(tmp_path: Path) -> None:
    lines = "".join(
        (
            page_line("good", "text", 10),
            page_line("empty", " ", 70),
            page_line("off", "text", 900),
            page_line("good", "the id again", 130),
            page_line("over", "reaches over the edge", 270, 9000),
            '<TextLine id="far"><Coords points="1,1 1e9,1 99999999999,9 1,9"/>'
            "<TextEquiv><Unicode>x</Unicode></TextEquiv></TextLine>",
            '<TextLine id="bare"><TextEquiv><Unicode>x</Unicode></TextEquiv></TextLine>',
            '<TextLine id="thin"><Coords points="1,1 9,1"/>'
            "<TextEquiv><Unicode>x</Unicode></TextEquiv></TextLine>",
        )
    )
    put(tmp_path, "p.xml", page(lines))
    scan().save(tmp_path / "p.png")
    put(tmp_path, "q.xml", page(page_line("a", "x", 1) + page_line("b", "y", 1)))
    put(tmp_path, "r.xml", page(page_line("a", "x", 1)))
    put(tmp_path, "r.png", b"\x89PNG not")
    put(tmp_path, "s.xml", page("")[:-9])
    secret = tmp_path.parent / "secret.xml"
    secret.write_text(page(page_line("a", "x", 1)))
    (tmp_path / "t.xml").symlink_to(secret)
    put(tmp_path, "u.xml", page(page_line("a", "x", 1)))
    scan().save(tmp_path.parent / "secret.png")
    (tmp_path / "u.png").symlink_to(tmp_path.parent / "secret.png")
    found = PageLines("page", tmp_path).load()
    assert [line.id for line in found.lines] == ["p_good", "p_over"]
    parts = {
        "p_empty": "empty", "p_off": "outside of its page", "p_good": "the same id",
        "p_far": "no outline", "p_bare": "no outline", "p_thin": "no outline",
        "q_a": "no picture q", "q_b": "no picture q", "r_a": "not an image",
        "s.xml": "s.xml is not XML", "t.xml": "leads out of", "u_a": "u.png leads out of",
    }  # fmt: skip
    assert [bad.id for bad in found.bad] == list(parts)
    assert all(parts[bad.id] in bad.reason for bad in found.bad), found.bad
    with pytest.raises(BadLinesError, match="12 of 14 lines of page"):
        PageLines("page", tmp_path, strict=True).load()


NUMBERS = [
    "9" * 400, "-" + "9" * 400, "9" * 5000, "0." + "0" * 400 + "1", "0", "0.0", "-1", "inf", "nan",
    "1e999", "1e-999", "", "x", "0.5", "10000001", "2147483648", "1e5", "1 2", "400.5", "\u0663",
]  # fmt: skip


def page_of(n: Callable[[], str]) -> str:
    """A PAGE document with numbers from anywhere."""
    coords = (
        f'<Coords points="{n()},10 300,{n()} 300,60 10,60"/><Baseline points="10,{n()} 9,{n()}"/>'
    )
    text = f'<TextEquiv index="{n()}"><Unicode>t</Unicode></TextEquiv>'
    line = f'<TextLine id="a">{coords}{text}</TextLine>'
    return page(line + page_line("b", "u", 140), f'imageWidth="{n()}" imageHeight="{n()}"')


def alto_of(n: Callable[[], str]) -> str:
    """An ALTO document with numbers from anywhere."""
    box = f'HPOS="{n()}" VPOS="{n()}" WIDTH="{n()}" HEIGHT="{n()}" BASELINE="{n()}"'
    shape = f'<Shape><Polygon POINTS="{n()} {n()} 310 10 310 60 10 60"/></Shape>'
    lines = f'<TextLine {box}>{{}}<String CONTENT="t"/></TextLine>'
    unit = "<Description><MeasurementUnit>mm10</MeasurementUnit></Description>"
    size = f'WIDTH="{n()}" HEIGHT="{n()}"'
    return alto(lines.format(shape) + lines.format(""), unit, attributes=size)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["page", "alto"])
@given(st.data())
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_number_of_a_page_loses_another(
    kind: Literal["page", "alto"], tmp_path: Path, data: st.DataObject
) -> None:
    usual = st.sampled_from(["400", "300", "50"])
    number = st.one_of(st.sampled_from(NUMBERS), usual)
    put(tmp_path, "a.xml", (page_of if kind == "page" else alto_of)(lambda: data.draw(number)))
    good = page_line("a", "good", 20) if kind == "page" else alto_line("good", 20)
    put(tmp_path, "b.xml", page(good) if kind == "page" else alto(good))
    for name in ("a.png", "b.png"):
        scan().save(tmp_path / name)
    found = PageLines(kind, tmp_path).load()
    assert "good" in [line.text for line in found.lines]
    assert {bad.id[0] for bad in found.bad} <= {"a"}


def test_where_there_is_nothing_that_is_said(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(tmp_path))
        missing = PageLines("page").missing()
    assert missing is not None and f"no folder {tmp_path / 'page'}" in missing.reason
    assert "-o page.root=DIR" in missing.remedy
    with pytest.raises(Unavailable, match="has no XML documents"):
        PageLines("alto", tmp_path).load()
    (tmp_path / "mets.xml").write_text("<mets/>")
    with pytest.raises(NothingReadableError, match="no line of text in ALTO"):
        PageLines("alto", tmp_path).load()


def _real(folder: str) -> Path:
    root = data_root()
    if root is None or not (root / folder).is_dir():
        pytest.skip(f"the data root has no {folder}")
    return root / folder


def test_real_pages() -> None:
    """Four letters in PAGE 2013; four of their lines were left untranscribed."""
    found = PageLines("page", _real("hooker_pages")).load()
    assert len(found.lines) == 77 and {bad.reason for bad in found.bad} == {"its text is empty"}
    assert [line.text for line in found.lines][1:3] == ["Decr 13 1900", "THE CAMP."]
    assert {line.page for line in found.lines} == {
        f"JDH_2_16_{n}" for n in ("172_001", "172_002", "190_003", "190_004")
    }
    for line in found.lines:
        assert 30 < line.image.shape[0] <= 128 and np.percentile(line.image, 1) < 120
    found = PageLines("alto", _real("alto_pages")).load()
    assert len(found.lines) == 41 and not found.bad
    assert found.lines[0].text == "Nom de r\u00e9f\u00e9rence: imp_wikitexte_0212"
