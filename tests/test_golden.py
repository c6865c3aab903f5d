"""The golden set: the texts and counts of cheap cells are as stored."""

from __future__ import annotations

import pytest

from tests.golden import JOBS, RENEW, differences, load, machine, measure


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * job.slow) for name, job in JOBS.items()],
)
def test_results_are_as_stored(name, tmp_path):
    stored = load()[name]
    (folder := tmp_path / name).mkdir()
    changes = differences(stored["results"], measure(name, folder))
    if changes:
        pytest.fail(
            f"{len(changes)} results of the golden job {name!r} differ from those stored.\n\n"
            + "\n".join(changes)
            + f"\n\nWhere that is the aim of a change: {RENEW} {name}\n"
            f"stored on: {stored['made on']}\nmeasured on: {machine()}",
            pytrace=False,
        )
