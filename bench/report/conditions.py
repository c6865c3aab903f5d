"""The sentence above a table, and the signatures below it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.analysis.stats import ENOUGH, LEVEL, RESAMPLES, SEED
from bench.core.types import UNTRAINED, Row
from bench.pipeline.signature import short_value, signature_parts
from bench.report.format import commas, listing, plain, plural
from bench.report.language import say, say_name, say_text
from bench.report.results import Result, system
from bench.report.table import Column, Item, Table, declared
from datasets.about import Blocks, about

_MANY = {  # of the nouns of blocks
    "writer": "writers", "letter": "letters", "text": "texts", "page": "pages", "block": "blocks",
}  # fmt: skip


def interval(results: Sequence[Result]) -> str:
    """Words for the brackets behind the CERs of a table."""
    few = any(result.interval and result.interval.blocks < ENOUGH for result in results)
    return say(
        "in brackets the {level} % interval of a percentile bootstrap over {blocks} "
        "({resamples} resamples, seed {seed}){few}",
        level=f"{100 * LEVEL:.0f}",
        blocks=blocks(results),
        resamples=f"{RESAMPLES:,}",
        seed=SEED,
        few=say(", under {enough} of them Student's t on a jackknife", enough=ENOUGH)
        if few
        else "",
    )


def brackets(results: Sequence[Result]) -> str:
    """The same in few words; "" where no CER has an interval."""
    if not any(result.interval for result in results):
        return ""
    words = "in brackets {level} % intervals over {blocks}"
    return say(words, level=f"{100 * LEVEL:.0f}", blocks=blocks(results))


def blocks(results: Sequence[Result]) -> str:
    """The resampled blocks: "writers", or "writers or, for hooker, letters"."""
    sets: dict[str, dict[str, None]] = {}
    for result in results:
        known = about(result.row.condition.dataset).block or "writer"
        noun = result.blocks.noun if result.blocks else known
        sets.setdefault(noun, {})[result.names.dataset] = None
    most = "writer" if "writer" in sets else next(iter(sets), "writer")
    words = nouns(most)
    for noun, names in sets.items():
        if noun != most:
            words = say(
                "{most} or, for {sets}, {blocks}",
                most=words,
                sets=listing(list(names)),
                blocks=nouns(noun),
            )
    return words


def nouns(noun: str) -> str:
    """The plural of a block's noun: "writers"."""
    return say(_MANY[noun])


def sentences(lead: str, results: Sequence[Result], read: str = "") -> tuple[str, ...]:
    """The full conditions of a table's numbers, in plain words.

    Args:
        lead: description of the numbers, without a full stop.
        results: of one setting, at least one; they may differ in batch size and precision where
            the rows of the table name these.
        read: the lines read, if they are not the first of the sets.
    """
    setting = results[0].setting
    runtime = setting.runtime
    precisions = _unique(result.row.runtime.dtype for result in results)
    sizes = sorted({result.row.runtime.batch_size for result in results})
    parts = [
        lead,
        say("Read: {sets}", sets=read or _sets(results)),
        _damage(results),
        say("Encoder: {encoders}", encoders=_encoders(results)),
        _decoders(results),
        say(
            "Device: {device} ({machine}), {threads}, {precisions}, batch size {sizes}, lines "
            "sorted by width at equal height into batches, {rounds}",
            device=runtime.device,
            machine=setting.machine,
            threads=plural(runtime.threads, "thread"),
            precisions=listing(precisions),
            sizes=listing([str(size) for size in sizes]),
            rounds=_rounds(results),
        ),
        say("Texts compared after the normaliser {normaliser}", normaliser=setting.normaliser),
        f"{setting.software}; {_origin(results)}",
    ]
    return tuple(say("{sentence}. ", sentence=plain(part)) for part in parts if part)


def short(gist: str, results: Sequence[Result]) -> str:
    """The most important conditions in a line: `gist`, sets, machine, version and days."""
    setting = results[0].setting
    sizes = sorted({result.row.runtime.batch_size for result in results})
    precisions = _unique(result.row.runtime.dtype for result in results)
    sets: dict[str, str] = {}
    for result in results:
        counts = result.row.counts
        if counts or result.dataset not in sets:
            lines = f", {plural(counts.lines, 'line')}" if counts else ""
            sets[result.dataset] = f"{result.row.condition.split}{lines}"
    parts = [
        gist,
        ", ".join(f"{name} ({words})" for name, words in sets.items()),
        f"{setting.machine}, {plural(setting.runtime.threads, 'thread')}",
        say(
            "batch size {sizes}, {precisions}",
            sizes=listing(list(map(str, sizes))),
            precisions=listing(precisions),
        ),
        f"Kaidoku {results[0].row.version}, {_days(results)}",
    ]
    return say("{sentence}. ", sentence=plain("; ".join(filter(None, parts)))).strip()


