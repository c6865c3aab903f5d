"""Parquet files of Hugging Face Hub data sets: locate them in the Hub's cache, or download them."""

from __future__ import annotations

import re
import shlex
from fnmatch import fnmatch
from pathlib import Path

from bench.core.errors import UserError
from bench.core.hub import cached_snapshot, check_online, fetch, get_command, plain_hub_errors
from bench.core.progress import Report

_CARD = "README.md"
_SHARD = re.compile(r"(?P<set>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})")


def is_hub_id(name: str) -> bool:
    """Whether a name is owner/name of the Hub, and not an existing path."""
    return (
        name.count("/") == 1
        and not name.startswith(("/", ".", "~"))
        and not name.endswith((".parquet", "/"))
        and not Path(name).exists()
    )


def locate(repo: str, revision: str, pattern: str) -> Path:
    """The snapshot of a data set in the Hub's cache, without downloading.

    Raises:
        Unavailable: it is missing or incomplete; the remedy downloads it.
    """

    def whole(folder: Path) -> bool:
        here = parquet_files(folder, pattern)
        return bool(here) and not _lacks_a_shard(here)

    return cached_snapshot(repo, revision, _command(repo, revision, pattern), whole, "dataset")


def parquet_files(folder: Path, pattern: str) -> list[Path]:
    """The Parquet files of a folder whose relative path matches a pattern, hidden ones excepted."""
    named = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.parquet")}
    return [
        named[name]
        for name in sorted(named)
        if fnmatch(name, pattern) and not any(part.startswith(".") for part in name.split("/"))
    ]


def download(repo: str, revision: str, pattern: str, report: Report) -> Path:
    """Download the Parquet files of a pattern, resuming an interrupted download.

    All files are of the commit that the revision resolves to. Progress is in bytes.

    Raises:
        UserError: the Hub refuses or is unreachable, has no such files, or the disk is full.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    check_online(repo, _command(repo, revision, pattern))
    disable_progress_bars()  # of huggingface_hub; ours is drawn
    with plain_hub_errors(repo, revision, "dataset"):
        info = HfApi().dataset_info(repo, revision=revision, files_metadata=True)
        files = {file.rfilename: file for file in info.siblings or ()}
        names = [n for n in sorted(files) if n.endswith(".parquet") and fnmatch(n, pattern)]
        if not names:
            if any(name.endswith(".parquet") for name in files):
                raise UserError(f"{repo} has no Parquet file of the pattern {pattern}")
            raise UserError(
                f"{repo} has no Parquet files; the Hub makes some of many data sets: "
                "try the revision refs/convert/parquet"
            )
        commit = str(info.sha)
        for number, name in enumerate(names, 1):
            fetch(repo, commit, files[name], _numbered(report, number, len(names)), "dataset")
        if _CARD in files:
            hf_hub_download(repo, _CARD, revision=commit, repo_type="dataset")
        # A request by branch name records its commit in the cache. It comes last, so that an
        # interrupted download is not taken for a complete one.
        hf_hub_download(repo, names[0], revision=revision, repo_type="dataset")
    return locate(repo, revision, pattern)


def licence_of(folder: Path) -> str:
    """The licence in a snapshot's card, else "not stated"."""
    try:
        card = (folder / _CARD).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "not stated"
    front = re.match(r"\ufeff?---\s*\n(.*?)\n---", card, re.DOTALL)
    licence = re.search(r"^license:[ \t]*['\"]?([\w.-]+)", front[1] if front else "", re.MULTILINE)
    return licence[1] if licence else "not stated"


def _command(repo: str, revision: str, pattern: str) -> str:
    """The command that downloads the files of a pattern."""
    files = "" if pattern == "*" else f" --files {shlex.quote(pattern)}"
    return f"{get_command(repo, revision)}{files}"


def _lacks_a_shard(files: list[Path]) -> bool:
    """Whether an existing group `name-00000-of-00003` lacks one of its shards."""
    matches = [match for path in files if (match := _SHARD.fullmatch(path.stem))]
    numbers: dict[tuple[str, int], set[int]] = {}
    for match in matches:
        numbers.setdefault((match["set"], int(match["count"])), set()).add(int(match["number"]))
    return any(len(have) < count for (_, count), have in numbers.items())


def _numbered(report: Report, number: int, count: int) -> Report:
    def numbered(doing: str, done: float, total: float) -> None:
        report(f"{doing} (file {number} of {count})", done, total)

    return numbered
