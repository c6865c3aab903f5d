"""A chat server that answers anything at all: bounded in bytes, time and nesting."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.errors import UserError
from bench.core.types import Decoded, Encoded
from decoders.correctors import chat
from decoders.correctors.chat import Answer, Chat, Endpoint
from decoders.correctors.llm import InstructedSpec, listed
from decoders.ctc.greedy import CTCGreedySpec
from tests.ctc_doubles import info

KEY = "sk-very-secret-0123456789"
DEEP = "[" * 100_000
Handle = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[Handle], str]]:
    """Start a server that does to each request what a function says; its address."""
    monkeypatch.setenv("KAIDOKU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KAIDOKU_LLM_KEY", KEY)
    started: list[ThreadingHTTPServer] = []

    def start(handle: Handle) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    handle(self)
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/v1"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def sending(body: bytes | str, status: int = 200, **headers: str) -> Handle:
    """An answer of these bytes."""
    content = body.encode() if isinstance(body, str) else body

    def handle(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(content)

    return handle


def completion(content: str, **more: str) -> str:
    """The JSON of a completion; what is more is JSON already."""
    rest = "".join(f', "{name}": {value}' for name, value in more.items())
    return f'{{"choices": [{{"message": {{"content": {json.dumps(content)}}}}}]{rest}}}'


def ask(url: str, **options: Any) -> Answer:
    one = Chat(Endpoint(url, "m", **{"attempts": 2, "backoff": 0.01, **options}))
    try:
        return one.ask("system", "a line", 60)
    finally:
        one.close()


def corrected(url: str, **options: Any) -> tuple[list[tuple[str, str]], Any]:
    """Texts and verdicts of two lines, and what was spent."""
    behind = CTCGreedySpec().open(info())
    opened = InstructedSpec(url, "m", attempts=2, backoff=0.01, **options).open(info(), behind)
    try:
        lines = [Decoded(text, 1) for text in ("a line", "another line")]
        encoded = Encoded(torch.zeros(2, 1, 1), torch.ones(2, 1).bool())
        return [(c.text, c.verdict) for c in opened.correct(encoded, lines)], opened.spent()
    finally:
        opened.close()


@pytest.mark.parametrize(
    ("body", "headers", "why"),
    [
        (DEEP, {}, "nested too deeply"),
        ('{"a":' * 50_000, {}, "nested too deeply"),
        (completion("x", usage=DEEP), {}, "nested too deeply"),
        (gzip.compress(bytes(200 << 20)), {"Content_Encoding": "gzip"}, "larger than 1 MiB"),
        (completion("x" * (2 << 20)), {}, "larger than 1 MiB"),
        (completion("x" * 5000), {}, "far longer than was asked for"),
    ],
)
def test_an_answer_beyond_the_limits_is_refused_and_counted(
    serve: Any, tmp_path: Path, body: bytes | str, headers: dict[str, Any], why: str
) -> None:
    url = serve(sending(body, **headers))
    found, spent = corrected(url)
    assert found == [("a line", f"refused: {why}"), ("another line", f"refused: {why}")]
    assert (spent["requests"], spent["retries"]) == (2, 0) and spent["tokens"] > 100
    assert not list((tmp_path / "cache").rglob("*.json"))  # asked again by another run


@pytest.mark.parametrize("content", [DEEP, '["a", ' + DEEP, "```json\n" + DEEP + "]" * 100_000])
def test_a_list_that_is_nested_too_deeply_is_none(serve: Any, content: str) -> None:
    assert listed(content, 2) is None
    found, _ = corrected(serve(sending(completion(content[:300]))), batch=2)
    assert [verdict for _, verdict in found] == ["refused: no list of the lines"] * 2


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_server_that_drips_is_left_in_time(serve: Any, part: str) -> None:
    whole = completion("a line").encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(whole)
    first, rest = (head, b"X-A: " + b"a" * 999) if part == "head" else (head + b"\r\n", whole)

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(first)
        for byte in rest:
            request.wfile.write(bytes([byte]))
            time.sleep(0.05)

    begin = time.monotonic()
    with pytest.raises(UserError, match=r"gave no answer in 2 tries \(.*longer than 0.6 s"):
        ask(serve(drip), timeout=0.2)
    assert 1.1 < time.monotonic() - begin < 4


@pytest.mark.parametrize("wish", [
    "nan", "NaN", "inf", "-inf", "1e999", "-1", "-9" * 300, "1e-999", "0x10", "soon", "", "\u0661",
    "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Thu, 01 Jan 2001 99:99:99 GMT", "Thu, 01 Jan 2001 00:00:00 -9999", "0.0.0", "9" * 5000,
    "Thu, 01 Jan 1 00:00:00 +2359", "9" * 400, "1_0", "infinity",
])  # fmt: skip
def test_an_odd_wish_to_be_left_alone_is_no_exception(serve: Any, wish: str) -> None:
    after = chat._retry_after({"retry-after": wish})
    assert after is None or after == 0
    if wish.isascii():
        with pytest.raises(UserError, match=r"gave no answer in 2 tries \(status 429\)"):
            ask(serve(sending("", 429, Retry_After=wish)))


@pytest.mark.parametrize("wish", ["121", "9" * 30, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_long_pause_ends_it_with_one_short_sentence(serve: Any, wish: str) -> None:
    with pytest.raises(UserError, match="asks to come back in") as raised:
        ask(serve(sending("", 503, Retry_After=wish)))
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("usage", [
    "-5", "0", "1e999", "-1e999", "NaN", "1" + "0" * 400, '"x"', "[]", "true", "1e308", "null", "1",
])  # fmt: skip
def test_odd_counts_of_tokens_leave_the_budget_as_it_is(serve: Any, usage: str) -> None:
    for field in (f'{{"total_tokens": {usage}}}', usage):
        url = serve(sending(completion("a long line " * 20, usage=field)))
        assert 50 <= ask(url).tokens <= 200
    with pytest.raises(UserError, match="budget of 100 tokens"):
        for _ in range(4):
            ask(url, max_tokens=100)


@pytest.mark.parametrize("answer", [
    completion(KEY, model=json.dumps(KEY)), completion(f"a {KEY}", model="1e999"),
    completion("a line", model=json.dumps({KEY: KEY})), KEY, completion("x", usage=f'"{KEY}"'),
])  # fmt: skip
def test_a_key_that_the_server_says_back_is_kept_nowhere(
    serve: Any, tmp_path: Path, answer: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for status in (200, 400, 500):
        said = ""
        try:
            said = str(corrected(serve(sending(answer, status, X_Echo=KEY))))
        except UserError as error:
            said = str(error)
        assert said and KEY not in said
    for path in (tmp_path / "cache").rglob("*.json"):
        assert KEY.encode() not in path.read_bytes()
    assert KEY not in "".join(capfd.readouterr())


@pytest.mark.parametrize("key", ["schl\u00fcssel-0123", "two words", "a\x7fb", "a\nb"])
def test_a_key_that_cannot_be_sent_is_one_sentence(
    serve: Any, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("KAIDOKU_LLM_KEY", key)
    with pytest.raises(UserError, match="KAIDOKU_LLM_KEY") as raised:
        ask(serve(sending(completion("a line"))))
    assert key not in str(raised.value)
