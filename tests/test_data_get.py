"""`bench data`: getting sets from a local git host in the true layout, and checking them."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench.core.errors import UserError
from datasets import fetch, sources
from datasets.check import check
from datasets.fetch import get
from datasets.root import data_root, set_data_root
from datasets.sources import SOURCES, Source, load_selection, missing_files, parse_selection
from tests.git_server import make_repository, served

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

BB_INK = b"""
.WRITER_ID ann
.COMMENT ### a comment
         7 7 ### goes on
.PEN_DOWN
 0 0 512
 30 40 512
.PEN_UP
 99 99
.PEN_DOWN
 50 0
 60 30
 70 0
.PEN_UP
"""
FILES = {
    "README.md": b"public\n",
    "data/8/bba/x/one.dat": b""".VERSION 1.0
.INCLUDE bba/bbn.lex
.INCLUDE ../../../secret.dat
.INCLUDE bba/data/x/one.dat
.SEGMENT TEXT 0 BAD "crossed out"
.SEGMENT TEXT 0-1 OK "he said  \\"no\\""
""",
    "data/8/hpb/one.dat": b""".INCLUDE hpb/data/one.dat
.SEGMENT TEXT 0-1 ? "Maxwell 's dog found $ 7 5 0 ."
""",
    "data/7/bba/x/one.dat": b'.INCLUDE bba/data/x/one.dat\n.SEGMENT WORD 0 OK "word"\n',
    "include/bba/bbn.lex": b"a lexicon\n",
    "include/bba/data/x/one.dat": BB_INK,
    "include/hpb/data/one.dat": BB_INK.replace(b"ann", b"h.p-bob"),
    "include/lex/data/lex0/cy.dat": b""".WRITER_ID\t cy
.START_BOX
.COMMENT .SEGMENT TEXT 0 ? "one line"
.COMMENT .SEGMENT WORD 0 ? "one"
.PEN_DOWN
 1 2
 3 8
.PEN_UP
.START_BOX
.COMMENT .SEGMENT TEXT 1 ? "and another"
.PEN_DOWN
 4 4
 9 1
