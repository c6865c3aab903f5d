"""The language experiment as one page in plain words, and as tables.

Every sentence follows from the numbers: an expectation that does not hold says so in its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.special import logit

from bench.analysis.experiment.analysis import Estimate, TestedContrast
from bench.analysis.experiment.counts import CLOZE
from bench.analysis.experiment.design import BASELINE, DOSES, NO_SLOPE, PRIMARY, dosed
from bench.analysis.experiment.finding import Finding
from bench.analysis.stats import ENOUGH, FEWEST, LEVEL, RESAMPLES, SEED, holm, significant
from bench.report import render
from bench.report.conditions import by_whom, synthetic
from bench.report.experiment_plots import draw
from bench.report.experiment_tables import of_page, p_value, slope_of
from bench.report.format import bracket, listing, number, percent, plain, plural
from bench.report.panel import Plot
from bench.report.table import signed
from datasets.damage.base import SEVERITIES, SUITE

_LAST = SEVERITIES[-1]
_BOUND = number(100 * NO_SLOPE, 1)
# Of the contrasts in short: sentences by verdict, and that for any other verdict.
_ANSWERS: Mapping[str, tuple[Mapping[str, str], str]] = {
    "slope on english": (
        {
            "holds": "In points of CER, on average over the damages: on English the gain of "
            f"{{system}} over {BASELINE} rises with the ink that is lost, {{step}}.",
            "the opposite holds": "In points of CER it is the other way round: on English the gain "
            f"of {{system}} over {BASELINE} falls with the ink that is lost, {{step}}.",
        },
        f"No effect was shown: on English the gain of {{system}} over {BASELINE} changes by "
        "{step}.",
    ),
    "slope on random": (
        {
            "holds": f"On random characters it changes by less than {_BOUND} points a step "
            "({effect}), so what changes on English is language.",
            "does not hold": "But on random characters it changes too ({effect}), where there is "
            "no language beyond the frequency of letters: a slope by itself is no proof of "
            "language.",
        },
        f"Whether it stays the same on random characters (within {_BOUND} points a step either "
        "way) cannot be said from so many lines ({effect}).",
    ),
    "english over random": (
        {
            "holds": "It rises faster on English than there, by {effect}.",
            "the opposite holds": "It rises faster there than on English: the difference is "
            "{effect}.",
        },
        "That it rises faster on English than there was not shown ({effect}).",
    ),
}
_EXPECTED = {
    "holds": "Expected, and it holds",
    "the opposite holds": "Expected, and the opposite holds",
    "does not hold": "Expected, and it does not hold",
    "not shown": "Expected, but not shown",
}
# Limits of the design, independent of the results.
_LIMITS = (
    "The contrasts are fixed in code before a run, but nobody outside registered them, and earlier "
    "runs had read the same test lines: exploratory.",
    "The lines are synthetic: rendered stroke fonts, drawn by the renderer that the encoder mini "
    "learned from, in text of the corpus that the language model learned other documents of.",
    "With more errors there is more to gain and more to lose, so G may move with severity by that "
    "alone: summary.json has it as a share of the baseline's CER, too.",
    "Blank paper takes the place of the ink: nothing shows a decoder that something is missing, "
    "and a CTC decoder can hardly write where the encoder saw paper.",
    "Damage is made as well: it compares decoders, and foretells no CER of real damaged pages. At "
    "one severity the damages take equal ink, not equal legibility: they are not ranked.",
    "The cloze ceiling knows the number of hidden characters and the true text around them. No "
    "decoder here does, although the gap keeps its width in the image.",
    "One dose of language serves all severities, that of the weights tuned on val (below); what a "
    "dose of its own would gain at each severity is in plots/dose.png.",
)


def page(finding: Finding, drawn: Sequence[Plot] = ()) -> str:
    """`finding.md`: question, answer and conditions."""
    return "\n".join(
        [
            "# Does language help more, the more of the ink is lost?\n",
            f"{render.markdown_text(in_short(finding))}\n",
            _points_of(_particulars(finding)),
            *(render.markdown(table) for table in of_page(finding)),
            *(f"![{plot.title}](plots/{plot.slug}.png)\n" for plot in drawn),
            "## What it does not say\n",
            _points_of(_LIMITS),
            "## How it was measured\n",
            f"{render.markdown_text(conditions(finding))}\n",
        ]
    )


def files(finding: Finding) -> dict[str, bytes]:
    """The page, its tables and its plots by their paths in the experiment's folder."""
    drawn = draw(finding)
    made = {"finding.md": page(finding, drawn).encode()}
    for table in of_page(finding):
        made |= render.files(table, f"tables/{table.slug}", ("tex", "csv"))
    for plot in drawn:
        made |= {f"plots/{name}": content for name, content in plot.files.items()}
    return made


def in_short(finding: Finding) -> str:
    """The answer in a few sentences."""
    return " ".join(filter(None, _in_short(finding)))


