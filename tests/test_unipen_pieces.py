"""UNIPEN's isolated words and characters: made of the raw files, fetched, checked."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.core.progress import silent
from datasets import fetch, sources
from datasets.check import check_pieces
from datasets.joined import CHARACTERS, WORDS
from datasets.rebuild import unipen
from datasets.rebuild.git import Tree
from datasets.root import data_root, set_data_root
from datasets.sources import SOURCES, Pieces, Source, parse_selection
from datasets.unipen import read_pieces
from tests.git_server import make_repository, served
from tests.trees import Files, FolderTree

WANTED = {pieces.name: pieces for pieces in SOURCES["unipen"].pieces}

INK = b"""
.WRITER_ID ann
.PEN_DOWN
 10 20 1
 10 20 1
 13 50 1
 13 50 1
 10 20 1
.PEN_UP
.PEN_DOWN
 40 30
.PEN_UP
.PEN_DOWN
 0 0
 0 0
.PEN_UP
.PEN_DOWN
.PEN_UP
.PEN_DOWN
 5 0
 8 40
.PEN_UP
"""
BOTH = [[0, 30, 3, 0, 0, 30], [30, 20]]  # strokes 0 and 1
FIRST = [[0, 30, 3, 0, 0, 30]]


def _index(contributor: str, ink: str, *segments: str) -> bytes:
    rows = [f".INCLUDE {contributor}/x.doc", f".INCLUDE {contributor}/data/{ink}.dat"]
    return "\n".join([".VERSION 1.0", *rows, *(f".SEGMENT {s}" for s in segments)]).encode(
        "latin-1"
    )


def _made(tree: Tree, name: Any, folder: Path) -> list[dict[str, Any]]:
    unipen.build_pieces(tree, WANTED[name], folder, silent)
    with gzip.open(folder / WANTED[name].file, "rt") as file:
        return [json.loads(line) for line in file]


def _texts(segment: str, name: str, folder: Path) -> list[str]:
    category, contributor = ("7", "anj") if name == "words" else ("1d", "imp")
    tree = Files(
        {
            f"data/{category}/{contributor}/a.dat": _index(contributor, "a", segment),
            f"include/{contributor}/data/a.dat": INK,
        }
    )
    return [record["t"] for record in _made(tree, name, folder)]


def test_ink_is_put_upright_without_repeated_points(tmp_path: Path) -> None:
    tree = Files(
        {
            "data/7/anj/a.dat": _index("anj", "a", 'WORD 0-1 OK "it"', 'WORD 0 ? "I"'),
            "include/anj/data/a.dat": INK,
        }
    )
    assert _made(tree, "words", tmp_path) == [
        {"w": "anj/ann", "t": "it", "s": BOTH},
        {"w": "anj/ann", "t": "I", "s": FIRST},
    ]


@pytest.mark.parametrize(
    ("segment", "kept"),
    [
        ('WORD 0-1 ? "Don\'t"', ["Don't"]),
        ('WORD 0-1 GOOD "\\"ab\\""', ['"ab"']),
        ('WORD 0-1 OK "abcdefgh"', ["abcdefgh"]),  # 30 / 30 / 8 = 0.125
        ('WORD 0-1 OK "abcdefghi"', []),  # 0.111
        ('WORD 0 OK "ab"', ["ab"]),  # 3 / 30 / 2: short words may be narrow
        ('WORD 0 OK "abc"', []),
        ('WORD 0-1 BAD "it"', []),
        ('WORD 0,2 OK "it"', []),  # a stroke of zeros
        ('WORD 0,3 OK "it"', []),  # a stroke without points
        ('WORD 4 OK "I"', ["I"]),  # a point on an axis is no zero
        ('WORD 0-9 OK "it"', []),  # strokes that the ink does not have
        ('WORD 0-1 OK "it\t\t"', []),
        ('WORD 0-1 OK "i t"', []),
        ('WORD 0-1 OK "é"', []),
        ('WORD 0-1 OK ""', []),
        ('CHARACTER 0-1 OK "i"', []),
        ('TEXT 0-1 OK "it"', []),
    ],
)
def test_words_that_are_kept(segment: str, kept: list[str], tmp_path: Path) -> None:
    assert _texts(segment, "words", tmp_path) == kept


@pytest.mark.parametrize(
    ("label", "kept"),
    [("a", "a"), ("~", "~"), ('\\"', '"'), ("\\\\", ""), ("ab", ""), (" ", ""), ("é", "")],
)
def test_characters_are_single_printable_ascii(label: str, kept: str, tmp_path: Path) -> None:
    made = _texts(f'CHARACTER 0 OK "{label}"', "characters", tmp_path)
    assert made == ([kept] if kept else [])


def test_only_contributors_of_the_recorded_files_are_read(tmp_path: Path) -> None:
    files = {"include/sta/data/a.dat": INK, "data/7/sta/a.dat": _index("sta", "a", 'WORD 0 ? "I"')}
    assert _made(Files(files), "words", tmp_path) == []


def test_characters_of_an_ink_stand_together_in_the_order_of_categories(tmp_path: Path) -> None:
    """As in the recorded file: inks with digits come first, each with all its characters."""
    files = {f"include/apa/data/{ink}.dat": INK for ink in "ab"}
    files |= {
        "data/1a/apa/b.dat": _index("apa", "b", 'CHARACTER 0 ? "1"'),
        "data/1b/aga/z.dat": _index("aga", "z", 'CHARACTER 0 ? "Z"'),
        "data/1b/apa/a.dat": _index("apa", "a", 'CHARACTER 0 ? "A"', 'CHARACTER 0 ? "B"'),
        "data/1b/apa/b.dat": _index("apa", "b", 'CHARACTER 0 ? "C"'),
        "data/1d/apa/a.dat": _index("apa", "a", 'CHARACTER 0 ? "!"'),
        "include/aga/data/z.dat": INK,
    }
    made = _made(Files(files), "characters", tmp_path)
    assert "".join(record["t"] for record in made) == "1CZAB!"


def test_the_public_sample_gives_the_recorded_characters(tmp_path: Path) -> None:
    """All that the raw files at hand hold, in runs as long as their indexes."""
    root = data_root()
    if root is None or not (root / "unipen_raw_sample").is_dir():
        pytest.skip("the data root has no sample of the raw files")
    made = _made(FolderTree(root / "unipen_raw_sample"), "characters", tmp_path)
    runs = [list(run) for _, run in groupby(made, key=lambda record: record["w"])]
    assert [len(run) for run in runs] == [21, 13, 66, 8]  # as many as the four indexes name
    writers = {record["w"] for record in made}
    with gzip.open(root / CHARACTERS, "rt") as file:
        recorded = [r for r in map(json.loads, file) if r["w"] in writers]
    for run in runs:
        assert any(recorded[i : i + len(run)] == run for i in range(len(recorded))), run[0]["w"]


def test_the_real_characters_have_their_recorded_content() -> None:
    """The smaller file; `python -m bench data check` reads both."""
    root = data_root()
    if root is None or not (root / CHARACTERS).is_file():
        pytest.skip("the data root has no isolated characters")
    found = check_pieces(WANTED["characters"], root)
    assert found.state == "right" and found.count == 102019, found.reason


def test_no_recorded_word_is_narrower_than_the_rule() -> None:
    root = data_root()
    if root is None or not (root / WORDS).is_file():
        pytest.skip("the data root has no isolated words")
    for piece in islice(read_pieces(root / WORDS), 4000):  # those of Word! are among them
        right = max(max(flat[::2]) for flat in piece.flat)
        low = max(max(flat[1::2]) for flat in piece.flat)
        length = len(piece.text)
        assert length < 3 or right / low / length >= unipen.NARROWEST, piece.text
        assert piece.text.isascii() and not set(piece.text) & set(" \t\\")


# A host of the source, whose lines are one line of `bba`.
HOSTED = {
    "data/8/bba/a.dat": _index("bba", "a", 'TEXT 0-1 OK "two words"'),
    "include/bba/data/a.dat": INK,
    "data/7/anj/a.dat": _index("anj", "a", 'WORD 0-1 OK "it"', 'WORD 0 ? "I"'),
    "include/anj/data/a.dat": INK,
    "data/1b/imp/a.dat": _index("imp", "a", 'CHARACTER 0 OK "A"'),
    "include/imp/data/a.dat": INK.replace(b"ann", b"ben"),
}
RECORDED = {
    "words": [("anj/ann", "it", BOTH), ("anj/ann", "I", FIRST)],
    "characters": [("imp/ben", "A", FIRST)],
}


def _hash_by_hand(records: list[tuple[str, str, list[list[int]]]]) -> str:
    digests = []
    for writer, text, strokes in records:
        content = f"{writer}\x1f{text}\x1f".encode()
        for flat in strokes:
            content += f"{len(flat) // 2}:".encode() + struct.pack(f"<{len(flat)}f", *flat)
        digests.append(hashlib.sha256(content).digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def _line_hash() -> str:
    tenth = int(hashlib.md5(b"bba/ann").hexdigest(), 16) % 10
    split = {0: "test", 1: "val"}.get(tenth, "train")
    content = f"bba_ann_00000.png\x1fbba/ann\x1f{split}\x1ftwo words\x1f".encode()
    for points in ([10, 20, 10, 20, 13, 50, 13, 50, 10, 20], [40, 30]):
        content += f"{len(points) // 2}:".encode() + struct.pack(f"<{len(points)}f", *points)
    return hashlib.sha256(content + b"\x1e").hexdigest()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """A served repository of HOSTED, registered as the source of `unipen`."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    commit = make_repository(tmp_path / "hosted" / "raw", HOSTED)
    pieces = tuple(
        dataclasses.replace(wanted, count=len(RECORDED[name]), sha256=_hash_by_hand(RECORDED[name]))
        for name, wanted in WANTED.items()
    )
    with served(tmp_path / "hosted") as url:
        source = dataclasses.replace(
            SOURCES["unipen"],
            url=f"{url}/raw",
            commit=commit,
            lines={},
            sha256=_line_hash(),
            pieces=pieces,
        )
        monkeypatch.setitem(sources.SOURCES, "unipen", source)
        monkeypatch.setattr(fetch, "load_selection", lambda name: parse_selection("bba\t0\n"))
        yield source
    set_data_root(None)