.PEN_UP
""",
}
CHOSEN = "bba\t1\nhpb\t0\nlex\t1\n"

# Written by hand from the rules, and hashed by hand as `datasets.check` documents it.
BB_STROKES = [[[0, 0], [30, 40]], [[50, 0], [60, 30], [70, 0]]]
RECORDS = [
    ("bba_ann_00001.png", "bba/ann", 'he said "no"', "include/bba/data/x/one.dat", BB_STROKES),
    (
        "hpb_hpbob_00000.png",
        "hpb/h.p-bob",
        "Maxwell's dog found $ 750.",
        "include/hpb/data/one.dat",
        BB_STROKES,
    ),
    (
        "lex_cy_00001.png",
        "lex/cy",
        "and another",
        "include/lex/data/lex0/cy.dat",
        [[[4, 4], [9, 1]]],
    ),
]


def _split(writer: str) -> str:
    tenth = int(hashlib.md5(writer.encode()).hexdigest(), 16) % 10
    return "test" if tenth == 0 else "val" if tenth == 1 else "train"


def _hash_by_hand() -> str:
    digest = hashlib.sha256()
    for file, writer, text, _, strokes in RECORDS:
        digest.update(f"{file}\x1f{writer}\x1f{_split(writer)}\x1f{text}\x1f".encode())
        for stroke in strokes:
            flat = [float(v) for point in stroke for v in point]
            digest.update(f"{len(stroke)}:".encode() + struct.pack(f"<{len(flat)}f", *flat))
        digest.update(b"\x1e")
    return digest.hexdigest()


@pytest.fixture(autouse=True)
def root_of_the_machine() -> Iterator[None]:
    """No test leaves a data root chosen."""
    yield
    set_data_root(None)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """A served repository of FILES, registered as the source of `unipen`."""
    secret = tmp_path / "secret.dat"
    secret.write_bytes(BB_INK)
    links = {"include/bba/data/x/link.dat": str(secret)}
    commit = make_repository(tmp_path / "hosted" / "raw", FILES, links)
    lines = dict.fromkeys(("train", "val", "test"), 0)
    for _, writer, *_ in RECORDS:
        lines[_split(writer)] += 1
    lines = {split: count for split, count in lines.items() if count}
    with served(tmp_path / "hosted") as url:
        source = dataclasses.replace(
            SOURCES["unipen"],
            url=f"{url}/raw",
            commit=commit,
            lines=lines,
            sha256=_hash_by_hand(),
            pieces=(),  # they have tests of their own
        )
        monkeypatch.setitem(sources.SOURCES, "unipen", source)
        monkeypatch.setattr(fetch, "load_selection", lambda name: parse_selection(CHOSEN))
        yield source


def test_get_over_http_makes_exactly_the_recorded_files(host, tmp_path, call):
    root = tmp_path / "new" / "root"
    code, out, _ = call("data", "get", "unipen", "--data-root", str(root))
    assert code == 0
    assert host.commit in out and "CC-BY-4.0" in out and "International Unipen" in out
    assert sorted(p.name for p in root.iterdir()) == sorted(host.files)  # no work is left over
    with gzip.open(root / host.files[1], "rt") as file:
        got = [json.loads(line) for line in file]
    assert [(r["file"], r["writer"], r["text"], r["src"], r["strokes"]) for r in got] == RECORDS
    table = [row.split("\t") for row in (root / host.files[0]).read_text().splitlines()]
    assert table[0] == ["file", "writer", "split", "width", "height", "quality", "text"]
    # 70 wide and 40 high at 52 px of ink height and 6 px margins: 91 + 12
    assert table[1][:3] == ["bba_ann_00001.png", "bba/ann", _split("bba/ann")]
    assert table[1][3:] == ["103", "64", "OK", 'he said "no"']
    words = ["data", "check", "unipen", "--data-root", str(root), "--out", str(tmp_path / "out")]
    assert call(*words)[0] == 0


def test_pages_over_http_make_the_recorded_lines(tmp_path: Path) -> None:
    """Four real pages; the record is that of their lines in the recorded file."""
    root, source = data_root(), SOURCES["hooker"]
    if root is None or not (root / "hooker_pages").is_dir() or missing_files("hooker"):
        pytest.skip("the data root has no hooker_pages/ or no hooker")
    files = {path.name: path.read_bytes() for path in (root / "hooker_pages").iterdir()}
    chosen = {
        stem: items for stem, items in load_selection("hooker").items() if f"{stem}.xml" in files
    }
    ids = {f"{stem}_{item}" for stem, items in chosen.items() for item in items}
    recorded = pq.read_table(root / source.files[0], filters=[("id", "in", ids)])
    pq.write_table(recorded, tmp_path / source.files[0])
    recorded_verdict = check(source, tmp_path)
    commit = make_repository(tmp_path / "hosted" / "pages", files)
    with served(tmp_path / "hosted") as url, pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "load_selection", lambda name: chosen)
        pinned = dataclasses.replace(
            source,
            url=f"{url}/pages",
            commit=commit,
            lines=recorded_verdict.lines,
            sha256=recorded_verdict.sha256,
        )
        steps: list[str] = []
        verdict = get(pinned, tmp_path / "root", report=lambda doing, *_: steps.append(doing))
    assert verdict.state == "right" and verdict.lines == {"val": 74}
    assert list(dict.fromkeys(steps))[-2:] == ["cutting lines out of pages", "checking"]
    assert "counting objects" in steps  # what git tells of is passed on


def test_get_leaves_a_right_set_alone_without_a_network_and_replaces_a_damaged_one(host, tmp_path):
    root = tmp_path / "root"
    get(host, root)
    stamp = (root / host.files[0]).stat().st_mtime_ns
    nowhere = dataclasses.replace(host, url="http://127.0.0.1:9/raw")
    assert get(nowhere, root).state == "right"
    assert (root / host.files[0]).stat().st_mtime_ns == stamp
    (root / host.files[1]).write_bytes(b"\x1f\x8b broken")
    assert check(host, root).state == "differs"
    assert get(host, root).state == check(host, root).state == "right"


def test_what_is_not_as_recorded_is_not_put_in_place(host, tmp_path):
    root = tmp_path / "root"
    with pytest.raises(UserError, match=r"not the recorded set.*nothing was put in place"):
        get(dataclasses.replace(host, sha256="0" * 64), root)
    assert not any((root / file).exists() for file in host.files)


def test_a_line_that_the_source_lacks_is_named(host, tmp_path, monkeypatch):
    chosen = parse_selection(CHOSEN.replace("lex\t1", "lex\t1-7"))
    monkeypatch.setattr(fetch, "load_selection", lambda name: chosen)
    wrong = dataclasses.replace(host, sha256="0" * 64)
    with pytest.raises(UserError, match="6 lines are not in the source, the first is lex 2"):
        get(wrong, tmp_path / "root")


@pytest.mark.parametrize(
    ("url", "commit"),
    [("http://127.0.0.1:9/raw", None), ("{host}-absent", None), (None, "0" * 40)],
    ids=["no server", "no repository", "no such commit"],
)
def test_a_source_that_cannot_be_fetched_is_one_sentence(
    host, tmp_path, call, monkeypatch, url, commit
):
    source = dataclasses.replace(host, commit=commit or host.commit)
    monkeypatch.setitem(sources.SOURCES, "unipen", source)
    words = ["--url", url.format(host=host.url)] if url else []
    code, _, err = call("data", "get", "unipen", "--data-root", str(tmp_path / "root"), *words)
    error = err.strip().splitlines()[-1]
    assert code == 2 and error.startswith("error: could not fetch") and "--url" in error


def test_a_finished_download_survives_an_interruption(host, tmp_path, monkeypatch):
    def interrupt(*args: object) -> list[str]:
        raise KeyboardInterrupt

    root = tmp_path / "root"
    with monkeypatch.context() as patch:
        patch.setitem(fetch.BUILDERS, "unipen", interrupt)
        with pytest.raises(KeyboardInterrupt):
            get(host, root)
    assert get(dataclasses.replace(host, url="http://127.0.0.1:9/raw"), root).state == "right"


def test_an_unfinished_download_is_begun_anew(host, tmp_path):
    left = tmp_path / "root" / ".fetch" / "unipen" / f"{host.commit}.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(left)], check=True)
    (left / "shallow.lock").write_text("")  # what a killed fetch leaves; git would refuse
    assert get(host, tmp_path / "root").state == "right"


def test_a_killed_get_can_be_started_again(host, tmp_path):
    """A real process, killed while it builds; what it leaves harms nothing."""
    root = tmp_path / "root"
    code = (
        "import sys, os, dataclasses\n"
        "from pathlib import Path\n"
        "from datasets import fetch\n"
        "from datasets.sources import SOURCES\n"
        "def die(tree, chosen, folder, report):\n"
        "    (folder / 'unipen_lines.tsv').write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
        "fetch.BUILDERS['unipen'] = die\n"
        "source = dataclasses.replace(SOURCES['unipen'], url=sys.argv[1], commit=sys.argv[2])\n"
        "fetch.get(source, Path(sys.argv[3]))\n"
    )
    here = Path(__file__).resolve().parent.parent
    words = [sys.executable, "-c", code, host.url, host.commit, str(root)]
    assert subprocess.run(words, cwd=here, capture_output=True).returncode == -9
    assert not (root / "unipen_lines.tsv").exists()
    assert get(host, root).state == "right"


def test_one_url_is_the_address_of_one_set(call):
    err = call("data", "get", "unipen", "hooker", "--url", "http://127.0.0.1:9/raw")[2]
    assert "one set at a time" in err


def test_without_git_the_remedy_is_named(host, tmp_path, call, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = call("data", "get", "unipen", "--data-root", str(tmp_path / "root"))
    assert code == 2 and "git is not installed (apt-get install git)" in err


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda t, s: t.write_text(t.read_text().replace("another", "an other")), "not the same"),
        (lambda t, s: t.write_text("\n".join(t.read_text().splitlines()[:-1])), "more lines"),
        (lambda t, s: t.write_text(t.read_text().replace("split", "part")), "columns"),
        (lambda t, s: s.write_bytes(s.read_bytes()[:-20]), "damaged"),
        (lambda t, s: s.write_bytes(gzip.compress(b"{}\n" * 3)), "cannot be read"),
        (lambda t, s: s.unlink(), "has no unipen_lines.strokes"),
    ],
    ids=["text", "row gone", "header", "cut short", "other records", "file gone"],
)
def test_check_says_what_is_wrong(host, tmp_path, call, damage, reason):
    root = tmp_path / "root"
    get(host, root)
    damage(*(root / file for file in host.files))
    code, out, _ = call("data", "check", "unipen", "--json", "--data-root", str(root))
    (verdict,) = json.loads(out)
    assert code == 1 and verdict["state"] in ("differs", "missing")
    assert reason in verdict["reason"]
    assert verdict["remedy"] == "python -m bench data get unipen"


def test_an_empty_root_is_no_failure_but_what_is_missing_is_named(tmp_path, call):
    root = ("--data-root", str(tmp_path))
    all_, out, _ = call("data", "check", *root)
    named, more, _ = call("data", "check", "hooker", *root)
    assert (all_, named) == (0, 1)
    assert (out + more).count("mend it: python -m bench data get hooker") == 2
    records = json.loads(call("data", "list", "--json", *root)[1])
    listed = {entry["name"]: entry for entry in records}
    assert list(listed) == ["unipen", "hooker", "copiste"]
    assert not any(entry["here"] for entry in listed.values())
    assert listed["hooker"]["licence"] == "CC-BY-SA-4.0"


def test_the_chosen_lines_are_as_many_as_recorded() -> None:
    for source in SOURCES.values():
        chosen = load_selection(source.name)
        assert sum(len(items) for items in chosen.values()) == sum(source.lines.values())


def test_selection_ranges_keep_their_zeros() -> None:
    chosen = parse_selection("a\t08-11 r2l9-10 l l_7\nb\t3\n")
    assert chosen == {
        "a": {"08", "09", "10", "11", "r2l9", "r2l10", "l", "l_7"},
        "b": {"3"},
    }


def test_the_real_copiste_has_its_recorded_content() -> None:
    """The smallest of the three; `python -m bench data check` reads them all."""
    root, source = data_root(), SOURCES["copiste"]
    if root is None or not all((root / file).is_file() for file in source.files):
        pytest.skip("copiste is not in the data root")
    verdict = check(source, root)
    assert verdict.state == "right", verdict.reason
    assert not verdict.unreadable
    assert set("éèàçœ") <= set(verdict.alphabet)


def test_data_root_order(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "named"))
    assert data_root() == tmp_path / "named"
    set_data_root(tmp_path / "chosen")
    assert data_root() == tmp_path / "chosen"
    set_data_root(None)
    monkeypatch.delenv("BENCH_DATA")
    checkout = Path(__file__).resolve().parent.parent
    assert data_root() in (None, checkout / "data", checkout.parent / "shared" / "data")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_cannot_be_written_to_is_one_sentence(host, tmp_path, call):
    root = tmp_path / "closed"
    root.mkdir(mode=0o500)
    code, _, err = call("data", "get", "unipen", "--data-root", str(root))
    assert code == 2 and "no permission" in err