def of_results(
    slug: str,
    title: str,
    lead: str,
    columns: Iterable[Column[Item]],
    results: Sequence[Result],
    rows: Iterable[Item],
    published: Iterable[Item] = (),
    gist: str = "",
) -> Table:
    """A table of columns over rows with the conditions and signatures of its results.

    `gist` is the lead of its short conditions.
    """
    text, line = sentences(lead, results), short(gist, results)
    return declared(slug, title, text, columns, rows, published, signatures(results), line)


def signatures(results: Sequence[Result]) -> tuple[str, ...]:
    """One signature per system, with several sets or damages in braces."""
    systems: dict[tuple[str, str], list[Row]] = {}
    for result in results:
        systems.setdefault(system(result), []).append(result.row)
    return tuple(_unique(plain(_merged(several)) for several in systems.values()))


def _merged(rows: Sequence[Row]) -> str:
    parts: dict[str, list[str]] = {}
    for row in rows:
        for name, part in signature_parts(row).items():
            parts.setdefault(name, []).append(part)
    merged = []
    for name, values in parts.items():
        prefix = f"{name}:" if values[0].startswith(f"{name}:") else ""
        merged.append(prefix + _braced(_unique(value.removeprefix(prefix) for value in values)))
    return "|".join(merged)


def _braced(values: Sequence[str]) -> str:
    """A single value unchanged; several in braces, before their common suffix "[...]@..."."""
    if len(values) == 1:
        return values[0]
    ends = [re.search(r"(\[[^\]]*\])?(@.*)?$", value) for value in values]
    common = {end.group() for end in ends if end}
    shared = common.pop() if len(common) == 1 else ""
    return f"{{{' '.join(value.removesuffix(shared) for value in values)}}}{shared}"


def _sets(results: Sequence[Result]) -> str:
    sets: dict[str, list[Result]] = {}
    for result in results:
        sets.setdefault(result.names.dataset, []).append(result)
    return "; ".join(
        say("{name} ({about})", name=name, about=_set(several)) for name, several in sets.items()
    )


def _set(results: Sequence[Result]) -> str:
    rows = [result.row for result in results]
    condition = rows[0].condition
    lines = next((row.counts.lines for row in rows if row.counts), None)
    sha256 = next((row.dataset_sha256 for row in rows if row.dataset_sha256), "")
    references = next((row.references for row in rows if row.references), "")
    words = [synthetic(condition.dataset), say("{split} split", split=condition.split)]
    if lines is not None:
        counted = plural(lines, "line")
        counted = say("the first {lines}", lines=counted) if condition.limit else counted
        known = next((result.blocks for result in results if result.blocks), None)
        words.append(by_whom(counted, condition.dataset, known))
    words += [f"sha256 {sha256[:12]}"] if sha256 else []
    words += [say("references {references}", references=say_text(references))] if references else []
    return commas(filter(None, words))


def synthetic(dataset: str) -> str:
    """Origin of the ink and the lines of a set; "" where people wrote them."""
    facts = about(dataset)
    if facts.synthetic:
        return say("synthetic: {made}", made=say(facts.synthetic))
    return say(facts.composed) if facts.composed else ""


def by_whom(lines: str, dataset: str, known: Blocks | None) -> str:
    """A count of lines in words, with their hands and blocks if their lines are stored."""
    if known is None:
        if not (count := about(dataset).hands):
            return lines
        return say("{lines} of {hands}", lines=lines, hands=plural(count, "hand"))
    counted = plural(known.count, known.noun)
    if known.hands is None:
        return say("{lines} by {writers}", lines=lines, writers=counted)
    if known.hands == 0:
        return say("{lines} in {blocks}, hands not recorded", lines=lines, blocks=counted)
    hands = plural(known.hands, "hand")
    return say("{lines} of {hands} in {blocks}", lines=lines, hands=hands, blocks=counted)


def _damage(results: Sequence[Result]) -> str:
    suites = _unique(
        say("Damaged by {suite} with seed {seed}", suite=row.suite, seed=row.condition.seed)
        for row in (result.row for result in results if not result.clean)
    )
    slots = [r.names for r in results if r.row.extras.get("lines_with_equal_slots")]
    sentences = [listing(suites)]
    for damage in _unique(names.damage for names in slots):
        sets = listing(_unique(names.dataset for names in slots if names.damage == damage))
        sentences.append(
            say(
                "there are no character boxes in {sets}, so that {damage} takes slots of equal "
                "width for characters",
                sets=sets,
                damage=say_name(damage),
            )
        )
    return "; ".join(filter(None, sentences))


def _encoders(results: Sequence[Result]) -> str:
    """Every encoder with its weights, if recorded."""
    weights: dict[str, str] = {}
    for result in results:
        weights[result.names.encoder] = weights.get(result.names.encoder) or result.row.weights
    return listing(
        [
            say("{name} with untrained weights", name=name)
            if known == UNTRAINED
            else say("{name} (weights {hash})", name=name, hash=known[:12] or say("not opened"))
            for name, known in weights.items()
        ]
    )


