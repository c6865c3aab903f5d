"""Fetching a checkpoint from the Hub: the files that are read and no others, the weights verified.

The small files come by `hf_hub_download`. The weights are fetched here, into the same cache:
`huggingface_hub` begins a download that was interrupted from its first byte again (since its pull
request 4228; issue 4196), and these are gigabytes.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from huggingface_hub import HfApi, constants, get_session, hf_hub_download, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    build_hf_headers,
    disable_progress_bars,
    hf_raise_for_status,
)

from bench.errors import UserError
from models import hub
from models.hub_errors import NETWORK, plain_errors

Report = Callable[[str, float, float], None]  # what is being done, how much of it, of how much

# Read where they are there; what has to be there is `hub.NEEDED`.
_OPTIONAL = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "README.md",
)
_CHUNK = 1 << 17  # what a broken connection loses at most


def download(repo: str, revision: str, report: Report) -> hub.Checkpoint:
    """Fetch what is not here yet of a revision; goes on where an earlier download stopped.

    Args:
        repo: Hub id.
        revision: branch, tag or commit; it is resolved to a commit first, and all files are of it.
        report: hears of the progress, in bytes.

    Raises:
        UserError: the Hub does not give it or cannot be reached, it is no TrOCR, the disk is full.
    """
    if hub.is_path(repo):
        raise UserError(f"{repo} is a folder; there is nothing to fetch")
    if constants.HF_HUB_OFFLINE:
        command = hub.download_command(repo, revision)
        raise UserError(f"HF_HUB_OFFLINE forbids to fetch {repo}; give: {command}")
    disable_progress_bars()  # of huggingface_hub; ours is drawn
    with plain_errors(repo, revision):
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
        commit, files = str(info.sha), {file.rfilename: file for file in info.siblings or ()}
        if absent := next(hub.lacking(files), None):
            raise UserError(f"{repo} is no TrOCR that can be read here: it lacks {absent}")
        folder = Path(hf_hub_download(repo, "config.json", revision=commit)).parent
        hub.check_architecture(repo, folder)
        for name in _small(files):
            hf_hub_download(repo, name, revision=commit)
        _fetch_weights(repo, commit, files[hub.best_weights(files)], report)
        # Asked by the name of the branch, it notes in the cache which commit that is.
        hf_hub_download(repo, "config.json", revision=revision)
    return hub.locate(repo, revision)


def _small(files: Mapping[str, Any]) -> list[str]:
    """All files to fetch but the weights."""
    ways = [way for what in hub.NEEDED.values() for way in what]
    wanted = {*_OPTIONAL, *(name for way in ways for name in way)} - set(hub.WEIGHTS)
    return sorted(wanted & set(files))


def _fetch_weights(repo: str, commit: str, file: Any, report: Report) -> None:
    """Put the weights into the cache, all of them or none."""
    if file.lfs is not None:  # small files lie in the Hub's git, and have no SHA-256 there
        blob = hub.repo_folder(repo) / "blobs" / file.lfs.sha256
        blob.parent.mkdir(parents=True, exist_ok=True)
        if not blob.exists():
            url = hf_hub_url(repo, file.rfilename, revision=commit)
            _fetch_blob(repo, url, blob, file.lfs.size, report)
    hf_hub_download(repo, file.rfilename, revision=commit)  # links the blob to its place


def _fetch_blob(repo: str, url: str, blob: Path, size: int, report: Report) -> None:
    """A file whose name is its SHA-256."""
    partial = blob.with_name(blob.name + hub.PARTIAL)
    with _alone_at(partial, repo) as out:
        _check_room(partial.parent, size - out.tell(), repo)
        _append(url, out, size, lambda done: report(f"downloading {size_of(size)}", done, size))
    found = hub.content_hash(partial, 64, lambda done: report("checking", done, size))
    if found != blob.name:
        partial.unlink()
        raise UserError(
            f"the weights of {repo} arrived damaged and were removed; give the same command again"
        )
    partial.replace(blob)


@contextmanager
def _alone_at(partial: Path, repo: str) -> Iterator[BinaryIO]:
    """The file, open at its end and locked against other processes.

    Raises:
        UserError: another process holds it.
    """
    with partial.open("ab") as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{repo} is being fetched by another process; wait for it") from None
        yield out


def _append(url: str, out: BinaryIO, size: int, seen: Callable[[int], None]) -> None:
    """Fetch the rest of a file; a broken connection is taken up again as long as bytes come."""
    while (before := out.tell()) < size:
        try:
            _stream(url, out, seen)
        except NETWORK as error:
            if isinstance(error, HfHubHTTPError) or out.tell() <= before:
                raise


def _stream(url: str, out: BinaryIO, seen: Callable[[int], None]) -> None:
    """One request for all bytes that are not here yet."""
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if out.tell():
        headers["Range"] = f"bytes={out.tell()}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream(
        "GET", url, headers=headers, timeout=timeout, follow_redirects=True
    ) as response:
        hf_raise_for_status(response)
        if response.status_code != 206:  # the server sends the whole file
            out.seek(0)
            out.truncate()
        for chunk in response.iter_bytes(_CHUNK):
            out.write(chunk)
            seen(out.tell())


def _check_room(folder: Path, needed: int, repo: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{repo} needs {size_of(needed)} more, and {folder} has {size_of(free)} free; "
            "make room or set HF_HOME to a larger disk"
        )


def size_of(count: float) -> str:
    """Bytes as the Hub writes them.

    >>> size_of(1_333_300_000), size_of(245_800_000), size_of(900)
    ('1.33 GB', '246 MB', '900 B')
    """
    for unit, factor, digits in (("GB", 1e9, 2), ("MB", 1e6, 0), ("kB", 1e3, 0)):
        if count >= factor:
            return f"{count / factor:.{digits}f} {unit}"
    return f"{count:.0f} B"
