"""`pytest --benchmark-only`: what it shows, and what it needs."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DEV = ("hypothesis", "playwright", "starlette", "uvicorn", "flashlight")
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


def test_the_table_has_a_cer_beside_each_time_and_damages_apart() -> None:
    shown = benchmarks("-k", "(test_decoder and ctc-greedy) or (test_speed and blot)")
    damages, decoders = re.split(r"\n-+ decoders .*\n", shown.partition("- damages ")[2])
    assert max(map(len, (damages + decoders).splitlines())) <= 120
    assert re.search(r"name +CER % +median +IQR +lines/s +rounds\n", decoders)
    row = re.search(r"ctc-greedy +([\d.]+) +([\d.]+) +([\d.]+) +([\d,.]+) +(\d+)\n", decoders)
    assert row is not None
    cer, median, _, rate, rounds = (float(part.replace(",", "")) for part in row.groups())
    assert 0 < cer < 10 and rounds >= 3 and 0.9 < rate * median / 32_000 < 1.1
    assert "CER" not in damages and re.search(r"\nblot +[\d.,]+ +[\d.,]+", damages)
