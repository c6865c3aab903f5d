"""A Hub on this machine: as much of its protocol as downloads use, over real HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

# A checkpoint as far as finding and fetching it goes; nothing can be read with it.
FILES = {
    "config.json": b'{"model_type": "vision-encoder-decoder", "decoder": {"model_type": "trocr"}}',
    "generation_config.json": b'{"use_cache": false}',
    "preprocessor_config.json": b'{"size": 384}',
    "tokenizer.json": b'{"version": "1.0"}',
    "model.safetensors": os.urandom(3_000_000),
}

LARGE = (".safetensors", ".bin", ".parquet")  # what the Hub keeps in LFS, with SHA-256 as its ETag


def write(folder: Path, *leave_out: str) -> Path:
    """A folder of `FILES`, but for some of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        if name not in leave_out:
            (folder / name).write_bytes(content)
    return folder


_REVISION = r"refs/[^/]+/[^/]+|[^/]+"


@dataclass
class FakeHub:
    """What is served, and how badly.

    repos: id ("datasets/owner/name" of a data set) to {revision: commit}.
    commits: commit to the folder of its files.
    stall: files of which only the first half is sent until `resume` is set.
    cuts: files to how often the connection breaks after half of what was asked for.
    spoilt: files that are sent with a wrong byte.
    refusals: ids to (status, X-Error-Code) of every answer about them.
    whole: whether all of a file is sent whatever range is asked for.
    most: bytes that large files have on their way, filled up with zeros; None for their own.
    requests: "METHOD path" of all requests so far.
    ranges: the first bytes that were asked for, of the requests that asked for some.
    """

    repos: dict[str, dict[str, str]] = field(default_factory=dict)
    commits: dict[str, Path] = field(default_factory=dict)
    stall: set[str] = field(default_factory=set)
    cuts: dict[str, int] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    whole: bool = False
    most: int | None = None
    ranges: list[int] = field(default_factory=list)
    resume: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def push(self, repo: str, folder: Path, *revisions: str) -> str:
        """Publish a folder under "main" and other names; returns its commit."""
        names = [_name(path, folder) for path in _files(folder)]
        commit = hashlib.sha1((repo + str(folder) + str(names)).encode()).hexdigest()
        self.commits[commit] = folder
        refs = self.repos.setdefault(repo, {})
        refs.update(dict.fromkeys(("main", commit, *revisions), commit))
        return commit


@contextmanager
def serve(cache: Path, patch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Serve a Hub on a free port until the block ends; this process knows no other.

    `cache` takes the place of the Hub's cache.
    """
    hub = FakeHub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "ENDPOINT", hub.url)
    template = re.sub("^.*?(?=/{)", hub.url, constants.HUGGINGFACE_CO_URL_TEMPLATE)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    try:
        yield hub
    finally:
        hub.resume.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.state.requests.append(f"{self.command} {path}")
        if found := re.fullmatch(
            rf"/api/(?:models/|(?=datasets))(.+?)/(revision|tree)/({_REVISION})", path
        ):
            repo, what, revision = found.groups()
            self._with_commit(repo, revision, self._info if what == "revision" else self._tree)
        elif found := re.fullmatch(
            rf"/((?:datasets/)?[^/]+/[^/]+)/resolve/({_REVISION})/(.+)", path
        ):
            repo, revision, name = found.groups()
            self._with_commit(repo, revision, partial(self._file, name=name))
        else:
            self._error(404, "EntryNotFound", f"no such address: {path}")

    def _with_commit(self, repo: str, revision: str, answer: Any) -> None:
        refs = self.state.repos.get(repo)
        if repo in self.state.refusals:
            self._error(*self.state.refusals[repo], "not for you")
        elif refs is None:
            self._error(404, "RepoNotFound", "Repository not found")
        elif revision not in refs:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            answer(repo, refs[revision])

    def _info(self, repo: str, commit: str) -> None:
        folder = self.state.commits[commit]
        files = [_sibling(path, folder) for path in _files(folder)]
        self._json({"_id": "0", "id": repo, "modelId": repo, "sha": commit, "siblings": files})

    def _tree(self, repo: str, commit: str) -> None:
        folder = self.state.commits[commit]
        self._json([_entry(path, folder) for path in _files(folder)])

    def _file(self, repo: str, commit: str, name: str) -> None:
        path = self.state.commits[commit] / name
        if not path.is_file():
            self._error(404, "EntryNotFound", f"{name} is not in {repo}")
            return
        body = path.read_bytes()
        first = int(re.sub(r"\D", "", self.headers.get("Range", "").partition("-")[0]) or 0)
        self.state.ranges += [first] if first else []
        first = 0 if self.state.whole else first
        if path.suffix in LARGE and self.state.most is not None:
            body = body[: self.state.most].ljust(self.state.most, b"\0")
        if name in self.state.spoilt:
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{_oid(path)}"')
        self.send_header("Accept-Ranges", "bytes")
        if self.command == "GET" and self.state.cuts.get(name, 0):
            self.state.cuts[name] -= 1
            self._half(body[first:])
        else:
            self._body(body[first:], stall=name in self.state.stall)

    def _half(self, body: bytes) -> None:
        """Promise all of it, and hang up after half of it."""
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _json(self, content: Any) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self._body(json.dumps(content).encode())

    def _error(self, status: int, code: str, message: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self._body(json.dumps({"error": message}).encode())

    def _body(self, body: bytes, stall: bool = False) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(body) // 2 if stall else 0
        try:
            self.wfile.write(body[:half])
            if stall:
                self.wfile.flush()
                self.state.stalled.set()
                self.state.resume.wait()
            self.wfile.write(body[half:])
        except ConnectionError:  # the client was killed
            self.close_connection = True


def _oid(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix in LARGE:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _sibling(path: Path, folder: Path) -> dict[str, Any]:
    """A file in what the Hub tells of a repository."""
    entry = _entry(path, folder)
    listed = {"rfilename": entry["path"], "size": entry["size"], "blobId": entry["oid"]}
    if "lfs" in entry:
        lfs = entry["lfs"]
        listed["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": 134}
    return listed


def _entry(path: Path, folder: Path) -> dict[str, Any]:
    """A file in the Hub's list of a tree."""
    size = path.stat().st_size
    name = _name(path, folder)
    entry: dict[str, Any] = {"type": "file", "oid": _oid(path), "size": size, "path": name}
    if path.suffix in LARGE:
        entry["lfs"] = {"oid": _oid(path), "size": size, "pointerSize": 134}
        entry["oid"] = "0" * 40
    return entry
