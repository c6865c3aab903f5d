"""What tests of the command line share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: a thread each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ["XDG_CONFIG_HOME"] = os.devnull  # no weights that its user tuned

os.environ["KAIDOKU_LANG"] = "en"  # wherever the tests run

from bench.core.cache import cache_folder

# Machine code is kept by the hash of its sources: a test with a cache of its own compiles none.
os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder("kernels")))

from bench import ROOT
from bench.cli import main  # opens torch, which counts its threads then
from bench.core.project import find
from bench.report import benchmark, render
from decoders import tuned

WIDTH = 120  # of the table of benchmarks


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[object, str, str]]:
    """Run a command line: exit code, stdout, stderr."""

    def called(*words: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        return left.value.code, *capsys.readouterr()

    return called


@pytest.fixture
def refused(call: Callable[..., tuple[object, str, str]]) -> Callable[..., str]:
    """Run a command line that is refused in a sentence, maybe with a list, which comes back."""

    def sentence(*words: str) -> str:
        code, out, err = call(*words)
        progress, _, said = err.rpartition("error: ")
        assert (code, out) == (2, "") and said and progress.count("\n") < 2, err
        assert "Traceback" not in err and (said.count("\n") == 1 or ":\n" in said), err
        return f"error: {said}"

    return sentence


@pytest.fixture(autouse=True)
def _no_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide a project file of this checkout."""
    monkeypatch.setattr("bench.cli.find", lambda folder: None if folder == ROOT else find(folder))


@pytest.fixture
def untuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the weights that were tuned for the shipped encoder."""
    monkeypatch.setattr(tuned, "PATH", tmp_path / "tuned.json")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Open only the benchmarks for --benchmark-only: other tests need the dev packages."""
    if not config.getoption("benchmark_only") or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text("utf-8")
    return True if re.search(r"def test_\w+\(benchmark\b", text) is None else None


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show benchmarks with their CER, which pytest-benchmark's own, far wider table has not."""
    session: Any = getattr(config, "_benchmarksession", None)
    if session is None or session.compare or session.verbose or not session.groups:
        return
    session.quiet = True
    for table in benchmark.from_session([each for _, group in session.groups for each in group]):
        terminalreporter.section(table.title, "-")
        terminalreporter.write_line(render.terminal(table, WIDTH).partition("\n")[2])
