"""Traces of a system: what is in them, that no row comes of them, and TensorBoard's page."""

from __future__ import annotations

import gzip
import json
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from bench.analysis.trace import STAGES, Trace, trace
from bench.core.errors import UserError
from bench.core.types import Image, Runtime
from bench.pipeline.opening import opened
from bench.pipeline.plan import Registries
from tests.web_pages import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def traced(folder):
    """Three lines read in two batches by greedy CTC behind the shipped encoder."""
    images = [np.full((32, width), 255, np.uint8) for width in (80, 60, 200)]
    return traced_lines("mini-ctc-greedy", images, folder)


def traced_lines(name: str, images: list[Image], folder: Path) -> Trace:
    runtime = Runtime(batch_size=2, threads=torch.get_num_threads())
    with opened("mini", Registries(), {}, runtime) as bench:
        return trace(name, bench, bench.decoder(bench.spec("ctc-greedy")), images, folder)


def events(path: Path) -> list[dict[str, Any]]:
    return json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]


def test_a_trace_holds_the_stages_of_each_batch_and_their_operators(traced):
    assert (traced.lines, traced.batches) == (3, 2)
    assert traced.tensorboard.read_bytes() == traced.chrome.read_bytes()
    spans = [one for one in events(traced.chrome) if one.get("ph") == "X"]
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
    spans = [one for one in events(traced.chrome) if one.get("ph") == "X"]
    encode = sum(one["dur"] for one in spans if one["name"] == "encode") / 1e6
    assert traced.stages[1].total_s == pytest.approx(encode, rel=0.05)
    names = [one.name for one in traced.operators]
    assert not set(STAGES) & set(names) and not [n for n in names if n.startswith("Profiler")]
    seconds = [one.self_s for one in traced.operators]
    assert seconds == sorted(seconds, reverse=True)
    calls = sum(one["name"] == names[0] for one in spans if one.get("cat") == "cpu_op")
    assert traced.operators[0].calls == calls > 0


def test_a_folder_that_cannot_be_written_is_named(tmp_path, traced):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file"):
        traced_lines("s", [np.full((32, 40), 255, np.uint8)], tmp_path / "file")


# The command


def test_the_command_writes_traces_and_no_row(call, tmp_path, monkeypatch):
    from bench.pipeline import runs

    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    code, out, err = call(
        *(
            "trace",
            "mini:ctc-greedy",
            "--lines",
            "2",
            "--batch-size",
            "1",
            "--out",
            str(tmp_path / "t"),
        )
    )
    told = " ".join(out.split())
    assert code == 0 and "aten::" in told and "not those of a run" in told and "tracing" in err
    files = sorted(path.name for path in (tmp_path / "t").rglob("*") if path.is_file())
    assert files == ["chrome.json.gz", "mini-ctc-greedy.pt.trace.json.gz"]
    assert not (tmp_path / "runs").exists()


def test_json_names_the_files(call, tmp_path):
    code, out, _ = call(
        *("trace", "mini:ctc-greedy", "--lines", "1", "--json", "--out", str(tmp_path))
    )
    record = json.loads(out)
    assert code == 0 and record["system"] == "mini:ctc-greedy" and record["lines"] == 1
    assert Path(record["chrome"]).is_file() and Path(record["tensorboard"]).is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("mini",), "ENCODER:DECODER"),
        (("mini:ctc-gredy",), "ctc-greedy"),
        (("mini:ctc-greedy", "--lines", "0"), "--lines 0"),
        (("mini:ctc-greedy", "--dataset", "linse"), "lines"),
        (("mini:ctc-greedy", "--device", "abacus"), "abacus"),
    ],
)
def test_mistakes_are_told_in_a_sentence(call, tmp_path, words, told):
    code, _, err = call("trace", *words, "--out", str(tmp_path / "t"))
    assert code == 2 and told in err and "Traceback" not in err
    assert not (tmp_path / "t").exists()


# TensorBoard

# The plugin draws its charts with a script that it loads from Google, and shows nothing before that
# is there. A test asks for nothing of the internet: in the place of that script comes one whose
# charts stay empty. All else of the page is the plugin's own.
_EMPTY_CHARTS = """
  const nothing = new Proxy(function () {}, {
    get: (_, name) => (name === Symbol.toPrimitive ? () => 0 : nothing),
    apply: () => nothing, construct: () => nothing,
  });
  window.google = {
    charts: { load() {}, setOnLoadCallback: (ready) => setTimeout(ready) }, visualization: nothing,
  };
"""


@contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """TensorBoard on loopback; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ("--logdir", str(folder), "--host", "127.0.0.1", "--port", str(port))
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", *where],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def until_it_answers(address: str, page: Page) -> None:
    for _ in range(120):
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            page.wait_for_timeout(250)
    raise AssertionError(f"{address} does not answer")


def test_tensorboard_shows_the_trace(traced, folder):
    for package in ("tensorboard", "torch_tb_profiler"):
        if find_spec(package) is None:
            pytest.skip(f"needs {package}")
    with chromium() as browser, tensorboard(folder) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.route("https://www.gstatic.com/**", lambda asked: asked.fulfill(body=_EMPTY_CHARTS))
        until_it_answers(address, page)
        page.goto(f"{address}/#pytorch_profiler")
        plugin = page.frame_locator("iframe")
        plugin.get_by_text("Execution Summary").wait_for(timeout=60_000)
        overview = plugin.locator("body").inner_text()
        plugin.get_by_text("Overview").click()
        plugin.get_by_role("option", name="Operator").click()
        plugin.get_by_role("cell", name=traced.operators[0].name, exact=True).first.wait_for()
        operators = plugin.locator("body").inner_text()
        page.screenshot(path=str(folder / "tensorboard.png"))
    assert "mini-ctc-greedy" in overview and re.search(r"Device Type\s+CPU", overview)
    first = traced.operators[0]
    assert re.search(rf"{re.escape(first.name)}\s+{first.calls}\s", operators)
