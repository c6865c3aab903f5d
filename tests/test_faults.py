"""Real runs of the command line under faults: nothing finished is lost, and tables come out equal.

`pytest -m faults` makes every try: some 20 minutes of a core, and more where others work. One kill
and one damaged folder are in every run of the tests, and so are a clock that jumps (test_resume.py)
and a killed `data get` (test_acquire.py). Figures stand in docs/reliability.md.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bench import ROOT
from bench.core.registry import Entry
from bench.core.types import LineResult, Row
from bench.pipeline.plan import Block, build_plan
from bench.pipeline.runner import Silent, run
from bench.pipeline.store import RunStore
from tests.harness_doubles import ASKED, HERE, registries

WORDS = (
    "run", "--encoder", "mini", "--decoder", "ctc-greedy,ctc-ngram", "-o", "ctc-ngram.order=2",
    "--dataset", "lines,unipen", "--damage", "none,blot", "--severity", "3", "--limit", "2",
    "--rounds", "1",
)  # fmt: skip
CELLS = 8
WITHOUT_REPORT = """
import bench.report.output
bench.report.output.write = lambda folder, results, **options: []
bench.report.output.terminal = lambda results: ""
"""
PROGRAM = "import runpy\nrunpy.run_module('bench', run_name='__main__')"
LIMIT_S = 500  # of a run
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
FAULTS: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "missing": lambda data, rng: None,
    "empty": lambda data, rng: b"",
    "cut": lambda data, rng: data[: rng.randrange(len(data))],
    "flipped": lambda data, rng: _changed(data, rng, lambda byte: byte ^ (1 << rng.randrange(8))),
    "zeroed": lambda data, rng: _changed(data, rng, lambda byte: 0, 40),
}


def _changed(
    data: bytes, rng: random.Random, change: Callable[[int], int], length: int = 1
) -> bytes:
    at = rng.randrange(len(data))
    span = bytes(change(byte) for byte in data[at : at + length])
    return data[:at] + span + data[at + length :]


class Program:
    """The command line, in processes of its own or forks of a server, with a cache of its own.

    seconds: that a fork's run takes to its end; whole_s: that of a process.
    """

    def __init__(self, out: Path, cache: Path) -> None:
        self.out, self.cache, self.seconds, self.whole_s = out, cache, 0.0, 0.0
        self._forks = multiprocessing.get_context("forkserver")
        self._forks.set_forkserver_preload(["tests.preloaded", __name__])

    def start(self, report: bool = False) -> subprocess.Popen[str]:
        """Begin a run; its report takes longer than the run, and most tries leave it out."""
        program = PROGRAM if report else WITHOUT_REPORT + PROGRAM
        return subprocess.Popen(
            [sys.executable, "-c", program, *WORDS, "--out", str(self.out)],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **_variables(self.cache)},
            # A shell that runs the tests in the background has its children ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def fork(self) -> multiprocessing.process.BaseProcess:
        """Begin a run in a fork of a process that has imported it, which is most of its time."""
        process = self._forks.Process(target=_forked, args=(self.out, self.cache))
        with pytest.MonkeyPatch.context() as patch:  # for the server, which begins with the first
            for name, value in {**_variables(self.cache), "PYTHONPATH": str(ROOT)}.items():
                patch.setenv(name, value)
            process.start()
        return process

    def finish(self, whole: bool = False) -> tuple[int, str]:
        """Run to the end; the exit code and what it wrote to stderr."""
        began = time.monotonic()
        if whole:
            process = self.start()
            _, err = process.communicate(timeout=LIMIT_S)
            code, self.whole_s = process.returncode, time.monotonic() - began
        else:
            fork = self.fork()
            code, err = self.end_of(fork)
            self.seconds = time.monotonic() - began
        assert "Traceback" not in err, err
        return code, err

    def end_of(self, fork: multiprocessing.process.BaseProcess) -> tuple[int, str]:
        """The exit code of a fork, and what it wrote to stderr."""
        fork.join(LIMIT_S)
        assert fork.exitcode is not None, "it does not end"
        errors = _errors(self.cache)
        return fork.exitcode, errors.read_text() if errors.exists() else ""

    def results(self) -> list[tuple[Row, list[LineResult]]]:
        """The rows of all cells but for their times, and their lines."""
        store = RunStore(self.out)
        return [
            (replace(row, timing=None, started="", environment=""), store.lines(row.key))
            for row in sorted(store.rows(), key=lambda row: row.key)
        ]

    def finished(self) -> dict[str, bytes]:
        """Keys of finished cells with their lines; each cell stands in the rows once."""
        rows = self.out / "rows.jsonl"
        text = rows.read_bytes() if rows.exists() else b""
        keys = [
            json.loads(line)["key"]
            for line in text.splitlines(keepends=True)
            if line.endswith(b"}\n")
        ]
        assert len(keys) == len(set(keys))
        assert all(row.status == "ok" for row in RunStore(self.out).rows())
        return {key: (self.out / "lines" / f"{key}.jsonl").read_bytes() for key in keys}


def _variables(cache: Path) -> dict[str, str]:
    # Machine code lies in the same cache, which the tests' own variable would move.
    return {"KAIDOKU_CACHE": str(cache), "KAIDOKU_LANG": "en", "NUMBA_CACHE_DIR": ""}


def _errors(cache: Path) -> Path:
    return cache.with_name("stderr")  # not in the run's folder, whose disk may be full


def _forked(out: Path, cache: Path) -> None:
    """A run, as `Program.start` begins it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(_variables(cache))
    with _errors(cache).open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.argv = ["bench", *WORDS, "--out", str(out)]
    exec(WITHOUT_REPORT + PROGRAM, {})


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("unharmed")
    program = Program(folder / "run", folder / "cache")
    _copy(Path(os.environ["NUMBA_CACHE_DIR"]), program.cache / "kernels")
    assert program.finish(whole=True)[0] == 0
    assert len(program.results()) == CELLS
    return program


