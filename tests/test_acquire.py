"""`bench data get` and `check`: public sets from a git repository in the true layout."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.core.errors import UserError
from bench.core.progress import silent
from datasets import acquire, sources
from datasets.acquire import check, get
from datasets.files import decode
from datasets.joined import CHARACTERS, WORDS
from datasets.rebuild import page_lines, unipen
from datasets.rebuild.page_lines import COPISTE, HOOKER
from datasets.root import data_root, set_data_root
from datasets.sources import SOURCES, PublicSource, load_selection, parse_selection
from datasets.unipen import COLUMNS, STROKES, TABLE, read_index, read_pieces, read_strokes

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

INK = (
    b"\n.WRITER_ID ann\n.COMMENT ### a comment\n         7 7 ### goes on\n"
    b".PEN_DOWN\n 10 20 1\n 10 20 1\n 13 50 1\n 13 50 1\n 10 20 1\n.PEN_UP\n 99 99\n"
    b".PEN_DOWN\n 40 30\n.PEN_UP\n.PEN_DOWN\n 0 0\n 0 0\n.PEN_UP\n"
    b".PEN_DOWN\n.PEN_UP\n.PEN_DOWN\n 5 0\n 8 40\n.PEN_UP\n"
)
POINTS = [[[10, 20], [10, 20], [13, 50], [13, 50], [10, 20]], [[40, 30]]]  # strokes 0 and 1
BOTH = [[0, 30, 3, 0, 0, 30], [30, 20]]  # upright, without repeated points
FIRST = BOTH[:1]


def index(contributor: str, *segments: str, ink: str = "a") -> bytes:
    rows = [".VERSION 1.0", f".INCLUDE {contributor}/x.doc", ".INCLUDE ../../../secret.dat"]
    rows += [f".INCLUDE {contributor}/data/{ink}.dat", *(f".SEGMENT {s}" for s in segments)]
    return "\n".join(rows).encode("latin-1")


FILES = {
    "README.md": b"public\n",
    "data/8/bba/a.dat": index("bba", 'TEXT 0 BAD "out"', 'TEXT 0-1 OK "he said  \\"no\\""'),
    "include/bba/data/a.dat": INK,
    "data/8/hpb/a.dat": index("hpb", 'TEXT 0-1 ? "Maxwell \'s dog found $ 7 5 0 ."'),
    "include/hpb/data/a.dat": INK.replace(b"ann", b"h.p-bob"),
    "include/lex/data/cy.dat": (
        b'.WRITER_ID\t cy\n.COMMENT .SEGMENT TEXT 0 ? "one line"\n'
        b'.COMMENT .SEGMENT WORD 0 ? "one"\n.PEN_DOWN\n 1 2\n.START_BOX\n'
        b'.COMMENT .SEGMENT TEXT 1 ? "and another"\n.PEN_DOWN\n 4 4\n 9 1\n.PEN_UP\n'
    ),
    "data/7/anj/a.dat": index("anj", 'WORD 0-1 OK "it"', 'WORD 0 ? "I"'),
    "include/anj/data/a.dat": INK,
    "data/1b/imp/a.dat": index("imp", 'CHARACTER 0 OK "A"'),
    "include/imp/data/a.dat": INK.replace(b"ann", b"ben"),
}
CHOSEN = "bba\t1\nhpb\t0\nlex\t1\n"

# Written by hand from the rules, and hashed by hand as documented.
LINES = [
    ("bba_ann_00001.png", "bba/ann", 'he said "no"', "include/bba/data/a.dat", POINTS),
    ("hpb_hpbob_00000.png", "hpb/h.p-bob", "Maxwell's dog found $ 750.",
     "include/hpb/data/a.dat", POINTS),
    ("lex_cy_00001.png", "lex/cy", "and another", "include/lex/data/cy.dat", [[[4, 4], [9, 1]]]),
]  # fmt: skip
PIECES = {
    "words": [("anj/ann", "it", BOTH), ("anj/ann", "I", FIRST)],
    "characters": [("imp/ben", "A", FIRST)],
}
KINDS = {pieces.name: pieces for pieces in SOURCES["unipen"].pieces}


def split_by_hand(writer: str) -> str:
    tenth = int(hashlib.md5(writer.encode()).hexdigest(), 16) % 10
    return "test" if tenth == 0 else "val" if tenth == 1 else "train"


def packed(flat: list[int]) -> bytes:
    return f"{len(flat) // 2}:".encode() + struct.pack(f"<{len(flat)}f", *flat)


def hash_of_lines() -> str:
    digest = hashlib.sha256()
    for file, writer, text, _, strokes in LINES:
        digest.update(f"{file}\x1f{writer}\x1f{split_by_hand(writer)}\x1f{text}\x1f".encode())
        for stroke in strokes:
            digest.update(packed([value for point in stroke for value in point]))
        digest.update(b"\x1e")
    return digest.hexdigest()


def hash_of_pieces(records: list[tuple[str, str, list[list[int]]]]) -> str:
    digests = [
        hashlib.sha256(f"{writer}\x1f{text}\x1f".encode() + b"".join(map(packed, s))).digest()
        for writer, text, s in records
    ]
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(folder), *who, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def make_repository(folder: Path, files: Mapping[str, bytes], link: str = "") -> str:
    """A repository whose last commit but one has these files; its hash."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    if link:
        (folder / link).symlink_to(folder.parent / "secret.dat")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message", "pinned")
    commit = git(folder, "rev-parse", "HEAD")
    (folder / "later.txt").write_text("not in the pinned commit")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "later")
    return commit


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> PublicSource:
    folder = tmp_path_factory.mktemp("host") / "raw"
    folder.mkdir()
    (folder.parent / "secret.dat").write_bytes(INK)
    commit = make_repository(folder, FILES, "include/bba/data/link.dat")
    lines = dict.fromkeys(map(split_by_hand, (writer for _, writer, *_ in LINES)), 0)
    for _, writer, *_ in LINES:
        lines[split_by_hand(writer)] += 1
    return dataclasses.replace(
        SOURCES["unipen"],
        url=f"file://{folder}",
        commit=commit,
        lines=lines,
        sha256=hash_of_lines(),
        pieces=tuple(
            dataclasses.replace(kind, count=len(PIECES[name]), sha256=hash_of_pieces(PIECES[name]))
            for name, kind in KINDS.items()
        ),
    )


