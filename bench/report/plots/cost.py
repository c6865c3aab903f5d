"""What a line costs: how latencies are distributed, and which stage takes the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.core.types import Timing
from bench.report.captions import say
from bench.report.format import plain, short
from bench.report.plots.canvas import (
    COLOURS,
    HATCHES,
    Look,
    Plot,
    canvas,
    legend_below,
    name_rows,
    read_by,
    saved,
)
from bench.report.plots.error import speed_ticks
from bench.report.results import Result

_BAR, _AROUND = 0.3, 1.1  # inches: of a system, around them
_MS = 1000.0
_NAME = 48  # letters of a system's name
_STAGES: Mapping[str, Callable[[Timing], float]] = {
    "preparing the image": lambda timing: timing.host_s,
    "encoder": lambda timing: timing.encode_s,
    "decoder": lambda timing: timing.decode_s.median,
}
_COLOURS = (COLOURS[1], COLOURS[6], COLOURS[0])  # of the stages: dark enough apart in grey too


def keeps_latencies(result: Result) -> bool:
    """Whether a row has a distribution of them; that of two batches is none."""
    return result.row.timing is not None and len(result.row.timing.latencies_s) > 2


def latency(slug: str, results: Sequence[Result], looks: Mapping[str, Look]) -> Plot:
    """The share of batches that took at most so long a line."""
    first, several = results[0], len({result.names.encoder for result in results}) > 1
    title = say("Latency of encoder + decoder a line: {read}", read=read_by(first))
    figure, axes = canvas(title, first)
    for result in results:
        assert result.row.timing is not None  # as `keeps_latencies` says
        times = [_MS * value for value in result.row.timing.latencies_s]
        shares = [100.0 * (place + 1) / len(times) for place in range(len(times))]
        axes.step(
            times,
            shares,
            where="post",
            label=_system(result, several),
            **{**looks[result.names.decoder], "markevery": 0.15, "markersize": 5},
        )
    axes.set_xscale("log")
    speed_ticks(axes)
    axes.set_ylim(0, 103)
    axes.set_xlabel(say("ms a line, of each batch of each round (log scale)"))
    axes.set_ylabel(say("batches that took at most so long (%)"))
    legend_below(figure, axes)
    return saved(figure, slug, title)


def stages(slug: str, results: Sequence[Result]) -> Plot:
    """Milliseconds a line of each stage, one on the other, a bar a system."""
    first, several = results[0], len({result.names.encoder for result in results}) > 1
    title = say("Time a line by stage: {read}", read=read_by(first))
    figure, axes = canvas(title, first, _AROUND + _BAR * len(results))
    names = [_system(result, several) for result in results]
    done = [0.0] * len(results)
    for index, (label, seconds) in enumerate(_STAGES.items()):
        widths = [_ms_a_line(result, seconds) for result in results]
        axes.barh(
            range(len(results)), widths, left=done, height=0.7, label=say(label),
            color=_COLOURS[index], edgecolor="black", linewidth=0.5,
            hatch=HATCHES[index],
        )  # fmt: skip
        done = [before + width for before, width in zip(done, widths, strict=True)]
    name_rows(figure, axes, range(len(results)), names)
    axes.invert_yaxis()
    axes.set_xlabel(say("ms a line (one pass over the set, median of the rounds)"))
    legend_below(figure, axes)
    return saved(figure, slug, title)


def _ms_a_line(result: Result, seconds: Callable[[Timing], float]) -> float:
    timing, counts = result.row.timing, result.row.counts
    assert timing is not None and counts is not None  # `stages` takes no others
    return _MS * seconds(timing) / counts.lines if counts.lines else 0.0


def _system(result: Result, several: bool) -> str:
    """A decoder, with its encoder where there are several."""
    names = result.names
    name = f"{names.encoder} + {names.decoder}" if several else names.decoder
    return short(plain(name), _NAME)
