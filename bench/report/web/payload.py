"""Data of the web report's scripts: the lines of a run, and the points of its plots.

A JSON object:

    words      the words of the scripts in the page's language, by the English ones
    systems    {name, colour, marker, dash}; everything below counts systems by their place here
    sets       {name, lines, texts}: lines [id, block, reference], and for each line the different
               texts that any system read on it under any damage
    readings   one a row that was read with trained weights: {set, system, damage, severity, texts,
               edits}. texts has for each line of the set the place of its text among
               `sets[set].texts[line]`, -1 where the row has none; edits the character edits
    curves     {title, series: [{system, points: [{x, y, low, high, say, reading}]}]}
    speeds     {title, points: [{system, x, left, right, y, low, high, say, front, reading}]}

References and texts are normalised, as they are for counting edits. Rates are percentages.
`reading` is the place among the readings, null for a row whose lines are not stored any more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.analysis.cost import pareto
from bench.core.metrics import normalise
from bench.core.types import LineResult
from bench.report.accuracy import curves
from bench.report.format import bracket, percent, significant
from bench.report.language import say
from bench.report.panel import COLOURS, look_of
from bench.report.plots import lines_per_s, percents, read_by
from bench.report.results import Result, grouped

Payload = dict[str, Any]
Places = Mapping[int, Mapping[str, int | None]]  # by id of a result: {"system", "reading"}

# Matplotlib's dashes as SVG's, in pixels; a pattern of its own is the last of `plots`.
_DASHES = {"-": "", "--": "6 3", "-.": "7 3 1.5 3", ":": "1.5 3"}
_OWN_DASH = "7 2 1.5 2 1.5 2"


@dataclass(eq=False)
class _Set:
    """The lines of one content hash, and the different texts read on each."""

    name: str
    places: dict[str, int] = field(default_factory=dict)
    lines: list[list[str]] = field(default_factory=list)
    texts: list[dict[str, int]] = field(default_factory=list)

    def place(self, line: LineResult) -> int:
        """The place of a line, new or known."""
        if line.id not in self.places:
            self.places[line.id] = len(self.lines)
            self.lines.append([line.id, line.block, normalise(line.reference)])
            self.texts.append({})
        return self.places[line.id]

    def read(self, lines: Iterable[LineResult]) -> Payload:
        """Texts and edits of one row by line."""
        texts, edits = {}, {}
        for line in lines:
            place = self.place(line)
            known = self.texts[place]
            texts[place] = known.setdefault(normalise(line.text), len(known))
            edits[place] = line.edits
        everywhere = range(len(self.lines))
        return {
            "texts": [texts.get(place, -1) for place in everywhere],
            "edits": [edits.get(place, 0) for place in everywhere],
        }

    def payload(self) -> Payload:
        """The set as the scripts read it."""
        return {"name": self.name, "lines": self.lines, "texts": [list(t) for t in self.texts]}


@dataclass(frozen=True, eq=False)
class Gathered:
    """Data of the scripts, and the result behind each of its readings."""

    payload: Payload
    results: Sequence[Result]

    def ids(self, reading: int) -> list[str]:
        """The ids of the lines of a reading's set, in its order."""
        lines = self.payload["sets"][self.payload["readings"][reading]["set"]]["lines"]
        return [line[0] for line in lines]


