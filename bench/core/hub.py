"""Repositories of the Hub: downloads of large files into its cache, errors in plain sentences.

`huggingface_hub` restarts an interrupted download from the first byte (since its pull request 4228;
issue 4196), and these files take gigabytes.
"""

from __future__ import annotations

import errno
import fcntl
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

from huggingface_hub import constants  # the rest is imported where it is used: it takes 0.3 s

from bench.core.errors import Unavailable, UserError
from bench.core.files import content_hash
from bench.core.progress import Report

MAIN = "main"  # the Hub's branch where no revision is named
PARTIAL = ".partial"  # suffix of an incomplete blob

_CHUNK = 1 << 17  # most bytes that a broken connection loses
_IDLE = 3  # attempts in a row without a new byte

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Kind = Literal["model", "dataset"]  # of a repository, as the Hub calls it
_NAMES: dict[Kind, tuple[str, str]] = {"model": ("", "model"), "dataset": ("datasets/", "data set")}

_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def repo_folder(repo: str, kind: Kind = "model") -> Path:
    """The folder of a repository in the Hub's cache."""
    return Path(constants.HF_HUB_CACHE, "--".join((f"{kind}s", *repo.split("/"))))


def get_command(what: str, revision: str = MAIN) -> str:
    """The command that downloads a revision, also where HF_HUB_OFFLINE is set."""
    offline = "HF_HUB_OFFLINE=0 " if constants.HF_HUB_OFFLINE else ""
    version = "" if revision == MAIN else f" --revision {shlex.quote(revision)}"
    return f"{offline}python -m bench data get {what}{version}"


def check_online(repo: str, command: str) -> None:
    """Refuse to download where HF_HUB_OFFLINE is set.

    Raises:
        UserError: with the command to give instead.
    """
    if constants.HF_HUB_OFFLINE:
        raise UserError(f"HF_HUB_OFFLINE forbids to fetch {repo}; run: {command}")


def cached_snapshot(
    repo: str, revision: str, remedy: str, whole: Callable[[Path], bool], kind: Kind = "model"
) -> Path:
    """The snapshot of a revision in the Hub's cache.

    Raises:
        Unavailable: it is missing, or not `whole`; `remedy` downloads it.
    """
    folder = repo_folder(repo, kind)
    branch = folder / "refs" / revision
    commit = branch.read_text().strip() if branch.is_file() else revision
    snapshot = folder / "snapshots" / commit
    if whole(snapshot):
        return snapshot
    which = repo if revision == MAIN else f"revision {revision} of {repo}"
    broken_off = snapshot.is_dir() or any(folder.glob(f"blobs/*{PARTIAL}"))
    state = "is only partly" if broken_off else "is not"
    raise Unavailable(f"{which} {state} in {constants.HF_HUB_CACHE}", remedy)


def fetch(repo: str, commit: str, file: Any, report: Report, kind: Kind = "model") -> Path:
    """Fetch a file of a commit into the cache, whole or not at all; a cached file is kept.

    `file` is the Hub's `RepoSibling` with metadata; progress is in bytes.

    Returns:
        Its path in the snapshot of the commit.
    """
    from huggingface_hub import hf_hub_download, hf_hub_url

    name = file.rfilename
    if file.lfs is not None:  # small files lie in the Hub's git, and have no SHA-256 there
        blob = repo_folder(repo, kind) / "blobs" / file.lfs.sha256
        blob.parent.mkdir(parents=True, exist_ok=True)
        if not blob.exists():
            url = hf_hub_url(repo, name, revision=commit, repo_type=kind)
            _fetch_blob(repo, name, url, blob, file.lfs.size, report)
    # Links the blob to its place.
    return Path(hf_hub_download(repo, name, revision=commit, repo_type=kind))


def _fetch_blob(repo: str, what: str, url: str, blob: Path, size: int, report: Report) -> None:
    """Fetch a file that is named by its SHA-256."""
    partial = blob.with_name(blob.name + PARTIAL)
    with _alone_at(partial, repo) as out:
        _check_room(partial.parent, size - out.tell(), repo)
        most = _append(
            url, out, size, lambda done: report(f"downloading {size_of(size)}", done, size)
        )
    if most < size:
        raise UserError(
            f"the server sent {size_of(most)} of {size_of(size)} of {what} of {repo} and nothing "
            "more; give the same command again later: it goes on where it stopped"
        )
    sha256 = content_hash(partial, 64, lambda done: report("checking", done, size))
    if sha256 != blob.name:
        partial.unlink()
        raise UserError(
            f"{what} of {repo} arrived damaged and was removed; give the same command again"
        )
    partial.replace(blob)


