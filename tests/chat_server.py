"""A real OpenAI-compatible chat server on loopback, answered by a language model of ours.

Starlette and uvicorn speak HTTP; the model puts the variants of a line in order that common
misreadings lead to. What it does to a request can be told beforehand: see `Chats.next`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

# What a recogniser takes for what, in both directions.
CONFUSED = (("rn", "m"), ("0", "o"), ("1", "l"), ("vv", "w"), ("cl", "d"), ("5", "s"))
MODEL = "kaidoku-embedded"

Answers = Callable[[str], str]


@dataclass
class Chats:
    """What the server was asked, and what it does next.

    next: what is done to the coming requests, one each: "drop" (half an answer, then the line is
        dead), "garbage", "no choices", "slow", "long" (cut off), a status such as "503", a status
        and a Retry-After such as "429 0.2", or "say TEXT". Behind them all is well.
    """

    url: str = ""
    answers: Answers = str
    next: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    slow_s: float = 1.5
    counts_tokens: bool = True

    def users(self) -> list[str]:
        """What the users said."""
        return [body["messages"][-1]["content"] for body in self.asked]


class _Dropped(Response):
    """The head and the beginning of an answer, and then nothing."""

    async def __call__(self, scope, receive, send) -> None:
        head = [(b"content-type", b"application/json"), (b"content-length", b"500")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b'{"choices": [', "more_body": True})
        raise ConnectionAbortedError("on purpose")


def _app(chats: Chats) -> Starlette:
    async def completions(request: Request) -> Response:
        body = await request.json()
        chats.asked.append(body)
        chats.headers.append(dict(request.headers))
        chats.paths.append(request.url.path)
        do = chats.next.pop(0) if chats.next else "answer"
        if do == "drop":
            return _Dropped()
        if do == "garbage":
            return PlainTextResponse('{"choices": [{"mess', media_type="application/json")
        if do == "no choices":
            return JSONResponse({"object": "error", "message": "loading"})
        if do[:3].isdigit():
            status, _, after = do.partition(" ")
            told = {"Retry-After": after} if after else {}
            said = {"error": f"no: {request.headers.get('authorization')}"}
            return JSONResponse(said, int(status), headers=told)
        if do == "slow":
            await asyncio.sleep(chats.slow_s)
        return JSONResponse(_completion(chats, body, do))

    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    return Starlette(
        routes=[
            Route("/v1/chat/completions", completions, methods=["POST"]),
            Route("/v1/models", models),
        ]
    )


def _completion(chats: Chats, body: dict[str, Any], do: str) -> dict[str, Any]:
    user = body["messages"][-1]["content"]
    text = do[4:] if do.startswith("say ") else _reply(chats.answers, user)
    record: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "length" if do == "long" else "stop",
            }
        ],
    }
    if chats.counts_tokens:
        record["usage"] = {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}
    return record


def _reply(answers: Answers, user: str) -> str:
    """A line, or a JSON array of lines."""
    if user.startswith("[") and user.endswith("]"):
        return json.dumps([answers(line) for line in json.loads(user)])
    return answers(user)


@contextmanager
def serving(answers: Answers = str) -> Iterator[Chats]:
    """A server on a free port of loopback, stopped at the end."""
    chats = Chats(answers=answers)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    chats.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    config = uvicorn.Config(_app(chats), log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        threading.Event().wait(0.01)
    try:
        yield chats
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def likeliest(score: Callable[[Sequence[str]], list[float]]) -> Answers:
    """Answers of a model that scores texts: the likeliest variant of a line.

    Args:
        score: natural-log probability of each text.
    """

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