def _data(call, root: Path, words: str) -> str:
    """Standard output of a command that succeeds."""
    out = ("--out", str(root.parent / "out")) if words.startswith("check") else ()
    code, said, err = call("data", *words.split(), "--data-root", str(root), *out)
    assert code == 0, err
    return str(said)


def test_get_brings_words_and_characters_too(host: Source, tmp_path: Path, call) -> None:
    root = tmp_path / "root"
    said = _data(call, root, "get unipen")
    assert "2 words, 1 characters; as recorded" in said and WORDS in said
    assert {p.name for p in root.iterdir()} == {*host.files, WORDS, CHARACTERS}
    for file, name in ((WORDS, "words"), (CHARACTERS, "characters")):
        got = [(p.writer, p.text, p.flat) for p in read_pieces(root / file)]
        assert got == RECORDED[name]
    said = _data(call, root, "check unipen")
    assert "words right: 2, for training" in said and "characters right: 1" in said


def test_without_words_a_set_is_right_and_get_adds_only_them(host: Source, tmp_path: Path, call):
    root = tmp_path / "root"
    fetch.get(host, root)
    (root / WORDS).unlink()
    there = {path: path.stat().st_mtime_ns for path in root.iterdir()}
    said = _data(call, root, "check unipen")
    assert "no words here: only training reads them" in said
    assert "python -m bench data get unipen" in said and "characters right" in said
    assert "no words here" in _data(call, root, "list")
    (listed,) = (e for e in json.loads(_data(call, root, "list --json")) if e["name"] == "unipen")
    assert listed["here"] and listed["missing_pieces"] == ["words"]
    assert fetch.get(host, root).whole
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert check_pieces(host.pieces[0], root).state == "right"