@pytest.fixture
def host(hosted: PublicSource, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublicSource]:
    """A repository of FILES, registered as the source of `unipen`."""
    monkeypatch.setitem(sources.SOURCES, "unipen", hosted)
    monkeypatch.setattr(acquire, "load_selection", lambda name: parse_selection(CHOSEN))
    yield hosted
    set_data_root(None)


@pytest.fixture(scope="module")
def installed(hosted: PublicSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acquire, "load_selection", lambda name: parse_selection(CHOSEN))
        get(hosted, root)
    return root


NOWHERE = "http://127.0.0.1:9/raw"


def away(source: PublicSource) -> PublicSource:
    return dataclasses.replace(source, url=NOWHERE)


def test_get_makes_exactly_the_recorded_files(host, tmp_path, call):
    root = tmp_path / "new" / "root"
    code, out, _ = call("data", "get", "unipen", "--data-root", str(root))
    assert code == 0 and "2 words, 1 characters; as recorded" in out
    assert host.commit in out and "CC-BY-4.0" in out and "International Unipen" in out
    assert {path.name for path in root.iterdir()} == {*host.files, WORDS, CHARACTERS}
    with gzip.open(root / STROKES, "rt") as file:
        got = [json.loads(line) for line in file]
    assert [(r["file"], r["writer"], r["text"], r["src"], r["strokes"]) for r in got] == LINES
    table = [row.split("\t") for row in (root / TABLE).read_text().splitlines()]
    assert table[0] == ["file", "writer", "split", "width", "height", "quality", "text"]
    # 30 wide and 30 high at 52 px of ink height and 6 px margins: 52 + 12
    assert table[1][2:] == [split_by_hand("bba/ann"), "64", "64", "OK", 'he said "no"']
    for name, records in PIECES.items():
        path = root / {"words": WORDS, "characters": CHARACTERS}[name]
        assert [(p.writer, p.text, p.flat) for p in read_pieces(path)] == records
    words = ["data", "check", "unipen", "--data-root", str(root), "--out", str(tmp_path / "out")]
    code, out, _ = call(*words)
    assert code == 0 and "words right: 2, for training" in out
    (root / WORDS).write_bytes((root / WORDS).read_bytes()[:-9])
    code, out, _ = call(*words)
    assert code == 1 and "words differ" in out