@pytest.mark.slow
@pytest.mark.faults
def test_a_run_that_is_killed_at_any_moment_loses_no_finished_cell(
    tmp_path: Path, unharmed: Program
) -> None:
    killed(300, tmp_path, unharmed)


@pytest.mark.slow
@pytest.mark.faults
def test_a_run_folder_with_damaged_files_is_mended_or_refused(
    tmp_path: Path, unharmed: Program
) -> None:
    damaged(60, tmp_path, unharmed)


@pytest.mark.slow
@pytest.mark.faults
def test_damaged_caches_are_made_again(tmp_path: Path, unharmed: Program) -> None:
    made_again(40, tmp_path, unharmed)


def test_a_killed_run_and_a_damaged_folder(tmp_path: Path, unharmed: Program) -> None:
    killed(1, tmp_path / "killed", unharmed)
    damaged(1, tmp_path / "damaged", unharmed)


@pytest.mark.slow
@pytest.mark.faults
def test_a_second_run_is_refused_and_the_first_one_ends(tmp_path: Path, unharmed: Program) -> None:
    refused(tmp_path, unharmed)


def killed(count: int, tmp_path: Path, unharmed: Program, seed: int = 0) -> None:
    """A run that is killed at any moment loses no finished cell and doubles none.

    One in twenty runs imports everything, one in twenty also writes its report, and the others are
    forked from a process that has imported it: most of their moments lie in the run itself.
    """
    rng, kills, number = random.Random(seed), Counter[str](), 0
    program = Program(tmp_path / "forked", unharmed.cache)
    tmp_path.mkdir(exist_ok=True)
    for _ in range(2 if count > 1 else 0):  # the first one waits for the server
        program.out = tmp_path / f"forked-{program.seconds}"
        assert program.finish()[0] == 0
        assert program.results() == unharmed.results()
    program.out = tmp_path / "run"
    while kills.total() < count:
        number += 1
        before, (report, whole) = program.finished(), (rng.random() < p for p in (0.05, 0.05))
        moment, fault = rng.random(), rng.choice(SIGNALS)
        if report or whole or count == 1:
            process = program.start(report)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moment * unharmed.whole_s * (3 if report else 1.5))
            if process.poll() is None:
                process.send_signal(fault)
                kills["a process with its report" if report else "a process"] += 1
            _, err = process.communicate(timeout=LIMIT_S)
            code = process.returncode
        else:
            fork = program.fork()
            fork.join(moment * program.seconds)
            if fork.is_alive():
                os.kill(fork.pid or 0, fault)
                kills["a fork"] += 1
            code, err = program.end_of(fork)
        # Ctrl-C before the first line of the program is Python's own to answer.
        early = fault == signal.SIGINT and "bench/cli" not in err
        assert early or "Traceback" not in err, err
        assert before.items() <= program.finished().items()
        if code == 0 or kills.total() == count:
            assert program.finish()[0] == 0
            assert program.results() == unharmed.results()
            assert not [*program.out.glob("lines/*.tmp"), *program.out.glob("*.json.*.tmp")]
            program.out = tmp_path / f"run-{number}"
        print(f"{kills.total()} of {number} runs were killed: {dict(kills)}", flush=True)


