"""Sets of line images: cutting them out of pages, and reading them from Parquet files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bench.core.errors import Unavailable, UserError
from bench.core.progress import silent
from datasets import parquet
from datasets.columns import Columns
from datasets.crops import crop, outlines, shrink
from datasets.files import decode
from datasets.page_xml import PageLine, Points
from datasets.parquet import ScannedLines, read_rows
from datasets.rebuild import page_lines
from datasets.rebuild.page_lines import COPISTE, HOOKER, PageSet
from datasets.root import data_root, set_data_root
from datasets.sources import load_selection
from tests.trees import FolderTree

PAGE = """<?xml version="1.0"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15"><Page><TextRegion>
 <TextLine id="a"><Coords points="10,20 90,20 90,60 10,60"/><Baseline points="10,50 90,50"/>
  <Word><TextEquiv><Unicode>word</Unicode></TextEquiv></Word>
  <TextEquiv><Unicode>one  &amp; two </Unicode></TextEquiv></TextLine>
 <TextLine id="b"><Coords points="10,100 90,100 90,140"/></TextLine>
 <TextLine id="c"><TextEquiv><Unicode>no outline</Unicode></TextEquiv></TextLine>
 <TextEquiv><Unicode>the region</Unicode></TextEquiv></TextRegion></Page></PcGts>"""


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((200, 64), 60).save(buffer, "JPEG")
    return buffer.getvalue()


RECORDED = Columns(id="id", writer="writer", split="split")
GREY = _png(np.full((4, 9), 200, np.uint8))


def _line(top: float, baseline: float, bottom: float, item: str = "a") -> PageLine:
    return PageLine(
        item=item,
        text="text",
        polygon=np.array([[10.0, top], [210, top], [210, bottom], [10, bottom]]),
        baseline=np.array([[12.0, baseline], [208, baseline]]),
    )


def test_a_ribbon_is_rebuilt_from_its_baseline() -> None:
    """Ascents 60, 80, 100, 15: the median is 70; 15 is below 0.55 of it."""
    lines = [_line(100 - a, 100, 120) for a in (60, 80, 100, 15)]
    *good, ribbon = outlines(lines)
    assert all(o is line.polygon for o, line in zip(good, lines, strict=False))
    assert ribbon.tolist() == [[12, 30], [208, 30], [208, 128], [12, 128]]


@pytest.mark.parametrize(("usual", "believed"), [(300, 110), (30, 45)])
def test_an_unlikely_ascent_is_not_believed(usual: float, believed: float) -> None:
    lines = [_line(400 - usual, 400, 410) for _ in range(3)] + [_line(398, 400, 410)]
    rebuilt = outlines(lines)[-1]
    assert 400 - rebuilt[:, 1].min() == believed


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


def test_a_high_crop_is_scaled_down_and_one_off_the_page_refused() -> None:
    page = Image.new("L", (500, 400), 180)
    outline: Points = np.array(
        [[0.0, 0], [488, 0], [488, 212], [0, 212]]
    )  # reaches over the edge: 494 x 218
    assert crop(page, outline, 112).size == (round(494 * 112 / 218), 112)
    assert shrink(page, 400) is page
    with pytest.raises(ValueError, match="outside"):
        crop(page, outline + 600.0, 112)


@pytest.mark.parametrize(
    ("pages", "folder", "name", "lines"),
    [(HOOKER, "hooker_pages", "hooker", 74), (COPISTE, "alto_pages", "copiste", 35)],
    ids=["hooker", "copiste"],
)
def test_whole_pages_give_the_recorded_lines(
    pages: PageSet, folder: str, name: str, lines: int, tmp_path: Path
) -> None:
    """Same ids, order, texts, splits and sizes, and the same pixels up to JPEG's noise."""
    root = data_root()
    if root is None or not (root / folder).is_dir() or not (root / pages.file).is_file():
        pytest.skip(f"the data root has no {folder}/ and {pages.file}")
    tree = FolderTree(root / folder)
    stems = {Path(file).stem for file in tree.names()}
    chosen = {stem: items for stem, items in load_selection(name).items() if stem in stems}
    assert page_lines.build(pages, tree, chosen, tmp_path, silent) == []
    rebuilt = pq.read_table(tmp_path / pages.file).to_pylist()
    ids = {row["id"] for row in rebuilt}
    recorded = pq.read_table(root / pages.file, filters=[("id", "in", ids)]).to_pylist()
    assert len(rebuilt) == lines
    for ours, theirs in zip(rebuilt, recorded, strict=True):
        for column in ("id", "text", "writer", "split"):
            assert ours[column] == theirs[column]
        assert ours["image"]["path"] == theirs["image"]["path"]
        one, other = (decode(row["image"]["bytes"]).astype(int) for row in (ours, theirs))
        assert one.shape == other.shape
        assert np.abs(one - other).mean() < 1


