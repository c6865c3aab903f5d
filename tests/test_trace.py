"""Traces of a system: what is in them, that no row comes of them, and TensorBoard's page."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.trace import STAGES, trace
from bench.core.types import Runtime
from bench.pipeline.opening import opened
from bench.pipeline.plan import Registries


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """Three lines read in two batches by greedy CTC behind the shipped encoder."""
    images = [np.full((32, width), 255, np.uint8) for width in (80, 60, 200)]
    folder, runtime = tmp_path_factory.mktemp("traces"), Runtime(batch_size=2, threads=1)
    with opened("mini", Registries(), {}, runtime) as bench:
        decoder = bench.decoder(bench.spec("ctc-greedy"))
        return trace("mini-ctc-greedy", bench, decoder, images, folder)


def events(path: Path) -> list[dict[str, Any]]:
    return json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]


def test_a_trace_holds_the_stages_of_each_batch_and_their_operators(traced):
    assert (traced.lines, traced.batches) == (3, 2)
    spans = [one for one in events(traced.path) if one.get("ph") == "X"]
    named = {
        stage: [
            one for one in spans if one["name"] == stage and one.get("cat") == "user_annotation"
        ]
        for stage in STAGES
    }
    assert {stage: len(found) for stage, found in named.items()} == dict.fromkeys(STAGES, 2)
    begins = [one["ts"] for pair in zip(*named.values(), strict=True) for one in pair]
    assert begins == sorted(begins)  # prepare, encode, decode; prepare, encode, decode
    inside = {
        one["name"]
        for one in spans
        if named["encode"][0]["ts"]
        <= one["ts"]
        < named["encode"][0]["ts"] + named["encode"][0]["dur"]
    }
    assert any("conv" in name for name in inside)
    steps = {one["name"] for one in spans if one["name"].startswith("ProfilerStep")}
    assert len(steps) == 2


def test_what_is_counted_agrees_with_the_trace(traced):
    assert [one.name for one in traced.stages] == list(STAGES)
    assert all(one.calls == 2 and one.total_s > 0 for one in traced.stages)
    spans = [one for one in events(traced.path) if one.get("ph") == "X"]
    encode = sum(one["dur"] for one in spans if one["name"] == "encode") / 1e6
    assert traced.stages[1].total_s == pytest.approx(encode, rel=0.05)
    names = [one.name for one in traced.operators]
    assert not set(STAGES) & set(names) and not [n for n in names if n.startswith("Profiler")]
    seconds = [one.self_s for one in traced.operators]
    assert seconds == sorted(seconds, reverse=True)
    calls = sum(one["name"] == names[0] for one in spans if one.get("cat") == "cpu_op")
    assert traced.operators[0].calls == calls > 0


# The command


def test_the_command_writes_traces_and_no_row(call, tmp_path, monkeypatch):
    from bench.pipeline import runs

    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    code, out, err = call(
        *("dev", "trace", "mini:ctc-greedy", "--lines", "2", "--batch-size", "1"),
        *("--out", str(tmp_path / "t")),
    )
    text = " ".join(out.split())
    assert code == 0 and "aten::" in text and "not those of a run" in text and "tracing" in err
    files = sorted(path.name for path in (tmp_path / "t").rglob("*") if path.is_file())
    assert files == ["mini-ctc-greedy.pt.trace.json.gz"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mini",), "ENCODER:DECODER"),
        (("mini:ctc-gredy",), "ctc-greedy"),
        (("mini:ctc-greedy", "--lines", "0"), "--lines must be >= 1, not 0"),
    ],
)
def test_mistakes_are_one_sentence(call, tmp_path, words, message):
    code, _, err = call("dev", "trace", *words, "--out", str(tmp_path / "t"))
    assert code == 2 and message in err and "Traceback" not in err
    assert not (tmp_path / "t").exists()


def test_the_plugin_of_tensorboard_reads_the_trace(traced, tmp_path):
    plugin = pytest.importorskip("torch_tb_profiler.profiler.data").RunProfileData
    found = plugin.parse("mini", None, str(traced.path), str(tmp_path))
    calls = {one.name: one.calls for one in found.op_list_groupby_name}
    assert all(calls[one.name] == one.calls for one in traced.operators[:5])
