"""`pytest --benchmark-only`: what it shows, and what it needs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DEV = (
    *("hypothesis", "playwright", "starlette", "uvicorn", "flashlight", "symspellpy"),
    *("tenacity", "tensorboard", "torch_tb_profiler", "openpyxl", "xdist"),
)
RUN = f"""
import sys, pytest
class Absent:
    def find_spec(name, *_):
        if name.partition(".")[0] in {DEV}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent)
sys.exit(pytest.main(sys.argv[1:]))
"""


def benchmarks(*words: str) -> str:
    """The output of a run in which the packages of the dev extra are not installed."""
    options = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--benchmark-only")
    done = subprocess.run(
        [sys.executable, "-c", RUN, *options, *words], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_table_has_a_cer_beside_each_time_and_damages_apart(call, tmp_path) -> None:
    path = tmp_path / "benchmark.json"
    shown = benchmarks(
        "-k", "(test_decoder and ctc-greedy) or (test_speed and blot)", f"--benchmark-json={path}"
    )
    damages, decoders = (
        shown.partition(f"Benchmark: {name}")[2] for name in ("damages", "decoders")
    )
    assert max(map(len, shown[shown.index("Benchmark: ") :].splitlines())) <= 120
    heads = " +".join(("Name", "CER %", "Median ms", "IQR ms", "Lines/s", "Rounds"))
    assert re.search(f"{heads}\n", decoders)
    row = re.search(r"ctc-greedy +([\d.]+) +([\d.]+) +([\d.]+) +([\d,.]+) +(\d+)\n", decoders)
    assert row is not None
    cer, median, _, rate, rounds = (float(part.replace(",", "")) for part in row.groups())
    assert 0 < cer < 10 and rounds >= 3 and 0.9 < rate * median / 32_000 < 1.1
    assert re.search(r"\nblot +[\d.,]+ +[\d.,]+", damages.partition("Benchmark")[0])

    # The file of the same run as markdown: the same numbers, with their signature.
    code, out, _ = call("report", "--benchmark", str(path))
    assert code == 0 and out.count("### Benchmark: ") == 2
    (line,) = (line for line in out.splitlines() if line.startswith("| ctc-greedy"))
    assert [cell.strip() for cell in line.split("|")[2:6]] == list(row.groups()[:4])
    assert "- signature `e:mini" in out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("[", "not JSON"),
        ('{"rows": []}', "missing required field `benchmarks`"),
        ('{"benchmarks": []}', "holds no benchmark; make it with: pytest --benchmark-only"),
        ('{"benchmarks": [{"name": "x", "stats": {"median": 0, "iqr": 0, "rounds": 1}}]}',
         "field benchmarks[0].stats.median"),
    ],
)  # fmt: skip
def test_other_files_are_one_sentence(refused, tmp_path, content, message) -> None:
    path = tmp_path / "b.json"
    if content is not None:
        path.write_text(content)
    assert message in refused("report", "--benchmark", str(path))
