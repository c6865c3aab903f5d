"""Plots of the language experiment: a panel a damage, a band of the 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.analysis.experiment.analysis import Estimate
from bench.analysis.experiment.counts import CLOZE
from bench.analysis.experiment.design import BASELINE, DOSES, LEVELS, PRIMARY, dosed
from bench.analysis.experiment.finding import Finding
from bench.report.experiment_tables import CEILING, severity_head
from bench.report.format import plural
from bench.report.language import say, say_name
from bench.report.panel import Plot, drawing, look_of, panels, saved
from datasets.damage.base import SEVERITIES

# Of a curve under a damage at a place from left to right.
Value = Callable[[Any, str, float], Estimate]

_PANEL = (3.0, 3.2)  # inches
_HEAD, _LEGEND = 0.5, 0.45  # inches above and below the panels


def draw(finding: Finding) -> list[Plot]:
    """All plots that the systems of the experiment allow."""
    systems = [
        system for system in finding.systems
        if system == PRIMARY or system not in {dosed(PRIMARY, dose) for dose in DOSES}
    ]  # fmt: skip
    hidden = [s for s in (BASELINE, PRIMARY, "ar-beam") if s in (BASELINE, *finding.systems)]

    def recall(system: str, damage: str, severity: float) -> Estimate:
        found = finding.recall("english", damage, int(severity), system)
        return found.right if found else Estimate(None, None)

    def dose(severity: int, damage: str, dose: float) -> Estimate:
        return finding.gain("english", damage, severity, dosed(PRIMARY, dose)).cer

    drawn = []
    with drawing():
        severity, gain = say("severity (0: clean)"), say("gain (points of CER)")
        if finding.judged:
            drawn = [
                _plot(
                    finding, "gain",
                    say("Language gain of {system} over {baseline} by linguistic level",
                        system=PRIMARY, baseline=BASELINE),
                    (severity, gain), SEVERITIES, {level: say_name(level) for level in LEVELS},
                    lambda level, damage, s: finding.gain(level, damage, int(s), PRIMARY).gain,
                ),
                _plot(
                    finding, "hidden",
                    say("Hidden characters read right, English; "
                        "cloze: the same model with the true text"),
                    (say("severity"), say("hidden characters right (%)")), SEVERITIES[1:],
                    {**_named(hidden), CLOZE: say(CEILING)}, recall,
                ),
                _plot(
                    finding, "dose",
                    say("CER of {system} on English by dose of its tuned weights", system=PRIMARY),
                    (say("dose (0: no language)"), say("CER (%)")), DOSES,
                    {place: severity_head(place) for place in SEVERITIES}, dose,
                ),
            ]  # fmt: skip
        if finding.systems:
            drawn.append(
                _plot(
                    finding, "systems",
                    say("Gain over {baseline} on English, every system", baseline=BASELINE),
                    (severity, gain), SEVERITIES, _named(systems),
                    lambda own, damage, s: finding.gain("english", damage, int(s), own).gain,
                )
            )  # fmt: skip
    return drawn


def _named(systems: Sequence[str]) -> dict[str, str]:
    return dict(zip(systems, systems, strict=True))


def _plot(
    finding: Finding,
    slug: str,
    title: str,
    axis_words: tuple[str, str],
    places: Sequence[float],
    curves: Mapping[Any, str],
    value: Value,
) -> Plot:
    """A panel a damage, side by side, with one scale and one legend, which has words of curves."""
    damages = finding.design.damages
    width, height = max(2, len(damages)) * _PANEL[0], _PANEL[1] + _HEAD + _LEGEND
    figure, beside = panels(width, height, len(damages))
    across, upwards = axis_words
    for axes, damage in zip(beside, damages, strict=True):
        for index, (curve, label) in enumerate(curves.items()):
            look = look_of(index)
            known = [
                (place, own)
                for place in places
                if (own := value(curve, damage, place)).value is not None
            ]
            points = [100 * (own.value or 0.0) for _, own in known]
            axes.plot([place for place, _ in known], points, label=label, **look)
            bands = [(p, 100 * i.low, 100 * i.high) for p, own in known if (i := own.interval)]
            if bands:
                axes.fill_between(
                    *zip(*bands, strict=True), color=look["color"], alpha=0.12, linewidth=0
                )
        axes.axhline(0, color="0.4", linewidth=0.8)
        axes.set_title(say_name(damage), loc="left")
        axes.set_xlabel(across)
        axes.set_xticks(places)
    beside[0].set_ylabel(say("{what}; band: 95 %", what=upwards))
    handles, labels = beside[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels))
    where = say(
        "{encoder}; composed lines: {levels}; {seeds}",
        encoder=f"{finding.design.encoder}@{finding.weights[:8]}",
        levels=", ".join(
            f"{say_name(level)} {plural(one.lines, 'line')}" for level, one in finding.read.items()
        ),
        seeds=plural(len(finding.design.seeds), "seed"),
    )
    figure.suptitle(f"{title}\n{where}", x=0.01, ha="left", fontsize=9)
    figure.subplots_adjust(
        left=0.7 / width, right=0.99, wspace=0.08,
        bottom=(_LEGEND + 0.45) / height, top=1 - (_HEAD + 0.2) / height,
    )  # fmt: skip
    return saved(figure, slug, title)
