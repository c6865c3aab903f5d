"""The CTC alphabet of `mini`: the blank, then printable ASCII in code order."""

from __future__ import annotations

import string
from itertools import pairwise

from bench.core.types import BLANK

ALPHABET: tuple[str, ...] = ("", *sorted(c for c in string.printable if " " <= c <= "~"))
_INDEX = {symbol: index for index, symbol in enumerate(ALPHABET) if index != BLANK}


def encode(text: str) -> list[int] | None:
    """Symbol indices of a text, or None when a character is outside the alphabet."""
    indices = [_INDEX.get(char) for char in text]
    return None if None in indices else [i for i in indices if i is not None]


def frames_needed(indices: list[int]) -> int:
    """The fewest CTC frames that can spell it: one a symbol and one between equal neighbours."""
    return len(indices) + sum(a == b for a, b in pairwise(indices))
