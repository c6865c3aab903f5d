"""The calibration of the damages as a table."""

from __future__ import annotations

from bench.analysis.calibration import STEPS, Calibration, Point
from bench.report.format import percent, plural
from bench.report.table import Cell, Column, Table, name
from datasets.about import named


def table(found: Calibration) -> Table:
    """The strengths of severity 1 to 5, what they cost, and which would cost exactly the step."""
    return Table(
        slug="calibration",
        title="Calibration of the damages",
        conditions=(
            f"Rise of the micro CER in points over that of the clean lines, "
            f"{percent(found.clean)} %: {plural(found.lines, 'line')} of {named(found.dataset)}, "
            f"split val (set {found.dataset_sha256[:12]}), read by "
            f"{found.encoder}@{found.weights[:8]} with {found.decoder}, seed {found.seed}."
        ),
        columns=(
            Column("damage", key=True),
            Column("severity", key=True),
            Column("strength"),
            Column("rise of the CER"),
            Column("wanted rise"),
            Column("strength for it"),
        ),
        rows=tuple(
            _row(curve.damage, severity, point, found.clean, step, wanted)
            for curve in found.curves
            for severity, (point, step, wanted) in enumerate(
                zip(curve.frozen, STEPS, curve.wanted, strict=True), 1
            )
        ),
    )


def _row(
    damage: str, severity: int, point: Point, clean: float, step: float, wanted: float | None
) -> tuple[Cell, ...]:
    rise = point.cer - clean
    return (
        name(damage),
        name(severity),
        Cell(f"{point.strength:g}", values=(point.strength,)),
        Cell(percent(rise), values=(100.0 * rise,)),
        Cell(percent(step), values=(100.0 * step,)),
        Cell("out of reach" if wanted is None else f"{wanted:.3g}", values=(wanted,)),
    )
