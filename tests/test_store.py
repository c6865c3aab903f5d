"""The run folder: exact round trips, torn and full disks, locks, retries."""

import gzip
import json
import os
import re
import resource
import signal
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import ROOT
from bench.core import records
from bench.core.errors import UserError
from bench.core.files import draft_of
from bench.core.records import SCHEMA, dump, load, load_row
from bench.core.types import (
    Condition,
    EditCounts,
    LineResult,
    Row,
    Runtime,
    Spread,
    Timing,
)
from bench.pipeline.store import RunStore
from tests import run_rows

ENVIRONMENT = {"machine": {"cpu": {"model": "abacus"}, "beads": 70}, "git": None}

# Lone surrogates too: a decoder may emit anything. JSON joins a pair of them to one character.
texts = st.text(st.characters()).filter(
    lambda t: not re.search("[\ud800-\udbff][\udc00-\udfff]", t)
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 10**12)
values = st.none() | st.booleans() | st.integers() | numbers | texts
options = st.dictionaries(texts, values | st.lists(values), max_size=3)
extras = st.dictionaries(
    texts.filter(lambda name: name not in records._Extras.__annotations__), values, max_size=3
)
spreads = st.builds(Spread, numbers, numbers, numbers, counts)
rates = st.builds(Spread, numbers.filter(lambda rate: rate > 0), numbers, numbers, counts)
timings = st.builds(
    Timing, numbers, numbers, spreads, numbers, rates, rates, numbers, numbers, numbers,
    st.sampled_from(["single", "batch"]),
    st.lists(st.tuples(counts, numbers), max_size=3).map(tuple), st.none() | spreads,
)  # fmt: skip
shares = st.none() | numbers
leaks = st.fixed_dictionaries(
    {
        "train": st.none() | st.dictionaries(texts, counts, max_size=3),
        "lm": st.none() | st.dictionaries(texts, shares, max_size=2),
    }
)
corrections = st.fixed_dictionaries(
    {
        **dict.fromkeys(("improved", "same", "worse", "changed", "edits_before"), counts),
        "refused": st.dictionaries(texts, counts, max_size=3),
        "cer_before": shares,
        "wer_before": shares,
    },
    optional=dict.fromkeys(("requests", "tokens", "seconds", "retries", "cached"), numbers),
)
TEXTS = (
    "key", "cell", "encoder", "weights", "decoder", "dataset_sha256", "references", "version",
    "normaliser", "suite", "signature", "environment", "started", "reason",
)  # fmt: skip
rows = st.builds(
    Row,
    **dict.fromkeys(TEXTS, texts),
    **dict.fromkeys(("unreadable", "foreign"), counts),
    **dict.fromkeys(("ink_lost", "cer", "wer", "cer_macro", "cer_median"), shares),
    **dict.fromkeys(("options", "encoder_options", "dataset_options", "damage_options"), options),
    status=st.sampled_from(["ok", "failed"]),
    parameters=st.dictionaries(texts, counts, max_size=3),
    condition=st.builds(Condition, texts, texts, texts, counts, counts, st.none() | counts),
    runtime=st.builds(Runtime, texts, texts, counts, counts),
    counts=st.none() | st.builds(EditCounts, st.integers(1, 9), *[counts] * 12),
    timing=st.none() | timings,
    extras=extras,
    leak=st.none() | leaks,
    correction=st.none() | corrections,
)
line_results = st.builds(
    LineResult, texts, texts, texts, texts, counts, st.none() | numbers, st.booleans(),
    counts, counts, counts, counts, st.none() | texts, texts, block=texts,
)  # fmt: skip


def row(key: str = "k1", **more: Any) -> Row:
    return run_rows.row(**{"cell": "c1", "counts": None, "timing": None, **more, "key": key})


def other(key: str, **more: Any) -> Row:
    """A row of another cell."""
    return row(key, cell=key, **more)


LINE = LineResult("1", "w", "ab\u2028c", "ab\n", 3, -1.5, False, 0, 1, 0, 1, block="w")


@settings(deadline=None)  # a busy machine is no failure
@given(rows)
def test_a_row_comes_back_exactly(made):
    text = dump(made)
    assert text.count(b"\n") == 1 and text.endswith(b"\n")
    back = load_row(text, "")
    assert back == made
    assert repr(back) == repr(made)  # 1 == 1.0 == True, but not here


@settings(deadline=None)
@given(line_results)
def test_a_line_result_comes_back_exactly(made):
    assert repr(load(LineResult, dump(made), "")) == repr(made)