def test_chosen_lines_that_a_source_lacks_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "JDH_1_2_3_001.xml").write_text(PAGE)
    Image.new("L", (120, 160), 200).save(folder / "JDH_1_2_3_001.jpg")
    chosen = {"JDH_1_2_3_001": frozenset({"a", "z"}), "JDH_1_2_4_001": frozenset({"a"})}
    missing = page_lines.build(HOOKER, FolderTree(folder), chosen, tmp_path, silent)
    assert missing == ["JDH_1_2_3_001 z", "JDH_1_2_4_001 a"]
    (row,) = pq.read_table(tmp_path / HOOKER.file).to_pylist()
    assert (row["id"], row["writer"]) == ("JDH_1_2_3_001_a", "JDH_1_2_3")
    (folder / "JDH_1_2_3_001.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"JDH_1_2_3_001\.jpg"):
        page_lines.build(HOOKER, FolderTree(folder), chosen, tmp_path, silent)


@pytest.mark.parametrize(
    ("stem", "group"),
    [("imp_wikitexte_0022", "t0022"), ("wikitexte_0221_double_1", "t0221d"),
     ("oldbatch_wikitexte_0001", "t0001"), ("wikitexte_0275_2", "t0275")],
)  # fmt: skip
def test_copiste_groups(stem: str, group: str) -> None:
    assert COPISTE.group(stem) == group
    assert COPISTE.line_id(group, stem, "07") == f"{group}__{stem}_07"


def _write(path: Path, rows: list[dict[str, object]], group: int = 2) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    return path


def _rows(splits: str) -> list[dict[str, object]]:
    names = {"r": "train", "v": "val", "t": "test"}
    return [
        {"id": f"n{i}", "image": {"bytes": GREY, "path": None}, "text": f"text {i}",
         "writer": f"w{i}", "split": names[letter]}
        for i, letter in enumerate(splits)
    ]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    set_data_root(tmp_path)
    yield tmp_path
    set_data_root(None)


def test_only_the_wanted_lines_are_decoded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(root / HOOKER.file, _rows("rrtvttrrt"))
    decoded: list[bytes] = []

    def counted(content: bytes) -> NDArray[np.uint8]:
        decoded.append(content)
        return decode(content)

    monkeypatch.setattr(parquet, "decode", counted)
    found = ScannedLines(whole=True).load("test", limit=3)
    assert [(line.id, line.text, line.block, line.split) for line in found.lines] == [
        (f"n{i}", f"text {i}", f"w{i}", "test") for i in (2, 4, 5)
    ]
    assert len(decoded) == 3
    assert [line.id for line in ScannedLines(whole=True).load("test").lines] == [
        "n2",
        "n4",
        "n5",
        "n8",
    ]
    assert ScannedLines(whole=True).load("val", limit=0).lines == ()


def test_row_groups_without_a_wanted_row_are_not_read(tmp_path: Path) -> None:
    """The images of the train groups are overwritten on disk: they must never be looked at."""
    path = _write(tmp_path / "a.parquet", _rows("rrrrtt"))
    metadata = pq.ParquetFile(path).metadata
    content = bytearray(path.read_bytes())
    for group in (0, 1):
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            if chunk.path_in_schema.startswith("image"):
                start = chunk.dictionary_page_offset or chunk.data_page_offset
                content[start : start + chunk.total_compressed_size] = b"\xff" * (
                    chunk.total_compressed_size
                )
    path.write_bytes(content)
    assert [row.id for row in read_rows(path, RECORDED, "test")] == ["n4", "n5"]
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        list(read_rows(path, RECORDED, "train"))


def test_a_line_that_cannot_be_read_is_bad_and_the_others_are_kept(root: Path) -> None:
    rows = _rows("tttttt")
    rows[1]["image"] = {"bytes": b"no image", "path": "x.jpg"}
    rows[2]["image"] = {"bytes": _jpeg()[:-400], "path": None}
    rows[3]["image"] = {"bytes": None, "path": "x.jpg"}
    rows[4]["text"] = " \n"
    rows[5]["text"] = None
    _write(root / HOOKER.file, rows)
    found = ScannedLines(whole=True).load("test")
    assert [line.id for line in found.lines] == ["n0"]
    assert [(bad.id, bad.reason.partition(":")[0]) for bad in found.bad] == [
        ("n1", "its image cannot be read"),
        ("n2", "its image cannot be read"),
        ("n3", "its image cannot be read"),
        ("n4", "its text is empty"),
        ("n5", "its text is empty"),
    ]


def test_a_missing_column_is_named_with_those_that_are_there(root: Path) -> None:
    _write(root / HOOKER.file, [{"picture": GREY, "text": "a", "split": "test"}])
    with pytest.raises(UserError, match=r"no column image.*its columns are picture, text, split"):
        ScannedLines(whole=True).load()
    _write(root / HOOKER.file, [{**_rows("t")[0], "image": "x.jpg"}])
    with pytest.raises(UserError, match="holds string, not encoded images"):
        ScannedLines(whole=True).load()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 50 + b"PAR1"])
