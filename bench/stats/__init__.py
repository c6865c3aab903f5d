"""The statistics of rates: how sure one is, whether two differ, and how many lines it would take.

Lines of one writer are alike, so everything here is drawn and swapped by writer. Only sums are
resampled, never texts: nothing is scored again.
"""

from bench.stats.intervals import (
    LEVEL,
    RESAMPLES,
    SEED,
    Counted,
    Interval,
    Redrawn,
    micro_interval,
    ratio_interval,
)
from bench.stats.paired import Difference, Ratio, rate_difference, sum_ratio
from bench.stats.randomisation import holm, sign_flip_p
from bench.stats.sample_size import Power, power

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "SEED",
    "Counted",
    "Difference",
    "Interval",
    "Power",
    "Ratio",
    "Redrawn",
    "holm",
    "micro_interval",
    "power",
    "rate_difference",
    "ratio_interval",
    "sign_flip_p",
    "sum_ratio",
]
