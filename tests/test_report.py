"""A run as tables: golden tables, what stands in place of a number, what may share a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from bench import ROOT, report
from bench.analysis import stats
from bench.cli import main
from bench.core.records import dump
from bench.core.types import Condition, EditCounts, LineResult, Row, Runtime, Spread, Timing
from bench.pipeline.cells import corrected as told
from bench.pipeline.store import RunStore
from bench.report import accuracy, plots, render, speed
from bench.report.results import Result, collect
from bench.report.table import Table
from tests import golden_report
from tests.run_rows import ENVIRONMENT, Rows, cell_lines, failed, row
from tests.stored_runs import run


def grid(table: Table) -> list[list[str]]:
    """Heads and texts of a table, details and marks left out."""
    rows = [[cell.text for cell in line] for line in table.rows + table.published]
    return [[column.head for column in table.columns], *rows]


Kind = Callable[[Sequence[Result]], list[Table]]


def tables(*rows: Row, kind: Kind = accuracy.by_set) -> list[Table]:
    return kind(collect(Rows(*rows)))


def test_every_table_reads_as_it_is_committed():
    for file, text in golden_report.written().items():
        committed = (golden_report.FOLDER / file).read_bytes().decode()
        assert text == committed, "see the diff of: python -m tests.golden_report"


def test_a_single_damage_without_a_curve_has_a_table_and_a_curve_alone_has_none():
    assert len(tables(row(damage="blot", severity=2), kind=accuracy.by_damage)) == 1
    curve = [row(damage="blot", severity=severity) for severity in (1, 2)]
    assert tables(*curve, kind=accuracy.by_damage) == []
    assert len(tables(*curve, kind=accuracy.by_severity)) == 1


# What stands in place of a number


def test_untrained_weights_never_show_a_cer():
    (table,) = tables(row(cer=0.1, weights="untrained"), row("ctc-beam", cer=0.2))
    assert table.rows[0][2].text == "—"
    assert "untrained" in table.rows[0][2].notes[0]
    assert "10.00" not in render.markdown(table) + render.spreadsheet(table)
    assert table.rows[0][0].text == "mini[weights=untrained]"  # told apart from the trained one


def test_a_set_that_only_untrained_weights_read_has_no_column():
    timed = row(dataset="hooker", cer=None, weights="untrained", encoder="trocr-base")
    (table,) = tables(row(cer=0.1), timed)
    assert [column.head for column in table.columns] == ["Encoder", "Decoder", "lines (synthetic)"]
    assert [cells[0].text for cells in table.rows] == ["mini"]
    (alone,) = tables(timed)  # nothing else was read, so that the table says why it is empty
    assert alone.rows[0][2].text == "—"


@pytest.mark.parametrize("cer", [math.nan, math.inf])
def test_a_rate_that_is_no_number_is_not_printed_as_one(cer):
    broken = replace(row(), cer=cer)

    class Store(Rows):
        def lines(self, key: str) -> list[LineResult]:
            return cell_lines(0.1)

    (table,) = accuracy.by_set(collect(Store(broken)))
    assert table.rows[0][2].text == "n/a"
    for written in (render.markdown(table), render.latex(table)):
        assert "nan" not in written and "inf" not in written


def test_hostile_names_break_no_format():
    bad = "a|b\n\x1b[31m\\end{table} $&%"
    one = row(bad, bad, 0.1, bad, 1, encoder=bad, references=bad, started=bad, signature=bad)
    store = Rows(one, replace(one, key="two", condition=replace(one.condition, severity=2)))
    results = collect(store)
    kinds = (accuracy.by_severity, speed.by_stage_damaged)
    for table in (table for kind in kinds for table in kind(results)):
        texts = render.markdown(table), render.latex(table), render.terminal(table, 80)
        assert not any("\x1b" in text for text in texts)
        assert texts[0].count("\n|") == 2 + len(table.rows)
        assert texts[1].count(r"\end{table}") == 1
    assert [plot.slug for plot in plots.draw(results)] == ["severity-1"]


# What may share a table, and what it is called


@pytest.mark.parametrize(
    "runtime",
    [
        Runtime(batch_size=1),
        Runtime(threads=2),
        Runtime(dtype="bfloat16"),
        Runtime(device="cuda"),
    ],
)
def test_other_runtimes_have_their_own_tables(runtime):
    first, second = tables(row(), row("ctc-beam", runtime=runtime, key="other"))
    assert (len(first.rows), len(second.rows)) == (1, 1)
    assert first.conditions != second.conditions
    assert first.slug != second.slug


def test_another_machine_or_library_has_its_own_table_but_a_commit_is_only_named():
    commit = {**ENVIRONMENT, "git": {"commit": "9" * 40, "dirty": True}}
    machine = {**ENVIRONMENT, "machine": {**ENVIRONMENT["machine"], "cpu": {"model": "Slow"}}}
    records = {"envhash012345678": ENVIRONMENT, "committed": commit, "elsewhere": machine}
    store = Rows(
        row(),
        row("ctc-beam", environment="committed"),
        row("ar-beam", environment="elsewhere"),
        environments=records,
    )
    elsewhere, here = accuracy.by_set(collect(store))
    assert "Slow" in elsewhere.conditions and "Test CPU" not in elsewhere.conditions
    assert len(here.rows) == 2
    assert "abcdef0123 and 9999999999 with uncommitted changes" in here.conditions


def test_names_tell_options_weights_limits_and_contents_apart():
    wide = row("ctc-beam", options={"beam": 64}, key="wide")
    (table,) = tables(row("ctc-beam"), wide)
    assert [line[1].text for line in table.rows] == ["ctc-beam[beam=16]", "ctc-beam[beam=64]"]
    (table,) = tables(row(), row(weights="feedbeef12345678", key="other"))
    assert [line[0].text for line in table.rows] == [
        "mini[weights=01234567]",
        "mini[weights=feedbeef]",
    ]
    (table,) = tables(row(), row(dataset_sha256="abcdef0123456789", key="other"))
    assert [column.head for column in table.columns[2:]] == [
        "lines[sha256=lines000] (synthetic)",
        "lines[sha256=abcdef01] (synthetic)",
    ]
    short = row(key="short")
    limited = replace(short, condition=replace(short.condition, limit=50))
    (table,) = tables(row(), limited)
    assert [column.head for column in table.columns[2:]] == [
        "lines (synthetic)",
        "lines[limit=50] (synthetic)",
    ]
    assert "the first 24 lines" in table.conditions


# Files and terminal


def write(store: RunStore, *args: Any, **more: Any) -> list[Path]:
    return report.write(store.path, collect(store), *args, **more)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    rows = [row(name, cer=cer) for name, cer in (("ctc-greedy", 0.1), ("ctc-beam", 0.09))]
    rows += [row(damage="char_erase", severity=s, cer=0.1 + s / 10) for s in (1, 2)]
    rows += [row("ar-beam", cer=None, weights="untrained", encoder="trocr-base")]
    rows += [failed(decoder="ctc-kenlm", reason="a | b\n<b> $x$ \\cite{y} \x1b[31m")]
    return run(tmp_path_factory.mktemp("report") / "run", *rows)


def test_what_need_not_count_has_a_table(tmp_path):
    said = [("ann", "We'll go , he said", "we'll go, he said"), ("bob", "No.", "No")]
    lines = [
        LineResult(
            id=writer, writer=writer, reference=reference, text=text, tokens=1, score=None,
            truncated=False, substitutions=1, deletions=1, insertions=0, word_edits=1, block=writer,
        )
        for writer, reference, text in said
    ]  # fmt: skip
    cvl = row(dataset="cvl")
    store = run(tmp_path / "run", (cvl, lines), (row("ctc-beam"), lines))
    (table,) = accuracy.when_lenient(collect(store))
    beam, greedy = table.rows  # as registered
    assert [cell.text for cell in greedy[4:]] == ["10.53", "9.52", "5.88"]
    assert greedy[5].values[0] == pytest.approx(100 * 2 / 21)
    assert greedy[5].detail == ""  # two writers
    assert "no punctuation" in greedy[3].notes[0]
    assert not any("punctuation" in note for note in beam[3].notes)
    (tmp_path / "run" / "lines" / f"{cvl.key}.jsonl").unlink()
    assert len(accuracy.when_lenient(collect(store))[0].rows) == 1


def test_a_report_reads_each_file_of_lines_once_and_resamples_each_cell_once(
    tmp_path, monkeypatch, capsys
):
    rows = [row(name, cer=cer) for name, cer in (("ctc-greedy", 0.1), ("ctc-ngram", 0.08))]
    rows += [row(name, cer=0.2, damage="blot", severity=s)
             for name in ("ctc-greedy", "ctc-ngram") for s in (1, 3)]  # fmt: skip
    corrected = row("ctc-greedy+lm", cer=0.1)
    lines = [replace(line, uncorrected=line.text) for line in cell_lines(0.1)]
    correction = told(lines, trained=True)
    folder = run(tmp_path / "run", *rows, replace(corrected, correction=correction)).path
    path = folder / "lines" / f"{corrected.key}.jsonl"
    path.write_bytes(b"".join(map(dump, lines)))
    opened: Counter[str] = Counter()
    resampled: Counter[str] = Counter()
    differences: Counter[bytes] = Counter()
    whole, drawn, tested = Path.read_bytes, stats._bootstrap, stats.sign_flip_p

    def read(self: Path) -> bytes:
        opened[self.name] += 1
        return whole(self)

    def bootstrap(*args: Any) -> Any:
        resampled["cells"] += 1
        return drawn(*args)

    def test(sums: Any, *args: Any, **more: Any) -> Any:
        differences[sums.tobytes()] += 1
        return tested(sums, *args, **more)

    monkeypatch.setattr(Path, "read_bytes", read)
    monkeypatch.setattr(stats, "_bootstrap", bootstrap)
    monkeypatch.setattr(stats, "sign_flip_p", test)
    with pytest.raises(SystemExit, match="0"):
        main(["report", str(folder)])
    assert "CER by decoder and set" in capsys.readouterr().out
    files = {file.name for file in (folder / "lines").iterdir()}
    assert {name: opened[name] for name in files} == dict.fromkeys(files, 1)
    lenient_rates = 3 * 3  # of each clean cell when something does not count
    assert resampled["cells"] == len(rows) + 1 + lenient_rates
    assert sum(differences.values()) <= 4 + 4 + 1, "the best of each condition, gains, a corrector"


def test_write_leaves_every_file_and_names_it(store):
    files = [path.relative_to(store.path).as_posix() for path in write(store, pictured=0)]
    assert files[0] == "report.md"
    names = ("cer-1", "severity-1", "speed-1", "errors-1", "lenient-1", "stages-1",
             "stages-damaged-1")  # fmt: skip
    expected = {f"tables/{name}.{kind}" for name in names for kind in ("tex", "csv")}
    drawn = ("severity-1", "cer-speed-1", "stages-1")
    expected |= {f"plots/{name}.{kind}" for name in drawn for kind in ("png", "svg", "pdf")}
    assert set(files) == {"report.md", "report.html", *expected}
    assert all((store.path / name).stat().st_size > 100 for name in files)
    assert (store.path / "plots/cer-speed-1.png").read_bytes().startswith(b"\x89PNG")
    text = (store.path / "report.md").read_text(encoding="utf-8")
    assert "![CER by severity of char_erase: mini on lines" in text
    assert all(f"(plots/{name}.png)" in text for name in drawn)
    for heading in text.split("### ")[1:]:
        conditions, table = heading.split("\n\n")[1:3]
        assert conditions.endswith(".") and table.startswith("| ")


def test_writing_again_gives_the_same_bytes(store):
    first = {path: path.read_bytes() for path in write(store, pictured=0)}
    assert {path: path.read_bytes() for path in write(store, pictured=0)} == first


def test_terminal_has_the_main_tables_within_its_width(store):
    text = report.terminal(collect(store), 90)
    assert max(map(len, text.splitlines())) <= 90
    assert "\x1b" not in text
    for title in ("CER by decoder and set", "CER by severity", "Speed on lines"):
        assert title in text
    assert "kinds of errors" not in text.lower()


def test_empty_run(tmp_path):
    store = RunStore(tmp_path / "run")
    assert report.terminal(collect(store)) == "No cell of this run is finished yet."
    files = write(store)
    assert [file.name for file in files] == ["report.md", "report.html"]
    assert all("No cell of this run is finished yet." in file.read_text() for file in files)


def test_results_are_the_rows_in_registered_order(store):
    results = collect(store)
    assert all(isinstance(result, Result) for result in results)
    assert [r.names.decoder for r in results if r.clean] == [
        *("ctc-greedy", "ctc-beam", "ctc-kenlm"),
        "ar-beam",  # of the encoder that is registered later
    ]


def test_the_readme_of_the_results_names_every_field():
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    for kind in (Row, Condition, Runtime, EditCounts, Timing, Spread, LineResult):
        for field in fields(kind):
            assert f"`{field.name}`" in text, f"{kind.__name__}.{field.name}"
