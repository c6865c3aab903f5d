"""A fine-tuning in words and as a plot: CER on train and on val, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.format import commas, percent, plain, plural
from bench.report.language import say
from bench.report.panel import Panel, Plot, alone, drawing, look_of
from bench.training.files import Point


def outcome(points: Sequence[Point], best: Point, decoder: str) -> str:
    """The end of a fine-tuning in a sentence or two."""
    before = next((point for point in points if not point.step), None)
    values = {"cer": percent(best["cer"]), "decoder": decoder, "when": _at(best)}
    parts = [say("val CER {cer} % ({decoder}) after {when}", **values)]
    if before is not None:
        parts.append(say("{cer} % before training", cer=percent(before["cer"])))
    if before is not None and before["cer"] <= best["cer"]:
        gained = say("Nothing is gained: the weights before training read val as well.")
        return f"{commas(parts)}\n{gained}"
    if waited := len(points) - 1 - points.index(best):
        parts.append(
            say("no better in {validations} since", validations=plural(waited, "validation"))
        )
    return commas(parts)


def _at(point: Point) -> str:
    if point.epoch is None:
        return say("step {step}", step=point.step)
    return say("epoch {epoch}", epoch=point.epoch)


def curves_plot(points: Sequence[Point], what: str, conditions: str) -> Plot:
    """CER on train and on val by epoch (or step), the best one marked, from at least one point."""
    numbers = [point.step if point.epoch is None else point.epoch for point in points]
    with drawing():
        unit = say("step" if points[-1].epoch is None else "epoch")
        title = say("CER by {unit}: {what}", unit=unit, what=plain(what))
        panel = Panel(title, conditions, say("{unit} (0: before training)", unit=unit), "CER (%)")
        for place, (split, cer) in enumerate((("train", "train_cer"), ("val", "cer"))):
            percents = alone([100 * point[cer] for point in points])
            panel.curve(split, numbers, percents, look_of(place))
        if trained := [point for point in points if point.step]:
            best = min(trained, key=lambda point: point["cer"])
            kept = {"color": "0.6", "linewidth": 0.8, "linestyle": ":"}
            at = numbers[points.index(best)]
            panel.axes.axvline(at, label=say("kept: {when}", when=_at(best)), **kept)
        panel.axes.set_ylim(bottom=0)
        panel.whole_numbers()
        return panel.plot("curves")
