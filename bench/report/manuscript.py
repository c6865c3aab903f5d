"""Blocks of a manuscript that are written from a run: everything else in the file stays as it is.

A block stands between two lines of their own. In Markdown:

    <!-- kaidoku:begin cer run=mine decoder=ctc-* -->
    <!-- kaidoku:end -->

and in LaTeX:

    % kaidoku:begin damage run=mine severity=3 lang=ja
    % kaidoku:end

The words behind `begin` name the table and say what it shows (`bench.report.blocks`). In Markdown a
marker inside of a fenced code block is an example and no marker.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import UserError
from bench.core.files import draft_of
from bench.report.blocks import Syntax

SUFFIXES: dict[str, Syntax] = {
    ".md": "md", ".markdown": "md", ".qmd": "md", ".rmd": "md", ".tex": "tex", ".ltx": "tex",
}  # fmt: skip
EXAMPLES: dict[Syntax, str] = {
    "md": "<!-- kaidoku:begin cer --> and below it <!-- kaidoku:end -->",
    "tex": "% kaidoku:begin cer and below it % kaidoku:end",
}

_MARKERS: dict[Syntax, re.Pattern[str]] = {
    "md": re.compile(r"\ufeff?[ \t]*<!--[ \t]*kaidoku:(begin|end)\b(.*?)-->[ \t]*"),
    "tex": re.compile(r"\ufeff?[ \t]*%+[ \t]*kaidoku:(begin|end)\b(.*)"),
}
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")

Make = Callable[[str], str]  # from the words of a marker to what stands below it


@dataclass(frozen=True)
class Block:
    """A block of a manuscript.

    line: number of its first marker, from 1.
    words: of that marker, behind `begin`.
    stale: whether it differed from what the run gives.
    """

    line: int
    words: str
    stale: bool


def syntax_of(path: Path) -> Syntax:
    """Whether a manuscript is Markdown or LaTeX, by its name.

    Raises:
        UserError: it is neither.
    """
    syntax = SUFFIXES.get(path.suffix.lower())
    if syntax is None:
        raise UserError(f"{path} is neither Markdown nor LaTeX by its name ({', '.join(SUFFIXES)})")
    return syntax


def renew(path: Path, make: Make, check: bool = False) -> list[Block]:
    """Write the blocks of a manuscript anew; the file is touched only where one is stale.

    Args:
        path: of the manuscript, UTF-8.
        make: gives the content of a block, ending with a line feed; what it raises of `UserError`
            is told with the place of the block, and nothing is written.
        check: only look.

    Returns:
        All blocks in order.

    Raises:
        UserError: the file cannot be read or written, has no block or a torn one.
    """
    text = _read(path)
    renewed, blocks = rewritten(text, syntax_of(path), make, str(path))
    if renewed != text and not check:
        target = path.resolve()  # a link stays a link
        with draft_of(target) as draft:
            draft.write_bytes(renewed.encode())
            shutil.copymode(target, draft)
    return blocks


def rewritten(text: str, syntax: Syntax, make: Make, name: str) -> tuple[str, list[Block]]:
    """A manuscript with its blocks written anew, and what these are.

    Args:
        text: of the manuscript; its line ends are kept, and a block gets those of its marker.
        syntax: of the manuscript.
        make: as in `renew`.
        name: what errors call the manuscript.

    Raises:
        UserError: it has no block or a torn one, or `make` raised it.
    """
    parts: list[str] = []
    blocks: list[Block] = []
    opened: tuple[int, str, str] | None = None  # line, words, line end
    inside: list[str] = []
    for number, line, kind, words in _marked(text, syntax):
        if kind == "begin":
            if opened:
                raise UserError(f"{name}:{number}: the block of line {opened[0]} has no end before")
            opened = (number, words, "\r\n" if line.endswith("\r\n") else "\n")
        elif kind == "end":
            if not opened:
                raise UserError(f"{name}:{number}: this end has no kaidoku:begin before it")
            made = _made(make, opened[1], f"{name}:{opened[0]}").replace("\n", opened[2])
            blocks.append(Block(opened[0], opened[1], made != "".join(inside)))
            parts.append(made)
            opened, inside = None, []
        elif opened:
            inside.append(line)
            continue
        parts.append(line)
    if opened:
        raise UserError(f"{name}:{opened[0]}: this block has no kaidoku:end")
    if not blocks:
        raise UserError(f"{name} has no block; write one in two lines: {EXAMPLES[syntax]}")
    return "".join(parts), blocks


def _marked(text: str, syntax: Syntax) -> Iterator[tuple[int, str, str, str]]:
    """Every line with its number, "begin", "end" or "" and the words of the marker."""
    fence, inside = "", False
    for number, line in enumerate(_LINE.findall(text), start=1):
        bare = line.rstrip("\r\n")
        if syntax == "md" and not inside:  # what stands in a block is ours or rubbish
            fence = _fence_after(fence, bare)
        marker = None if fence else _MARKERS[syntax].fullmatch(bare)
        kind, words = (marker[1], marker[2].strip()) if marker else ("", "")
        inside = kind == "begin" or (inside and kind != "end")
        yield number, line, kind, words


def _fence_after(fence: str, line: str) -> str:
    """The fence of the code block that a line stands in or opens; "" behind and outside of one."""
    found = _FENCE.match(line)
    if not found:
        return fence
    if not fence:
        return found[1]
    closes = found[1].startswith(fence) and line.strip() == found[1]
    return "" if closes else fence


def _made(make: Make, words: str, place: str) -> str:
    try:
        return make(words)
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8; save it as such") from None
