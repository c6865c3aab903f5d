"""Plots of a run: which there are, what they show, and that no letter is missing."""

from __future__ import annotations

import functools
import re
import warnings
from dataclasses import replace
from typing import Any

import pytest
from matplotlib import font_manager

from bench.core.types import LineResult, Row
from bench.report import panel, plots
from bench.report.language import language
from bench.report.panel import look_of
from bench.report.plots import _front, gains_of
from bench.report.results import collect
from tests.run_rows import Rows, line, row, timing


class Lines(Rows):
    """Lines that every system reads with as many errors as its CER says, each writer its own."""

    def lines(self, key: str) -> list[LineResult]:
        (found,) = (each for each in self._rows if each.key == key)
        return [
            replace(line(f"w{w:02}", round(50 * (found.cer or 0)) + w % 3), id=f"{w}")
            for w in range(12)
        ]


def timed(decoder: str, rate: float, cer: float, **more: Any) -> Row:
    times = replace(timing(rate), latencies_s=tuple(n / rate / 8 for n in range(4, 12)))
    return row(decoder, cer=cer, timing=times, **more)


def made_up() -> Lines:
    rows = [timed("ctc-greedy", 40, 0.2), timed("ctc-ngram", 30, 0.1), timed("ar-beam", 20, 0.3)]
    for damage, severity in (("blot", 1), ("blot", 3), ("noise", 3)):
        for decoder, cer in (("ctc-greedy", 0.5), ("ctc-ngram", 0.3), ("ar-beam", 0.9)):
            rows.append(row(decoder, "lines", cer, damage, severity))
    return Lines(*rows)


@pytest.fixture
def run() -> Lines:
    return made_up()


def drawn(store: Rows, lang: str = "en") -> dict[str, panel.Plot]:
    with language(lang), warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of glyphs that a font lacks
        return {plot.slug: plot for plot in plots.draw(collect(store))}


@functools.cache
def pictures(lang: str) -> dict[str, panel.Plot]:
    return drawn(made_up(), lang)


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_every_plot_is_drawn_in_every_format_without_a_missing_letter(lang):
    if lang == "ja" and panel.japanese_font() is None:
        pytest.skip("no font with Japanese letters is installed")
    found = pictures(lang)
    names = ("severity", "gain", "gain-damage", "cer-speed", "latency", "stages")
    assert list(found) == [f"{name}-1" for name in names]
    for plot in found.values():
        assert plot.png.startswith(b"\x89PNG") and plot.pdf.startswith(b"%PDF")
        assert b"</svg>" in plot.svg
        assert set(plot.files) == {f"{plot.slug}.{kind}" for kind in ("png", "svg", "pdf")}
    assert ("改善" in found["gain-1"].title) == (lang == "ja")


def test_without_a_japanese_font_the_words_are_english(monkeypatch):
    monkeypatch.setattr(panel, "japanese_font", lambda: None)
    store = Lines(timed("ctc-greedy", 40, 0.2))
    assert drawn(store, "ja")["latency-1"].title.startswith("Latency")
    assert "apt-get install" in panel.NO_FONT


def test_a_font_that_was_installed_after_matplotlib_made_its_list(monkeypatch):
    if (family := panel.japanese_font()) is None:
        pytest.skip("no font with Japanese letters is installed")
    manager = font_manager.fontManager
    known = [font for font in manager.ttflist if font.name not in panel.FAMILIES]
    monkeypatch.setattr(manager, "ttflist", known)
    panel.japanese_font.cache_clear()
    assert panel.japanese_font() is not None, family
    panel.japanese_font.cache_clear()


def test_gains_are_paired_with_greedy_ctc_of_the_same_condition(run):
    gains = gains_of(collect(run))
    assert {key: round(100 * gain.value) for key, gain in gains.items()} == {
        "mini-ctc-ngram-lines-none-0": 10, "mini-ar-beam-lines-none-0": -10,
        **{f"mini-ctc-ngram-lines-{place}": 20 for place in ("blot-1", "blot-3", "noise-3")},
        **{f"mini-ar-beam-lines-{place}": -40 for place in ("blot-1", "blot-3", "noise-3")},
    }  # fmt: skip
    interval = gains["mini-ctc-ngram-lines-blot-1"].interval
    assert interval is not None and interval.high - interval.low < 1e-12  # alike for every writer


def test_there_is_no_gain_without_greedy_ctc_or_on_other_lines(run):
    rows = run.rows()
    none = Lines(*(each for each in rows if each.decoder != "ctc-greedy"))
    assert not gains_of(collect(none))
    other = Lines(*(replace(r, dataset_sha256="other") if "ngram" in r.key else r for r in rows))
    assert not any("ngram" in key for key in gains_of(collect(other)))


def test_old_rows_have_no_latency_plot_and_untrained_weights_no_cer(run):
    bare = [replace(r, timing=replace(r.timing, latencies_s=())) for r in run.rows() if r.timing]
    untrained = [replace(r, weights="untrained", cer=0.5) for r in bare]
    clean = [each for each in bare if each.condition.severity == 0]
    assert "latency-1" not in drawn(Lines(*clean))
    assert list(drawn(Lines(*untrained))) == ["stages-1"]


def test_the_pareto_front_is_a_step_through_the_unbeaten(run, monkeypatch):
    steps = []
    axes = panel.Panel("t", collect(run)[0], "x").axes
    monkeypatch.setattr(axes, "step", lambda x, y, **_: steps.append((x, y)))
    monkeypatch.setattr(axes, "legend", lambda **_: None)
    _front(axes, [(20.0, 30.0), (40.0, 20.0), (30.0, 10.0), (25.0, 15.0)])
    assert steps == [((30.0, 40.0), (10.0, 20.0))]


def test_curves_are_unlike_without_colour():
    looks = [look_of(index) for index in range(11)]
    assert len({(look["marker"], str(look["linestyle"])) for look in looks}) == len(looks)


def test_the_stages_are_unlike_without_colour():
    svg = pictures("en")["stages-1"].svg.decode()
    assert len(set(re.findall(r"fill: url\(#(\w+)\)", svg))) == 2  # hatches beside a plain area
