"""Executors: tasks in processes of a cluster give the rows of a run in this process."""

import itertools
import json
import os
import sys
from collections import Counter
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest

from bench.core.errors import Unavailable, UserError
from bench.core.types import Runtime
from bench.pipeline import executors, runner
from bench.pipeline.executors import (
    AdoptedCell,
    Resources,
    _Driver,
    check_engine,
    resources,
    shared,
)
from bench.pipeline.plan import build_plan
from bench.pipeline.runner import Silent
from bench.pipeline.store import RunStore
from bench.report import accuracy
from bench.report.results import collect
from tests.harness_doubles import ASKED, QUICK, go, registries

TWO_BLOCKS = replace(
    ASKED,
    decoders=("reader", "dying"),
    damages=("none", "eraser"),
    rounds=replace(QUICK, together_s=0.0),  # each decoder by itself
)


def on(engine, path, asked, cluster="local", shard=None):
    pytest.importorskip({"ray": "ray", "slurm": "submitit"}[engine])
    plan, mine = build_plan(asked, registries()), Resources(1, 0)
    return executors.run(plan, RunStore(path), engine, mine, cluster=cluster, shard=shard)


def facts(path):
    """Tables, rows and lines but for times, and what follows from having none."""
    store = RunStore(path)
    tables = [*accuracy.by_set(collect(store)), *accuracy.by_damage(collect(store))]
    read: dict[Any, Any] = {
        table.title: [[cell.text for cell in line] for line in table.rows] for table in tables
    }
    for row in store.rows():
        extras = {name: fact for name, fact in row.extras.items() if name != "no_speed"}
        lost = row.ink_lost and round(row.ink_lost, 12)  # a mean of means
        own = replace(
            row, key="", environment="", started="", timing=None, ink_lost=lost, extras=extras
        )
        read[row.decoder, row.condition] = own, store.lines(row.key)
    return read


def assert_same(there, here):
    """The same results, and no cell stored twice."""
    assert facts(there) == facts(here)
    rows = (there / "rows.jsonl").read_text().splitlines()
    assert Counter(json.loads(row)["cell"] for row in rows).most_common(1)[0][1] == 1


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("engine", "shard", "blocks"),
    [
        ("slurm", None, 1),
        *(
            pytest.param(engine, shard, 2, marks=SLOW)
            for engine in ("slurm", "ray")
            for shard in (None, 5)
        ),
    ],
)
def test_a_cluster_reads_what_one_process_reads_though_a_worker_is_killed(
    tmp_path, engine, shard, blocks
):
    mark = tmp_path / "mark"
    options = {"dying": {"mark": str(mark), "busy_s": 0.05}}
    asked = replace(TWO_BLOCKS, options=options, damages=TWO_BLOCKS.damages[:blocks])
    outcome = on(engine, tmp_path / "there", asked, shard=shard)
    assert mark.exists()
    go(tmp_path / "here", asked)
    assert not outcome.failed and not outcome.interrupted
    assert_same(tmp_path / "there", tmp_path / "here")


def test_shards_are_joined_to_the_rows_of_a_run_without(tmp_path):
    broken = {"reader": {"raises": "value"}}
    asked = replace(ASKED, damages=("none", "eraser"))
    outcome = on("slurm", tmp_path / "there", asked, cluster="debug", shard=9)  # a batch, in effect
    go(tmp_path / "here", asked)
    assert_same(tmp_path / "there", tmp_path / "here")
    rows = RunStore(tmp_path / "there").rows()
    assert {row.extras["no_speed"] for row in rows} == {"its lines were read by 3 tasks"}
    again = on("slurm", tmp_path / "there", asked, cluster="debug", shard=9)
    assert (again.done, sorted(again.reused)) == ([], sorted(outcome.done))
    failed = on("slurm", tmp_path / "2", replace(ASKED, options=broken), cluster="debug", shard=9)
    assert (len(failed.failed), len(failed.done)) == (1, 1)


def test_shards_of_unlike_workers_are_not_joined(tmp_path, monkeypatch):
    machines = itertools.count()
    monkeypatch.setattr(runner, "environment", lambda: {"machine": next(machines)})
    with pytest.raises(UserError, match="workers that read pixels on words differ in machine"):
        on("slurm", tmp_path, ASKED, cluster="debug", shard=5)
    assert not RunStore(tmp_path).rows()


def alone(monkeypatch):
    """Let Slurm have given a task all cores of the machine."""
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", str(os.cpu_count()))


def test_a_task_measures_speed_where_its_device_is_its_own(tmp_path, monkeypatch):
    shared_rows = on("slurm", tmp_path, ASKED, cluster="debug")
    rows = RunStore(tmp_path).rows()
    assert [row.timing for row in rows] == [None, None]
    cores = f"its task had 0 of the machine's {os.cpu_count()} cores"
    assert {row.extras["no_speed"] for row in rows} == {cores}
    with monkeypatch.context() as there:
        alone(there)
        own = on("slurm", tmp_path, ASKED, cluster="debug")
    rows = RunStore(tmp_path).rows()
    assert not own.reused and len(rows) == 2
    assert all(row.timing and "no_speed" not in row.extras for row in rows)
    assert set(own.done).isdisjoint(shared_rows.done)
    again = on("slurm", tmp_path, ASKED, cluster="debug")  # a row with more than is asked for
    assert (again.reused, again.done) == (own.done, [])