def conditions(finding: Finding) -> str:
    """The full conditions of the numbers, in plain words."""
    design, runtime, language = finding.design, finding.design.runtime, finding.language
    read = [
        f"{level} is {one.dataset} ({synthetic(one.dataset)}, {one.split}, "
        f"{by_whom(plural(one.lines, 'line'), one.dataset, one.blocks)}, "
        f"{one.characters:,} characters, sha256 {one.sha256[:12]})"
        for level, one in finding.read.items()
    ]
    lost = [
        f"{damage} {', '.join(percent(share, 1) for share in shares)} %"
        for damage, shares in finding.lost.items()
    ]
    machine = finding.environment.get("machine", {})
    left_out = listing([f"{system} ({why})" for system, why in finding.left_out.items()])
    parts = [
        f"Levels: {'; '.join(read)}",
        f"Damage: {SUITE}, severities 1 to {_LAST}, seeds "
        f"{listing([str(seed) for seed in design.seeds])}; ink lost at these severities (mean): "
        f"{'; '.join(lost)}",
        f"Encoder: {design.encoder} (weights {finding.weights[:12]}; trained on: "
        f"{finding.trained_on or 'the weights do not say'})",
        _language_words(language) if language else "",
        "Gain G: CER of ctc-greedy less CER of the decoder on the same lines, micro, never "
        f"clipped, edits summed over seeds. Brackets: {100 * LEVEL:.0f} % interval of a paired "
        f"bootstrap over writers ({RESAMPLES:,} resamples, seed {SEED}; the same draws for both "
        f"decoders, all severities and all levels), under {ENOUGH} writers Student's t on a "
        f"jackknife, under {FEWEST} none. p: randomisation of signs by writer, one-sided in the "
        "expected direction, Holm over the contrasts of this page",
        "A character is hidden when less than 20 % of its ink is left, partial below 80 %; of a "
        "space the more visible neighbour decides. Of the shortest edit scripts that one is taken "
        "that faults the least visible characters",
        f"Device: {runtime.device} ({machine.get('cpu', {}).get('model', 'not recorded')}), "
        f"{plural(runtime.threads, 'thread')}, {runtime.dtype}, batch size {runtime.batch_size}. "
        f"Kaidoku {finding.environment.get('kaidoku', '?')}, Python {machine.get('python', '?')}",
        f"Left out: {left_out}" if left_out else "",
    ]
    return plain(". ".join(filter(None, parts)) + ".")


# The page in words


def _in_short(finding: Finding) -> list[str]:
    if not finding.judged:
        return [f"{PRIMARY} was not part of it, so none of the contrasts was computed."]
    judged = {one.contrast.name: one for one in finding.judged}
    return [
        *(_answer(judged[name]) for name in _ANSWERS),
        _between_words(finding),
        _relative_words(finding),
        _clean_words(finding),
        "All lines are synthetic, rendered with stroke fonts.",
    ]


def _answer(one: TestedContrast) -> str:
    words, otherwise = _ANSWERS[one.contrast.name]
    effect, step = _effect(one), _effect(one, " a step of severity")
    return words.get(one.verdict, otherwise).format(system=one.system, effect=effect, step=step)


def _clean_words(finding: Finding) -> str:
    damage = finding.design.damages[0]
    english, random = (finding.gain(level, damage, 0, PRIMARY) for level in ("english", "random"))
    return (
        f"On clean lines the gain is {_in_points(english.gain)} points on English (of a CER of "
        f"{_percents(finding.gain('english', damage, 0, BASELINE).cer)}) and "
        f"{_in_points(random.gain)} on random characters."
    )


def _particulars(finding: Finding) -> list[str]:
    sentences = [
        f"{_EXPECTED[one.verdict]}: {one.contrast.claim} G differs by {_effect(one)}."
        for one in finding.judged
        if one.contrast.name in ("characters over breaks", "saturation on spans", "context")
    ]
    if finding.judged:
        sentences += [_harm_words(finding), *_hidden_words(finding), _dose_words(finding)]
    return [*sentences, *_system_words(finding)]


def _harm_words(finding: Finding) -> str:
    """The English cells in which language harms, and those in which it helps."""
    cells = [
        gain
        for gain in finding.gains
        if gain.level == "english" and gain.system == PRIMARY and gain.severity
    ]
    shown = [
        gain
        for gain, p in zip(cells, holm([gain.p for gain in cells]), strict=True)
        if significant(gain.gain.interval, p)
    ]
    worse = [gain for gain in shown if (gain.gain.value or 0.0) < 0]
    named = listing([f"{g.damage} {g.severity} ({_in_points(g.gain)})" for g in worse])
    return (
        f"Of the {len(cells)} damaged conditions of English, {PRIMARY} reads significantly better "
        f"than {BASELINE} in {len(shown) - len(worse)} and significantly worse in {len(worse)} "
        "(two-sided, Holm over these conditions, and an interval without 0)"
        f"{': ' if named else ''}{named}."
    )


