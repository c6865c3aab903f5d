"""An OpenAI-compatible chat server on loopback, and any other one that answers a POST request."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Pairs that a recogniser confuses, in both directions.
CONFUSED = (("rn", "m"), ("0", "o"), ("1", "l"), ("vv", "w"), ("cl", "d"), ("5", "s"))
MODEL = "kaidoku-embedded"

Answers = Callable[[str], str]
Request = BaseHTTPRequestHandler


@contextmanager
def http(handle: Callable[[Request, bytes], None]) -> Iterator[str]:
    """A server on a free port of loopback; yields its address.

    `handle` answers each POST request, of which it is given the body.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                handle(self, self.rfile.read(int(self.headers["Content-Length"])))
            except ConnectionError:
                self.close_connection = True

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


def send(request: Request, body: bytes | str, status: int = 200, **headers: str) -> None:
    content = body.encode() if isinstance(body, str) else body
    request.send_response(status)
    request.send_header("Content-Length", str(len(content)))
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(content)


@dataclass
class Chats:
    """The requests of a chat server, and its next answers.

    next: what is done to the coming requests, one each: "drop" (half an answer, then the line is
        dead), "garbage", "no choices", "slow", "long" (cut off), a status and perhaps a Retry-After
        such as "429 0.2", or "say TEXT". All later ones are answered well.
    """

    url: str = ""
    answers: Answers = str
    next: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    slow_s: float = 1.5

    def handle(self, request: Request, content: bytes) -> None:
        body = json.loads(content)
        self.asked.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.paths.append(request.path)
        do = self.next.pop(0) if self.next else "answer"
        if do == "drop":
            request.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"choices": [')
            raise ConnectionAbortedError
        if do[:3].isdigit():
            status, _, after = do.partition(" ")
            error = json.dumps({"error": f"no: {request.headers.get('authorization')}"})
            send(request, error, int(status), **({"Retry_After": after} if after else {}))
            return
        if do == "slow":
            time.sleep(self.slow_s)
        odd = {"garbage": '{"choices": [{"mess', "no choices": '{"object": "error"}'}
        send(request, odd.get(do) or json.dumps(self._completion(body, do)))

    def _completion(self, body: dict[str, Any], do: str) -> dict[str, Any]:
        user = body["messages"][-1]["content"]
        if do.startswith("say "):
            text = do[4:]
        elif user.startswith("[") and user.endswith("]"):
            text = json.dumps([self.answers(line) for line in json.loads(user)])
        else:
            text = self.answers(user)
        finish = "length" if do == "long" else "stop"
        message = {"role": "assistant", "content": text}
        return {
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100},
        }


@contextmanager
def serving(answers: Answers = str) -> Iterator[Chats]:
    """A chat server, stopped at the end."""
    chats = Chats(answers=answers)
    with http(chats.handle) as chats.url:
        yield chats


def likeliest(score: Callable[[Sequence[str]], list[float]]) -> Answers:
    """Answers of a model that scores texts: the likeliest variant of a line."""

    def answer(line: str) -> str:
        variants = list(itertools.islice(_variants(line), 64))
        scores = score(variants)
        return variants[max(range(len(variants)), key=scores.__getitem__)]

    return answer


def _variants(line: str) -> Iterator[str]:
    """The line, and it with one misreading undone."""
    yield line
    for pair in CONFUSED:
        for old, new in (pair, pair[::-1]):
            start = line.find(old)
            while start >= 0:
                yield line[:start] + new + line[start + len(old) :]
                start = line.find(old, start + 1)
