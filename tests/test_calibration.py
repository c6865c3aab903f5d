"""The calibration of the damages: curves, what is asked for, and what is frozen."""

import json

import pytest

from bench.analysis import calibration
from bench.analysis.calibration import STEPS, Job, Point, calibrate, calibrated, strength_at
from bench.cli import main
from bench.core.errors import UserError
from bench.pipeline.plan import Registries
from bench.report.calibration import table
from datasets.damage import DAMAGES


def quiet(items, doing):
    return items


def test_a_strength_lies_between_its_points_in_equal_ratios():
    tried = [Point(1.0, 0.0), Point(4.0, 0.2), Point(16.0, 0.6)]
    assert strength_at(tried, 0.0) == pytest.approx(1)
    assert strength_at(tried, 0.1) == pytest.approx(2)
    assert strength_at(tried, 0.4) == pytest.approx(8)
    assert strength_at(tried, 0.6) == pytest.approx(16)
    assert strength_at(tried, 0.61) is None
    assert strength_at(tried[1:], 0.19) is None


def test_falling_strengths_and_a_curve_that_dips():
    falling = [Point(8.0, 0.05), Point(4.0, 0.3), Point(2.0, 0.2), Point(1.0, 0.9)]
    assert strength_at(falling, 0.3) in (pytest.approx(4), pytest.approx(2))
    assert strength_at(falling, 0.6) == pytest.approx(2**0.5)


def test_calibrated_are_fading_and_the_signal_damages():
    assert calibrated(Registries()) == ["fade", "defocus", "low_resolution", "noise", "kanungo"]


def test_the_frozen_strengths_are_measured_and_the_clean_lines(monkeypatch):
    monkeypatch.setattr(calibration, "RUNGS", 3)
    found = calibrate(Job("mini", "lines", ("noise",), limit=3), Registries(), quiet)
    (curve,) = found.curves
    assert (found.lines, found.decoder, curve.damage) == (3, "ctc-greedy", "noise")
    strengths = DAMAGES.target("noise").strengths
    assert tuple(point.strength for point in curve.frozen) == strengths
    assert [point.strength for point in curve.tried] == pytest.approx(
        [0.04, (0.04 * 0.30) ** 0.5, 0.30]
    )
    assert 0 <= found.clean < 0.2 < curve.frozen[-1].cer
    assert curve.wanted == tuple(strength_at(curve.tried, found.clean + step) for step in STEPS)
    shown = table(found)
    assert [row[1].text for row in shown.rows] == ["1", "2", "3", "4", "5"]
    assert shown.rows[4][3].values[0] == pytest.approx(100 * (curve.frozen[4].cer - found.clean))
    assert found.weights[:8] in shown.conditions and "3 lines of lines" in shown.conditions


@pytest.mark.parametrize("name", ["blot", "warp", "bleed_through"])
def test_what_has_a_unit_of_its_own_is_not_calibrated(name):
    with pytest.raises(UserError, match="there are: fade, defocus"):
        calibrate(Job("mini", "lines", (name,)), Registries(), quiet)


def test_the_command_tells_every_point(monkeypatch, capsys):
    monkeypatch.setattr(calibration, "RUNGS", 2)
    with pytest.raises(SystemExit) as stopped:
        main(["damage", "calibrate", "--damage", "defocus", "--limit", "2", "--json"])
    assert stopped.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert [len(found["curves"][0][part]) for part in ("tried", "frozen", "wanted")] == [2, 5, 5]
