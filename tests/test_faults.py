"""Real runs of the command line under faults: nothing finished is lost, and tables come out equal.

`pytest -m faults` makes every try and takes an hour or two; one kill and one damaged folder are in
every run of the tests. Figures of a whole suite stand in docs/reliability.md.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bench import ROOT
from bench.core.registry import Entry
from bench.core.types import Row
from bench.pipeline.plan import Block, build_plan
from bench.pipeline.runner import Silent, run
from bench.pipeline.store import RunStore
from tests.harness_doubles import ASKED, HERE, registries

WORDS = (
    "run", "--encoder", "mini", "--decoder", "ctc-greedy,ctc-ngram", "--dataset", "ink,unipen",
    "--damage", "none,blot", "--severity", "3", "--limit", "2", "--rounds", "1",
)  # fmt: skip
CELLS = 8
WITHOUT_REPORT = """
import bench.report.output
bench.report.output.write = lambda folder, results, **options: []
bench.report.output.terminal = lambda results: ""
"""
PROGRAM = "import runpy\nrunpy.run_module('bench', run_name='__main__')"
PRELOADED = ("bench.cli.run", "models.shipped_encoders", "decoders.ctc.ngram", "numba.core.codegen")
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
    """The command line in processes of its own, with a cache of its own.

    seconds: that its last run took to its end.
    """

    def __init__(self, folder: Path) -> None:
        self.out, self.cache, self.seconds = folder / "run", folder / "cache", 0.0

    def start(self, report: bool = False) -> subprocess.Popen[str]:
        """Begin a run; its report takes longer than the run, and most tries leave it out."""
        program = PROGRAM if report else WITHOUT_REPORT + PROGRAM
        return subprocess.Popen(
            [sys.executable, "-c", program, *WORDS, "--out", str(self.out)],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "KAIDOKU_CACHE": str(self.cache), "KAIDOKU_LANG": "en"},
            # A shell that runs the tests in the background has its children ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def fork(self) -> multiprocessing.process.BaseProcess:
        """Begin a run whose modules this process has imported, which is most of a run's time."""
        process = multiprocessing.get_context("fork").Process(target=self._forked)
        process.start()
        return process

    def _forked(self) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.update(KAIDOKU_CACHE=str(self.cache), KAIDOKU_LANG="en")
        with (self.out.parent / "stderr").open("wb") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
        sys.stdout, sys.stderr = sys.__stdout__ or sys.stdout, sys.__stderr__ or sys.stderr
        sys.argv = ["bench", *WORDS, "--out", str(self.out)]
        exec(WITHOUT_REPORT + PROGRAM, {})

    def finish(self) -> tuple[int, str]:
        """Run to the end; the exit code and what it wrote to stderr."""
        process, began = self.start(), time.monotonic()
        _, err = process.communicate(timeout=500)
        self.seconds = time.monotonic() - began
        assert "Traceback" not in err, err
        return process.returncode, err

    def texts(self) -> dict[str, list[tuple[str, str, int]]]:
        """The texts and edits of every cell."""
        store = RunStore(self.out)
        return {
            f"{row.signature} {row.condition.severity}": [
                (line.id, line.text, line.edits) for line in store.lines(row.key)
            ]
            for row in store.rows()
        }

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
        return {key: (self.out / "lines" / f"{key}.jsonl").read_bytes() for key in keys}


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A run that nothing disturbs."""
    program = Program(tmp_path_factory.mktemp("unharmed"))
    assert program.finish()[0] == 0
    assert len(program.texts()) == CELLS
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

    A tenth of the runs imports everything, a tenth also writes its report, and the others are
    forked from a process that has imported it: most of their moments lie in the run itself.
    """
    for module in PRELOADED:
        importlib.import_module(module)
    rng, kills = random.Random(seed), 0
    program = Program(tmp_path)
    program.cache = unharmed.cache
    tmp_path.mkdir(exist_ok=True)
    began = time.monotonic()
    program.fork().join(500)
    forked_s = time.monotonic() - began
    assert program.texts() == unharmed.texts()
    program.out = tmp_path / "run"
    for number in range(count):
        before, report, whole = program.finished(), *(rng.random() < share for share in (0.1, 0.2))
        moment, fault = rng.random(), rng.choice(SIGNALS)
        if report or whole or count == 1:
            process = program.start(report)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moment * unharmed.seconds * (3 if report else 1))
            if process.poll() is None:
                process.send_signal(fault)
                kills += 1
            _, err = process.communicate(timeout=500)
            code = process.returncode
        else:
            fork = program.fork()
            fork.join(moment * forked_s)
            if fork.is_alive():
                os.kill(fork.pid or 0, fault)
                kills += 1
            fork.join(500)
            code, err = fork.exitcode, (tmp_path / "stderr").read_text()
        # Ctrl-C before the first line of the program is Python's own to answer.
        early = fault == signal.SIGINT and "bench/cli" not in err
        assert early or "Traceback" not in err, err
        assert before.items() <= program.finished().items()
        if code == 0 or number == count - 1:
            assert program.finish()[0] == 0
            assert program.texts() == unharmed.texts()
            program.out = tmp_path / f"run-{number}"
        print(f"{kills} of {number + 1} runs were killed before their end", flush=True)


