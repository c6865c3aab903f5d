"""A census of a data set as `python -m bench data check` prints it."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from datasets.census import BIN, Census, Repeats

TOLD = 10  # bad lines that are printed; all are in the file

_BAR = 40  # characters of the longest bar


def census_lines(census: Census) -> list[str]:
    """A census in words and bars."""
    head = ("split", "lines", "writers", "blocks", "pages", "characters", "a line", "height",
            "width", "unreadable", "empty")  # fmt: skip
    rows = [
        (count.split, count.lines, count.writers or "?", count.blocks or "?", count.pages or "?",
         count.characters,
         _span((count.shortest, count.median, count.longest)), _span(count.heights),
         _span(count.widths), count.unreadable, count.empty)
        for count in census.splits
    ]  # fmt: skip
    foreign = f"; not printable ASCII: {' '.join(census.foreign)}" if census.foreign else ""
    letters = "".join(census.alphabet)
    return [
        f"{census.name}: {census.source}; licence {census.licence}; references {census.references}",
        "", *tabulate(rows, head, disable_numparse=True, colalign=["left"] + 10 * ["right"])
        .splitlines(),
        "(blocks: what statistics resample; a line, height and width: least, median, most; "
        "characters and pixels)",
        "",
        f"  alphabet          {len(census.alphabet)} characters: {letters}{foreign}",
        f"  texts twice       {_repeats(census.texts)}",
        f"  images twice      {_repeats(census.images)}",
        *_bad_lines(census),
        *(f"  note              {note}" for note in census.notes),
        *(
            f"  not here          {split}: {missing.reason}; mend it: {missing.remedy}"
            for split, missing in census.absent
        ),
        "  characters a line",
        *_histogram(census.lengths),
    ]  # fmt: skip


def _span(range_: tuple[int, int, int]) -> str:
    return " ".join(map(str, range_))


def _repeats(repeats: Repeats) -> str:
    if not repeats.groups:
        return "none"
    across = f", {repeats.across} of them in more than one split" if repeats.across else ""
    first = ", ".join(repeats.examples[0])
    return f"{repeats.groups}, in {repeats.lines} lines{across}; the first: {first}"


def _bad_lines(census: Census) -> list[str]:
    if not census.bad:
        return ["  cannot be used    none"]
    told = [f"    {split}/{line.id}: {line.reason}" for split, line in census.bad[:TOLD]]
    return [f"  cannot be used    {len(census.bad)} lines, the first:", *told]


def _histogram(bars: Sequence[int]) -> list[str]:
    most = max(bars, default=1)
    marks = ["#" * -(-count * _BAR // most) for count in bars]  # rounded up: one line shows
    return [
        f"    {bar * BIN:>4}-{(bar + 1) * BIN - 1:<4} {marks[bar]:<{_BAR}} {count}"
        for bar, count in enumerate(bars)
    ]
