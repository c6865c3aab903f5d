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
from bench.report.format import bracket, joined, listing, number, percent, plain, plural
from bench.report.language import say, say_name
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
            "{system} over {baseline} rises with the ink that is lost, {step}.",
            "the opposite holds": "In points of CER it is the other way round: on English the gain "
            "of {system} over {baseline} falls with the ink that is lost, {step}.",
        },
        "No effect was shown: on English the gain of {system} over {baseline} changes by {step}.",
    ),
    "slope on random": (
        {
            "holds": "On random characters it changes by less than {bound} points a step "
            "({effect}), so what changes on English is language.",
            "does not hold": "But on random characters it changes too ({effect}), where there is "
            "no language beyond the frequency of letters: a slope by itself is no proof of "
            "language.",
        },
        "It takes more lines to tell whether it stays the same on random characters (within "
        "{bound} points a step either way): {effect}.",
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
    "holds": "Expected, and it holds: {claim} G differs by {effect}.",
    "the opposite holds": "Expected, and the opposite holds: {claim} G differs by {effect}.",
    "does not hold": "Expected, and it does not hold: {claim} G differs by {effect}.",
    "not shown": "Expected, but not shown: {claim} G differs by {effect}.",
}
# Limits of the design, independent of the results.
_LIMITS = (
    "The contrasts are fixed in code before a run, but nobody outside registered them, and earlier "
    "runs had read the same test lines: exploratory.",
    "The lines are composed: isolated characters of one hand each, real pen strokes, side by side "
    "with more even spaces than a hand leaves, in text of the corpus that the language model "
    "learned other documents of.",
    "With more errors there is more to gain and more to lose, so G may move with severity by that "
    "alone: summary.json has it as a share of the baseline's CER, too.",
    "Blank paper takes the place of the ink: only the width of a gap shows that something is "
    "missing, and only ctc-gap writes where the encoder saw paper.",
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
            f"# {say('Does language help more, the more of the ink is lost?')}\n",
            f"{render.markdown_text(in_short(finding))}\n",
            _points_of(_particulars(finding)),
            *(render.markdown(table) for table in of_page(finding)),
            *(f"![{plot.title}](plots/{plot.slug}.png)\n" for plot in drawn),
            f"## {say('What it does not say')}\n",
            _points_of([say(limit) for limit in _LIMITS]),
            f"## {say('How it was measured')}\n",
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
    return joined(_in_short(finding))


def conditions(finding: Finding) -> str:
    """The full conditions of the numbers, in plain words."""
    design, runtime = finding.design, finding.design.runtime
    read = [
        say(
            "{level} is {set} ({made}, {split}, {lines}, {characters} characters, sha256 {hash})",
            level=say_name(level),
            set=one.dataset,
            made=synthetic(one.dataset),
            split=one.split,
            lines=by_whom(plural(one.lines, "line"), one.dataset, one.blocks),
            characters=f"{one.characters:,}",
            hash=one.sha256[:12],
        )
        for level, one in finding.read.items()
    ]
    lost = [
        f"{say_name(damage)} {', '.join(percent(share, 1) for share in shares)} %"
        for damage, shares in finding.lost.items()
    ]
    machine = finding.environment.get("machine", {})
    parts = [
        say("Levels: {levels}", levels="; ".join(read)),
        say(
            "Damage: {suite}, severities 1 to {last}, seeds {seeds}; ink lost at these severities "
            "(mean): {lost}",
            suite=SUITE,
            last=_LAST,
            seeds=listing([str(seed) for seed in design.seeds]),
            lost="; ".join(lost),
        ),
        say(
            "Encoder: {encoder} (weights {hash}; trained on: {trained_on})",
            encoder=design.encoder,
            hash=finding.weights[:12],
            trained_on=finding.trained_on or say("the weights do not say"),
        ),
        _language_words(finding.language) if finding.language else "",
        say(
            "Gain G: CER of ctc-greedy less CER of the decoder on the same lines, micro, never "
            "clipped, edits summed over seeds. Brackets: {level} % interval of a paired bootstrap "
            "over writers ({resamples} resamples, seed {seed}; the same draws for both decoders, "
            "all severities and all levels), under {enough} writers Student's t on a jackknife, "
            "under {fewest} none. p: randomisation of signs by writer, one-sided in the expected "
            "direction, Holm over the contrasts of this page",
            level=f"{100 * LEVEL:.0f}",
            resamples=f"{RESAMPLES:,}",
            seed=SEED,
            enough=ENOUGH,
            fewest=FEWEST,
        ),
        say(
            "A character is hidden when less than 20 % of its ink is left, partial below 80 %; of "
            "a space the more visible neighbour decides. Of the shortest edit scripts that one is "
            "taken that faults the least visible characters"
        ),
        say(
            "Device: {device} ({machine}), {threads}, {dtype}, batch size {size}",
            device=runtime.device,
            machine=machine.get("cpu", {}).get("model") or say("not recorded"),
            threads=plural(runtime.threads, "thread"),
            dtype=runtime.dtype,
            size=runtime.batch_size,
        ),
        f"Kaidoku {finding.environment.get('kaidoku', '?')}, Python {machine.get('python', '?')}",
        _left_out(finding),
    ]
    return plain("".join(say("{sentence}. ", sentence=part) for part in parts if part))


def _left_out(finding: Finding) -> str:
    systems = [f"{system} ({why})" for system, why in finding.left_out.items()]
    return say("Left out: {systems}", systems=listing(systems)) if systems else ""


# The page in words


def _in_short(finding: Finding) -> list[str]:
    if not finding.judged:
        words = "{system} was not part of it, so none of the contrasts was computed."
        return [say(words, system=PRIMARY)]
    judged = {one.contrast.name: one for one in finding.judged}
    return [
        *(_answer(judged[name]) for name in _ANSWERS),
        _between_words(finding),
        _relative_words(finding),
        _clean_words(finding),
        say("The lines are composed of real pen strokes."),
    ]


def _answer(one: TestedContrast) -> str:
    words, otherwise = _ANSWERS[one.contrast.name]
    return say(
        words.get(one.verdict, otherwise),
        system=one.system,
        baseline=BASELINE,
        bound=_BOUND,
        effect=_effect(one),
        step=_effect(one, step=True),
    )


def _clean_words(finding: Finding) -> str:
    damage = finding.design.damages[0]
    english, random = (finding.gain(level, damage, 0, PRIMARY) for level in ("english", "random"))
    return say(
        "On clean lines the gain is {english} points on English (of a CER of {cer}) and {random} "
        "on random characters.",
        english=_in_points(english.gain),
        cer=_percents(finding.gain("english", damage, 0, BASELINE).cer),
        random=_in_points(random.gain),
    )


def _particulars(finding: Finding) -> list[str]:
    sentences = [
        say(_EXPECTED[one.verdict], claim=say(one.contrast.claim), effect=_effect(one))
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
    where = listing([f"{say_name(g.damage)} {g.severity} ({_in_points(g.gain)})" for g in worse])
    return say(
        "Of the {cells} damaged conditions of English, {system} reads significantly better than "
        "{baseline} in {better} and significantly worse in {worse} (two-sided, Holm over these "
        "conditions, and an interval without 0){where}.",
        cells=len(cells),
        system=PRIMARY,
        baseline=BASELINE,
        better=len(shown) - len(worse),
        worse=len(worse),
        where=f": {where}" if where else "",
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
        share = percent((total - math.fsum(own)) / total if total else None, 1)
        shares.append(
            say("{share} % at severity {severity}", share=share, severity=severity)
            if severity
            else say("{share} % on clean lines", share=share)
        )
        pairs = zip(base, own, strict=True)
        gains = [logit(a) - logit(b) for a, b in pairs if min(a, b) > 0 and max(a, b) < 1]
        odds.append(number(math.fsum(gains) / len(gains) if gains else None, 2))
    return say(
        "As a share of the errors of {baseline} on English, all damages together, the gain is "
        "{shares}; in log-odds of an error, mean over the damages, {odds}.",
        baseline=BASELINE,
        shares=listing(shares),
        odds=listing(odds),
    )


def _between_words(finding: Finding) -> str:
    words = [
        say(
            "{points} on {level}",
            points=_in_points(slope_of(finding, level, PRIMARY), 2),
            level=say_name(level),
        )
        for level in finding.read
        if level not in ("english", "random")
    ]
    if not words:
        return ""
    return say("The slopes between the two levels: {slopes}.", slopes=listing(words))


def _hidden_words(finding: Finding) -> list[str]:
    parts = []
    for damage in finding.design.damages:
        own = finding.recall("english", damage, _LAST, PRIMARY)
        base = finding.recall("english", damage, _LAST, BASELINE)
        ceiling = finding.recall("english", damage, _LAST, CLOZE)
        if own is None or base is None or ceiling is None or own.right.value is None:
            continue
        parts.append(
            say(
                "{damage} {severity} ({characters} hidden): {right} right and {wrong} wrong "
                "({baseline} {base_right} and {base_wrong}; the cloze ceiling is {ceiling})",
                damage=say_name(damage),
                severity=_LAST,
                characters=number(own.characters, 0),
                right=_percents(own.right),
                wrong=_percents(own.wrong),
                baseline=BASELINE,
                base_right=_percents(base.right),
                base_wrong=_percents(base.wrong),
                ceiling=_percents(ceiling.right),
            )
        )
    if not parts:
        return []
    words = "What {system} writes for hidden characters of English. {parts}."
    return [say(words, system=PRIMARY, parts="; ".join(parts))]


def _dose_words(finding: Finding) -> str:
    best = []
    for severity in (SEVERITIES[1], _LAST):
        cers = {dose: _mean_cer(finding, severity, dose) for dose in DOSES}
        dose = min(cers, key=cers.__getitem__)
        best.append(
            say(
                "at severity {severity} dose {dose} of the tuned weights reads best (CER {cer} %, "
                "without language {without} %)",
                severity=severity,
                dose=f"{dose:g}",
                cer=percent(cers[dose], 1),
                without=percent(cers[0.0], 1),
            )
        )
    words = "Dose, mean over the damages on English: {best}. Not among the contrasts."
    return say(words, best=listing(best))


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
    slopes = [
        say(
            "{system} {english} on English and {random} on random characters",
            system=system,
            english=_in_points(slope_of(finding, "english", system), 2),
            random=_in_points(slope_of(finding, "random", system), 2),
        )
        for system in others
    ]
    words = (
        "Slopes of the other systems, not among the contrasts, points a step: {slopes}. The AR "
        "decoders and ctc-rescore differ from ctc-greedy by a head of their own, too."
    )
    return [say(words, slopes="; ".join(slopes))]


def _language_words(model: Mapping[str, Any]) -> str:
    return say(
        "Language: {system}, character {order}-gram {name} (sha256 {hash}, text: {trained_on}), "
        "alpha {alpha}, beta {beta} (tuned on: {tuned_on}); a dose takes both times its number, so "
        "that dose 0 is ctc-beam",
        system=PRIMARY,
        order=model.get("lm_order"),
        name=model.get("lm"),
        hash=str(model.get("lm_sha256"))[:12],
        trained_on=say_name(str(model.get("lm_trained_on"))),
        alpha=model.get("alpha"),
        beta=model.get("beta"),
        tuned_on=model.get("tuned_on"),
    )


def _in_points(estimate: Estimate, decimals: int = 1) -> str:
    text = percent(estimate.value, decimals)
    interval = estimate.interval
    return f"{text} {bracket(interval, decimals)}" if interval else text


def _percents(estimate: Estimate) -> str:
    return f"{percent(estimate.value, 1)} %"


def _effect(one: TestedContrast, step: bool = False) -> str:
    value = signed(one.value)
    points = (
        say("{value} points a step of severity", value=value)
        if step
        else say("{value} points", value=value)
    )
    interval = f" {bracket(one.interval, 2)}" if one.interval else ""
    p = (
        say("too few blocks for a p")
        if one.p is None
        else say("p after Holm {p}", p=p_value(one.adjusted))
    )
    return f"{points}{interval}, {p}"


def _points_of(sentences: Sequence[str]) -> str:
    return "".join(f"- {render.markdown_text(sentence)}\n" for sentence in sentences)