def test_a_changed_key_of_the_same_cell_takes_its_place_and_can_be_taken_back(tmp_path):
    store = RunStore(tmp_path)
    with store.writing(ENVIRONMENT):
        store.write(row("old", weights="a"), [LINE])
        store.write(row("new", weights="b"), [LINE])
        assert [each.key for each in store.rows()] == ["new"]
        assert store.finished("old") and store.finished("new")
        assert store.adopt("old").weights == "a"
        size = (tmp_path / "rows.jsonl").stat().st_size
        assert [each.key for each in store.rows()] == ["old"]
        store.adopt("old")
        assert (tmp_path / "rows.jsonl").stat().st_size == size  # it is the newest already
    assert [each.key for each in RunStore(tmp_path).rows()] == ["old"]


def test_a_part_of_a_run_stays_a_part(tmp_path):
    with (store := RunStore(tmp_path)).writing(ENVIRONMENT):
        for key in ("a", "b", "c"):
            store.write(other(key), [LINE])
    part = RunStore(tmp_path).only([other("b")])  # of a run that was not read before
    assert [each.key for each in part.rows()] == ["b"]
    assert [each.key for each in store.rows()] == ["a", "b", "c"]


@pytest.mark.parametrize("keep", [1, 40, -1])
def test_a_torn_last_row_is_tolerated_and_mended(tmp_path, keep):
    path = tmp_path / "rows.jsonl"
    whole, torn = dump(row("k1")), dump(other("k2"))
    store = RunStore(tmp_path)
    with store.writing(ENVIRONMENT):
        path.write_bytes(whole + torn[:keep])
    reader = RunStore(tmp_path)
    assert reader.rows() == [row("k1")]
    assert len(reader.damaged_rows()) == 1
    assert path.read_bytes() == whole + torn[:keep]  # a reader changes nothing
    with store.writing(ENVIRONMENT):
        assert path.read_bytes() == whole
        assert not store.finished("k2")
        store.write(other("k3"), [])
    assert [each.key for each in RunStore(tmp_path).rows()] == ["k1", "k3"]


@pytest.mark.parametrize("bad", [b"\0\0\0", b'{"cer": 1e999}'])
def test_a_damaged_row_in_the_middle_is_skipped_and_counted(tmp_path, bad):
    (tmp_path / "rows.jsonl").write_bytes(dump(row("k1")) + bad + b"\n" + dump(other("k2")))
    store = RunStore(tmp_path)
    assert store.rows() == [row("k1"), other("k2")]
    (problem,) = store.damaged_rows()
    assert "rows.jsonl, line 2: " in problem
    with store.writing(ENVIRONMENT):  # what is there stays as it is, and more can be added
        store.write(other("k3"), [])
    again = RunStore(tmp_path)
    assert [each.key for each in again.rows()] == ["k1", "k2", "k3"]
    assert len(again.damaged_rows()) == 1


def test_a_changed_row_counts_as_none_and_its_cell_runs_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    store = RunStore(tmp_path)
    with store.writing(ENVIRONMENT):
        store.write(row("k1"), [LINE])
        store.write(other("k2"), [LINE])
    sound = path.read_bytes()
    for place in range(0, sound.index(b"\n") - 100, 7):  # before the checksum
        changed = sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :]
        if changed.count(b"\n") > 2:
            continue
        path.write_bytes(changed)
        reader = RunStore(tmp_path)
        assert [each.key for each in reader.rows()] == ["k2"] and not reader.finished("k1")
        assert len(reader.damaged_rows()) == 1
    path.write_bytes(dump(row("k1")) + dump(other("k2")))  # as earlier versions wrote
    assert len(RunStore(tmp_path).rows()) == 2


def test_a_changed_environment_is_refused(tmp_path):
    with RunStore(tmp_path).writing(ENVIRONMENT):
        pass
    path = tmp_path / "env.json"
    path.write_text(path.read_text().replace("70", "71"))
    with pytest.raises(UserError, match=r"env.json, .*: changed after it was written; delete it"):
        RunStore(tmp_path).environments()


def test_a_folder_on_a_full_disk_can_be_locked_and_asked_for_its_writer(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = RunStore(tmp_path)
    assert store.writer() == "" and not list(tmp_path.iterdir())  # asking leaves nothing
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        with store.locked():
            assert store.writer() == str(os.getpid())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert store.writer() == ""


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        (SCHEMA + 1, r"line 1: .*schema 3, .*update"),
        (1, r"line 1: .*schema 1, .*measure again"),
        (None, r"line 1, field schema: expected `int`, got `null`; delete that line"),
    ],
)
def test_another_schema_says_what_to_do(tmp_path, schema, sentence):
    changed = json.loads(dump(row())) | {"schema": schema, "novelty": 1}
    (tmp_path / "rows.jsonl").write_text(json.dumps(changed) + "\n")
    with pytest.raises(UserError, match=sentence):
        RunStore(tmp_path).finished("k1")