def test_lines_do_not_wait_for_words_that_differ(host: Source, tmp_path: Path) -> None:
    root = tmp_path / "root"
    words, characters = host.pieces
    other = dataclasses.replace(words, count=3, sha256="0" * 64)
    wrong = dataclasses.replace(host, pieces=(other, characters))
    with pytest.raises(
        UserError, match=r"lines of unipen are in place, but not its words.*2 words"
    ):
        fetch.get(wrong, root)
    names = {path.name for path in root.iterdir()}
    assert names == {*host.files, CHARACTERS, ".fetch"}
    nowhere = dataclasses.replace(host, url="http://127.0.0.1:9/raw")
    assert fetch.get(nowhere, root).whole  # what was fetched is not fetched again
    assert not (root / ".fetch").exists()


Records = list[dict[str, Any]]


@pytest.mark.parametrize(
    ("change", "state", "reason"),
    [
        (lambda r: r[::-1], "right", ""),
        (lambda r: r[:1], "differs", "it has 1 words, and should have 2"),
        (lambda r: [*r, r[0]], "differs", "it has 3 words"),
        (lambda r: [r[0], {**r[1], "w": "anj/eve"}], "differs", "not the same ones"),
        (lambda r: [r[0], {**r[1], "t": "J"}], "differs", "not the same ones"),
        (lambda r: [r[0], {**r[1], "s": [[0, 30, 3, 0, 0, 31]]}], "differs", "not the same ones"),
        (lambda r: [r[0], {**r[1], "s": [[0, 30, 3]]}], "differs", "line 2 of"),
        (lambda r: [r[0], {**r[1], "s": []}], "differs", "not lists of points"),
        (lambda r: [r[0], {**r[1], "s": None}], "differs", "line 2 of"),
        (lambda r: [r[0], {"w": "anj/ann"}], "differs", "no isolated word"),
        (lambda r: [r[0], {**r[1], "t": 1}], "differs", "no isolated word"),
    ],
)
def test_check_compares_content_in_any_order(
    change: Callable[[Records], Records], state: str, reason: str, tmp_path: Path
) -> None:
    records = [{"w": w, "t": t, "s": s} for w, t, s in RECORDED["words"]]
    text = "".join(json.dumps(record) + "\n" for record in change(records))
    (tmp_path / WORDS).write_bytes(gzip.compress(text.encode()))
    wanted = Pieces("words", WORDS, 2, _hash_by_hand(RECORDED["words"]))
    found = check_pieces(wanted, tmp_path)
    assert found.state == state and reason in found.reason


def test_damaged_words_differ_and_say_so(host: Source, tmp_path: Path, call) -> None:
    root = tmp_path / "root"
    fetch.get(host, root)
    (root / WORDS).write_bytes((root / WORDS).read_bytes()[:-9])
    root_and_out = ("--data-root", str(root), "--out", str(tmp_path / "out"))
    code, said, _ = call("data", "check", "unipen", *root_and_out)
    assert code == 1 and "words differ" in said
    assert fetch.get(host, root).whole
