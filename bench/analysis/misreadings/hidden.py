"""What a reading could see of each character, from the pictures of its lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bench.analysis.evidence import Reading
from bench.analysis.experiment.visibility import completed
from bench.analysis.misreadings.line import UNSEEN, Shares
from bench.analysis.pictures import Picture, pictures
from bench.core.metrics import normalise


@dataclass(frozen=True, eq=False)
class Sight:
    """The visible shares of a condition.

    by_id: (N,) share of each character of a line, `UNSEEN` where it is not known; empty where
        nothing could be hidden: a clean set, or a damage without a mask.
    estimated: whether places of characters are guessed, the source of some line having no boxes.
    absent: why nothing is known although something may have been hidden; "" otherwise.
    """

    by_id: Mapping[str, Shares] = field(default_factory=dict)
    estimated: bool = False
    absent: str = ""

    def of(self, line_id: str) -> Shares | None:
        """What `misreadings` wants of a line."""
        return self.by_id.get(line_id, UNSEEN) if self.by_id else None


def sight(reading: Reading) -> Sight:
    """What could be seen of the lines of a reading; the same for every system of a condition."""
    if reading.row.condition.severity == 0:
        return Sight()
    found = pictures(reading.row, [line.id for line in reading.lines])
    if found.absent:
        return Sight(absent=found.absent)
    if all(picture.visible is None for picture in found.by_id.values()):
        return Sight()
    return Sight(
        {line: _shares(picture) for line, picture in found.by_id.items()},
        any(picture.boxes is None for picture in found.by_id.values()),
    )


def _shares(picture: Picture) -> Shares:
    """Of the characters of the normalised reference, where that is the reference itself."""
    if picture.visible is None or normalise(picture.text) != picture.text:
        return UNSEEN
    return completed(picture.text, picture.visible.astype(np.float32))
