"""The plots of a run, in PNG, SVG and PDF.

severity-N      CER against the severity of a damage, with bands
gain-N          what each decoder gains over greedy CTC, against the severity
gain-damage-N   the same under every damage of one severity
cer-speed-N     CER against lines/s, with the Pareto front
latency-N       how the latencies of the batches are distributed
stages-N        where the time of a line goes
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.report.accuracy import curves
from bench.report.plots.canvas import (
    COLOURS,
    STYLE,
    Look,
    Plot,
    cer_percent,
    drawing,
    look_of,
    saved,
)
from bench.report.plots.cost import latency, stages
from bench.report.plots.error import severity, speed
from bench.report.plots.gain import Gains, by_damage, by_severity
from bench.report.remarks import trained
from bench.report.results import Result, Store, grouped

__all__ = ["COLOURS", "STYLE", "Look", "Plot", "draw", "drawing", "look_of", "saved"]


def draw(results: Sequence[Result], store: Store) -> list[Plot]:
    """All plots that the results allow, in the language in force (`captions.language`).

    Args:
        results: of the run, as `results.collect` gives them.
        store: the run, for the lines that the gains are paired by.

    Raises:
        UserError: the rows of the run cannot be read.
    """
    scored = [r for r in results if trained(r) and math.isfinite(cer_percent(r)[0])]
    timed = grouped((r for r in results if r.clean and r.row.timing), lambda r: r.names.dataset)
    both = grouped((r for r in scored if r.clean and r.row.timing), lambda r: r.names.dataset)
    decoders = [r.names.decoder for r in sorted(results, key=lambda r: r.place.decoder)]
    looks = {name: look_of(index) for index, name in enumerate(dict.fromkeys(decoders))}
    gains = Gains.of(scored, store)
    with drawing():
        return [
            *(severity(f"severity-{n}", group, looks) for n, group in enumerate(curves(scored), 1)),
            *by_severity(gains, looks),
            *by_damage(gains, looks),
            *(speed(f"cer-speed-{n}", group, looks) for n, group in enumerate(both, 1)),
            *latency(timed, looks),
            *(stages(f"stages-{n}", group) for n, group in enumerate(timed, 1)),
        ]
