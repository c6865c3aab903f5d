"""The language experiment as one page in plain words, and as tables.

Every sentence follows from the numbers: an expectation that does not hold says so in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.analysis.experiment.analysis import TestedContrast
from bench.analysis.experiment.counts import CLOZE
from bench.analysis.experiment.design import ENGLISH, GREEDY, ONE, RANDOM
from bench.analysis.experiment.finding import Finding
from bench.analysis.experiment.ideal import NAME as IDEAL
from bench.analysis.stats import ENOUGH, FEWEST, LEVEL, RESAMPLES, SEED
from bench.report import render
from bench.report.conditions import by_whom, synthetic
from bench.report.experiment_plots import draw
from bench.report.experiment_tables import effect_of, of_page
from bench.report.format import listing, percent, plain, plural
from bench.report.language import say, say_name
from bench.report.panel import Plot
from datasets.damage.base import SUITE

_ANSWERS: Mapping[str, str] = {
    "holds": "Expected, and it holds: {claim} {effects}.",
    "the opposite holds": "Expected, and the opposite holds: {claim} {effects}.",
    "not shown": "Expected, but not shown: {claim} {effects}.",
    "": "Expected, with different answers by reader: {claim} {effects}.",
    "none": "Expected, but shown behind no reader: {claim} {effects}.",
}
# Limits of the design, independent of the results.
_LIMITS = (
    "The design is not registered anywhere, and earlier runs had read the same test lines. Its "
    "claims were fixed before this run, but not before every look at the data.",
    "Lines of the first four sets are composed: characters of one hand, written one by one with a "
    "pen, stand side by side with more even spaces than a hand leaves. Their texts and those of "
    "the language models are different documents of one corpus. Damage is synthetic, and no "
    "shipped set has really damaged lines: expect other CERs on damaged pages.",
    "Each reader was trained once. Other training seeds of a CTC head are measured in runs of "
    "their own.",
    "The oracles and both ceilings know what no reader knows. They separate causes, and are no "
    "systems to compare with.",
    "The gains on clean and on damaged English stand beside baselines far apart: no condition "
    "keeps all ink and is as hard to read.",
    "A reader may have learned other writing by these hands: `python -m bench check leak` says "
    "which of the shipped ones did.",
    "Where the baseline reads nearly all or nearly nothing right, intervals of log-odds are wide, "
    "and a gain says little.",
)


def page(finding: Finding, drawn: Sequence[Plot] = ()) -> str:
    """`finding.md`: question, answer and conditions."""
    return "\n".join(
        [
            f"# {say('What does language give when ink is lost?')}\n",
            f"{render.markdown_text(origin(finding))}\n",
            _points_of(in_short(finding)),
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


def conditions(finding: Finding) -> str:
    """The full conditions of the numbers, in plain words."""
    design, runtime = finding.design, finding.design.runtime
    read = [
        say(
            "{level} is {set} ({made}, {split}, {lines}, {characters} characters, sha256 {hash})",
            level=say_name(level),
            set=one.dataset,
            made=synthetic(one.dataset) or say("natural lines"),
            split=one.split,
            lines=by_whom(plural(one.lines, "line"), one.dataset, one.blocks),
            characters=f"{one.characters:,}",
            hash=one.sha256[:12],
        )
        for level, one in finding.read.items()
    ]
    machine = finding.environment.get("machine", {})
    parts = [
        say("Sets: {sets}", sets="; ".join(read)),
        say(
            "Conditions: {conditions} ({suite}, seed {seed})",
            conditions="; ".join(
                f"{say_name(name)}: {_damage(one.damage, one.severity, one.options)}"
                for name, one in design.conditions.items()
                if one.damage
            ),
            suite=SUITE,
            seed=design.seed,
        ),
        say(
            "Readers: {readers}",
            readers="; ".join(
                say(
                    "{reader} (weights {hash}; trained on: {trained_on})",
                    reader=name,
                    hash=own[:12],
                    trained_on=finding.trained_on[name] or say("the weights do not say"),
                )
                for name, own in finding.weights.items()
            ),
        ),
        say(
            "Weights of the language models: {weights}",
            weights="; ".join(map(_weights, finding.language, finding.language.values())),
        ),
        say(
            "Brackets: {level} % interval of a bootstrap over writers or letters ({resamples} "
            "resamples, seed {seed}; the same draws for all decoders and conditions of the same "
            "hands), under {enough} of them Student's t on a jackknife, under {fewest} none. p: "
            "randomisation of the signs of the blocks' jackknife pseudo-values, two-sided, Holm "
            "over all contrasts and readers",
            level=f"{100 * LEVEL:.0f}",
            resamples=f"{RESAMPLES:,}",
            seed=SEED,
            enough=ENOUGH,
            fewest=FEWEST,
        ),
        say(
            "A character is read right when the shortest edit script keeps it. Of several scripts "
            "of equal length, the one with its edits at the least visible characters counts. Added "
            "characters count in the CER only"
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


def origin(finding: Finding) -> str:
    """The file that the design was fixed in."""
    words = (
        "The design was fixed in a file before this run (design.toml, sha256 {hash})."
        if finding.design.declared
        else "Exploratory: cells or options differ from the design (design.toml, sha256 {hash})."
    )
    return say(words, hash=finding.design.sha256[:12])


def _damage(name: str, severity: int, options: Mapping[str, Any]) -> str:
    more = "".join(f", {option}={value}" for option, value in options.items())
    return f"{name} {severity}{more}"


def _weights(system: str, extras: Mapping[str, Any]) -> str:
    names = ("alpha", "beta", "gap_cost", "lm_weight", "lm_length")
    values = [f"{name} {extras[name]:g}" for name in names if name in extras]
    return f"{system} {', '.join(values)}"


# The page in words


def in_short(finding: Finding) -> list[str]:
    """The answer: language in "no language", the contrasts, and what was restored."""
    return [_no_language(finding), *_contrasts(finding), *_restored(finding)]


def _no_language(finding: Finding) -> str:
    parts = []
    for reader in finding.weights:
        english, random = (
            finding.reading(reader, level, "clean", GREEDY) for level in (ENGLISH, RANDOM)
        )
        if english and random:
            parts.append(
                say(
                    "{reader} {english} % and {random} %",
                    reader=reader,
                    english=percent(english.cer.value, 1),
                    random=percent(random.cer.value, 1),
                )
            )
    return say(
        '"No language" has some: the CER of {system} on undamaged English and on random characters '
        "by the same hands is {parts}. Part of that is ink, since random texts have more capitals, "
        "digits and signs.",
        system=GREEDY,
        parts=listing(parts),
    )


def _contrasts(finding: Finding) -> list[str]:
    by_name: dict[str, list[TestedContrast]] = {}
    for one in finding.judged:
        by_name.setdefault(one.contrast.name, []).append(one)
    sentences = []
    for own in by_name.values():
        verdicts = {one.verdict for one in own}
        mixed = "" if "holds" in verdicts else "none"
        words = _ANSWERS[verdicts.pop() if len(verdicts) == 1 else mixed]
        effects = [f"{one.reader} {effect_of(one)}" for one in own]
        claim = say(own[0].contrast.claim)
        sentences.append(say(words, claim=claim, effects="; ".join(effects)))
    return sentences


def _restored(finding: Finding) -> list[str]:
    """The condition of Borkar and Smith, by reader."""
    first = next(iter(finding.weights))
    ceiling = finding.reading(first, ENGLISH, ONE, CLOZE)
    parts = []
    for reader in (*finding.weights, IDEAL):
        found = {
            system: own
            for system in (finding.design.baseline, *finding.design.doses)
            if (own := finding.reading(reader, ENGLISH, ONE, system))
        }
        values = [f"{system} {percent(own.restored.value, 1)}" for system, own in found.items()]
        parts.append(f"{say_name(reader)}: {', '.join(values)}")
    if ceiling is None:
        return []
    return [
        say(
            "Where one character of each line is erased, percent read right of the {hidden} with "
            "less than 20 % of their ink left: {parts}; the cloze ceiling is {ceiling}. Borkar and "
            "Smith (arXiv:2407.00250) report 65 for a TrOCR that was trained on gaps and 5 for one "
            "that was not, on other data.",
            hidden=ceiling.hidden,
            parts="; ".join(parts),
            ceiling=percent(ceiling.restored.value, 1),
        )
    ]


def _points_of(sentences: Sequence[str]) -> str:
    return "".join(f"- {render.markdown_text(sentence)}\n" for sentence in sentences)
