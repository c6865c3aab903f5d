"""Leaks in words and as a table."""

from __future__ import annotations

from collections.abc import Sequence

from bench.pipeline.leaks.check import TextLeak
from bench.pipeline.leaks.leak import GRAM, MOST, WORDS, Leak, known
from bench.pipeline.leaks.weights import Learned
from bench.report.conditions import nouns
from bench.report.format import commas, listing, percent, plural
from bench.report.language import say, say_name, say_text
from bench.report.results import marked
from bench.report.table import Column, Table, count, declared, keys, rate
from datasets.about import about

_PHRASES = {
    "text": "{lines} of {of} have the text of a line there",
    "page": "{lines} of {of} have the page of a line there",
    "writer": "{lines} of {of} have the writer of a line there",
    "block": "{lines} of {of} have the {block} of a line there",
    "image": "{lines} of {of} have the very image of a line there",
    "near image": "{lines} of {of} have nearly the image of a line there",
}


def table(dataset: str, leaks: Sequence[Leak]) -> Table:
    """Lines that each split shares with the ones before it."""
    block = _block(dataset)
    return declared(
        slug="leak",
        title=say("Leaks between the splits of {set}", set=marked(dataset)),
        conditions=say(
            "Lines of the second split that share something with a line of the first, and among "
            "how many that could (texts of {words} words and more; known pages, writers and "
            "{blocks}). A near image differs from one of the first split in less than an eighth of "
            "its 512 bits: light or dark from column to column.",
            words=WORDS,
            blocks=nouns(block),
        ),
        columns=[
            *keys(
                (say("splits"), say("shared")),
                lambda line: f"{line[0].learned} → {line[0].tested}",
                lambda line: say(block if line[1].kind == "block" else line[1].kind),
            ),
            Column(say("lines"), lambda line: count(line[1].lines)),
            Column(say("of"), lambda line: count(line[1].of)),
            Column("%", lambda line: rate(line[1].share if line[1].of else None)),
            *keys([say("for example")], lambda line: " = ".join(reversed(line[1].example or ()))),
        ],
        rows=[(leak, found) for leak in leaks for found in leak.shared],
    )


def verdict(dataset: str, leaks: Sequence[Leak], texts: Sequence[TextLeak]) -> str:
    """The findings in plain sentences, with known leaks of the published splits."""
    sentences = [sentence(leak) for leak in leaks if leak.spoils or leak.of("writer").lines]
    sentences += [text_sentence(one) for one in texts]
    if not any(leak.spoils for leak in leaks):
        sentences.insert(
            0,
            say(
                "No more than {most} % of the texts and images of any split of {set} stand in an "
                "earlier one.",
                most=percent(MOST, 0),
                set=dataset,
            ),
        )
    facts = [say("Known: {fact}", fact=say(fact)) for fact in known(dataset)]
    return "\n".join([*sentences, *facts])


def of_weights(found: Sequence[Learned]) -> str:
    """The findings on shipped weights in plain sentences."""
    lines = []
    for one in found:
        words = {"weights": listing(list(one.weights)), "what": commas(map(say_name, one.what))}
        if not one.known:
            lines.append(say("{weights}: nothing to compare; its notes say: {what}", **words))
        elif one.spoilt:
            lines.append(say("{weights}: a leak; learned from {what}", **words))
        else:
            lines.append(say("{weights}: clean; learned from {what}", **words))
        lines += [sentence(leak) for leak in one.leaks if not leak.clean]
        lines += [text_sentence(text) for text in one.texts]
        lines += [
            say("texts and images were not compared: {reason}", reason=say_text(reason))
            for reason in one.absent
        ]
    return "\n".join(lines)


def _block(dataset: str) -> str:
    return about(dataset).block or "block"


def sentence(leak: Leak) -> str:
    """A warning about the shared lines."""
    block = say(_block(leak.tested.partition(" ")[0]))
    shared = [
        say(_PHRASES[found.kind], lines=found.lines, of=found.of, block=block)
        for found in leak.shared
        if found.lines
    ]
    return say(
        "lines of {tested} that stand in {learned}: {what}",
        tested=leak.tested,
        learned=leak.learned,
        what=listing(shared) if shared else say("nothing is shared"),
    )


def text_sentence(one: TextLeak) -> str:
    """The share of a split in a text."""
    seen = one.overlap
    return say(
        "{lines_seen} of {lines} of {split} ({words} words and more) and {grams_seen} of {grams} "
        "of {gram} words in them stand in the text of the language model",
        lines_seen=seen.lines_seen,
        lines=plural(seen.lines, "line"),
        split=one.split,
        words=WORDS,
        grams_seen=seen.grams_seen,
        grams=plural(seen.grams, "run"),
        gram=GRAM,
    )
