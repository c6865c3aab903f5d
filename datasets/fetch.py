"""Download a data set from its public source: fetch, rebuild, verify, then install.

Unfinished work is in `.fetch/` of the data root, and a finished download is reused after an
interruption. A set is installed in the data root only if its content is the recorded one. Isolated
words and characters, which only training reads, are verified separately and do not hold up lines.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.core.errors import UserError
from bench.core.progress import Report, silent
from datasets.check import Verdict, check, check_lines, check_pieces
from datasets.rebuild import page_lines, unipen
from datasets.rebuild.git import GitTree, Tree, fetch_commit
from datasets.sources import Pieces, Selection, Source, load_selection

Builder = Callable[[Tree, Selection, Path, Report], list[str]]
PiecesBuilder = Callable[[Tree, Pieces, Path, Report], None]

BUILDERS: dict[str, Builder] = {
    "unipen": unipen.build_lines,
    "hooker": partial(page_lines.build, page_lines.HOOKER),
    "copiste": partial(page_lines.build, page_lines.COPISTE),
}

PIECES_BUILDERS: dict[str, PiecesBuilder] = {"unipen": unipen.build_pieces}

_WORK = ".fetch"


def get(source: Source, root: Path, url: str | None = None, report: Report = silent) -> Verdict:
    """Install a set in a data root, made if need be; correct files are kept.

    `url` replaces the source's own address, for the same pinned commit.

    Raises:
        Unavailable: git is not installed.
        UserError: the source is unreachable, or the rebuilt set differs from the record.
        OSError: the data root is not writable.
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
        lines = here
        if here.state != "right":
            missing = BUILDERS[source.name](tree, load_selection(source.name), built, report)
            lines = check_lines(source, built, report)
            if lines.state != "right":
                raise UserError(_wrong_lines(source, lines, missing, built))
            _put(built, root, *source.files)
        pieces = []
        for recorded, piece in zip(source.pieces, here.pieces, strict=True):
            if piece.state != "right":
                PIECES_BUILDERS[source.name](tree, recorded, built, report)
                piece = check_pieces(recorded, built, report)
                if piece.state == "right":
                    _put(built, root, recorded.file)
            pieces.append(piece)
    verdict = replace(lines, pieces=tuple(pieces))
    if not verdict.whole:
        raise UserError(_wrong_pieces(source, verdict, built))
    shutil.rmtree(work)
    with suppress(OSError):  # another set is being fetched
        work.parent.rmdir()
    return verdict


def _put(built: Path, root: Path, *files: str) -> None:
    for file in files:
        (built / file).replace(root / file)


def _wrong_lines(source: Source, verdict: Verdict, missing: list[str], built: Path) -> str:
    absent = ""
    if missing:
        absent = f"; {len(missing)} lines are not in the source, the first is {missing[0]}"
    return (
        f"{source.name} rebuilt from {source.commit[:12]} is not the recorded set: "
        f"{verdict.reason}{absent}; it was left in {built}, and nothing was put in place"
    )


def _wrong_pieces(source: Source, verdict: Verdict, built: Path) -> str:
    wrong = [piece for piece in verdict.pieces if piece.state != "right"]
    return (
        f"the lines of {source.name} are in place, but not its "
        f"{' and '.join(piece.name for piece in wrong)}, which only training reads: those rebuilt "
        f"from {source.commit[:12]} are not the recorded ones "
        f"({'; '.join(piece.reason for piece in wrong)}) and were left in {built}"
    )
