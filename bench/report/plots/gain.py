"""What a decoder gains over greedy CTC, which reads the same encoding without language.

And what its corrector gains, against how much there was to correct.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.analysis.evidence import Reading
from bench.analysis.experiment.design import BASELINE
from bench.analysis.stats import Difference
from bench.core.errors import UserError
from bench.report.captions import say
from bench.report.correction import gain_of
from bench.report.format import plain, short
from bench.report.plots.canvas import (
    Look,
    Plot,
    Spread,
    bars,
    canvas,
    curve_with_band,
    legend_below,
    name_rows,
    read_by,
    saved,
)
from bench.report.plots.error import severity_axis
from bench.report.results import Result

_ROW, _BAND, _ROUND = 0.13, 0.12, 1.1  # inches: of a decoder, between damages, around them


Gains = Mapping[str, Difference]  # by key of a row


def gains_of(results: Sequence[Result]) -> Gains:
    """The CER of greedy CTC less that of each result, paired by line.

    A result is paired with the greedy CTC of the same encoder under the same condition. What has no
    such counterpart, or whose lines are not stored, has no gain.
    """
    bases = {_place(r): r.reading for r in results if r.row.decoder == BASELINE}
    found = {}
    for result in results:
        base, own = bases.get(_place(result)), result.reading
        if base and own and base is not own and (gain := _gain(base, own)):
            found[result.row.key] = gain
    return found


def with_gain(groups: Iterable[Sequence[Result]], gains: Gains) -> list[list[Result]]:
    """Of each group the results that have a gain; groups without any are left out."""
    known = ([result for result in group if result.row.key in gains] for group in groups)
    return [group for group in known if group]


def _place(result: Result) -> tuple[object, ...]:
    names = result.names
    return (result.setting, names.encoder, names.dataset, names.damage, result.row.condition)


def _gain(base: Reading, own: Reading) -> Difference | None:
    try:
        return base.cer_less(own)
    except UserError:  # not of the same lines after all
        return None


def _percent(gain: Difference) -> Spread:
    """The gain and its interval in points of CER; without an interval the gain thrice."""
    low, high = (gain.interval.low, gain.interval.high) if gain.interval else (gain.value,) * 2
    return 100.0 * gain.value, 100.0 * min(low, gain.value), 100.0 * max(high, gain.value)


def curve(slug: str, results: Sequence[Result], gains: Gains, looks: Mapping[str, Look]) -> Plot:
    """The gain of each decoder against the severity of one damage."""
    last = results[-1]
    title = say(
        "Gain over {baseline} by severity of {damage}: {encoder} on {set}",
        baseline=BASELINE,
        damage=last.names.damage,
        encoder=last.names.encoder,
        set=read_by(last),
    )
    figure, axes = canvas(title, last)
    for decoder, look in looks.items():
        own = [result for result in results if result.names.decoder == decoder]
        if not own:
            continue
        severities = [result.row.condition.severity for result in own]
        values = [_percent(gains[result.row.key]) for result in own]
        curve_with_band(axes, decoder, severities, values, look)
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.set_ylabel(say("gain (points of CER; band: 95 % interval, paired)"))
    severity_axis(axes)
    legend_below(figure, axes)
    return saved(figure, slug, title)


def bands(slug: str, results: Sequence[Result], gains: Gains, looks: Mapping[str, Look]) -> Plot:
    """The gain of each decoder under every damage of one severity: a band a damage."""
    first = results[0]
    title = say(
        "Gain over {baseline} by damage at severity {severity}: {encoder} on {set}",
        baseline=BASELINE,
        severity=first.row.condition.severity,
        encoder=first.names.encoder,
        set=read_by(first),
    )
    damages = list(dict.fromkeys(result.names.damage for result in results))
    decoders = [name for name in looks if any(r.names.decoder == name for r in results)]
    band = _ROW * len(decoders) + _BAND
    figure, axes = canvas(title, first, _ROUND + band * len(damages))
    for row, decoder in enumerate(decoders):
        own = [result for result in results if result.names.decoder == decoder]
        places = [band * damages.index(r.names.damage) + _ROW * (row + 0.5) for r in own]
        points, reach = bars([_percent(gains[result.row.key]) for result in own])
        axes.errorbar(
            points, places, xerr=reach, label=short(plain(decoder)), elinewidth=0.8,
            **{**looks[decoder], "linestyle": "none"},
        )  # fmt: skip
    for place in range(1, len(damages)):
        axes.axhline(band * place - _BAND / 2, color="0.8", linewidth=0.6)
    axes.axvline(0, color="0.4", linewidth=0.8)
    centres = [band * place + (band - _BAND) / 2 for place in range(len(damages))]
    name_rows(figure, axes, centres, [short(plain(damage)) for damage in damages])
    axes.set_ylim(band * len(damages) - _BAND / 2, -_BAND / 2)
    axes.set_xlabel(say("gain (points of CER; bar: 95 % interval, paired)"))
    legend_below(figure, axes)
    return saved(figure, slug, title)


# What a corrector gains, against how much there was to correct


def gained(slug: str, results: Sequence[Result], looks: Mapping[str, Look]) -> Plot:
    """Every condition of a set as a point of each corrected decoder.

    Args:
        slug: stem of its files.
        results: of one encoder on one set; those without a gain are left out.
        looks: by decoder.
    """
    first = results[0]
    title = say(
        "What correction gains by what there was to correct: {encoder} on {set}",
        encoder=first.names.encoder,
        set=read_by(first),
    )
    figure, axes = canvas(title, first)
    for decoder, look in looks.items():
        own = [
            (100.0 * cer, gain)
            for result in results
            if result.names.decoder == decoder
            and result.row.correction
            and (cer := result.row.correction["cer_before"]) is not None
            and (gain := gain_of(result)) is not None
        ]
        if not own:
            continue
        before = [cer for cer, _ in own]
        points, reach = bars([_percent(gain) for _, gain in own])
        axes.errorbar(
            before, points, yerr=reach, elinewidth=0.8, capsize=2, capthick=0.8,
            label=short(plain(decoder)), **{**look, "linestyle": "none"},
        )  # fmt: skip
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.set_xlim(left=0)
    axes.set_xlabel(say("CER before the correction (%; a point a condition)"))
    axes.set_ylabel(say("gain (points of CER; bar: 95 % interval, paired)"))
    legend_below(figure, axes)
    return saved(figure, slug, title)