def gather(results: Sequence[Result]) -> Gathered:
    """Gather the data of the scripts from the results of a run, which are in order."""
    scored = [r for r in results if r.row.status == "ok" and r.trained]
    systems = _systems(results, scored)
    names = list(dict.fromkeys(systems))
    sets: dict[tuple[str, str], _Set] = {}
    readings: list[Payload] = []
    read: list[Result] = []
    places: dict[int, dict[str, int | None]] = {}
    several_seeds = len({r.row.condition.seed for r in scored if not r.clean}) > 1
    for result, name in zip(scored, systems, strict=True):
        system = names.index(name)
        places[id(result)] = {"system": system, "reading": None}
        if result.reading is None:  # the tables have the row all the same
            continue
        key = (result.names.dataset, result.row.dataset_sha256)
        own = sets.setdefault(key, _Set(result.names.dataset))
        places[id(result)]["reading"] = len(readings)
        condition = {
            "set": list(sets).index(key),
            "system": system,
            "damage": _damage(result, several_seeds),
            "severity": result.row.condition.severity,
        }
        readings.append({**condition, **own.read(result.reading.lines)})
        read.append(result)
    payload = {
        "systems": [{"name": name, **_style(place)} for place, name in enumerate(names)],
        "sets": [one.payload() for one in sets.values()],
        "readings": readings,
        "curves": [_curve(group, places) for group in curves(_finite(scored))],
        "speeds": [_speeds(group, places) for group in _timed(scored)],
    }
    return Gathered(payload, read)


def _systems(results: Sequence[Result], scored: Sequence[Result]) -> list[str]:
    """The system of each result: its decoder, and all that distinguishes it in the run.

    Of several settings ("batch 1", "batch 32") the number in the page's conditions is added.
    """
    settings = list(dict.fromkeys(result.setting for result in results))
    several = len({result.names.encoder for result in scored}) > 1
    names = []
    for result in scored:
        encoder = f"{result.names.encoder} + " if several else ""
        used = f" §{settings.index(result.setting) + 1}" if len(settings) > 1 else ""
        names.append(f"{encoder}{result.names.decoder}{used}")
    return names


def _style(place: int) -> Payload:
    look = look_of(place)
    line = look["linestyle"]
    dash = _DASHES[line] if isinstance(line, str) else _OWN_DASH
    return {"colour": COLOURS.index(look["color"]), "marker": look["marker"], "dash": dash}


def _damage(result: Result, several_seeds: bool) -> str:
    """The damage, with its seed where the run has several; "" of a clean set."""
    if result.clean:
        return ""
    if not several_seeds:
        return result.damage
    return say("{damage} (seed {seed})", damage=result.damage, seed=result.row.condition.seed)


# Plots


def _finite(results: Iterable[Result]) -> list[Result]:
    return [r for r in results if r.row.cer is not None and math.isfinite(r.row.cer)]


def _timed(results: Iterable[Result]) -> list[list[Result]]:
    timed = (r for r in _finite(results) if r.clean and r.row.timing)
    return grouped(timed, lambda result: (result.names.dataset, result.row.dataset_sha256))


def _curve(results: Sequence[Result], places: Places) -> Payload:
    last = results[-1]
    series: dict[int | None, list[Payload]] = {}
    for result in results:
        place, severity = places[id(result)], result.row.condition.severity
        point = {
            "x": severity,
            **_cer(result),
            "say": f"{say('severity')} {severity}: {_cer_words(result)}",
            "reading": place["reading"],
        }
        series.setdefault(place["system"], []).append(point)
    return {
        "title": f"{last.damage} · {last.names.encoder} · {read_by(last)}",
        "series": [{"system": system, "points": points} for system, points in series.items()],
    }


def _speeds(results: Sequence[Result], places: Places) -> Payload:
    first = results[0]
    front = pareto([(r.row.cer or 0.0, _rates(r)["x"]) for r in results])
    points = [
        {**places[id(r)], **_rates(r), **_cer(r), "front": best}
        for r, best in zip(results, front, strict=True)
    ]
    return {"title": read_by(first), "points": points}


def _rates(result: Result) -> Payload:
    rate, left, right = lines_per_s(result)
    words = f"{significant(rate)} {say('lines/s')}, {_cer_words(result)}"
    return {"x": rate, "left": left, "right": right, "say": words}


def _cer(result: Result) -> dict[str, float]:
    return dict(zip(("y", "low", "high"), percents(result.row.cer, result.interval), strict=True))


def _cer_words(result: Result) -> str:
    interval = f" {bracket(result.interval)}" if result.interval else ""
    return f"CER {percent(result.row.cer)} %{interval}"
