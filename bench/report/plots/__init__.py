"""Plots in PNG, SVG and PDF."""

from bench.report.plots.of_run import draw, gains_of, percents, read_by
from bench.report.plots.panel import (
    COLOURS,
    Look,
    Panel,
    Plot,
    drawing,
    look_of,
    panels,
    saved,
    speed_ticks,
)

__all__ = [
    "COLOURS",
    "Look",
    "Panel",
    "Plot",
    "draw",
    "drawing",
    "gains_of",
    "look_of",
    "panels",
    "percents",
    "read_by",
    "saved",
    "speed_ticks",
]
