"""The three figures of the language experiment: a panel a reader, a bar of the 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.analysis.experiment.analysis import Estimate, Reading
from bench.analysis.experiment.counts import CLOZE
from bench.analysis.experiment.design import ENGLISH
from bench.analysis.experiment.finding import Finding
from bench.report.experiment_tables import CEILING
from bench.report.language import say, say_name
from bench.report.panel import Plot, drawing, look_of, panels, saved

Value = Callable[[str, str, str], Estimate | None]  # of a reader, a curve, and a place

_PANEL = (3.4, 3.4)  # inches
_HEAD, _FOOT = 0.5, 1.5  # inches above and below the panels
_APART = 0.08  # of curves, in places


def draw(finding: Finding) -> list[Plot]:
    """All figures."""
    design = finding.design
    conditions = [name for name in design.conditions if _any(finding, ENGLISH, name)]
    doses = {name: name for name, dose in design.doses.items() if not dose.by_condition}

    def gain(reader: str, level: str, condition: str, system: str) -> Estimate | None:
        found = finding.reading(reader, level, condition, system)
        return found.gain if found else None

    def restored(reader: str, system: str, condition: str) -> Estimate | None:
        own = next(iter(finding.weights)) if system == CLOZE else reader
        found = finding.reading(own, ENGLISH, condition, system)
        return found.restored if found else None

    odds = say("log-odds of a character read right")
    with drawing():
        return [
            _plot(
                finding, "gain",
                say("What each dose of language gains on English, over {system}",
                    system=design.baseline),
                odds, conditions, doses,
                lambda reader, system, condition: gain(reader, ENGLISH, condition, system),
            ),
            _plot(
                finding, "levels",
                say("What {system} gains where text is less and less language",
                    system="ctc-ngram"),
                odds, list(finding.read),
                {name: say_name(name) for name in ("clean", "erased")},
                lambda reader, condition, level: gain(reader, level, condition, "ctc-ngram"),
            ),
            _plot(
                finding, "restored",
                say("Hidden characters of English read right"),
                say("percent"), [name for name in conditions if design.conditions[name].damage],
                {design.baseline: design.baseline, **doses, CLOZE: say(CEILING)},
                restored, 100.0,
            ),
        ]  # fmt: skip


def _any(finding: Finding, level: str, condition: str) -> bool:
    def is_of(one: Reading) -> bool:
        return (one.level, one.condition) == (level, condition)

    return any(map(is_of, finding.readings))


def _plot(
    finding: Finding,
    slug: str,
    title: str,
    upwards: str,
    places: Sequence[str],
    curves: Mapping[str, str],
    value: Value,
    factor: float = 1.0,
) -> Plot:
    """A panel a reader, side by side, with one scale and one legend of the curves."""
    readers = list(finding.weights)
    width, height = max(2, len(readers)) * _PANEL[0], _PANEL[1] + _HEAD + _FOOT
    figure, beside = panels(width, height, len(readers))
    for axes, reader in zip(beside, readers, strict=True):
        for index, (curve, label) in enumerate(curves.items()):
            known = [
                (x + _APART * (index - len(curves) / 2), own)
                for x, place in enumerate(places)
                if (own := value(reader, curve, place)) is not None and own.value is not None
            ]
            points = [factor * (own.value or 0.0) for _, own in known]
            look = {**look_of(index), "linestyle": ""}
            axes.plot([x for x, _ in known], points, label=label, **look)
            for x, own in known:
                if own.interval:
                    ends = [factor * own.interval.low, factor * own.interval.high]
                    axes.plot([x, x], ends, color=look["color"], linewidth=1)
        axes.axhline(0, color="0.4", linewidth=0.8)
        axes.set_title(reader, loc="left")
        names = [say_name(place) for place in places]
        axes.set_xticks(range(len(places)), names, rotation=30, ha="right")
    beside[0].set_ylabel(say("{what}; bar: 95 %", what=upwards))
    handles, labels = beside[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=-(-len(labels) // 2))
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    figure.subplots_adjust(
        left=0.7 / width, right=0.99, wspace=0.08,
        bottom=(_FOOT - 0.2) / height, top=1 - _HEAD / height,
    )  # fmt: skip
    return saved(figure, slug, title)