def _decoders(results: Iterable[Result]) -> str:
    equal: dict[str, list[str]] = {}
    for result in results:
        if words := _decoder(result):
            equal.setdefault(words, []).append(result.names.decoder)
    return "; ".join(f"{listing(_unique(names))}: {words}" for words, names in equal.items())


def _decoder(result: Result) -> str:
    """The settings of a decoder that matter or that the user chose; "" without any."""
    options, extras = result.row.options, result.row.extras
    # What the decoder worked out itself, such as tuned weights, stands in the extras and below.
    chosen = [name for name in result.row.decoder_options if name not in extras]
    words = [
        f"{name.replace('_', ' ')} {short_value(options[name])}"
        for name in options
        if "beam" in name or name in chosen
    ]
    words += [plural(extras["workers"], "worker")] if isinstance(extras.get("workers"), int) else []
    words += _language_model(result)
    if applied := extras.get("generation_applied"):
        words.append(
            say("generation settings of its checkpoint applied: {settings}",
                settings=settings(applied))
        )  # fmt: skip
    if ignored := extras.get("generation_ignored"):
        words.append(
            say("generation settings of its checkpoint not applied: {settings}",
                settings=settings(ignored))
        )  # fmt: skip
    return commas(words)


def settings(stated: Mapping[str, Any]) -> str:
    """Generation settings in a row."""
    return commas(f"{name} {value}" for name, value in stated.items())


def _language_model(result: Result) -> list[str]:
    """The language models of search and corrector, each with its weights and their origin."""
    extras, (_, _, corrector) = result.row.extras, result.row.decoder.partition("+")
    # Where an option says "as tuned", the extras hold the value that was used.
    weights = [name for name in result.row.options if isinstance(extras.get(name), float)]
    if not corrector or "first_lm_sha256" not in extras:
        return _weighted(extras, "", weights)
    prefixes = tuple(f"{part}_" for part in corrector.split("-"))
    own = [name for name in weights if name.startswith(prefixes)]
    search = [name for name in weights if name not in own]
    return [*_weighted(extras, "first_", search), *_weighted(extras, "", own)]


def _weighted(extras: Mapping[str, Any], stage: str, weights: Sequence[str]) -> list[str]:
    """A language model and its weights; `stage` begins the names of its extras."""
    if not stage and "prompt_sha256" in extras:  # of a server, which has no file
        prompt, hashed = extras.get("llm_prompt_name"), str(extras["prompt_sha256"])[:12]
        about = say("prompt {name}, sha256 {hash}", name=prompt, hash=hashed)
        return [say("language model {name} ({about})", name=extras.get("lm"), about=about)]
    if f"{stage}lm_sha256" not in extras:
        return []
    of = {name: extras.get(f"{stage}{name}") for name in ("lm_sha256", "lm_order", "tuned_on")}
    # A first pass without language that a model rescores has weights, and "" for a model.
    about_it = [f"sha256 {str(of['lm_sha256'])[:12]}"] if of["lm_sha256"] else []
    about_it += [say("order {order}", order=of["lm_order"])] if of["lm_order"] is not None else []
    name = extras.get(f"{stage}lm", extras.get("lm"))
    trained_on = extras.get(f"{stage}lm_trained_on")
    if file := re.fullmatch(r"unknown text \((.+)\)", str(trained_on)):
        name, trained_on = file[1], "not recorded"  # the name in the row may be the file's hash
    about_it += [say("text: {text}", text=say_name(str(trained_on)))] if trained_on else []
    model = say("language model {name} ({about})", name=name, about=commas(about_it))
    origin = of["tuned_on"] or "not recorded"
    by_hand = origin.startswith("set by hand")
    tuned = say(
        "weights {weights} ({tuned_on})" if by_hand else "weights {weights} (tuned on: {tuned_on})",
        weights=commas(f"{name} {extras[name]}" for name in weights),
        tuned_on=say_text(origin),
    )
    return [*([model] if about_it else []), *([tuned] if weights else [])]


def _rounds(results: Iterable[Result]) -> str:
    measured = (result.row for result in results if result.row.counts)
    counts = sorted({row.timing.lines_per_s.n if row.timing else 1 for row in measured})
    if not counts:
        return say("no finished round")
    if counts[0] == counts[-1]:
        return plural(counts[0], "round")
    return say("{least} to {most} rounds", least=counts[0], most=counts[-1])


def _origin(results: Sequence[Result]) -> str:
    commits = _unique(result.commit for result in results if result.commit)
    records = _unique(result.row.environment[:8] for result in results)
    words = [say("commit {commits}", commits=listing(commits))] if commits else []
    words.append(say("environment {records} of env.json", records=listing(records)))
    return commas([*words, say("run {when}", when=_days(results))])


def _days(results: Sequence[Result]) -> str:
    days = sorted({result.row.started[:10] for result in results})
    return say("{first} to {last}", first=days[0], last=days[-1]) if len(days) > 1 else days[0]


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
