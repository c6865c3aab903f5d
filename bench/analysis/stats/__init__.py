"""The statistics of rates: intervals, differences and tests.

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
from bench.analysis.stats.randomisation import ALPHA, holm, sign_flip_p, significant

__all__ = [
    "ALPHA",
    "ENOUGH",
    "FEWEST",
    "LEVEL",
    "RESAMPLES",
    "SEED",
    "Counted",
    "Difference",
    "Interval",
    "Ratio",
    "Redrawn",
    "holm",
    "micro_interval",
    "rate_difference",
    "ratio_interval",
    "sign_flip_p",
    "significant",
    "sum_ratio",
]