def test_what_is_right_is_kept_and_what_is_damaged_or_missing_replaced(host, tmp_path, call):
    root = tmp_path / "root"
    steps: list[str] = []
    get(host, root, report=lambda doing, *_: steps.append(doing))
    assert "counting objects" in steps and steps[-1] == "checking characters"
    stamps = {path: path.stat().st_mtime_ns for path in root.iterdir()}
    assert get(away(host), root).whole
    (root / WORDS).unlink()
    words = ("--data-root", str(root))
    _, out, _ = call("data", "check", "unipen", *words, "--out", str(tmp_path / "out"))
    assert "no words here: only training reads them" in out and "data get unipen" in out
    (listed,) = (
        one for one in json.loads(call("data", "list", "--json", *words)[1])
        if one["name"] == "unipen"
    )  # fmt: skip
    assert listed["here"] and listed["missing_pieces"] == ["words"]
    assert get(host, root).whole
    stamps.pop(root / WORDS)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    (root / STROKES).write_bytes(b"\x1f\x8b broken")
    assert check(host, root).state == "differs"
    assert get(host, root).state == check(host, root).state == "right"


def test_what_is_not_as_recorded_is_not_put_in_place(host, tmp_path, monkeypatch):
    chosen = parse_selection(CHOSEN.replace("lex\t1", "lex\t1-7"))
    monkeypatch.setattr(acquire, "load_selection", lambda name: chosen)
    wrong = dataclasses.replace(host, sha256="0" * 64)
    with pytest.raises(UserError, match="nothing was put in place") as caught:
        get(wrong, tmp_path)
    assert "6 lines are not in the source, the first is lex 2" in str(caught.value)
    assert not any((tmp_path / file).exists() for file in host.files)


def test_lines_do_not_wait_for_words_that_differ(host, tmp_path):
    words, characters = host.pieces
    other = dataclasses.replace(words, count=3, sha256="0" * 64)
    with pytest.raises(UserError, match=r"in place, but not its words.*2 words"):
        get(dataclasses.replace(host, pieces=(other, characters)), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*host.files, CHARACTERS, ".fetch"}
    assert get(away(host), tmp_path).whole  # what was fetched is not fetched again
    assert not (tmp_path / ".fetch").exists()


@pytest.mark.parametrize("url", [NOWHERE, "{host}-absent", ""])
def test_a_source_that_cannot_be_fetched_is_one_sentence(host, tmp_path, call, monkeypatch, url):
    commit = host.commit if url else "0" * 40
    monkeypatch.setitem(sources.SOURCES, "unipen", dataclasses.replace(host, commit=commit))
    words = ["--url", url.format(host=host.url)] if url else []
    code, _, err = call("data", "get", "unipen", "--data-root", str(tmp_path / "root"), *words)
    error = err.strip().splitlines()[-1]
    assert code == 2 and error.startswith("error: could not fetch") and "--url" in error


@pytest.mark.faults
def test_a_killed_get_goes_on_with_the_finished_download(host, tmp_path):
    code = (
        "import sys, os, dataclasses\n"
        "from pathlib import Path\n"
        "from datasets import acquire\n"
        "from datasets.sources import SOURCES\n"
        "def die(tree, chosen, folder, report):\n"
        "    (folder / 'unipen_lines.tsv').write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
        "acquire.BUILDERS['unipen'] = die\n"
        "source = dataclasses.replace(SOURCES['unipen'], url=sys.argv[1], commit=sys.argv[2])\n"
        "acquire.get(source, Path(sys.argv[3]))\n"
    )
    here = Path(__file__).resolve().parent.parent
    words = [sys.executable, "-c", code, host.url, host.commit, str(tmp_path)]
    assert subprocess.run(words, cwd=here, capture_output=True).returncode == -9
    assert not (tmp_path / TABLE).exists()
    assert get(away(host), tmp_path).whole


def test_an_unfinished_download_is_begun_anew(host, tmp_path):
    left = tmp_path / ".fetch" / "unipen" / f"{host.commit}.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(left)], check=True)
    (left / "shallow.lock").write_text("")  # left by a killed fetch; git would refuse
    assert get(host, tmp_path).whole


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t, s: t.write_text(t.read_text().replace("another", "an other")), "not the same"),
        (lambda t, s: t.write_text("\n".join(t.read_text().splitlines()[:-1])), "more lines"),
        (lambda t, s: s.write_bytes(s.read_bytes()[:-20]), "damaged"),
        (lambda t, s: s.write_bytes(gzip.compress(b"{}\n" * 3)), "cannot be read"),
        (lambda t, s: s.unlink(), "has no unipen_lines.strokes"),
    ],
)
def test_check_names_the_fault(host, installed, tmp_path, call, change, reason):
    root = shutil.copytree(installed, tmp_path / "root")
    change(root / TABLE, root / STROKES)
    code, out, _ = call("data", "check", "unipen", "--json", "--data-root", str(root))
    (audit,) = json.loads(out)
    assert code == 1 and audit["state"] in ("differs", "missing") and reason in audit["reason"]
    assert audit["remedy"] == "python -m bench data get unipen"


