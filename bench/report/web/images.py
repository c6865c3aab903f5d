"""Pictures of lines for the web report: some of every set, small, as WebP.

A JSON object: "set|damage|severity" of a reading to {line: {webp, width, height, hidden}}, where
`line` is the place of the line in its set, `webp` the file in base64, and `hidden` the places of
the characters of the reference that the damage hides (absent where that is not known).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from PIL import Image

from bench.analysis.pictures import Picture, pictures
from bench.core.metrics import normalise
from bench.core.progress import Report
from bench.report.format import plain
from bench.report.language import say
from bench.report.web.payload import Gathered, Payload
from datasets.damage.visible import HIDDEN

_HEIGHT = 48  # pixels; a page shows lines at about this height
_WIDTH = 1600  # pixels; longer lines become lower
_QUALITY = 50
_EFFORT = 2  # of libwebp, 0 to 6: twice as fast as its default, 4 % larger


@dataclass(frozen=True)
class Shots:
    """The pictures of a page.

    by_condition: as the page reads them.
    note: which lines have pictures, if not all; else "".
    absent: why some conditions have none, a sentence each.
    """

    by_condition: Payload = field(default_factory=dict)
    note: str = ""
    absent: tuple[str, ...] = ()

    @property
    def hidden_known(self) -> bool:
        """Whether any picture says which characters its damage hides."""
        return any("hidden" in shot for one in self.by_condition.values() for shot in one.values())


def shots(gathered: Gathered, most: int | None, report: Report) -> Shots:
    """Make pictures of the same lines of every set in all of its conditions.

    `most` lines of a set have pictures, spread evenly from the best read line to the worst; None
    for all.
    """
    if most == 0:
        return Shots()
    payload = gathered.payload
    chosen = [_spread(payload, place, most) for place in range(len(payload["sets"]))]
    found: Payload = {}
    absent: list[str] = []
    conditions = _conditions(payload)
    for done, (condition, reading) in enumerate(conditions):
        report("pictures", done, len(conditions))
        places = chosen[payload["readings"][reading]["set"]]
        ids = gathered.ids(reading)
        made = pictures(gathered.results[reading].row, [ids[place] for place in places])
        if made.absent:
            absent.append(plain(made.absent))
            continue
        found[condition] = {
            str(place): _shot(made.by_id[ids[place]])
            for place in places
            if ids[place] in made.by_id
        }
    report("pictures", len(conditions), len(conditions))
    return Shots(found, _note(payload, found), tuple(dict.fromkeys(absent)))


def _conditions(payload: Payload) -> list[tuple[str, int]]:
    """Conditions, set by set, each with one of its readings: all systems saw the same images."""
    firsts: dict[str, int] = {}
    for reading, one in enumerate(payload["readings"]):
        firsts.setdefault(f"{one['set']}|{one['damage']}|{one['severity']}", reading)
    return sorted(firsts.items(), key=lambda item: payload["readings"][item[1]]["set"])


def _spread(payload: Payload, place: int, most: int | None) -> Sequence[int]:
    """Places of lines, evenly spread over the lines of a set sorted by the edits made in them."""
    lines = payload["sets"][place]["lines"]
    if most is None or most >= len(lines):
        return range(len(lines))
    rates = np.zeros(len(lines))
    for reading in payload["readings"]:
        if reading["set"] == place:
            edits = np.asarray(reading["edits"], dtype=float)
            rates[: len(edits)] += edits
    rates /= [max(len(reference), 1) for _, _, reference in lines]
    order = np.argsort(rates, kind="stable")
    steps = np.linspace(0, len(lines) - 1, most).round().astype(int)
    return sorted(int(order[step]) for step in dict.fromkeys(steps))


def _shot(picture: Picture) -> dict[str, Any]:
    height, width = picture.image.shape
    scale = min(_HEIGHT / height, _WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture.image, size, interpolation=cv2.INTER_AREA)
    file = io.BytesIO()
    Image.fromarray(small).save(file, "webp", quality=_QUALITY, method=_EFFORT)
    shot: dict[str, Any] = {
        "webp": base64.b64encode(file.getvalue()).decode(),
        "width": size[0],
        "height": size[1],
    }
    # The reference on the page is normalised; characters keep their places where that changes none.
    if picture.visible is not None and normalise(picture.text) == picture.text:
        with np.errstate(invalid="ignore"):  # NaN, of a character without ink, is not hidden
            hidden = np.flatnonzero(picture.visible < HIDDEN).tolist()
        shot["hidden"] = [place for place in hidden if picture.text[place] != " "]
    return shot


def _note(payload: Payload, found: Payload) -> str:
    """Sentence on the lines with a picture, where these are not all."""
    sets = []
    for place, one in enumerate(payload["sets"]):
        shown = (shot for name, shot in found.items() if name.startswith(f"{place}|"))
        own = {line for shot in shown for line in shot}
        if own and len(own) < len(one["lines"]):
            values = {"shown": len(own), "lines": len(one["lines"]), "name": plain(one["name"])}
            sets.append(say("{shown} of {lines} lines of {name}", **values))
    about = "Pictures, spread evenly from the best to the worst read line: {sets}."
    return say(about, sets="; ".join(sets)) if sets else ""