def damaged(count: int, tmp_path: Path, unharmed: Program, seed: int = 0) -> None:
    """A run folder with a damaged file is mended, or refused in one sentence."""
    rng, ends = random.Random(seed), Counter[str]()
    kinds = ("rows.jsonl", "env.json", "run.json", "lines/*.jsonl")
    for number in range(count):
        program = Program(tmp_path / str(number), unharmed.cache)
        _copy(unharmed.out, program.out)
        kind = rng.choice(kinds)
        path = rng.choice(sorted(program.out.glob(kind)))
        fault = _damage(path, rng)
        code, err = program.finish(whole=rng.random() < 0.05)
        if code == 0:
            assert program.results() == unharmed.results(), (path, fault)
        else:
            assert code == 2 and str(path.name) in err, (path, fault, err)
        ends[f"{kind} {'refused' if code else 'mended'}"] += 1
        print(f"{number + 1} damaged folders: {dict(ends)}", flush=True)


def made_again(count: int, tmp_path: Path, unharmed: Program, seed: int = 0) -> None:
    """Damaged caches are made again: of language models, damaged lines and machine code."""
    rng, sound, kinds = random.Random(seed), tmp_path / "sound", Counter[str]()
    cache = unharmed.cache
    shutil.rmtree(cache)
    assert Program(tmp_path / "first", cache).finish(whole=True)[0] == 0
    _copy(cache, sound)
    try:
        for number in range(count):
            shutil.rmtree(cache)
            _copy(sound, cache)
            for kind in ("damage", "lm", *["kernels"] * 3):
                files = sorted(path for path in (cache / kind).rglob("*") if path.is_file())
                _damage(rng.choice([p for p in files if p.stat().st_size]), rng)
                kinds[kind] += 1
            program = Program(tmp_path / str(number), cache)
            code, err = program.finish(whole=rng.random() < 0.05)
            assert code == 0, err
            assert program.results() == unharmed.results()
            print(f"{number + 1} damaged caches, files of {dict(kinds)}", flush=True)
    finally:
        shutil.rmtree(cache)
        _copy(sound, cache)


def refused(tmp_path: Path, unharmed: Program) -> None:
    """A second run into the same folder is refused, and the first one ends."""
    program = Program(tmp_path / "run", unharmed.cache)
    first = program.start()
    while not (program.out / "lock").exists() and first.poll() is None:
        time.sleep(0.05)
    second = program.start()
    errors = [process.communicate(timeout=LIMIT_S)[1] for process in (first, second)]
    codes = [first.returncode, second.returncode]
    # The second one may begin when the first has ended, and then finds all cells finished.
    assert codes in ([0, 2], [0, 0]), errors
    assert codes == [0, 0] or "another run (process" in errors[1]
    assert program.results() == unharmed.results()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.slow
@pytest.mark.faults
def test_a_full_disk_keeps_what_was_finished(small_disk: Path, unharmed: Program) -> None:
    program = Program(small_disk / "run", unharmed.cache)
    before: dict[str, bytes] = {}
    for size in range(8, 200, 8):
        _resize(small_disk, size)
        code, err = program.finish()
        assert code == 0 or "no space left" in err, err
        after = program.finished()
        assert before.items() <= after.items()
        before = after
        print(f"{size} KiB: {len(after)} cells, {err.splitlines()[-1:]}", flush=True)
        if len(after) == CELLS:
            break
    _resize(small_disk, 20_000)
    assert program.finish()[0] == 0
    assert program.results() == unharmed.results()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few KiB; `_resize` makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _resize(disk: Path, kib: int) -> None:
    command = ["mount", "-o", f"remount,size={kib}k", str(disk)]
    subprocess.run(command, check=True)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def _damage(path: Path, rng: random.Random) -> str:
    """Damage a file at random; the name of the fault."""
    fault = rng.choice(list(FAULTS))
    data = FAULTS[fault](path.read_bytes(), rng)
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    return fault


@pytest.mark.slow
@pytest.mark.faults
def test_memory_does_not_grow_with_the_cells(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom tests.test_faults import many_cells\n"
        "many_cells(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cells, early, late = map(float, done.stdout.split())
    print(f"{cells:.0f} cells: {early:.0f} MiB after a fifth of them, {late:.0f} MiB at the end")
    assert cells == 1000 and late < early + 20


def many_cells(folder: Path) -> None:
    """Measure 1,000 cells of doubles; print their number, and MiB after a fifth and at the end."""
    readers = {f"r{n}": Entry(f"{HERE}:ReaderSpec", "", {"drop": chr(97 + n)}) for n in range(20)}
    memory = psutil.Process().memory_info
    sizes: list[float] = []

    class Watching(Silent):
        def finished(self, block: Block, rows: Sequence[Row]) -> None:
            sizes.append(memory().rss / 2**20)

    store, cells = RunStore(folder), 0
    for seed in range(10):
        asked = replace(
            ASKED, decoders=tuple(readers), damages=("eraser",), severities=(1, 2, 3, 4, 5),
            seed=seed,
        )  # fmt: skip
        cells += len(run(build_plan(asked, registries(**readers)), store, Watching()).done)
    print(cells, sizes[len(sizes) // 5], sizes[-1])
