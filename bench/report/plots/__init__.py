"""The plots of a run, in PNG, SVG and PDF.

severity-N      CER against the severity of a damage, with bands
gain-N          what each decoder gains over greedy CTC, against the severity
gain-damage-N   the same under every damage of one severity
cer-speed-N     CER against lines/s, with the Pareto front
latency-N       how the latencies of the batches are distributed
stages-N        where the time of a line goes
correction-N    what correctors gain against how much there was to correct
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence

from bench.core.progress import Report, silent
from bench.report.accuracy import curves, side_by_side
from bench.report.correction import gain_of
from bench.report.plots.canvas import (
    COLOURS,
    STYLE,
    Look,
    Plot,
    cer_percent,
    drawing,
    look_of,
    panels,
    saved,
)
from bench.report.plots.cost import keeps_latencies, latency, stages
from bench.report.plots.error import severity, speed
from bench.report.plots.gain import bands, curve, gained, gains_of, with_gain
from bench.report.remarks import trained
from bench.report.results import Result, grouped

__all__ = ["COLOURS", "STYLE", "Look", "Plot", "draw", "drawing", "look_of", "panels", "saved"]


Planned = Callable[[], Plot]


def draw(results: Sequence[Result], report: Report = silent) -> list[Plot]:
    """All plots that the results allow, in the language in force (`captions.language`).

    Args:
        results: of the run, as `results.collect` gives them.
        report: hears of the progress.
    """
    planned = _planned(results)
    drawn: list[Plot] = []
    with drawing():
        for plot in planned:
            report("plots", len(drawn), len(planned))
            drawn.append(plot())
    report("plots", len(drawn), len(planned))
    return drawn


def _planned(results: Sequence[Result]) -> list[Planned]:
    scored = [r for r in results if trained(r) and math.isfinite(cer_percent(r)[0])]
    timed = _by_set(r for r in results if r.clean and r.row.timing and r.row.counts)
    decoders = [r.names.decoder for r in sorted(results, key=lambda r: r.place.decoder)]
    looks = {name: look_of(index) for index, name in enumerate(dict.fromkeys(decoders))}
    gains = gains_of(scored)
    gained_by_severity = with_gain(curves(scored), gains)
    gained_by_damage = with_gain(side_by_side(scored), gains)
    return [
        *_each("severity", curves(scored), lambda s, group: severity(s, group, looks)),
        *_each("gain", gained_by_severity, lambda s, group: curve(s, group, gains, looks)),
        *_each("gain-damage", gained_by_damage, lambda s, group: bands(s, group, gains, looks)),
        *_each(
            "cer-speed",
            _by_set(r for r in scored if r.clean and r.row.timing),
            lambda s, group: speed(s, group, looks),
        ),
        *_each(
            "latency",
            _by_set(r for r in results if r.clean and keeps_latencies(r)),
            lambda s, group: latency(s, group, looks),
        ),
        *_each("stages", timed, stages),
        *_each(
            "correction",
            _by_set(r for r in scored if gain_of(r)),
            lambda s, group: gained(s, group, looks),
        ),
    ]


def _by_set(results: Iterable[Result]) -> list[list[Result]]:
    return grouped(results, lambda result: result.names.dataset)


def _each(
    kind: str, groups: Sequence[list[Result]], plot: Callable[[str, list[Result]], Plot]
) -> list[Planned]:
    """A plot a group, numbered from 1."""
    numbered = enumerate(groups, 1)
    return [functools.partial(plot, f"{kind}-{number}", group) for number, group in numbered]
