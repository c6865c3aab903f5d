"""Which systems are as good as the best: what tables set in bold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.analysis.evidence import Reading
from bench.analysis.stats import (
    FEWEST,
    Difference,
    holm,
    significant,
)


@dataclass(frozen=True)
class Standing:
    """The systems of one condition beside the best of them.

    best: key of the row with the lowest CER; the first of several.
    behind: of all others by key, their CER less that of the best.
    """

    best: str
    behind: Mapping[str, Difference]


def standing(readings: Sequence[Reading]) -> Standing | None:
    """Compare every system of a condition with the best one.

    The test is approximate randomisation by blocks, two-sided although only worse systems are
    asked for: the best was chosen by the numbers that are tested, which favours it.

    Args:
        readings: of one condition; those without a CER are passed over.

    Returns:
        None where no reading has a CER, or of so few blocks that nothing can be tested.

    Raises:
        UserError: the readings are not of the same lines, damage and normaliser.
    """
    scored = [reading for reading in readings if reading.row.cer is not None]
    if not scored or len(set(scored[0].blocks)) < FEWEST:
        return None
    best = min(scored, key=lambda reading: reading.row.cer or 0.0)
    others = [reading for reading in scored if reading is not best]
    gaps = {other.row.key: other.cer_less(best) for other in others}
    return Standing(best.row.key, {key: gap for key, gap in gaps.items() if gap is not None})


def not_worse(standings: Iterable[Standing]) -> frozenset[str]:
    """Keys of the best of each condition and of all that are not significantly worse.

    Args:
        standings: of all conditions of a table, whose comparisons are one family (Holm).
    """
    known = list(standings)
    behind = [(key, gap) for standing in known for key, gap in standing.behind.items()]
    adjusted = holm([gap.p for _, gap in behind])
    alike = [
        key
        for (key, gap), p in zip(behind, adjusted, strict=True)
        if not significant(gap.interval, p)
    ]
    return frozenset([*(standing.best for standing in known), *alike])
