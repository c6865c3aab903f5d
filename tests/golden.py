"""The golden set: texts and counts of cheap cells, so that no change of the code moves them unseen.

    python -m tests.golden             compare with the stored file and print the differences
    python -m tests.golden --renew     store the present results and print the changes
    python -m tests.golden lines iam   either of them for some of the jobs only

A job is a command line as a user gives it. Its results are read from the files that the command
leaves, by the `_read_...` functions alone: they are all that a new file format changes here.
Cells are named in words (encoder, decoder, set, damage), never by a key that follows from the code.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import itertools
import json
import math
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from bench.cli import main
from bench.core.cache import cache_folder
from tests import chat_server
from tests.iam_layout import FORMS, write_iam, write_list
from tests.tiny_trocr import save_checkpoint

FILE = Path(__file__).parent / "fixtures" / "golden.json"
RENEW = "python -m tests.golden --renew"

# Relative, of what processors round differently: a loss by 2e-4 between bfloat16 products with
# AVX-512 and float32 products with AVX2. Texts and counts were the same there, and are compared so.
TOLERANCES = {"loss": 1e-3, "val CER": 1e-2}

# Decoders of packages that are no part of a plain installation.
PEERS = {"ctc-flashlight": "flashlight"}

_COUNTS = ("substitutions", "deletions", "insertions", "characters", "word_edits", "words",
           "tokens", "truncated")  # fmt: skip
_SHOWN = 3  # lines of a cell in a message

# Machine code is kept by the hash of its sources, so a cache of its own need not hold it again.
os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder("kernels")))

Results = dict[str, Any]  # by name of a cell: {"counts", "texts"} or a sentence


@contextlib.contextmanager
def _nothing(folder: Path) -> Iterator[Mapping[str, str]]:
    yield {}


@contextlib.contextmanager
def _chats(folder: Path) -> Iterator[Mapping[str, str]]:
    """A chat server whose corrections follow from the line alone, one in four of them unusable."""

    def correct(line: str) -> str:
        if len(line) % 4 == 0:
            return f"{line}\nI corrected nothing."
        return line.replace("rn", "m").replace(";", " ").replace("ii", "n").replace("0", "o")

    with chat_server.serving(correct) as chats:
        yield {"URL": chats.url, "MODEL": chat_server.MODEL}


@contextlib.contextmanager
def _tiny(folder: Path) -> Iterator[Mapping[str, str]]:
    """A TrOCR of 32 x 32 pixels with random weights, as a folder."""
    with contextlib.redirect_stderr(io.StringIO()):
        save_checkpoint(folder / "tiny", "base")
    yield {}


@contextlib.contextmanager
def _iam(folder: Path) -> Iterator[Mapping[str, str]]:
    """A copy of IAM in its layout."""
    write_iam(folder / "iam")
    ids = [f"{form.id}-{number:02d}" for form in FORMS for number in range(len(form.lines))]
    write_list(folder / "iam" / "splits" / "aachen" / "te.lst", ids)
    yield {}


@dataclass(frozen=True)
class Job:
    """A command and how its results are read.

    command: HERE is the job's folder, and `setting` may give more names.
    read: its results from the folder `HERE/out`.
    slow: takes more than 10 s.
    """

    command: str
    read: Callable[[Path], Results]
    setting: Callable[[Path], AbstractContextManager[Mapping[str, str]]] = _nothing
    slow: bool = False


def _read_cells(out: Path) -> Results:
    """The cells of a run folder, in its order."""
    cells: Results = {}
    for record in (out / "rows.jsonl").read_text("utf-8").splitlines():
        row = json.loads(record)
        at = row["condition"]
        name = f"{Path(row['encoder']).name} + {row['decoder']} on {at['dataset']} {at['split']}"
        name += f", {at['damage']} {at['severity']}" if at["severity"] else ""
        if row["status"] != "ok":
            cells[name] = f"failed: {row['reason']}"
            continue
        kept = (out / "lines" / f"{row['key']}.jsonl").read_text("utf-8").splitlines()
        lines = [json.loads(line) for line in kept]
        cells[name] = {
            "counts": ", ".join(f"{count} {row['counts'][count]}" for count in _COUNTS),
            "texts": [f"{line['id']}: {line['text']}" for line in lines],
        }
    return cells


def _read_experiment(out: Path) -> Results:
    """The cells of an experiment, and its language gains in log-odds."""
    cells = _read_cells(out)
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    for own in summary["readings"]:
        if own["reader"] in summary["weights"] and own["gain"]["value"] is not None:
            name = f"gain of {own['system']}, {own['level']}, {own['condition']}"
            cells[name] = f"{own['gain']['value']:.5f} at a CER of {own['cer']['value']:.5f}"
    return cells


def _read_curve(out: Path) -> Results:
    """Mean loss and validation CER at each checkpoint of a training."""
    points = map(json.loads, (out / "history.jsonl").read_text("utf-8").splitlines())
    return {f"step {p['step']}": {"loss": p["loss"], "val CER": p["cer"]} for p in points}


_HOW = "--threads 1 --batch-size 8 --rounds 1 --out HERE/out"
_SIZE = " ".join(
    f"-o grid-subcol.{name}={value}"
    for name, value in {"per_column": 16, "width": 24, "hidden": 24, "layers": 1}.items()
)

JOBS: Mapping[str, Job] = {
    "lines": Job(
        "run --encoder mini --dataset lines --limit 10 --decoder ar-beam,ar-greedy,ar-hf,ar-draft,"
        "ctc-greedy,ctc-beam,ctc-kenlm,ctc-ngram-word,ctc-ngram,ctc-flashlight,ctc-rescore,"
        "ctc-greedy+lm,ctc-beam+lm,ctc-greedy+speller,ctc-greedy+llm "
        "--damage none,char_erase,stroke_breaks,noise --severity 3 -o ar-hf.beam=2 -o lm.texts=4 "
        f"--llm-url URL --llm-model MODEL {_HOW}",
        _read_cells,
        _chats,
    ),
    "trocr": Job(
        "run --encoder HERE/tiny --decoder ar-greedy,ar-beam --dataset lines --limit 6 "
        f"--damage none,noise {_HOW}",
        _read_cells,
        _tiny,
    ),
    "untrained": Job(
        "run --encoder trocr-small -o trocr-small.untrained=true --decoder ar-beam --dataset lines "
        f"--limit 2 {_HOW}",
        _read_cells,
    ),
    "iam": Job(
        "run --encoder mini --decoder ctc-greedy,ar-greedy --dataset iam -o iam.root=HERE/iam "
        f"{_HOW}",
        _read_cells,
        _iam,
    ),
    "training": Job(
        "train ctc --encoder HERE/tiny --unfreeze --dataset lines -o lines.size=24 --steps 12 "
        "--save-every 3 --batch 8 --rate 1e-2 --val-lines 8 --workers 0 --seed 1 --out HERE/out "
        f"{_SIZE}",
        _read_curve,
        _tiny,
    ),
    "experiment": Job(
        "experiment language --reader mini --lines 2 --threads 1 --out HERE/out",
        _read_experiment,
        slow=True,
    ),
}


def measure(name: str, folder: Path) -> Results:
    """Run a job in an empty folder and read its results.

    Raises:
        AssertionError: the command was refused; with all that it printed.
    """
    job = JOBS[name]
    command = job.command
    printed = io.StringIO()
    with _cache(folder.parent / "cache"), job.setting(folder) as names:
        for word, value in {"HERE": str(folder), **names}.items():
            command = command.replace(word, value)
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            # Tables and plots take longer than the cells; `tests.golden_report` compares them.
            mock.patch.multiple("bench.report.output", write=lambda *_, **__: [], terminal=str),
        ):
            code = _exit_code(shlex.split(command))
    # 1: a cell failed or a peer is absent, which the comparison of the cells shows.
    assert code in (0, 1), f"exit code {code} of {command}\n{printed.getvalue()}"
    return job.read(folder / "out")


def _exit_code(words: Sequence[str]) -> object:
    try:
        main(words)
    except SystemExit as left:
        return left.code


@contextlib.contextmanager
def _cache(folder: Path) -> Iterator[None]:
    """Keep no language model or damaged line of an earlier run: those may be of other code."""
    before = os.environ.get("KAIDOKU_CACHE")
    os.environ["KAIDOKU_CACHE"] = str(folder)
    try:
        yield
    finally:
        del os.environ["KAIDOKU_CACHE"]
        if before is not None:
            os.environ["KAIDOKU_CACHE"] = before


def machine() -> str:
    """What floating point numbers depend on, as far as it is known."""
    path = Path("/proc/cpuinfo")
    words = path.read_text().split() if path.is_file() else []
    units = sorted({word for word in words if word.startswith(("avx", "amx", "fma"))})
    packages = (f"{name} {version(name)}" for name in ("torch", "transformers", "numpy", "numba"))
    level = torch.backends.cpu.get_cpu_capability()
    return f"{level} of {platform.machine()} {' '.join(units)}; {', '.join(packages)}"


def differences(stored: Results, found: Results) -> list[str]:
    """What is not as stored, a paragraph for each cell."""
    absent = [
        decoder for decoder, package in PEERS.items() if importlib.util.find_spec(package) is None
    ]
    changes = []
    for name in dict.fromkeys((*stored, *found)):
        if name not in found:
            if not any(f"+ {decoder} " in name for decoder in absent):
                changes.append(f"{name}: not measured any more")
        elif name not in stored:
            changes.append(f"{name}: not stored yet")
        elif not _same(stored[name], found[name]):
            changes.append(f"{name}: {_difference(stored[name], found[name])}")
    return changes


def _same(stored: Any, found: Any) -> bool:
    if isinstance(stored, dict) and stored.keys() == TOLERANCES.keys():
        return all(
            math.isclose(stored[name], found[name], rel_tol=tolerance)
            for name, tolerance in TOLERANCES.items()
        )
    return bool(stored == found)


def _difference(stored: Any, found: Any) -> str:
    if not (isinstance(stored, dict) and isinstance(found, dict) and "texts" in found):
        return f"was {_short(stored)}, is {_short(found)}"
    counts = zip(stored["counts"].split(", "), found["counts"].split(", "), strict=True)
    changed = [f"{was} -> {now.rpartition(' ')[2]}" for was, now in counts if was != now]
    pairs = list(itertools.zip_longest(stored["texts"], found["texts"], fillvalue="no line"))
    texts = [f"\n    was  {was}\n    is   {now}" for was, now in pairs if was != now]
    return (
        f"{', '.join(changed) or 'the same counts'}; {len(texts)} of {len(pairs)} lines differ"
        + "".join(texts[:_SHOWN])
    )


def _short(result: Any) -> str:
    return result["counts"] if isinstance(result, dict) and "counts" in result else str(result)


def load() -> dict[str, Any]:
    """The stored jobs by name."""
    return dict(json.loads(FILE.read_text("utf-8"))) if FILE.is_file() else {}


def _main(words: Sequence[str]) -> int:
    chosen = [word for word in words if word != "--renew"] or list(JOBS)
    if unknown := set(chosen) - set(JOBS):
        print(f"no job {', '.join(sorted(unknown))}; there are: {', '.join(JOBS)}", file=sys.stderr)
        return 2
    stored, renewed, changed = load(), {}, 0
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            (here := Path(folder) / name).mkdir()
            found = measure(name, here)
            changes = differences(stored.get(name, {}).get("results", {}), found)
            changed += len(changes)
            print(f"{name}: {len(changes)} of {len(found)} results differ", *changes, sep="\n  ")
            renewed[name] = {
                "command": JOBS[name].command, "made on": machine(), "results": found,
            }  # fmt: skip
    if "--renew" not in words:
        return int(changed > 0)
    jobs = {name: {**stored, **renewed}[name] for name in JOBS if name in {**stored, **renewed}}
    FILE.write_text(json.dumps(jobs, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
