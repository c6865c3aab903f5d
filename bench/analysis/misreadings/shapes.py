"""Letters that look alike in handwriting.

The list was written down from the strokes of the letters (minims, bowls, loops, hooks, capitals of
one frame) before any result was sorted by it, and is the same for every decoder. It is a
declaration, not a finding: who thinks otherwise changes it here and has every table anew.
"""

from __future__ import annotations

import unicodedata
from itertools import permutations

# Any two letters of a group look alike.
_GROUPS = (
    # minims
    *("nuvr", "nm", "mw", "uvw", "ij", "ilt", "vry"),
    # bowls
    *("aou", "adqg", "ceo", "iec", "ae"),
    # loops, ascenders, descenders, hooks
    *("le", "bhkl", "hn", "flt", "fs", "gyjq", "yz", "rs", "pg"),
    # capitals, and the ones that stand for small letters
    *("OQDC", "CGE", "IJTFl", "UV", "MNWH", "PRB", "KHR", "SGL", "XY"),
)
# What a run of strokes may be divided into: either side may be the one that was meant.
_RUNS = (
    ("rn", "m"), ("nn", "m"), ("ni", "m"), ("in", "m"), ("iu", "m"), ("ui", "m"), ("ri", "n"),
    ("ii", "n"), ("ii", "u"), ("vv", "w"), ("uu", "w"), ("iu", "w"), ("ui", "w"), ("cl", "d"),
    ("ol", "d"), ("el", "d"), ("ci", "a"), ("oi", "a"), ("ei", "a"), ("li", "h"), ("lc", "k"),
    ("lo", "b"), ("le", "k"),
)  # fmt: skip

_ALIKE = frozenset(
    (one, other) for group in _GROUPS for one, other in permutations(group, 2)
) | frozenset(pair for run in _RUNS for pair in (run, run[::-1]))


def alike(truth: str, read: str) -> bool:
    """Whether a letter, or a run of letters, may be taken for another by its shape.

    >>> alike("u", "n"), alike("rn", "m"), alike("é", "e"), alike("x", "n")
    (True, True, True, False)
    """
    return (truth, read) in _ALIKE or (truth != read and _bare(truth) == _bare(read) != "")


def _bare(text: str) -> str:
    """The letters without their accents; "" where there are none."""
    if not text.isalpha():
        return ""
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