def test_a_file_that_is_not_parquet_is_a_user_error(root: Path, content: bytes) -> None:
    (root / HOOKER.file).write_bytes(content)
    with pytest.raises(UserError, match=r"hooker_lines\.parquet cannot be read as Parquet"):
        ScannedLines(whole=True).load()


def test_images_become_grey_and_transparent_is_paper() -> None:
    red = np.zeros((2, 3, 4), np.uint8)
    red[..., 0], red[0, :, 3] = 255, 255  # the lower row is transparent
    assert decode(_png(red)).tolist() == [[76] * 3, [255] * 3]
    assert decode(_png(np.array([[7, 9]], np.uint8))).tolist() == [[7, 9]]


def test_wrong_names_and_a_missing_file_are_user_errors(root: Path) -> None:
    missing = ScannedLines("copiste").missing()
    assert missing is not None and missing.remedy == "python -m bench data get copiste"
    with pytest.raises(Unavailable):
        ScannedLines("copiste").load()
    with pytest.raises(UserError, match="did you mean hooker"):
        ScannedLines("hoker").load()
    _write(root / HOOKER.file, _rows("t"))
    with pytest.raises(UserError, match="did you mean val"):
        ScannedLines().load("vali")


def test_the_real_sets() -> None:
    for name, lines, height in (("hooker", 918, 112), ("copiste", 382, 56)):
        spec = ScannedLines(name, whole=True)
        root = data_root()
        if root is None or spec.missing() is not None:
            pytest.skip(f"{name} is not in the data root")
        found = spec.load("test", limit=40)
        assert len(found.lines) == 40 and not found.bad
        assert all(line.image.ndim == 2 and line.image.shape[0] <= height for line in found.lines)
        assert all(line.split == "test" and line.block for line in found.lines)
        assert all(line.image.mean() > 100 for line in found.lines)  # dark ink on light paper
        files = {"hooker": HOOKER.file, "copiste": COPISTE.file}
        assert len(list(read_rows(root / files[name], RECORDED, "test"))) == lines
