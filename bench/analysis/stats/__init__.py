"""The statistics of rates: how sure one is, whether two differ, and how many lines it would take.

Lines of one block (a hand, letter or text) are alike, so everything here is drawn and swapped by
block. Only sums are resampled, never texts: nothing is scored again. Under `FEWEST` blocks there is
no interval and no p-value, under `ENOUGH` the intervals are Student's t.
"""

from bench.analysis.stats.intervals import (
    ENOUGH,
    FEWEST,
    LEVEL,
    RESAMPLES,
    SEED,
    Counted,
    Interval,
    Redrawn,
    micro_interval,
    ratio_interval,
)
from bench.analysis.stats.paired import Difference, Ratio, rate_difference, sum_ratio
from bench.analysis.stats.randomisation import holm, sign_flip_p, significant
from bench.analysis.stats.sample_size import Power, power

__all__ = [
    "ENOUGH",
    "FEWEST",
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
    "significant",
    "sum_ratio",
]
