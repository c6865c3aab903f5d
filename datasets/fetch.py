"""Getting a data set from its public source: fetch, rebuild, verify, and only then put in place.

All that is unfinished lies in `.fetch/` of the data root. A finished download is found again after
an interruption; a set appears in the data root when its content is the recorded one, and never
otherwise.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from bench.errors import UserError
from datasets.check import Verdict, check
from datasets.rebuild import page_lines, unipen_lines
from datasets.rebuild.git import GitTree, fetch_commit
from datasets.rebuild.selection import Selection, load_selection
from datasets.rebuild.tree import Report, Tree, silent
from datasets.sources import Source

Builder = Callable[[Tree, Selection, Path, Report], list[str]]

BUILDERS: dict[str, Builder] = {
    "unipen": unipen_lines.build,
    "hooker": partial(page_lines.build, page_lines.HOOKER),
    "copiste": partial(page_lines.build, page_lines.COPISTE),
}

_WORK = ".fetch"


def get(source: Source, root: Path, url: str | None = None, report: Report = silent) -> Verdict:
    """Bring a set into a data root; a set that is there and right is left as it is.

    Args:
        source: which set.
        root: the data root; made when it does not exist.
        url: where to fetch the pinned commit from, instead of the source's own address.
        report: hears of progress.

    Raises:
        Unavailable: git is not installed.
        UserError: the source cannot be reached, or what was made of it is not the recorded set.
        OSError: the data root cannot be written to.
    """
    here = check(source, root, report)
    if here.state == "right":
        return here
    work = root / _WORK / source.name
    built = work / "built"
    shutil.rmtree(built, ignore_errors=True)
    built.mkdir(parents=True)
    repository = work / f"{source.commit}.git"
    fetch_commit(url or source.url, source.commit, repository, report)
    with GitTree(repository, source.commit) as tree:
        missing = BUILDERS[source.name](tree, load_selection(source.name), built, report)
    verdict = check(source, built, report)
    if verdict.state != "right":
        raise UserError(_complaint(source, verdict, missing, built))
    for file in source.files:
        (built / file).replace(root / file)
    shutil.rmtree(work)
    with suppress(OSError):  # another set is being fetched
        work.parent.rmdir()
    return verdict


def _complaint(source: Source, verdict: Verdict, missing: list[str], built: Path) -> str:
    absent = ""
    if missing:
        absent = f"; {len(missing)} lines are not in the source, the first is {missing[0]}"
    return (
        f"what was made of {source.name} @ {source.commit[:12]} is not the recorded set: "
        f"{verdict.reason}{absent}; it was left in {built}, "
        "and nothing was put in place"
    )
