"""A text that somebody else has read, as a guess of how one's own reading goes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class TextDraft:
    """Finds one's place in the draft from what one has read so far.

    That place is where the draft's beginning has the smallest edit distance from what was read,
    the last such place where there are several: then a wrong character counts as one for another.
    """

    def __init__(self, text: str) -> None:
        """Nothing is read yet."""
        self._text = text
        self._characters = _characters(text)
        self._read = ""
        # Edit distances between what was read and every beginning of the draft.
        self._distances = np.arange(len(text) + 1)

    def rest(self, read: str) -> str:
        """What of the draft is still to come.

        Args:
            read: all that was read; longer than at the call before, unless its end has changed.
        """
        if not read.startswith(self._read):
            self._distances, self._read = np.arange(len(self._text) + 1), ""
        for character in _characters(read[len(self._read) :]):
            self._advance(character)
        self._read = read
        place = len(self._text) - int(self._distances[::-1].argmin())
        return self._text[place:]

    def _advance(self, character: int) -> None:
        """One more row of Wagner and Fischer's table (1974, https://doi.org/10.1145/321796.321811).

        Its sequential part, characters of the draft that were not read, is a running minimum.
        """
        before, columns = self._distances, np.arange(len(self._distances))
        found = before + 1
        found[1:] = np.minimum(found[1:], before[:-1] + (self._characters != character))
        self._distances = np.minimum.accumulate(found - columns) + columns


def _characters(text: str) -> NDArray[np.int64]:
    return np.fromiter(map(ord, text), np.int64, len(text))
