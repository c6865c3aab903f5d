"""Plots of a run: which there are, what they show, and that no letter is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from typing import Any

import pytest

from bench import ROOT
from bench.core.types import LineResult, Row
from bench.report import panel, plots
from bench.report.language import language
from bench.report.panel import look_of
from bench.report.plots import gains_of
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
    return row(decoder, cer=cer, timing=timing(rate), **more)


def made_up() -> Lines:
    rows = [timed("ctc-greedy", 40, 0.2), timed("ctc-ngram", 30, 0.1)]
    for damage, severity in (("blot", 1), ("blot", 3), ("noise", 3)):
        for decoder, cer in (("ctc-greedy", 0.5), ("ctc-ngram", 0.3)):
            rows.append(row(decoder, "lines", cer, damage, severity))
    return Lines(*rows)


def drawn(store: Rows, lang: str = "en") -> dict[str, panel.Plot]:
    with language(lang), warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of glyphs that a font lacks
        return {plot.slug: plot for plot in plots.draw(collect(store))}


def test_the_backend_of_a_notebook_is_not_needed():
    """Colab and Jupyter name theirs to every shell, and another environment does not have it."""
    environment = {**os.environ, "MPLBACKEND": "module://nowhere.backend_inline"}
    words = [sys.executable, "-c", "import bench.report.panel"]
    subprocess.run(words, cwd=ROOT, env=environment, check=True)


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_every_plot_is_drawn_in_every_format_without_a_missing_letter(lang):
    if lang == "ja" and panel.japanese_font() is None:
        pytest.skip("no font with Japanese letters is installed")
    found = drawn(made_up(), lang)
    names = ("severity", "gain", "gain-damage", "cer-speed")
    assert list(found) == [f"{name}-1" for name in names]
    for plot in found.values():
        assert plot.png.startswith(b"\x89PNG") and plot.pdf.startswith(b"%PDF")
        assert b"</svg>" in plot.svg
        assert set(plot.files) == {f"{plot.slug}.{kind}" for kind in ("png", "svg", "pdf")}
    assert ("改善" in found["gain-1"].title) == (lang == "ja")


def test_without_a_japanese_font_the_words_are_english(monkeypatch):
    monkeypatch.setattr(panel, "japanese_font", lambda: None)
    store = Lines(timed("ctc-greedy", 40, 0.2))
    assert drawn(store, "ja")["cer-speed-1"].title.startswith("CER against speed")
    assert "apt-get install" in panel.NO_FONT


def test_gains_are_paired_with_greedy_ctc_of_the_same_condition():
    gains = gains_of(collect(made_up()))
    assert {key: round(100 * gain.value) for key, gain in gains.items()} == {
        "mini-ctc-ngram-lines-none-0": 10,
        **{f"mini-ctc-ngram-lines-{place}": 20 for place in ("blot-1", "blot-3", "noise-3")},
    }
    interval = gains["mini-ctc-ngram-lines-blot-1"].interval
    assert interval is not None and interval.high - interval.low < 1e-12  # alike for every writer


def test_curves_are_unlike_without_colour():
    looks = [look_of(index) for index in range(11)]
    assert len({(look["marker"], str(look["linestyle"])) for look in looks}) == len(looks)
