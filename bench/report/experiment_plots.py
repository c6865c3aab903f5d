"""Plots of the language experiment: a panel a damage, a band of the 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.analysis.experiment.analysis import Estimate
from bench.analysis.experiment.counts import CLOZE
from bench.analysis.experiment.design import BASELINE, DOSES, LEVELS, PRIMARY, dosed
from bench.analysis.experiment.finding import Finding
from bench.report.format import plural
from bench.report.plots import Plot, drawing, look_of, panels, saved
from datasets.damage.base import SEVERITIES

Curve = tuple[str, Sequence[float], Sequence[Estimate]]  # name, places, values

_PANEL = (3.0, 3.2)  # inches
_HEAD, _LEGEND = 0.5, 0.45  # inches above and below the panels


def draw(finding: Finding) -> list[Plot]:
    """All plots that the systems of the experiment allow."""
    drawn = []
    with drawing():
        if finding.judged:
            drawn += [_gain(finding), _hidden(finding), _dose(finding)]
        if finding.systems:
            drawn.append(_systems(finding))
    return drawn


def _gain(finding: Finding) -> Plot:
    def curves(damage: str) -> list[Curve]:
        return [
            (
                level,
                SEVERITIES,
                [finding.gain(level, damage, s, PRIMARY).gain for s in SEVERITIES],
            )
            for level in LEVELS
        ]

    title = f"Language gain of {PRIMARY} over {BASELINE} by linguistic level"
    return _panels(finding, "gain", title, "gain (points of CER)", curves)


def _hidden(finding: Finding) -> Plot:
    damaged = SEVERITIES[1:]
    shown = [
        s for s in (BASELINE, PRIMARY, "ar-beam", CLOZE) if s in (BASELINE, *finding.systems, CLOZE)
    ]

    def curves(damage: str) -> list[Curve]:
        found: list[Curve] = []
        for system in shown:
            recalls = [finding.recall("english", damage, s, system) for s in damaged]
            values = [Estimate(None, None) if r is None else r.right for r in recalls]
            label = "cloze ceiling" if system == CLOZE else system
            found.append((label, damaged, values))
        return found

    title = "Hidden characters read right, English; cloze: the same model with the true text"
    return _panels(finding, "hidden", title, "hidden characters right (%)", curves, "severity")


def _dose(finding: Finding) -> Plot:
    def curves(damage: str) -> list[Curve]:
        return [
            (
                f"severity {severity}" if severity else "clean",
                DOSES,
                [
                    finding.gain("english", damage, severity, dosed(PRIMARY, dose)).cer
                    for dose in DOSES
                ],
            )
            for severity in SEVERITIES
        ]

    title = f"CER of {PRIMARY} on English by dose of its tuned weights"
    return _panels(finding, "dose", title, "CER (%)", curves, "dose (0: no language)")


def _systems(finding: Finding) -> Plot:
    doses = {dosed(PRIMARY, dose) for dose in DOSES} - {PRIMARY}
    shown = [system for system in finding.systems if system not in doses]

    def curves(damage: str) -> list[Curve]:
        return [
            (
                system,
                SEVERITIES,
                [finding.gain("english", damage, s, system).gain for s in SEVERITIES],
            )
            for system in shown
        ]

    title = f"Gain over {BASELINE} on English, every system"
    return _panels(finding, "systems", title, "gain (points of CER)", curves)


def _panels(
    finding: Finding,
    slug: str,
    title: str,
    upwards: str,
    curves: Callable[[str], Sequence[Curve]],
    across: str = "severity (0: clean)",
) -> Plot:
    damages = finding.design.damages
    width, height = max(2, len(damages)) * _PANEL[0], _PANEL[1] + _HEAD + _LEGEND
    figure, beside = panels(width, height, len(damages))
    for axes, damage in zip(beside, damages, strict=True):
        for index, (label, places, values) in enumerate(curves(damage)):
            _curve(axes, label, places, values, index)
        axes.axhline(0, color="0.4", linewidth=0.8)
        axes.set_title(damage, loc="left")
        axes.set_xlabel(across)
        axes.set_xticks(curves(damage)[0][1])
    beside[0].set_ylabel(f"{upwards}; band: 95 %")
    handles, labels = beside[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels))
    where = ", ".join(f"{level} {one.lines} lines" for level, one in finding.read.items())
    seeds = plural(len(finding.design.seeds), "seed")
    figure.suptitle(
        f"{title}\n{finding.design.encoder}@{finding.weights[:8]}; synthetic: {where}; {seeds}",
        x=0.01, ha="left", fontsize=9,
    )  # fmt: skip
    figure.subplots_adjust(
        left=0.7 / width, right=0.99, wspace=0.08,
        bottom=(_LEGEND + 0.45) / height, top=1 - (_HEAD + 0.2) / height,
    )  # fmt: skip
    return saved(figure, slug, title)


def _curve(
    axes: Any, label: str, places: Sequence[float], values: Sequence[Estimate], index: int
) -> None:
    known = [
        (place, 100 * each.value, each.interval)
        for place, each in zip(places, values, strict=True)
        if each.value is not None
    ]
    look = look_of(index)
    axes.plot([x for x, _, _ in known], [y for _, y, _ in known], label=label, **look)
    banded = [(x, 100 * i.low, 100 * i.high) for x, _, i in known if i is not None]
    if banded:
        x, low, high = zip(*banded, strict=True)
        axes.fill_between(x, low, high, color=look["color"], alpha=0.12, linewidth=0)