def _relative_words(finding: Finding) -> str:
    """The gain on two scales that correct for the number of errors."""
    shares, odds = [], []
    for severity in (0, SEVERITIES[1], _LAST):
        base, own = (
            [finding.gain("english", damage, severity, system).cer.value or 0.0
             for damage in finding.design.damages]
            for system in (BASELINE, PRIMARY)
        )  # fmt: skip
        total = math.fsum(base)
        where = f"at severity {severity}" if severity else "on clean lines"
        share = percent((total - math.fsum(own)) / total if total else None, 1)
        shares.append(f"{share} % {where}")
        pairs = zip(base, own, strict=True)
        gains = [logit(a) - logit(b) for a, b in pairs if min(a, b) > 0 and max(a, b) < 1]
        odds.append(number(math.fsum(gains) / len(gains) if gains else None, 2))
    return (
        f"As a share of the errors of {BASELINE} on English, all damages together, the gain is "
        f"{listing(shares)}; in log-odds of an error, mean over the damages, {listing(odds)}."
    )


def _between_words(finding: Finding) -> str:
    words = [
        f"{_in_points(slope_of(finding, level, PRIMARY), 2)} on {level}"
        for level in finding.read
        if level not in ("english", "random")
    ]
    return f"The slopes between the two levels: {listing(words)}." if words else ""


def _hidden_words(finding: Finding) -> list[str]:
    sentences = []
    for damage in finding.design.damages:
        own = finding.recall("english", damage, _LAST, PRIMARY)
        base = finding.recall("english", damage, _LAST, BASELINE)
        ceiling = finding.recall("english", damage, _LAST, CLOZE)
        if own is None or base is None or ceiling is None or own.right.value is None:
            continue
        sentences.append(
            f"{damage} {_LAST} ({number(own.characters, 0)} hidden): "
            f"{_percents(own.right)} right and {_percents(own.wrong)} wrong "
            f"({BASELINE} {_percents(base.right)} and {_percents(base.wrong)}; the cloze ceiling "
            f"is {_percents(ceiling.right)})"
        )
    if not sentences:
        return []
    return [f"What {PRIMARY} writes for hidden characters of English. {'; '.join(sentences)}."]


def _dose_words(finding: Finding) -> str:
    best = []
    for severity in (SEVERITIES[1], _LAST):
        cers = {dose: _mean_cer(finding, severity, dose) for dose in DOSES}
        dose = min(cers, key=cers.__getitem__)
        best.append(
            f"at severity {severity} dose {dose:g} of the tuned weights reads best "
            f"(CER {percent(cers[dose], 1)} %, without language {percent(cers[0.0], 1)} %)"
        )
    return f"Dose, mean over the damages on English: {listing(best)}. Not among the contrasts."


def _mean_cer(finding: Finding, severity: int, dose: float) -> float:
    values = [
        finding.gain("english", damage, severity, dosed(PRIMARY, dose)).cer.value
        for damage in finding.design.damages
    ]
    return math.fsum(value for value in values if value is not None) / len(values)


def _system_words(finding: Finding) -> list[str]:
    doses = {PRIMARY, *(f"{PRIMARY}@{dose:g}" for dose in DOSES)}
    others = [system for system in finding.systems if system not in doses]
    if not others:
        return []
    words = [
        f"{system} {_in_points(slope_of(finding, 'english', system), 2)} on English and "
        f"{_in_points(slope_of(finding, 'random', system), 2)} on random characters"
        for system in others
    ]
    return [
        "Slopes of the other systems, not among the contrasts, points a step: "
        f"{'; '.join(words)}. The AR "
        "decoders and ctc-rescore differ from ctc-greedy by a head of their own, too."
    ]


def _language_words(model: Mapping[str, Any]) -> str:
    name, sha256 = model.get("lm"), str(model.get("lm_sha256"))[:12]
    return (
        f"Language: {PRIMARY}, character {model.get('lm_order')}-gram {name} (sha256 {sha256}, "
        f"text: {model.get('lm_trained_on')}), alpha {model.get('alpha')}, beta "
        f"{model.get('beta')} (tuned on: {model.get('tuned_on')}); a dose takes both times its "
        "number, so that dose 0 is ctc-beam"
    )


def _in_points(estimate: Estimate, decimals: int = 1) -> str:
    text = percent(estimate.value, decimals)
    interval = estimate.interval
    return f"{text} {bracket(interval, decimals)}" if interval else text


def _percents(estimate: Estimate) -> str:
    return f"{percent(estimate.value, 1)} %"


def _effect(one: TestedContrast, each: str = "") -> str:
    interval = f" {bracket(one.interval, 2)}" if one.interval else ""
    p = "too few blocks for a p" if one.p is None else f"p after Holm {p_value(one.adjusted)}"
    return f"{signed(one.value)} points{each}{interval}, {p}"


def _points_of(sentences: Sequence[str]) -> str:
    return "".join(f"- {render.markdown_text(sentence)}\n" for sentence in sentences)
