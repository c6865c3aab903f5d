"""A fine-tuning in words and as a plot: CER on train and on val, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import MaxNLocator

from bench.report.format import number, percent, plain, plural
from bench.report.plots import COLOURS, Look, Plot, drawing, panels, saved
from bench.training.ar.curve import Epoch, turned_at

_INCHES = (6.4, 4.2)


def line(epochs: Sequence[Epoch], of: int, decoder: str) -> str:
    """The last epoch: "epoch 3/10  loss 0.412  train CER 1.20 %  val CER 4.33 %, best so far"."""
    last = epochs[-1]
    earlier = [epoch for epoch in epochs[:-1] if epoch.step]
    best = last.step > 0 and all(last.cer < epoch.cer for epoch in earlier)
    loss = "" if last.loss is None else f"  loss {number(last.loss, 3)}"
    return (
        f"epoch {last.epoch}/{of}{loss}  train CER {percent(last.train_cer)} %  "
        f"val CER {percent(last.cer)} % ({decoder}){', best so far' if best else ''}"
    )


def warning(epochs: Sequence[Epoch]) -> str:
    """A sentence when the last epoch shows over-fitting, else ""."""
    since = turned_at(epochs)
    if since is None:
        return ""
    last = epochs[-1]
    then = f"epoch {since.epoch}" if since.step else "training"
    return (
        f"it learns its train lines by heart: their CER has fallen to {percent(last.train_cer)} %, "
        f"and that of val has risen from {percent(since.cer)} % "
        f"{'after' if since.step else 'before'} {then} to {percent(last.cer)} %"
    )


def outcome(epochs: Sequence[Epoch], best: Epoch, decoder: str) -> str:
    """The summary of a training, in a sentence or two."""
    before = next((epoch for epoch in epochs if not epoch.step), None)
    words = [f"val CER {percent(best.cer)} % ({decoder}) after epoch {best.epoch}"]
    if before is not None:
        words.append(f", {percent(before.cer)} % before training")
    if before is not None and before.cer <= best.cer:
        words.append(
            "\nNothing is gained: val is read no better than by the weights it began with."
        )
    elif waited := epochs[-1].epoch - best.epoch:
        words.append(f"; no better in {plural(waited, 'epoch')} since")
    return "".join(words)


def curves_plot(epochs: Sequence[Epoch], what: str, conditions: str) -> Plot:
    """CER on train and on val against the epoch, the best epoch marked.

    Args:
        epochs: at least one.
        what: of which model on which data.
        conditions: how the lines were read.
    """
    title = f"CER by epoch: {plain(what)}"
    with drawing():
        figure, (axes,) = panels(*_INCHES)
        figure.subplots_adjust(left=0.1, right=0.97, bottom=0.12, top=0.86)
        axes.set_title(f"{title}\n{plain(conditions)}", loc="left")
        numbers = [epoch.epoch for epoch in epochs]
        look: Look = {
            "markeredgecolor": "white",
            "markersize": 6,
            "linewidth": 1.4,
            "clip_on": False,
        }
        for split, cers, colour, marker, style in (
            ("train", [e.train_cer for e in epochs], COLOURS[0], "o", "-"),
            ("val", [e.cer for e in epochs], COLOURS[1], "s", "--"),
        ):
            percents = [100 * cer for cer in cers]
            axes.plot(
                numbers, percents, label=split, color=colour, marker=marker, linestyle=style, **look
            )
        if trained := [epoch for epoch in epochs if epoch.step]:
            best = min(trained, key=lambda epoch: epoch.cer)
            label = f"kept: epoch {best.epoch}"
            axes.axvline(best.epoch, color="0.6", linewidth=0.8, linestyle=":", label=label)
        axes.set_xlabel("epoch (0: before training)")
        axes.set_ylabel("CER (%)")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="best")
        return saved(figure, "curves", title)
