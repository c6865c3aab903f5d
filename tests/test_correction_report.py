"""The gains of correctors, from stored rows."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.analysis.evidence import Reading
from bench.analysis.stats import rate_difference
from bench.pipeline.cells import corrected as correction_of
from bench.pipeline.store import RunStore
from bench.report import correction
from bench.report.results import collect
from tests.golden_report import corrected
from tests.run_rows import row
from tests.stored_runs import run

TRUTH = "the quick brown fox"


def test_the_gain_is_the_paired_difference():
    some = corrected(12, 4, 8)
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
    cells = []
    for name in ("ctc-greedy+speller", "ctc-greedy+lm"):
        for severity, counts in ((0, (2, 12, 2)), (3, (16, 0, 8)), (5, (10, 3, 9))):
            lines = corrected(*counts)
            one = row(name, damage="blot" if severity else "none", severity=severity)
            cells.append((replace(one, correction=correction_of(lines, trained=True)), lines))
    return run(tmp_path / "run", *cells)


def test_rows_without_their_lines_have_no_gain(store):
    for file in (store.path / "lines").iterdir():
        file.unlink()
    (table,) = correction.tables(collect(store))
    place = [column.head for column in table.columns].index("Gain")
    assert {row[place].text for row in table.rows} == {"—"}