@pytest.mark.parametrize(
    ("device", "cpus", "gpus", "why"),
    [
        ("cpu", (2, 2), 0, ""),
        ("cpu", (1, 2), 0, "its task had 1 of the machine's 2 cores"),
        ("cuda", (1, 64), 1, ""),
        ("cuda", (64, 64), 0.5, "its task had 0.5 of a card"),
    ],
)
def test_a_device_is_shared_where_less_than_all_of_it_is_reserved(device, cpus, gpus, why):
    assert shared(device, cpus, gpus) == why


@pytest.mark.slow
def test_a_cell_whose_workers_are_lost_again_and_again_fails(tmp_path):
    options = {"dying": {"mark": "/dev/null/no", "busy_s": 0.05}}
    asked = replace(TWO_BLOCKS, damages=("none",), options=options)
    before = on("slurm", tmp_path, replace(asked, decoders=("reader",), options={}))
    outcome = on("slurm", tmp_path, asked)
    store = RunStore(tmp_path)
    rows = {row.decoder: row for row in store.rows()}
    assert outcome.reused == before.done and store.failures().keys() == {rows["dying"].cell}
    assert (rows["reader"].status, rows["dying"].status) == ("ok", "failed")
    assert len(outcome.failed) == 1
    assert rows["dying"].reason.startswith("the task lost 3 workers, the last one so: Job ")


def test_a_mistake_that_a_worker_finds_ends_the_run_in_its_sentence(tmp_path, monkeypatch):
    strict = replace(ASKED, options={"words": {"unreadable": 1, "strict": True}})
    with pytest.raises(UserError, match="bad-0: the image is truncated"):
        on("slurm", tmp_path, strict, cluster="debug")
    assert "truncated" in (tmp_path / "bad-lines.jsonl").read_text()
    versions = iter(("of the driver", "of the worker"))
    monkeypatch.setattr(executors, "measuring_version", lambda: next(versions))
    with pytest.raises(UserError, match=r"the code on .* is another; update the checkout"):
        on("slurm", tmp_path / "other", ASKED, cluster="debug")


def test_what_a_task_reports_arrives(tmp_path):
    asked = replace(ASKED, options={"words": {"unreadable": 2}, "reader": {"refuses": True}})
    outcome = on("slurm", tmp_path, asked, cluster="debug")
    assert [item.label for item in outcome.skipped] == ["reader on pixels"]
    assert len(outcome.done) == 1 and RunStore(tmp_path).rows()[0].unreadable == 2
    store = RunStore(tmp_path)
    assert store.environments().keys() == {row.environment for row in store.rows()}


def test_a_task_that_slurm_starts_again_ends_the_record_that_its_first_worker_left(
    tmp_path, monkeypatch
):
    left = b'["AdoptedCell", {"key": "k1"}]\n["AdoptedCell", {"ke'
    path = tmp_path / "messages"
    path.write_bytes(left)
    before, place = executors._arrived(path, 0)
    monkeypatch.setattr(executors, "work", lambda task, why, send: send(AdoptedCell("k2")))
    task = _Driver(build_plan(ASKED, registries()), RunStore(tmp_path), Silent(), bool, None)
    executors._write_messages(task.task(task.blocks[0]), path)
    after, _ = executors._arrived(*place)
    assert [vars(message)["key"] for message in (*before, *after)] == ["k1", "k2"]


def test_resources_are_those_of_the_runtime_unless_chosen():
    assert resources(Runtime(threads=3)) == Resources(3, 0)
    assert resources(Runtime("cuda:0"), cpus=8, gpus=0.5) == Resources(8, 0.5)
    for chosen in ({"cpus": 0}, {"gpus": 1.5}, {"gpus": -1.0}):
        with pytest.raises(UserError, match=r"take 1 or more|take a whole number"):
            resources(Runtime(), **chosen)


def test_a_cluster_that_does_not_answer_is_one_sentence(tmp_path, monkeypatch):
    class Ray:
        @staticmethod
        def init(**_):
            raise ConnectionError("Failed to connect to Ray cluster at 192.0.2.1:6379\n")

    monkeypatch.setitem(sys.modules, "ray", Ray)
    monkeypatch.setattr(executors, "check_engine", lambda *_: None)
    plan = build_plan(ASKED, registries())
    with pytest.raises(UserError, match=r"at 192.0.2.1:6379; see whether it runs, and set RAY_A"):
        executors.run(plan, RunStore(tmp_path), "ray", Resources(1, 0))


def not_there(package):
    raise PackageNotFoundError(package)


def test_an_engine_that_is_not_here_is_named(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", not_there)
    with pytest.raises(Unavailable, match="--executor ray needs the package ray"):
        check_engine("ray")
    monkeypatch.undo()
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="no sbatch"):
        check_engine("slurm")
