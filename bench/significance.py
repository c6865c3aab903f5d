"""Which systems are as good as the best: what tables set in bold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.evidence import Reading, paired
from bench.stats import holm, rate_difference
from bench.stats.sample_size import ALPHA


@dataclass(frozen=True)
class Standing:
    """The systems of one condition beside the best of them.

    best: key of the row with the lowest CER; the first of several.
    p_values: of all others by key, against the best: two-sided, adjusted by Holm.
    alpha: below it a system is significantly worse.
    """

    best: str
    p_values: Mapping[str, float]
    alpha: float

    @property
    def not_worse(self) -> frozenset[str]:
        """Keys of the best and of all that are not significantly worse."""
        alike = (key for key, p in self.p_values.items() if p > self.alpha)
        return frozenset((self.best, *alike))


def standing(readings: Sequence[Reading], alpha: float = ALPHA) -> Standing | None:
    """Compare every system of a condition with the best one.

    The test is approximate randomisation by writers, two-sided although only worse systems are
    asked for: the best was chosen by the numbers that are tested, which favours it.

    Args:
        readings: of one condition; those without a CER are passed over.
        alpha: of the family of all comparisons.

    Returns:
        None where no reading has a CER. With one writer nothing is significantly worse.

    Raises:
        UserError: the readings are not of the same lines, damage and normaliser.
    """
    scored = [reading for reading in readings if reading.row.cer is not None]
    if not scored:
        return None
    best = min(scored, key=lambda reading: reading.row.cer or 0.0)
    others = [reading for reading in scored if reading is not best]
    p_values = holm([_p(other, best) for other in others])
    keys = (other.row.key for other in others)
    return Standing(best.row.key, dict(zip(keys, p_values, strict=True)), alpha)


def _p(other: Reading, best: Reading) -> float:
    pairs = paired(other, best)
    first, second = pairs.first, pairs.second
    found = rate_difference(first.edits, second.edits, first.characters, first.writers)
    return 1.0 if found is None else found.p
