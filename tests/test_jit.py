"""Machine code on the disk: never older than any source that it is built from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.core.hashing import sources_of

FILES = {
    "bench/__init__.py": "import pathlib\nROOT = pathlib.Path(__file__).parents[1]\n",
    "decoders/step.py": "STEP = 1\n",
    "decoders/inner.py": """
from bench.core.jit import compiled_part
from decoders.step import STEP

@compiled_part
def spell(x: int) -> int:
    return x + STEP
""",
    "decoders/outer.py": """
from bench.core.jit import compiled
from decoders.inner import spell

@compiled
def search(x: int) -> int:
    return 10 * spell(x)
""",
}
RUN = """
from decoders.outer import search
print(search(1), sum(search.stats.cache_hits.values()))
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout of two kernels of which one calls the other."""
    for name, file in sources_of("bench.core.jit").items():
        path = (tmp_path / "clone").joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, path)
    for name, text in FILES.items():
        (tmp_path / "clone" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "clone" / name).write_text(text)
    return tmp_path / "clone"


def run(clone: Path, program: str = RUN, **variables: str) -> tuple[int, bool]:
    """What the search gives in a new process, and whether its machine code was kept."""
    environment = {"KAIDOKU_CACHE": str(clone.parent / "cache"), **variables}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=clone,
        env={**os.environ, "NUMBA_CACHE_DIR": "", "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )
    assert done.returncode == 0, done.stderr
    value, hits = done.stdout.split()
    return int(float(value)), hits == "1"


def test_a_change_of_any_source_is_compiled_anew(clone: Path) -> None:
    assert run(clone) == (20, False)
    assert run(clone) == (20, True)
    for file, old, new, value in (
        ("decoders/inner.py", "x + STEP", "x + 2 * STEP", 30),
        ("decoders/step.py", "STEP = 1", "STEP = 4", 50),
    ):
        path = clone / file
        before, text = path.stat(), path.read_text()
        path.write_text(text.replace(old, new))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert run(clone) == (value, False)
        path.write_text(text)
    assert run(clone) == (20, True)  # the old one is still there


def test_clones_share_it_and_old_ones_go(clone: Path) -> None:
    jit = clone / "bench/core/jit.py"
    jit.write_text(jit.read_text().replace("_NEWEST = 4", "_NEWEST = 2"))
    assert run(clone) == (20, False)
    other = clone.parent / "other"
    shutil.copytree(clone, other, copy_function=shutil.copyfile)
    assert run(other) == (20, True)
    kernels = clone.parent / "cache" / "kernels"
    modules = {path.name.partition("-")[0] for path in kernels.iterdir()}
    assert modules == {"decoders.inner", "decoders.outer"}
    for n in (2, 3):
        (clone / "decoders" / "step.py").write_text(f"STEP = {n}\n")
        assert run(clone) == (10 + 10 * n, False)
    assert len(list(kernels.iterdir())) == 4
    assert not list(clone.rglob("*.nb?"))


def test_where_nothing_can_be_kept_it_is_compiled(clone: Path) -> None:
    (clone.parent / "file").touch()
    assert run(clone, KAIDOKU_CACHE=str(clone.parent / "file")) == (20, False)
    assert not list(clone.rglob("*.nb?"))


def test_a_full_disk_costs_no_more_than_the_cache(clone: Path) -> None:
    """The kernel itself refuses to let a file grow, in the middle of it."""
    full = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import decoders.outer
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
"""
    assert run(clone, full + RUN) == (20, False)
    assert not [path for path in (clone.parent / "cache").rglob("*") if path.is_file()]
    assert run(clone) == (20, False)


def test_each_signature_has_a_file_of_its_own(clone: Path) -> None:
    """Numba's index could name the code of another one after two processes had written it."""
    assert run(clone) == (20, False)
    assert run(clone, RUN.replace("search(1)", "search(1.5)")) == (25, False)
    assert run(clone) == (20, True)
    names = [path.name for path in (clone.parent / "cache").rglob("*") if path.is_file()]
    assert len(names) == 4 and all(name.endswith(".nbc") for name in names)


def test_damaged_machine_code_is_compiled_anew(clone: Path) -> None:
    assert run(clone) == (20, False)
    for suffix, damage in (
        (".nbc", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        (".nbc", lambda data: data[:99] + bytes([data[99] ^ 1]) + data[100:]),
        (".nbc", lambda data: data[: len(data) // 2]),
    ):
        (path,) = (p for p in (clone.parent / "cache").rglob(f"*{suffix}") if "search" in p.name)
        path.write_bytes(damage(path.read_bytes()))
        assert run(clone) == (20, False)
    assert run(clone) == (20, True)
