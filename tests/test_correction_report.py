"""What correctors gained: the table and the plot, from stored rows."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.analysis.evidence import Reading
from bench.analysis.stats import rate_difference
from bench.core.types import LineResult
from bench.pipeline.cells import corrected as told
from bench.pipeline.store import RunStore
from bench.report import correction
from bench.report.plots import draw
from bench.report.results import collect
from tests.run_rows import ENVIRONMENT, row

TRUTH = "the quick brown fox"


def line(number: int, before: str, after: str) -> LineResult:
    edits = sum(a != b for a, b in zip(after, TRUTH, strict=True))
    return LineResult(
        id=str(number), writer=f"w{number % 8}", reference=TRUTH, text=after, tokens=19,
        score=None, truncated=False, substitutions=edits, deletions=0, insertions=0,
        word_edits=min(edits, 1), uncorrected=before, block=f"w{number % 8}",
    )  # fmt: skip


def lines(better: int, worse: int, same: int) -> list[LineResult]:
    bad = "the quick brawn fox"
    pairs = [(bad, TRUTH)] * better + [(TRUTH, bad)] * worse + [(bad, bad)] * same
    return [line(number, *pair) for number, pair in enumerate(pairs)]


def test_the_gain_is_the_paired_difference():
    some = lines(12, 4, 8)
    found = Reading(row(), tuple(some)).corrector_gain
    characters = [len(TRUTH)] * 24
    expected = rate_difference(
        [1] * 12 + [0] * 4 + [1] * 8,
        [0] * 12 + [1] * 12,
        characters,
        [one.writer for one in some],
    )
    assert found is not None and found == expected
    assert found.value == pytest.approx(8 / (24 * len(TRUTH)))
    uncorrected = replace(some[0], uncorrected=None)
    assert Reading(row(), ()).corrector_gain is None
    assert Reading(row(), (uncorrected, *some[1:])).corrector_gain is None


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    found = RunStore(tmp_path / "run")
    with found.writing(dict(ENVIRONMENT)) as environment:
        conditions = {("none", 0): (2, 12, 2), ("blot", 3): (16, 0, 8), ("blot", 5): (10, 3, 9)}
        for name in ("ctc-greedy+speller", "ctc-greedy+lm"):
            for (damage, severity), counts in conditions.items():
                said = lines(*counts)
                corrected = row(name, damage=damage, severity=severity, environment=environment)
                found.write(replace(corrected, correction=told(said, trained=True)), said)
        plain = row("ctc-greedy", environment=environment)
        found.write(plain, [replace(one, uncorrected=None) for one in lines(2, 0, 2)])
    return RunStore(tmp_path / "run")


def test_rows_without_their_lines_have_no_gain(store):
    for file in (store.path / "lines").iterdir():
        file.unlink()
    (table,) = correction.tables(collect(store))
    place = [column.head for column in table.columns].index("Gain")
    assert {row[place].text for row in table.rows} == {"—"}


def test_the_plot_has_a_point_a_condition(store):
    plots = {plot.slug: plot for plot in draw(collect(store))}
    plot = plots["correction-1"]
    assert plot.png.startswith(b"\x89PNG")
    assert "What correction gains" in plot.title and "mini" in plot.title
