"""Public sources in small: repositories of given files, served over HTTP as git hosts do."""

from __future__ import annotations

import contextlib
import gzip
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_WHO = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]


def make_repository(
    folder: Path, files: Mapping[str, bytes], links: Mapping[str, str] | None = None
) -> str:
    """A repository with one commit of these files; the commit's hash."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name, target in (links or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)
    _git(folder, "init", "--quiet")
    _git(folder, "add", "--all", "--force")
    _git(folder, "commit", "--quiet", "--message", "pinned")
    commit = _git(folder, "rev-parse", "HEAD")
    # A source moves on; the pinned commit is fetched all the same, and without its child.
    (folder / "later.txt").write_text("not in the pinned commit")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "later")
    return commit


@contextlib.contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve the repositories in a folder; yields the URL of the folder."""

    class Handler(_Smart):
        folder = root

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Smart(BaseHTTPRequestHandler):
    """The two requests of git's smart HTTP protocol that a fetch makes (gitprotocol-http(5))."""

    folder: Path

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        service = parse_qs(url.query).get("service", [""])[0]
        name = url.path.removesuffix("/info/refs").strip("/")
        if service != "git-upload-pack" or not (self.folder / name).is_dir():
            self.send_error(404)
            return
        head = b"# service=git-upload-pack\n"
        advertised = self._upload_pack(name, b"", "--advertise-refs")
        body = b"%04x" % (len(head) + 4) + head + b"0000" + advertised
        self._answer("advertisement", body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        name = self.path.removesuffix("/git-upload-pack").strip("/")
        self._answer("result", self._upload_pack(name, body))

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _upload_pack(self, name: str, body: bytes, *options: str) -> bytes:
        environment = {**os.environ, "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
        command = ["git", "upload-pack", "--stateless-rpc", *options, str(self.folder / name)]
        return subprocess.run(command, input=body, stdout=subprocess.PIPE, env=environment).stdout

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"application/x-git-upload-pack-{kind}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *_WHO, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
