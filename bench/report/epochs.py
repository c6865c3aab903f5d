"""A fine-tuning in words and as a plot: CER on train and on val, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import MaxNLocator

from bench.report.format import percent, plain, plural
from bench.report.panel import Plot, drawing, look_of, panels, saved
from bench.training.files import Point

_INCHES = (6.4, 4.2)


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
    with drawing():
        figure, (axes,) = panels(*_INCHES)
        figure.subplots_adjust(left=0.1, right=0.97, bottom=0.12, top=0.86)
        axes.set_title(f"{title}\n{plain(conditions)}", loc="left")
        numbers = [point.step if point.epoch is None else point.epoch for point in points]
        for place, (split, cer) in enumerate((("train", "train_cer"), ("val", "cer"))):
            percents = [100 * point[cer] for point in points]
            axes.plot(numbers, percents, label=split, **look_of(place))
        if trained := [point for point in points if point.step]:
            best = min(trained, key=lambda point: point["cer"])
            label = f"kept: {_at(best)}"
            axes.axvline(
                numbers[points.index(best)], color="0.6", linewidth=0.8, linestyle=":", label=label
            )
        axes.set_xlabel(f"{unit} (0: before training)")
        axes.set_ylabel("CER (%)")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="best")
        return saved(figure, "curves", title)
