"""A shallow fetch of one commit of a public git repository, read without a checkout.

Git rather than an archive, because a commit's name is the hash of its content, so git verifies the
pinned commit through any mirror or proxy, while hosts may recompress archives at any time. Files
are read from the object store: no name in the tree becomes a path on this machine, no link is
followed, and no hook, filter or attribute of the repository runs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, AnyStr

from bench.core.errors import Unavailable, UserError
from bench.core.progress import Report

_COMPLETE = "refs/kaidoku/complete"
_FILES = {"100644", "100755"}  # modes of regular files; links and submodules are none
_STEP = re.compile(r"(?:remote: )?([A-Z][a-z]+ [a-z]+): +(\d+)%")

# Sources are public: never ask for a password, and drop a dead connection after a minute.
_SETTINGS = (
    ("credential.helper", ""),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "60"),
)


def fetch_commit(url: str, commit: str, folder: Path, report: Report) -> None:
    """Fetch one commit, without its history, into a bare repository.

    A finished fetch is reused; an interrupted one is removed.

    Raises:
        Unavailable: git is not installed.
        UserError: the source cannot be reached or has no such commit.
    """
    if shutil.which("git") is None:
        raise Unavailable("git is not installed", "apt-get install git")
    if _is_complete(folder, commit):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _git(folder, "init", "--quiet", "--bare")
    complaint = _fetch(url, commit, folder, report)
    if complaint:
        raise UserError(
            f"could not fetch {commit[:12]} from {url}: {complaint}; "
            "check the connection and try again, or name a mirror with --url"
        )
    _git(folder, "update-ref", _COMPLETE, commit)


# The files of one version of a source by name: relative, with forward slashes.
Tree = Mapping[str, bytes]


def below(names: Iterable[str], folder: str) -> list[str]:
    """The names below a folder ("" for all), in the order of their parts."""
    prefix = f"{folder}/" if folder else ""
    return sorted((n for n in names if n.startswith(prefix)), key=lambda n: n.split("/"))


class GitTree(Tree):
    """The regular files of a fetched commit; a context manager."""

    def __init__(self, repository: Path, commit: str) -> None:
        self._objects: dict[str, str] = {}
        listing = _git(repository, "ls-tree", "-r", "-z", "--full-tree", commit)
        for entry in filter(None, listing.split(b"\0")):
            head, _, name = entry.partition(b"\t")
            mode, _, object_id = head.decode("ascii").split()
            if mode in _FILES:
                self._objects[name.decode("utf-8", "surrogateescape")] = object_id
        self._reader = subprocess.Popen(
            ["git", f"--git-dir={repository}", "cat-file", "--batch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
        )

    def __enter__(self) -> GitTree:
        return self

    def __exit__(self, *_: object) -> None:
        _pipe(self._reader.stdin).close()
        _pipe(self._reader.stdout).close()
        self._reader.wait()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._objects))

    def __len__(self) -> int:
        return len(self._objects)

    def __getitem__(self, name: str) -> bytes:
        """The content of a file."""
        stdin, stdout = _pipe(self._reader.stdin), _pipe(self._reader.stdout)
        try:
            stdin.write(f"{self._objects[name]}\n".encode("ascii"))
            stdin.flush()
            _, kind, size = stdout.readline().split()
            content = stdout.read(int(size) + 1)[:-1]
        except (OSError, ValueError):
            kind, size, content = b"", b"0", b""
        if kind != b"blob" or len(content) != int(size):
            raise UserError(f"the fetched source is damaged at {name}; remove it and fetch again")
        return content


def _is_complete(folder: Path, commit: str) -> bool:
    if not (folder / "HEAD").is_file():
        return False
    try:
        return _git(folder, "rev-parse", "--verify", "--quiet", _COMPLETE).decode() == f"{commit}\n"
    except UserError:
        return False


def _fetch(url: str, commit: str, folder: Path, report: Report) -> str:
    """Run the fetch; returns the reason of a failure, else ""."""
    settings = [word for key, value in _SETTINGS for word in ("-c", f"{key}={value}")]
    words = ["fetch", "--depth=1", "--no-tags", "--progress", "--end-of-options", url, commit]
    with subprocess.Popen(
        ["git", f"--git-dir={folder}", *settings, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(),
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            complaint = _listen(_pipe(process.stderr), report)
        except BaseException:
            process.terminate()
            raise
    return complaint or f"git ended with {process.returncode}" if process.returncode else ""


def _listen(stream: IO[str], report: Report) -> str:
    """Report git's progress; returns its last error, else ""."""
    complaint = ""
    for line in stream:
        if match := _STEP.match(line):
            report(match[1].lower(), float(match[2]), 100.0)
        elif line.startswith(("fatal: ", "error: ")):
            complaint = line.partition(": ")[2].strip().rstrip(".")
    return complaint


def _git(repository: Path, *words: str) -> bytes:
    done = subprocess.run(
        ["git", f"--git-dir={repository}", *words], capture_output=True, env=_environment()
    )
    if done.returncode:
        reason = (
            done.stderr.decode("utf-8", "replace").strip() or f"it ended with {done.returncode}"
        )
        raise UserError(f"git {words[0]} failed in {repository}: {reason}")
    return done.stdout


def _environment() -> dict[str, str]:
    """Ours, but without prompts, in English, and independent of any other repository."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    kept = {k: v for k, v in os.environ.items() if k.startswith(("GIT_SSL_", "GIT_PROXY_"))}
    return {**inherited, **kept, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def _pipe(stream: IO[AnyStr] | None) -> IO[AnyStr]:
    assert stream is not None
    return stream