def test_lines_of_a_cell_that_was_not_run_or_is_damaged(tmp_path, monkeypatch):
    store = RunStore(tmp_path)
    with pytest.raises(UserError, match="missing"):
        store.lines("k1")
    with store.writing(ENVIRONMENT):
        store.write(row("k1"), [LINE])
    packed = tmp_path / "lines" / "k1.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "lines" / "k1.jsonl").read_bytes()))
    (tmp_path / "lines" / "k1.jsonl").unlink()
    assert store.lines("k1") == [LINE]
    with monkeypatch.context() as patch:
        patch.setattr("bench.pipeline.store._MOST", 9)
        with pytest.raises(UserError, match="unpacks to over 9 bytes"):
            store.lines("k1")
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(UserError, match="cannot be read"):
        store.lines("k1")
    packed.unlink()
    (tmp_path / "lines" / "k1.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(UserError, match="changed after it was written; run again"):
        store.lines("k1")
    (tmp_path / "lines" / "old.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(
        UserError, match=r"old.jsonl, line 1, field id: expected `str`, got `int`; run"
    ):
        store.lines("old")


def test_a_full_disk_leaves_no_half_row_and_loses_nothing(tmp_path):
    """The kernel itself refuses to let a file grow, in the middle of a row."""
    store = RunStore(tmp_path)
    path = tmp_path / "rows.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with store.writing(ENVIRONMENT):
        store.write(row("k1"), [])
        before = path.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
        try:
            with pytest.raises(UserError, match=r"no space left .* what was finished is kept"):
                store.write(other("k2"), [])
            with pytest.raises(UserError, match="no space left"):
                store.write(other("k3"), [LINE] * 100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)
        assert path.read_bytes() == before
        left = {each.name for each in (tmp_path / "lines").iterdir()}
        assert left == {"k1.jsonl", "k2.jsonl"}  # no temporary file
        assert not store.finished("k2") and not store.finished("k3")
        store.write(other("k2"), [])
    assert [each.key for each in RunStore(tmp_path).rows()] == ["k1", "k2"]


def test_two_threads_may_write_the_same_file(tmp_path):
    path = tmp_path / "entry"
    with draft_of(path) as first, draft_of(path) as second:
        first.write_text("the same")
        second.write_text("the same")
    assert path.read_text() == "the same" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_run_left_unfinished_is_cleared_away(tmp_path):
    store = RunStore(tmp_path)
    with store.writing(ENVIRONMENT):
        store.write(row("k1"), [LINE])
    (tmp_path / "lines" / "k2.jsonl.17.tmp").write_text('{"id": ')
    (tmp_path / "run.json.17.tmp").write_text("{")
    with store.writing(ENVIRONMENT):
        assert not list(tmp_path.glob("*.tmp"))
        assert [each.name for each in (tmp_path / "lines").iterdir()] == ["k1.jsonl"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot write .*Not a directory; choose a folder"),
        RunStore(tmp_path / "file" / "run").writing(ENVIRONMENT),
    ):
        pass


HOLDER = """
import os, sys
from bench.pipeline.store import RunStore
with RunStore(sys.argv[1]).writing({}):
    if os.fork() == 0:  # a worker that outlives its parent must not keep the folder
        sys.stdout.close()
        import signal; signal.pause()
    print("held", flush=True)
    sys.stdin.read()
"""


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "rows.jsonl")
    (tmp_path / "env.json").symlink_to("/dev/zero")
    for read in (RunStore(tmp_path).rows, RunStore(tmp_path).environments):
        with pytest.raises(UserError, match="it is no regular file"):
            read()


def test_a_lock_that_is_a_link_is_not_written_through(tmp_path):
    precious, folder = tmp_path / "precious", tmp_path / "run"
    precious.write_text("of the user")
    folder.mkdir()
    (folder / "lock").symlink_to(precious)
    with (
        pytest.raises(UserError, match="lock is a link, and no lock is written through one"),
        RunStore(folder).locked(),
    ):
        pass
    assert precious.read_text() == "of the user"
    assert RunStore(folder).writer() == ""


def test_two_runs_never_write_one_folder_and_a_dead_ones_lock_is_taken_over(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert holder.stdout is not None and holder.stdin is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=rf"another run \(process {holder.pid}\) is writing"),
            RunStore(tmp_path).writing({}),
        ):
            pass
        assert RunStore(tmp_path).writer() == str(holder.pid)
        holder.kill()
        holder.wait()
        with RunStore(tmp_path).writing({}):
            pass
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.stdin.close()
        holder.stdout.close()
