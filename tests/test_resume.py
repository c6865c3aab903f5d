"""Keys and resume: what is run again, what is not, and a run killed half way."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import bench.pipeline.cells
import bench.pipeline.runner
from bench import ROOT
from bench.cli import bars
from bench.core import hashing, stopwatch
from bench.core.errors import UserError
from bench.core.hashing import code_version
from bench.core.machine import environment
from bench.core.types import Row, Runtime
from bench.pipeline import runs
from bench.pipeline.plan import Selection, build_plan
from bench.pipeline.runner import finished, run
from bench.pipeline.store import RunStore
from bench.report.cer import cer_cell
from bench.report.results import collect
from tests.harness_doubles import (
    ASKED,
    CALLS,
    EVENTS,
    QUICK,
    STALL_AT,
    Eraser,
    Pixels,
    Reader,
    Words,
    go,
    registries,
)


def timeless(row: Row) -> Row:
    return replace(row, timing=None, started="")


def test_finished_cells_are_not_run_again_and_things_are_opened_once(tmp_path):
    asked = replace(ASKED, damages=("none", "eraser"))
    first = go(tmp_path, asked)
    before = (tmp_path / "rows.jsonl").read_bytes()
    EVENTS.clear()
    called = next(CALLS)
    plan = build_plan(asked, registries())
    second = run(plan, RunStore(tmp_path))
    assert second.reused == first.done and not second.done
    assert (tmp_path / "rows.jsonl").read_bytes() == before
    assert next(CALLS) == called + 1
    assert EVENTS == [
        "open pixels", "open reader ", "open reader e", "load words",
        "close reader e", "close reader ",
    ]  # fmt: skip


@pytest.mark.faults
def test_a_clock_that_jumps_by_hours_changes_no_duration_and_no_order(tmp_path, monkeypatch):
    jumps = itertools.cycle((5, -30, 90))  # hours

    class Jumping(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(hours=next(jumps))

    monkeypatch.setattr(stopwatch, "datetime", Jumping)
    seconds = time.time
    monkeypatch.setattr(time, "time", lambda: seconds() + 3600 * next(jumps))
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    plan = build_plan(ASKED, registries())
    for name in ("a", "b", "c", "d"):
        runs.begin(tmp_path / name, ASKED)
        outcome = run(plan, RunStore(tmp_path / name))
        assert outcome.done and 0 < outcome.loop_s < 60
        for row in RunStore(tmp_path / name).rows():
            assert row.timing and 0 < row.timing.encode_s + row.timing.decode_s.median < 60
        assert runs.newest() == tmp_path / name == runs.choose(ASKED)
        assert run(plan, RunStore(tmp_path / name)).reused == outcome.done


def test_a_run_is_found_though_its_record_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    for name in ("sound", "damaged"):
        runs.begin(tmp_path / name, ASKED)
        go(tmp_path / name)
    assert runs.newest() == tmp_path / "damaged"
    (tmp_path / "damaged" / "run.json").write_bytes(b"")
    assert runs.newest() == runs.choose(ASKED) == tmp_path / "sound"
    (tmp_path / "sound" / "rows.jsonl").unlink()
    assert runs.newest() == tmp_path / "damaged"


def test_the_end_of_a_run_does_not_end_one_that_began_in_its_folder_since(tmp_path):
    first = runs.begin(tmp_path, ASKED, cells=2)
    second = runs.begin(tmp_path, ASKED, cells=2)
    runs.end(tmp_path, first)
    assert runs.planned(tmp_path) == (2, False)
    with RunStore(tmp_path).locked():
        runs.end(tmp_path, second)
        assert runs.planned(tmp_path) == (2, False)
    runs.end(tmp_path, second)
    assert runs.planned(tmp_path) == (2, True)


def test_a_run_that_is_refused_changes_nothing_of_the_one_that_writes(tmp_path):
    runs.begin(tmp_path, ASKED, cells=2)
    before = (tmp_path / "run.json").read_bytes()
    with RunStore(tmp_path).writing({}):
        with pytest.raises(UserError, match="is writing"):
            runs.begin(tmp_path, replace(ASKED, limit=1), "speed")
        assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize(("thing", "method"), [(Pixels, "open"), (Words, "load")])
def test_a_finished_cell_is_shown_though_its_encoder_or_set_does_not_open_later(
    tmp_path, monkeypatch, thing, method
):
    first = go(tmp_path)
    good = RunStore(tmp_path).rows()

    def gone(self, *args):
        raise UserError("its disk is not there")

    with monkeypatch.context() as patch:
        patch.setattr(thing, method, gone)
        assert len(go(tmp_path).failed) == 2
        for _ in range(2):
            store = RunStore(tmp_path)
            assert store.rows() == good and len(store.failures()) == 2
            for result in collect(store):
                (remark,) = (note for note in cer_cell(result).notes if "last run" in note)
                assert remark.endswith(f"did not {method}: its disk is not there")
            assert not finished(build_plan(ASKED, registries()), store)  # the key is unknown
    assert go(tmp_path).reused == first.done
    store = RunStore(tmp_path)
    assert store.rows() == good and not store.failures()


@pytest.mark.parametrize("kept", [None, 0.5, "line", "zeros", "edits", "order"])
def test_a_cell_whose_lines_are_lost_or_torn_is_measured_again(tmp_path, kept):
    first = go(tmp_path)
    spoilt, sound = first.done
    path = tmp_path / "lines" / f"{spoilt}.jsonl"
    whole = path.read_bytes()
    if kept is None:
        path.unlink()
    elif kept == "line":
        path.write_bytes(whole[: whole[:-1].rfind(b"\n") + 1])
    elif kept == "zeros":
        path.write_bytes(whole[:90] + bytes(40) + whole[130:])
    elif kept == "edits":
        path.write_bytes(whole.replace(b'"substitutions": ', b'"substitutions": 1', 1))
    elif kept == "order":
        path.write_bytes(b"".join(reversed(whole.splitlines(keepends=True))))
    else:
        path.write_bytes(whole[: int(kept * len(whole))])
    second = go(tmp_path)
    assert (second.done, second.reused) == ([spoilt], [sound])
    assert path.read_bytes() == whole
    assert go(tmp_path).reused == first.done


def test_a_decoder_that_is_stopped_costs_the_faster_ones_nothing(tmp_path, monkeypatch):
    asked = replace(
        ASKED,
        decoders=("no-vowel", "reader", "no-e"),
        options={"no-vowel": {"busy_s": 0.05}},
        rounds=replace(QUICK, together_s=0.0),
    )
    decode = Reader.decode

    def stopping(self, encoded):
        if self.spec.busy_s and self.calls:  # after its warm-up
            raise KeyboardInterrupt
        return decode(self, encoded)

    with monkeypatch.context() as stopped:
        stopped.setattr(Reader, "decode", stopping)
        first = go(tmp_path, asked)
    assert first.interrupted
    assert {row.decoder for row in RunStore(tmp_path).rows()} == {"reader", "no-e"}
    second = go(tmp_path, asked)
    assert sorted(second.reused) == sorted(first.done) and len(second.done) == 1


def test_a_run_that_is_asked_to_stop_ends_the_cells_at_hand_first(tmp_path):
    asked = replace(
        ASKED,
        decoders=("no-vowel", "reader"),
        datasets=("words", "more-words"),
        options={"no-vowel": {"busy_s": 0.05}},
        rounds=replace(QUICK, together_s=0.0),
    )
    store = RunStore(tmp_path)
    plan = build_plan(asked, registries())
    stopped = run(plan, store, stopping=lambda: bool(store.rows()))
    assert stopped.interrupted and [row.decoder for row in store.rows()] == ["reader"]
    assert run(plan, store).reused == stopped.done and len(store.rows()) == plan.cells == 4


def test_sigterm_ends_a_run_behind_its_cells_with_a_hint(tmp_path, call, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)

    def stopping(self, cells):
        if cells and signal.getsignal(signal.SIGTERM) is not before:  # a second one would kill
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(bars.RunProgress, "advanced", stopping)
    words = ("run", "--encoder", "mini", "--decoder", "ctc-greedy", "--dataset", "ink,hooker")
    code, _, err = call(*words, "--limit", "2", "--rounds", "2", "--out", f"{tmp_path}/run")
    assert code == 130 and ": 1; the same command goes on" in err
    assert signal.getsignal(signal.SIGTERM) is before
    monkeypatch.undo()
    code, out, _ = call("report", "--run", f"{tmp_path}/run", "--status", "--json")
    status = json.loads(out)
    assert (status["done"], status["failed"], status["left"]) == (1, 0, 1)
    (row,) = RunStore(tmp_path / "run").rows()
    assert row.timing and status["seconds_left"] >= row.timing.decode_s.median
    with RunStore(tmp_path / "run").writing({}):
        code, out, _ = call("report", "--run", f"{tmp_path}/run", "--status")
        assert f"process {os.getpid()} is writing" in out and "1 of 2 cells done" in out
    code, out, _ = call("report", "--run", f"{tmp_path}/run", "--status")
    assert "give the run's command again to go on" in out
    runs.end(tmp_path / "run", runs.begin(tmp_path / "run", ASKED, cells=2))
    code, out, _ = call("report", "--run", f"{tmp_path}/run", "--status")
    assert code == 0 and "0 left\nit has ended\n" in out


@pytest.mark.parametrize(
    "place", ["bench.pipeline.runner.open_encoder", "decoders.ctc.greedy.best_path"]
)
def test_ctrl_c_that_a_library_takes_for_an_error_of_its_own_fails_no_cell(
    tmp_path, call, monkeypatch, place
):
    def swallowing(*args):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:  # as torch does in C
            raise ValueError("could not determine the shape") from None

    monkeypatch.setattr(place, swallowing)
    words = ("run", "--encoder", "mini", "--decoder", "ctc-greedy", "--dataset", "unipen")
    before = signal.getsignal(signal.SIGINT)
    code, _, err = call(*words, "--limit", "1", "--rounds", "1", "--out", f"{tmp_path}/run")
    assert code == 130 and ": 0; the same command goes on" in err
    assert not RunStore(tmp_path / "run").rows()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"pixels": {"weights": "other"}}},
        {"options": {"reader": {"table": "5e7"}}},
        {"options": {"words": {"size": 11}}},
        {"split": "val"},
        {"rounds": replace(QUICK, least=1)},
        {"runtime": Runtime(batch_size=6)},
    ],
)
def test_what_can_change_text_or_time_changes_the_key(tmp_path, change):
    asked = replace(ASKED, decoders=("reader",))
    first = go(tmp_path, asked)
    second = go(tmp_path, replace(asked, **change))
    assert second.done and not second.reused and first.done != second.done


def test_another_machine_measures_anew_and_another_commit_does_not(tmp_path, monkeypatch):
    first = go(tmp_path)
    record = environment()
    commit = {**record, "git": {"commit": "5e7", "dirty": False}}
    monkeypatch.setattr(bench.pipeline.runner, "environment", lambda: commit)
    assert go(tmp_path).reused == first.done
    machine = {**record, "machine": {**record["machine"], "gpu": ["a new one"]}}
    monkeypatch.setattr(bench.pipeline.runner, "environment", lambda: machine)
    second = go(tmp_path)
    assert len(second.done) == 2 and not second.reused
    assert len(RunStore(tmp_path).rows()) == 2
    assert len(RunStore(tmp_path).environments()) == 3


def test_a_changed_file_runs_only_the_cells_that_use_it(tmp_path, monkeypatch):
    asked = replace(ASKED, damages=("none", "eraser"))
    go(tmp_path, asked)
    kept = code_version
    bench.pipeline.cells._version.cache_clear()
    monkeypatch.setattr(Eraser, "__module__", "tests.harness_doubles_2")
    monkeypatch.setattr(
        bench.pipeline.cells,
        "code_version",
        lambda modules: "new" if modules == ("tests.harness_doubles_2",) else kept(modules),
    )
    outcome = go(tmp_path, asked)
    bench.pipeline.cells._version.cache_clear()
    assert len(outcome.reused) == 2 and len(outcome.done) == 2  # the damaged ones


def test_code_version_is_that_of_the_syntax_trees_that_imports_reach(tmp_path, monkeypatch):
    package = tmp_path / "shelf"
    (package / "parts").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "one.py": "from shelf.parts import wheel\nimport json\n",
        "two.py": "import shelf.three\n",
        "three.py": "def f():\n    from shelf.parts.axle import AXLE\n",
        "parts/__init__.py": "",
        "parts/wheel.py": "from shelf import two\n",
        "parts/axle.py": "AXLE = 1\n",
        "alone.py": "",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    monkeypatch.setattr(hashing, "ROOT", tmp_path)
    cached = (hashing.sources_of, hashing.file_of, hashing._tree_hash, hashing._imports)

    def versions() -> tuple[str, str]:
        for function in cached:
            function.cache_clear()
        return code_version(["shelf.one"]), code_version(["shelf.alone"])

    one, alone = versions()
    for name in ("parts/axle.py", "three.py", "two.py", "parts/wheel.py", "one.py"):
        (package / name).write_text(f'"""Says what it is."""\n\n# why\n{files[name]}')
        assert versions() == (one, alone), name
        (package / name).write_text(files[name] + "changed = 1\n")
        changed = versions()
        assert changed[0] != one and changed[1] == alone, name
        one = changed[0]
    for name in ("__init__.py", "parts/__init__.py", "alone.py"):
        (package / name).write_text("changed = 1\n")
    assert versions()[0] == one and versions()[1] != alone
    for function in cached:
        function.cache_clear()


CALLS_WARM = 2  # each decoder once, in the first block that is measured
CALLS_CLEAN = 2 * 3 * QUICK.least + CALLS_WARM  # decoders * batches * rounds
CALLS_DAMAGED = 2 * 3
STALL = CALLS_CLEAN + CALLS_DAMAGED + 3  # in the middle of the third block


def logged_selection(log: Path) -> Selection:
    options = {name: {"log": str(log)} for name in ASKED.decoders}
    return replace(ASKED, damages=("none", "eraser"), swept=("eraser",), options=options)


def stalled_job(folder: str, log: str) -> None:
    """What the process runs that is killed."""
    STALL_AT.append(STALL)
    go(Path(folder), logged_selection(Path(log)))


def calls(log: Path) -> int:
    """How often decoders were called since the log was last looked at."""
    count = len(log.read_text().splitlines()) if log.exists() else 0
    log.unlink(missing_ok=True)
    return count


def test_a_killed_run_goes_on_where_it_was_and_ends_as_an_uninterrupted_one(tmp_path):
    log = tmp_path / "calls.log"
    job = "import sys; from tests.test_resume import stalled_job; stalled_job(*sys.argv[1:])"
    child = subprocess.Popen([sys.executable, "-c", job, str(tmp_path / "a"), str(log)], cwd=ROOT)
    try:
        begin = time.monotonic()
        while not log.exists() or len(log.read_text().splitlines()) < STALL:
            assert child.poll() is None and time.monotonic() - begin < 120
            time.sleep(0.02)
    finally:
        child.kill()
    assert child.wait() == -signal.SIGKILL
    assert calls(log) == STALL
    rows = tmp_path / "a" / "rows.jsonl"
    kept = rows.read_bytes()
    finished = [json.loads(line)["key"] for line in kept.splitlines()]
    assert len(finished) == 4
    rows.write_bytes(kept + kept[:50])  # as if it had been killed while it wrote the next row

    outcome = go(tmp_path / "a", logged_selection(log))
    assert outcome.reused == finished and len(outcome.done) == 12 - 4
    assert rows.read_bytes().startswith(kept)  # their times too are those of the killed run
    assert calls(log) == 4 * CALLS_DAMAGED + CALLS_WARM

    go(tmp_path / "b", logged_selection(log))
    assert calls(log) == CALLS_CLEAN + 5 * CALLS_DAMAGED
    interrupted, whole = RunStore(tmp_path / "a"), RunStore(tmp_path / "b")
    assert [timeless(row) for row in interrupted.rows()] == [timeless(row) for row in whole.rows()]
    for row in whole.rows():
        assert interrupted.lines(row.key) == whole.lines(row.key)
