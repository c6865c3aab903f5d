"""pytest-benchmark's JSON as a table, and the command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.core.errors import UserError
from bench.pipeline.runs import newest
from bench.report.benchmark import tables
from tests.run_rows import failed, row
from tests.stored_runs import run


def measured(test: str, median: float, **extra: Any) -> dict[str, Any]:
    stats = {"min": 0.9 * median, "max": 1.2 * median, "median": median, "rounds": 5}
    return {"group": "decode", "name": test, "stats": stats, "extra_info": extra}


def written(folder: Path, *benchmarks: Mapping[str, Any], **more: Any) -> Path:
    path = folder / "b.json"
    machine = {
        "node": "secret-host",
        "machine": "x86_64",
        "python_version": "3.11.7",
        "cpu": {"brand_raw": "Test CPU 9000", "flags": ["avx"]},
        "threads": 2,
    }
    commit = {"id": "abcdef0123456789abcdef0123456789abcdef01", "dirty": True}
    record = {"machine_info": machine, "commit_info": commit, "benchmarks": list(benchmarks)}
    path.write_text(json.dumps({**record, **more}))
    return path


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", "\udcff", '{"benchmarks": 3}', '{"benchmarks": [1]}'),
        *('{"benchmarks": []}', '{"benchmarks": [{"name": "t"}]}'),
    ],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "b.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"b\.json"):
        tables(path)


# The command


def called(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["report", *words])
    return int(left.value.code or 0)


@pytest.fixture
def runs_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.pipeline.runs.RUNS", tmp_path)
    return tmp_path


def test_report_takes_the_newest_run_or_a_folder(runs_folder, capsys):
    run(runs_folder / "new", row())
    (runs_folder / "new/run.json").write_text('{"began": "2026-01-02"}')
    assert called("--format", "csv") == 0
    assert called(str(runs_folder / "new"), "--format", "csv") == 0
    assert capsys.readouterr().out.count("CER by decoder and set") == 2


@pytest.mark.parametrize("left", [None, b"", b'{"key": "torn'])
def test_a_run_without_rows_is_never_the_newest(runs_folder, capsys, left):
    run(runs_folder / "old", row())
    (runs_folder / "old/run.json").write_text('{"began": "2026-01-02"}')
    (runs_folder / "new").mkdir()
    (runs_folder / "new/run.json").write_text('{"began": "2026-01-03"}')
    if left is not None:
        (runs_folder / "new/rows.jsonl").write_bytes(left)
    assert newest() == runs_folder / "old"
    assert called("--format", "csv") == 0
    told = capsys.readouterr()
    assert "CER by decoder and set" in told.out
    assert "new is newer, but has no rows: left out" in told.err


def test_a_run_of_failures_alone_has_rows(runs_folder):
    run(runs_folder / "old", row())
    (runs_folder / "old/run.json").write_text('{"began": "2026-01-02"}')
    run(runs_folder / "new", failed())
    (runs_folder / "new/run.json").write_text('{"began": "2026-01-03"}')
    assert newest() == runs_folder / "new"  # `report` tells why


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nwe"], "did you mean new?"),
        ([], "there is no run with rows in"),
        (["--benchmark", "gone.json"], "cannot read gone.json"),
        (["new", "--benchmark", "b.json"], "not both"),
        (["--format", "pdf"], "--format takes one of md, tex, csv, html, all, not 'pdf'"),
    ],
)
def test_mistakes_are_one_sentence(runs_folder, capsys, words, said):
    if words == ["nwe"]:
        run(runs_folder / "new", row())
        (runs_folder / "new/run.json").write_text("{}")
    assert called(*words) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize(
    ("format", "beginning"),
    [("md", "### Benchmark"), ("tex", "% needs"), ("csv", "Benchmark,Median ms")],
)
def test_benchmark_is_printed_in_each_format(tmp_path, capsys, format, beginning):
    path = written(tmp_path, measured("t", 1.0, cer=0.1))
    assert called("--benchmark", str(path), "--format", format) == 0
    assert capsys.readouterr().out.startswith(beginning)
    assert called("--benchmark", str(path), "--format", "all") == 0
    assert beginning in capsys.readouterr().out
