"""A fine-tuning in words and as a plot: CER on train and on val, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.format import percent, plain, plural
from bench.report.panel import Panel, Plot, alone, drawing, look_of
from bench.training.files import Point


def outcome(points: Sequence[Point], best: Point, decoder: str) -> str:
    """The end of a fine-tuning in a sentence or two."""
    before = next((point for point in points if not point.step), None)
    words = [f"val CER {percent(best['cer'])} % ({decoder}) after {_at(best)}"]
    if before is not None:
        words.append(f", {percent(before['cer'])} % before training")
    if before is not None and before["cer"] <= best["cer"]:
        words.append("\nNothing is gained: the weights before training read val as well.")
    elif waited := len(points) - 1 - points.index(best):
        words.append(f"; no better in {plural(waited, 'validation')} since")
    return "".join(words)


def _at(point: Point) -> str:
    return f"step {point.step}" if point.epoch is None else f"epoch {point.epoch}"


def curves_plot(points: Sequence[Point], what: str, conditions: str) -> Plot:
    """CER on train and on val by epoch (or step), the best one marked, from at least one point."""
    unit = "step" if points[-1].epoch is None else "epoch"
    title = f"CER by {unit}: {plain(what)}"
    numbers = [point.step if point.epoch is None else point.epoch for point in points]
    with drawing():
        panel = Panel(title, conditions, f"{unit} (0: before training)", "CER (%)")
        for place, (split, cer) in enumerate((("train", "train_cer"), ("val", "cer"))):
            percents = alone([100 * point[cer] for point in points])
            panel.curve(split, numbers, percents, look_of(place))
        if trained := [point for point in points if point.step]:
            best = min(trained, key=lambda point: point["cer"])
            kept = {"color": "0.6", "linewidth": 0.8, "linestyle": ":"}
            at = numbers[points.index(best)]
            panel.axes.axvline(at, label=f"kept: {_at(best)}", **kept)
        panel.axes.set_ylim(bottom=0)
        panel.whole_numbers()
        return panel.plot("curves")
