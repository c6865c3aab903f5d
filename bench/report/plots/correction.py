"""What a corrector gains, against how much there was to correct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.analysis.stats import Difference
from bench.report.captions import say
from bench.report.correction import gain_of
from bench.report.format import plain, short
from bench.report.plots.canvas import Look, Plot, canvas, legend_below, read_by, saved
from bench.report.results import Result


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
        before, found = zip(*own, strict=True)
        points = [100.0 * gain.value for gain in found]
        axes.errorbar(
            before, points, yerr=_bars(found), elinewidth=0.8, capsize=2, capthick=0.8,
            label=short(plain(decoder)), **{**look, "linestyle": "none"},
        )  # fmt: skip
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.set_xlim(left=0)
    axes.set_xlabel(say("CER before the correction (%; a point a condition)"))
    axes.set_ylabel(say("gain (points of CER; bar: 95 % interval, paired)"))
    legend_below(figure, axes)
    return saved(figure, slug, title)


def _bars(gains: Sequence[Difference]) -> tuple[list[float], list[float]]:
    """How far each interval reaches below and above its gain; nowhere without one."""
    ends = [(g.interval.low, g.interval.high) if g.interval else (g.value,) * 2 for g in gains]
    pairs = list(zip(gains, ends, strict=True))
    below = [100.0 * max(gain.value - low, 0.0) for gain, (low, _) in pairs]
    above = [100.0 * max(high - gain.value, 0.0) for gain, (_, high) in pairs]
    return below, above