def test_an_empty_root_is_no_failure_but_missing_sets_are_named(tmp_path, call):
    root = ("--data-root", str(tmp_path))
    every, out, _ = call("data", "check", *root)
    named, more, _ = call("data", "check", "hooker", *root)
    assert (every, named) == (0, 1)
    assert (out + more).count("mend it: python -m bench data get hooker") == 2
    assert "one set at a time" in call("data", "get", "unipen", "hooker", "--url", NOWHERE)[2]
    set_data_root(None)


def test_without_git_the_remedy_is_named(host, tmp_path, call, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = call("data", "get", "unipen", "--data-root", str(tmp_path / "root"))
    assert code == 2 and "git is not installed (apt-get install git)" in err


def test_selections_are_as_long_as_recorded_and_ranges_keep_their_zeros():
    for source in SOURCES.values():
        assert sum(map(len, load_selection(source.name).values())) == sum(source.lines.values())
    chosen = parse_selection("a\t08-11 r2l9-10 l l_7\nb\t3\n")
    assert chosen == {"a": {"08", "09", "10", "11", "r2l9", "r2l10", "l", "l_7"}, "b": {"3"}}


# The rules of UNIPEN's lines, words and characters.


def pieces_of(files: dict[str, bytes], name: Any, folder: Path) -> list[dict[str, Any]]:
    unipen.build_pieces(files, KINDS[name], folder, silent)
    with gzip.open(folder / KINDS[name].file, "rt") as file:
        return [json.loads(line) for line in file]


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_parse_without_an_error(noise):
    ink = b".WRITER_ID w\n.PEN_DOWN\n" + noise
    tree = {"data/8/bba/a.dat": noise, "include/lex/a.dat": ink}
    assert all(list(unipen.segments(tree, name)) is not None for name in ("bba", "lex"))


@pytest.mark.parametrize(
    ("segment", "kept"),
    [
        ('WORD 0-1 GOOD "\\"ab\\""', '"ab"'),
        ('WORD 0-1 OK "abcdefgh"', "abcdefgh"),  # 30 / 30 / 8 = 0.125
        ('WORD 0-1 OK "abcdefghi"', ""),  # 0.111
        ('WORD 0 OK "ab"', "ab"),  # 3 / 30 / 2: short words may be narrow
        ('WORD 0-1 BAD "it"', ""),
        ('WORD 0,2 OK "it"', ""),  # a stroke of zeros
        ('WORD 4 OK "I"', "I"),  # a point on an axis is no zero
        ('WORD 0-9 OK "it"', ""),  # strokes that the ink does not have
        ('WORD 0-1 OK "it\t\t"', ""),
        ('TEXT 0-1 OK "it"', ""),
        ('CHARACTER 0 OK "~"', "~"),
        ('CHARACTER 0 OK "\\\\"', ""),
    ],
)
def test_words_and_characters_that_are_kept(segment, kept, tmp_path):
    name = "characters" if segment.startswith("CHARACTER") else "words"
    category, contributor = ("7", "anj") if name == "words" else ("1d", "imp")
    tree = {
        f"data/{category}/{contributor}/a.dat": index(contributor, segment),
        f"include/{contributor}/data/a.dat": INK,
    }
    assert "".join(record["t"] for record in pieces_of(tree, name, tmp_path)) == kept


def test_chosen_lines_that_a_source_of_pages_lacks_are_named(tmp_path):
    page = b"""<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15"><Page>
     <TextLine id="a"><Coords points="10,20 90,20 90,60"/><TextEquiv><Unicode>one</Unicode>
     </TextEquiv></TextLine><TextLine id="z"/></Page></PcGts>"""
    Image.new("L", (120, 160), 200).save(tmp_path / "p.jpg")
    tree = {"JDH_1_2_3_001.xml": page, "JDH_1_2_3_001.jpg": (tmp_path / "p.jpg").read_bytes()}
    chosen = {"JDH_1_2_3_001": frozenset({"a", "z"}), "JDH_1_2_4_001": frozenset({"a"})}
    missing = page_lines.build(HOOKER, tree, chosen, tmp_path, silent)
    assert missing == ["JDH_1_2_3_001 z", "JDH_1_2_4_001 a"]
    (row,) = pq.read_table(tmp_path / HOOKER.file).to_pylist()
    assert (row["id"], row["writer"]) == ("JDH_1_2_3_001_a", "JDH_1_2_3")
    with pytest.raises(UserError, match=r"JDH_1_2_3_001\.jpg"):
        page_lines.build(HOOKER, tree | {"JDH_1_2_3_001.jpg": b""}, chosen, tmp_path, silent)
    assert COPISTE.group("wikitexte_0221_double_1") == "t0221d"


# The recorded sets, where they are here.


def real(*names: str) -> Path:
    root = data_root()
    if root is None or not all((root / name).exists() for name in names):
        pytest.skip(f"the data root has no {' and no '.join(names)}")
    return root


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_the_public_sample_gives_the_recorded_lines_and_characters(tmp_path):
    root = real("unipen_raw_sample", TABLE, CHARACTERS)
    tree = files_of(root / "unipen_raw_sample")
    names = {name.split("/")[2] for name in tree if name.startswith("data/8/")} | {"lex"}
    every = {
        name: frozenset(str(i) for i, s in enumerate(unipen.segments(tree, name)) if s.strokes)
        for name in names
    }
    assert not unipen.build_lines(tree, every, tmp_path, silent)

    def lines(folder: Path, inks: tuple[str, ...] = ("",)) -> Iterator[tuple[str, ...]]:
        """All but a line's number, which counts lines of files that the sample lacks."""
        for row, record in zip(
            read_index(folder / TABLE), read_strokes(folder / STROKES), strict=True
        ):
            if not any(b'"src":"%s' % ink.encode() in record[:200] for ink in inks):
                continue
            values = json.loads(record)
            name = row["file"].rsplit("_", 1)[0]
            yield name, *(row[c] for c in COLUMNS[1:]), values["src"], str(values["strokes"])

    rebuilt = set(lines(tmp_path))
    recorded = list(lines(root, tuple({line[-2] for line in rebuilt})))
    assert len(recorded) == 235 and set(recorded) <= rebuilt
    made = pieces_of(tree, "characters", tmp_path)
    runs = [list(run) for _, run in groupby(made, key=lambda record: record["w"])]
    assert [len(run) for run in runs] == [21, 13, 66, 8]  # as many as the four indexes name
    writers = {record["w"] for record in made}
    with gzip.open(root / CHARACTERS, "rt") as file:
        kept = [r for r in map(json.loads, file) if r["w"] in writers]
    assert all(any(kept[i : i + len(run)] == run for i in range(len(kept))) for run in runs)


@pytest.mark.parametrize(
    ("pages", "folder", "name", "count"),
    [(HOOKER, "hooker_pages", "hooker", 74), (COPISTE, "alto_pages", "copiste", 35)],
    ids=["hooker", "copiste"],
)
def test_whole_pages_give_the_recorded_lines(pages, folder, name, count, tmp_path):
    """Same ids, order, texts, splits and sizes, and the same pixels up to JPEG's noise."""
    root = real(folder, pages.file)
    tree = files_of(root / folder)
    stems = {Path(file).stem for file in tree}
    chosen = {stem: items for stem, items in load_selection(name).items() if stem in stems}
    assert page_lines.build(pages, tree, chosen, tmp_path, silent) == []
    rebuilt = pq.read_table(tmp_path / pages.file).to_pylist()
    ids = {row["id"] for row in rebuilt}
    recorded = pq.read_table(root / pages.file, filters=[("id", "in", ids)]).to_pylist()
    assert len(rebuilt) == count
    for pair in zip(rebuilt, recorded, strict=True):
        one, other = ({**row, "image": row["image"]["path"]} for row in pair)
        assert one == other
        ours, theirs = (decode(row["image"]["bytes"]).astype(int) for row in pair)
        assert ours.shape == theirs.shape and np.abs(ours - theirs).mean() < 1


def test_a_real_set_has_its_recorded_content():
    root = real(*SOURCES["copiste"].files)
    audit = check(SOURCES["copiste"], root)
    assert audit.state == "right" and set("éèàçœ") <= set(audit.alphabet), audit.reason
