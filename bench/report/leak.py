"""Leaks in words and as a table."""

from __future__ import annotations

from collections.abc import Sequence

from bench.pipeline.leaks.check import TextLeak
from bench.pipeline.leaks.leak import GRAM, MOST, WORDS, Leak, known
from bench.report.format import listing, percent, plural
from bench.report.table import Column, Table, count, declared, keys, rate
from datasets.about import about, named

_PHRASES = {
    "text": "the text",
    "page": "the page",
    "writer": "the writer",
    "block": "the {block}",
    "image": "the very image",
    "near image": "nearly the image",
}


def table(dataset: str, leaks: Sequence[Leak]) -> Table:
    """Lines that each split shares with the ones before it."""
    block = _block(dataset)
    return declared(
        slug="leak",
        title=f"Leaks between the splits of {named(dataset)}",
        conditions=(
            f"Lines of the second split that share something with a line of the first, and among "
            f"how many that could (texts of {WORDS} words and more; known pages, writers and "
            f"{block}s). A "
            "near image differs from one of the first split in less than an eighth of its 512 "
            "bits: light or dark from column to column."
        ),
        columns=[
            *keys(
                ("splits", "shared"),
                lambda line: f"{line[0].learned} → {line[0].tested}",
                lambda line: block if line[1].kind == "block" else line[1].kind,
            ),
            Column("lines", lambda line: count(line[1].lines)),
            Column("of", lambda line: count(line[1].of)),
            Column("%", lambda line: rate(line[1].share if line[1].of else None)),
            *keys(["for example"], lambda line: " = ".join(reversed(line[1].example or ()))),
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
            f"No more than {percent(MOST, 0)} % of the texts and images of any split "
            f"of {dataset} stand in an earlier one.",
        )
    return "\n".join([*sentences, *(f"Known: {fact}" for fact in known(dataset))])


def _block(dataset: str) -> str:
    return about(dataset).block or "block"


def sentence(leak: Leak) -> str:
    """A warning about the shared lines."""
    block = _block(leak.tested.partition(" ")[0])
    shared = [
        f"{found.lines} of {found.of} have {_PHRASES[found.kind].format(block=block)} of a line "
        "there"
        for found in leak.shared
        if found.lines
    ]
    what = listing(shared) if shared else "nothing is shared"
    return f"lines of {leak.tested} that stand in {leak.learned}: {what}"


def text_sentence(one: TextLeak) -> str:
    """The share of a split in a text."""
    seen = one.overlap
    return (
        f"{seen.lines_seen} of {plural(seen.lines, 'line')} of {one.split} ({WORDS} words and "
        f"more) and {seen.grams_seen} of {plural(seen.grams, 'run')} of {GRAM} words in them stand "
        "in the text of the language model"
    )
