"""`python -m bench report --into FILE`: the blocks of a manuscript written from runs."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.report import manuscript

if TYPE_CHECKING:
    from bench.report.remarks import Judge
    from bench.report.results import Result

    Opened = tuple[list[Result], Judge]


def run(
    files: Sequence[Path],
    name: str | None,
    lang: str,
    check: bool = False,
    as_json: bool = False,
) -> int:
    """Renew or check the blocks of manuscripts, and say what became of each.

    Args:
        files: the manuscripts.
        name: of the run that blocks mean which name none; None for the newest.
        lang: of blocks that name none.
        check: write nothing.
        as_json: print for a program.

    Returns:
        1 when a block is stale and `check` keeps it so, else 0.

    Raises:
        UserError: a manuscript or a run cannot be read, or a block asks for what is not there.
    """
    opened = functools.cache(_opened)
    told = []
    with Console(stderr=True).status("blocks") as status:
        for file in files:
            status.update(f"blocks of {file.name}")
            make = functools.partial(_made, file=file, name=name, lang=lang, opened=opened)
            told.append((file, manuscript.renew(file, make, check)))
    if as_json:
        print(json.dumps([_record(file, blocks) for file, blocks in told], indent=2))
    else:
        for file, blocks in told:
            for block in blocks:
                state = ("stale" if check else "renewed") if block.stale else "up to date"
                print(f"{file}:{block.line}: {block.words}: {state}")
    return int(check and any(block.stale for _, blocks in told for block in blocks))


def _record(file: Path, blocks: Sequence[manuscript.Block]) -> dict[str, object]:
    return {"file": str(file), "blocks": [dataclasses.asdict(block) for block in blocks]}


def _made(
    words: str, file: Path, name: str | None, lang: str, opened: Callable[[str | None], Opened]
) -> str:
    """The content of a block by the words of its marker."""
    from bench.report import blocks

    wanted = blocks.parse(words)
    beside = file.parent / wanted.run  # a path may be meant from the manuscript
    is_beside = "/" in wanted.run and beside.is_dir()
    results, judge = opened(str(beside) if is_beside else wanted.run or name)
    wanted = dataclasses.replace(wanted, lang=wanted.lang or lang)
    return blocks.content(wanted, results, judge, manuscript.syntax_of(file))


def _opened(name: str | None) -> Opened:
    from bench.cli.stored import open_run
    from bench.report.remarks import judge_of
    from bench.report.results import collect

    store = open_run(name)
    return collect(store), judge_of(store)
