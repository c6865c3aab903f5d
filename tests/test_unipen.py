"""UNIPEN: the raw format, the lines made of it, and the set that is drawn from them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.errors import Unavailable, UserError
from bench.core.progress import silent
from datasets.rebuild import unipen
from datasets.rebuild.unipen_raw import Segment, segments
from datasets.root import data_root, set_data_root
from datasets.sources import EMBEDDED
from datasets.unipen import COLUMNS, STROKES, TABLE, Unipen, draw, read_strokes, read_table
from tests.trees import Files, FolderTree


def contributors(tree: Files | FolderTree) -> list[str]:
    """The contributors of lines of text."""
    names = {name.split("/")[2] for name in tree.names() if name.startswith("data/8/")}
    return sorted(names | {"lex"})


def _index(*rows: str) -> Files:
    ink = b".WRITER_ID w\n" + b"".join(
        b".PEN_DOWN\n%d 0\n%d 9\n.PEN_UP\n5 5\n" % (i, i + 1) for i in range(6)
    )
    index = "\n".join([".VERSION 1.0", ".INCLUDE bba/data/a.dat", *rows]).encode("latin-1")
    return Files({"data/8/bba/a.dat": index, "include/bba/data/a.dat": ink})


def _read(*rows: str) -> list[Segment]:
    return list(segments(_index(*rows), "bba"))


def test_an_index_names_strokes_and_their_text() -> None:
    first, second = _read(
        '.SEGMENT TEXT     0,2-3,5:7 GOOD "a \\"b\\" c"', '.SEGMENT WORD 0 OK "word"',
        '.SEGMENT TEXT 1 ? "d"',
    )  # fmt: skip
    assert (first.writer, first.source) == ("bba/w", "include/bba/data/a.dat")
    assert (first.quality, first.label) == ("GOOD", 'a "b" c')
    assert first.strokes == [[(i, 0), (i + 1, 9)] for i in (0, 2, 3, 5)]
    assert (second.quality, second.label, second.strokes) == ("?", "d", [[(1, 0), (2, 9)]])


@pytest.mark.parametrize("components", ["6", "4-6", "x", "1-", "-1", ""])
def test_strokes_that_are_not_there_make_a_segment_without_strokes(components: str) -> None:
    found = _read(f'.SEGMENT TEXT {components} OK "a"', '.SEGMENT TEXT 1 OK "b"')
    assert [s.label for s in found if s.strokes] == ["b"]


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_parse_without_an_error(noise: bytes) -> None:
    ink = b".WRITER_ID w\n.PEN_DOWN\n" + noise
    tree = Files({"data/8/bba/a.dat": noise, "include/lex/a.dat": ink})
    for contributor in contributors(tree):
        list(segments(tree, contributor))


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("Maxwell 's method of dealing with the case was ,", None),
        ("It was in 1 8 7 4 , when", "It was in 1874, when"),
        ("Book meeting at 2 : 00 2 3 / 3 / 9 2", "Book meeting at 2: 00 23 / 3 / 92"),
        ("Book meeting at 2 : 0 0 2 3 / 3 / 9 2", "Book meeting at 2: 0023 / 3 / 92"),
        ("wasn ' t  teaching at Lehigh , he", "wasn ' t teaching at Lehigh, he"),
        ("found $ 7 5 0 by Tue 2 4 th .", "found $ 750 by Tue 24 th."),
    ],
)
def test_spaced_transcriptions_are_closed(label: str, text: str | None, tmp_path: Path) -> None:
    """Labels of the public index files against the texts of the recorded set."""
    tree = _index(f'.SEGMENT TEXT 0 OK "{label}"')
    tree.files = {
        name.replace("bba", "hpb"): content.replace(b"bba", b"hpb")
        for name, content in tree.files.items()
    }
    assert not unipen.build_lines(tree, {"hpb": frozenset({"0"})}, tmp_path, silent)
    (row,) = read_table(tmp_path / TABLE)
    assert row["text"] == (text or "Maxwell's method of dealing with the case was,")


def test_the_public_sample_gives_the_recorded_lines(tmp_path: Path) -> None:
    """Every recorded line whose ink is in the sample: same strokes, text, writer, split, width."""
    root = data_root()
    if root is None or not (root / "unipen_raw_sample").is_dir():
        pytest.skip("the data root has no sample of the raw files")
    tree = FolderTree(root / "unipen_raw_sample")
    every = {
        name: frozenset(str(i) for i, s in enumerate(segments(tree, name)) if s.strokes)
        for name in contributors(tree)
    }
    assert not unipen.build_lines(tree, every, tmp_path, silent)
    rebuilt = {_key(row, record) for row, record in _pairs(tmp_path)}
    inks = {key[-2] for key in rebuilt}
    recorded = [
        _key(row, record)
        for row, record in _pairs(root)
        if any(b'"src":"%s"' % ink.encode() in record[:200] for ink in inks)
    ]
    assert len(recorded) == 235
    assert set(recorded) <= rebuilt


def _pairs(root: Path) -> list[tuple[dict[str, str], bytes]]:
    return list(zip(read_table(root / TABLE), read_strokes(root / STROKES), strict=True))


def _key(row: dict[str, str], record: bytes) -> tuple[str, ...]:
    """All of a line but its number, which counts the lines of files that the sample lacks."""
    found = json.loads(record)
    name = row["file"].rsplit("_", 1)[0]
    return (name, *(row[c] for c in COLUMNS[1:]), found["src"], json.dumps(found["strokes"]))


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


def test_a_line_that_cannot_be_read_is_bad_and_the_others_are_kept(chosen_root: Path) -> None:
    names = [f"bba_w_0000{i}.png" for i in range(8)]
    rows = [_row(name) for name in names]
    rows[7] = _row(names[7], text="  ")
    _root(
        chosen_root,
        rows,
        [
            {"file": names[0], "strokes": GOOD},
            {"file": "other.png", "strokes": GOOD},
            "{not json",
            {"file": names[3], "strokes": []},
            {"file": names[4], "strokes": [[[0, 0], [1]]]},
            {"file": names[5], "strokes": [[["a", "b"]]]},
            {"file": names[6], "strokes": [[[0, 1e999]]]},
            {"file": names[7], "strokes": GOOD},
        ],
    )
    found = Unipen().load("test")
    assert [line.id for line in found.lines] == ["bba_w_00000"]
    assert [bad.id for bad in found.bad] == [name[:-4] for name in names[1:]]
    assert all(bad.reason for bad in found.bad)


def test_subsets_splits_and_limits(chosen_root: Path) -> None:
    files = [
        ("bba_a_0.png", "test"),
        ("aga_b_0.png", "test"),
        ("lex_c_0.png", "val"),
        ("lex_c_1.png", "test"),
        ("bbd_d_0.png", "test"),
    ]
    _root(
        chosen_root,
        [_row(file, split) for file, split in files],
        [{"file": file, "strokes": GOOD} for file, _ in files],
    )

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


def test_a_damaged_file_of_strokes_is_a_user_error(chosen_root: Path) -> None:
    _root(chosen_root, [_row("bba_a_0.png")], [{"file": "bba_a_0.png", "strokes": GOOD}])
    whole = (chosen_root / STROKES).read_bytes()
    for broken in (whole[:-12], b"plain text", whole[:-8] + b"\0" * 8):
        (chosen_root / STROKES).write_bytes(broken)
        with pytest.raises(UserError, match=r"is damaged.*data get unipen"):
            list(read_strokes(chosen_root / STROKES))


def test_the_real_set() -> None:
    root = data_root()
    if root is None or not (root / TABLE).is_file():
        pytest.skip("unipen is not in the data root")
    found = Unipen("lex").load("test")
    embedded = {row["file"]: row for row in read_table(EMBEDDED / TABLE)}
    for row in read_table(root / TABLE):
        assert row["split"] == "train" or embedded[row["file"]] == row
    assert not found.bad and len(found.lines) == 130
    assert {line.writer for line in found.lines} == {"lex/squim1"}
    assert found.lines[0].text == "civic-minded, he rents a kid"
    widths = {row["file"][:-4]: int(row["width"]) for row in read_table(root / TABLE)}
    for line in found.lines:
        assert line.image.shape[0] == 64 and abs(line.image.shape[1] - widths[line.id]) <= 1
        assert line.boxes is None and line.split == "test"