@contextmanager
def _alone_at(partial: Path, repo: str) -> Iterator[BinaryIO]:
    """Open a file at its end, locked against other processes."""
    with partial.open("ab") as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{repo} is being fetched by another process; wait for it") from None
        yield out


def _append(url: str, out: BinaryIO, size: int, seen: Callable[[int], None]) -> int:
    """Fetch the rest of a file, and reconnect as long as new bytes arrive."""
    from huggingface_hub import errors

    most, idle = out.tell(), 0
    while most < size and idle < _IDLE:
        try:
            _stream(url, out, size, seen)
        except errors.HTTPError as error:  # type: ignore[attr-defined]  # of its HTTP library
            if isinstance(error, errors.HfHubHTTPError) or out.tell() <= most:
                raise
        idle = idle + 1 if out.tell() <= most else 0
        most = max(most, out.tell())
    return most


def _stream(url: str, out: BinaryIO, size: int, seen: Callable[[int], None]) -> None:
    """Request all missing bytes once."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        hf_raise_for_status,
    )

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
            if out.tell() > size:  # not this file
                return


def _check_room(folder: Path, needed: int, repo: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{repo} needs {size_of(needed)} more, and {folder} has {size_of(free)} free; "
            "make room or set HF_HOME to a larger disk"
        )


def size_of(count: float) -> str:
    """Format a number of bytes as the Hub does.

    >>> size_of(1_333_300_000), size_of(245_800_000), size_of(900)
    ('1.33 GB', '246 MB', '900 B')
    """
    for unit, factor, digits in (("GB", 1e9, 2), ("MB", 1e6, 0), ("kB", 1e3, 0)):
        if count >= factor:
            return f"{count / factor:.{digits}f} {unit}"
    return f"{count:.0f} B"


@contextmanager
def plain_hub_errors(repo: str, revision: str, kind: Kind = "model") -> Iterator[None]:
    """Turn errors with a repository of the Hub into a `UserError`.

    Servers and proxies can answer anything; the cause stays chained for --traceback.
    """
    from huggingface_hub import errors

    network = errors.HTTPError  # type: ignore[attr-defined]
    try:
        yield
    except errors.HFValidationError as error:
        raise UserError(f"{repo!r} is no Hub id; give a name like owner/name") from error
    except (errors.HfHubHTTPError, network, OSError, ValueError) as error:
        raise UserError(_sentence(error, repo, revision, kind)) from error


def _sentence(error: Exception, repo: str, revision: str, kind: Kind) -> str:
    from huggingface_hub import errors

    folder, noun = _NAMES[kind]
    page = f"{constants.ENDPOINT}/{folder}{repo}"
    if isinstance(error, errors.GatedRepoError):
        return f"{repo} has conditions of use; accept them on {page} and {_LOG_IN}"
    if isinstance(error, errors.RepositoryNotFoundError) or _status(error) == 401:
        return (
            f"there is no {noun} {repo} on {constants.ENDPOINT}, or it is private; "
            f"check its name, or {_LOG_IN}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo} has no revision {revision}; take one of {page}/commits/main"
    if isinstance(error, errors.HfHubHTTPError):
        return _refusal(_status(error), repo)
    if isinstance(error, errors.HTTPError):  # type: ignore[attr-defined]
        return (
            f"{constants.ENDPOINT} cannot be reached ({_words(error)}); check the network and "
            "HF_ENDPOINT, then give the same command again: it goes on where it stopped"
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        return (
            f"no space left in {constants.HF_HUB_CACHE}; make room or set HF_HOME to a larger "
            "disk, then give the same command again: it goes on where it stopped"
        )
    if isinstance(error, PermissionError):
        return f"no permission to write to {error.filename}; set HF_HOME to a folder of yours"
    if isinstance(error, ValueError):
        return f"{constants.ENDPOINT} does not answer as the Hub does; check HF_ENDPOINT"
    return f"{repo} could not be fetched ({_words(error)}); try again"


def _refusal(status: int, repo: str) -> str:
    """Explain an HTTP status that has no exception class of its own."""
    if status == 403:
        return f"{constants.ENDPOINT} does not let you have {repo} (403); {_LOG_IN}"
    if status == 429 or status >= 500:
        return f"{constants.ENDPOINT} is busy or out of order ({status}); try again later"
    return f"{constants.ENDPOINT} refuses to give {repo} ({status}); check HF_ENDPOINT"


def _status(error: Exception) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