def damaged(count: int, tmp_path: Path, unharmed: Program, seed: int = 0) -> None:
    """A run folder with a damaged file is mended, or refused in one sentence."""
    rng, mended = random.Random(seed), 0
    for number in range(count):
        program = Program(tmp_path / str(number))
        _copy(unharmed.out, program.out)
        program.cache = unharmed.cache
        files = sorted(path for path in program.out.rglob("*") if path.is_file())
        path = rng.choice([p for p in files if p.suffix in (".jsonl", ".json")])
        fault = rng.choice(list(FAULTS))
        _damage(path, fault, rng)
        code, err = program.finish()
        if code == 0:
            assert program.texts() == unharmed.texts(), (path, fault)
            mended += 1
        else:
            assert code == 2 and str(path.name) in err, (path, fault, err)
    print(f"{mended} of {count} damaged folders mended, the others refused in one sentence")


def made_again(count: int, tmp_path: Path, unharmed: Program, seed: int = 0) -> None:
    """Damaged caches are made again."""
    rng = random.Random(seed)
    for number in range(count):
        program = Program(tmp_path / str(number))
        _copy(unharmed.cache, program.cache)
        files = sorted(path for path in program.cache.rglob("*") if path.is_file())
        for path in rng.sample(files, min(5, len(files))):
            if path.stat().st_size:
                _damage(path, rng.choice(list(FAULTS)), rng)
        code, err = program.finish()
        assert code == 0, err
        assert program.texts() == unharmed.texts()


def refused(tmp_path: Path, unharmed: Program) -> None:
    """A second run into the same folder is refused, and the first one ends."""
    program = Program(tmp_path)
    program.cache = unharmed.cache
    first = program.start()
    while not (program.out / "lock").exists() and first.poll() is None:
        time.sleep(0.05)
    second = program.start()
    errors = [process.communicate(timeout=500)[1] for process in (first, second)]
    codes = [first.returncode, second.returncode]
    # The second one may begin when the first has ended, and then finds all cells finished.
    assert codes in ([0, 2], [0, 0]), errors
    assert codes == [0, 0] or "another run (process" in errors[1]
    assert program.texts() == unharmed.texts()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.slow
@pytest.mark.faults
def test_a_full_disk_keeps_what_was_finished(small_disk: Path, unharmed: Program) -> None:
    program = Program(small_disk)
    program.cache = unharmed.cache
    before: dict[str, bytes] = {}
    for size in range(8, 200, 8):
        _resize(small_disk, size)
        code, err = program.finish()
        assert code == 0 or "no space left" in err, err
        after = program.finished()
        assert before.items() <= after.items()
        before = after
        if len(after) == CELLS:
            break
    _resize(small_disk, 20_000)
    assert program.finish()[0] == 0
    assert program.texts() == unharmed.texts()


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


def _damage(path: Path, fault: str, rng: random.Random) -> None:
    data = FAULTS[fault](path.read_bytes(), rng)
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)


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
