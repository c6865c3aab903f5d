"""Getting a data set from its public source: fetch, rebuild, verify, and only then put in place.

All that is unfinished lies in `.fetch/` of the data root. A finished download is found again after
an interruption; a set appears in the data root when its content is the recorded one, and never
otherwise. Isolated words and characters, which only training reads, are verified each by itself:
lines that are right do not wait for them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.core.errors import UserError
from bench.core.progress import Report, silent
from datasets.check import PiecesVerdict, Verdict, check, check_lines, check_pieces
from datasets.rebuild import page_lines, unipen_lines, unipen_pieces
from datasets.rebuild.git import GitTree, fetch_commit
from datasets.rebuild.selection import Selection, load_selection
from datasets.rebuild.tree import Tree
from datasets.sources import Pieces, Source

Builder = Callable[[Tree, Selection, Path, Report], list[str]]
PiecesBuilder = Callable[[Tree, Pieces, Path, Report], None]

BUILDERS: dict[str, Builder] = {
    "unipen": unipen_lines.build,
    "hooker": partial(page_lines.build, page_lines.HOOKER),
    "copiste": partial(page_lines.build, page_lines.COPISTE),
}

PIECES_BUILDERS: dict[str, PiecesBuilder] = {"unipen": unipen_pieces.build}

_WORK = ".fetch"


def get(source: Source, root: Path, url: str | None = None, report: Report = silent) -> Verdict:
    """Bring a set into a data root; what is there and right is left as it is.

    Args:
        source: which set.
        root: the data root; made when it does not exist.
        url: where to fetch the pinned commit from, instead of the source's own address.
        report: hears of progress.

    Raises:
        Unavailable: git is not installed.
        UserError: the source cannot be reached, or what was made of it is not what is recorded.
        OSError: the data root cannot be written to.
    """
    here = check(source, root, report)
    if here.whole:
        return here
    work = root / _WORK / source.name
    built = work / "built"
    shutil.rmtree(built, ignore_errors=True)
    built.mkdir(parents=True)
    repository = work / f"{source.commit}.git"
    fetch_commit(url or source.url, source.commit, repository, report)
    with GitTree(repository, source.commit) as tree:
        making = _Making(source, tree, built, root, report)
        lines = here if here.state == "right" else making.lines()
        pieces = tuple(
            found if found.state == "right" else making.pieces(wanted)
            for wanted, found in zip(source.pieces, here.pieces, strict=True)
        )
    verdict = replace(lines, pieces=pieces)
    if not verdict.whole:
        raise UserError(_lament(source, verdict, built))
    shutil.rmtree(work)
    with suppress(OSError):  # another set is being fetched
        work.parent.rmdir()
    return verdict


@dataclass(frozen=True)
class _Making:
    """Parts of a set made of its source in one folder, and put into another when they are right."""

    source: Source
    tree: Tree
    built: Path
    root: Path
    report: Report

    def lines(self) -> Verdict:
        name = self.source.name
        missing = BUILDERS[name](self.tree, load_selection(name), self.built, self.report)
        verdict = check_lines(self.source, self.built, self.report)
        if verdict.state != "right":
            raise UserError(_complaint(self.source, verdict, missing, self.built))
        for file in self.source.files:
            self._put(file)
        return verdict

    def pieces(self, wanted: Pieces) -> PiecesVerdict:
        PIECES_BUILDERS[self.source.name](self.tree, wanted, self.built, self.report)
        verdict = check_pieces(wanted, self.built, self.report)
        if verdict.state == "right":
            self._put(wanted.file)
        return verdict

    def _put(self, file: str) -> None:
        (self.built / file).replace(self.root / file)


def _complaint(source: Source, verdict: Verdict, missing: list[str], built: Path) -> str:
    absent = ""
    if missing:
        absent = f"; {len(missing)} lines are not in the source, the first is {missing[0]}"
    return (
        f"what was made of {source.name} @ {source.commit[:12]} is not the recorded set: "
        f"{verdict.reason}{absent}; it was left in {built}, "
        "and nothing was put in place"
    )


def _lament(source: Source, verdict: Verdict, built: Path) -> str:
    wrong = [found for found in verdict.pieces if found.state != "right"]
    return (
        f"the lines of {source.name} are in place, but not its "
        f"{' and '.join(found.name for found in wrong)}, which only training reads: what was made "
        f"of {source.commit[:12]} is not what is recorded "
        f"({'; '.join(found.reason for found in wrong)}) and was left in {built}"
    )
