"""The grid of a tuning as a table."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report.format import listing, percent, plural
from bench.report.table import Cell, Column, Table, name
from decoders.tuned import Tuned


def table(tuned: Tuned) -> Table:
    """CER over the first two tuned options, the others at their best."""
    rows, columns, *others = [*tuned.grid, *([""] * (2 - len(tuned.grid)))]
    across = tuned.grid.get(columns, (0.0,))
    cer = {
        (point[rows], point.get(columns, 0.0)): point["cer"]
        for point in tuned.cer_map
        if all(point[other] == tuned.values[other] for other in others)
    }
    best = [f"{option} {value:g}" for option, value in tuned.values.items()]
    # A first pass that a model rescores may itself be without one.
    language = f"Language model {tuned.lm_sha256[:8]}. " if tuned.lm_sha256 else ""
    return Table(
        slug="tuning",
        title=f"Tuning of {tuned.decoder} behind {tuned.encoder}",
        conditions=(
            f"CER % (micro) on {plural(tuned.lines, 'line')} of {tuned.dataset}, split "
            f"{tuned.split}, read by {tuned.encoder}@{tuned.weights[:8]}: "
            f"{listing(list(tuned.conditions))}. {language}"
            f"Best: {listing(best)}, CER {percent(tuned.cer)} %; without language (greedy) "
            f"{percent(tuned.greedy_cer)} %."
        ),
        columns=(
            Column(f"{rows} \\ {columns}" if columns else rows, key=True),
            *(Column(f"{value:g}" if columns else "CER %") for value in across),
        ),
        rows=tuple(
            (name(f"{down:g}"), *(_cell(cer[down, value]) for value in across))
            for down in tuned.grid[rows]
        ),
    )


def at_the_edge(tuned: Tuned) -> Iterator[str]:
    """A sentence for each option whose best value is the last one that was tried."""
    for option, values in tuned.grid.items():
        best = tuned.values[option]
        if len(values) > 1 and best in (min(values), max(values)):
            yield (
                f"the best {option}, {best:g}, is at the edge of the grid; "
                f"there may be a better one beyond: --grid {option}=..."
            )


def _cell(fraction: float) -> Cell:
    return Cell(percent(fraction), values=(100.0 * fraction,))
