"""An OpenAI-compatible chat endpoint, with retries, time-outs and budgets."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import os
import re
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bench.core.errors import UserError, printable
from bench.core.options import check_least
from bench.core.stopwatch import HostMeter

KEYS = ("KAIDOKU_LLM_KEY", "OPENAI_API_KEY")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_BUSY = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_PATIENCE_S = 120.0  # longest pause accepted from a server
_LONGEST_S = 30.0  # between two tries
_QUOTED = 200  # characters of a server's complaint that are shown
_LARGEST = 1 << 20  # bytes of an answer, unpacked
_LONGEST = 3  # time-outs of a request as a whole: to connect, to begin, and to send the answer
_CUT = ("length", "max_tokens", "content_filter")  # finish reasons of incomplete answers
_INSTEAD = {"refusal", "tool_calls"}  # fields of a message that come instead of text
_PER_TOKEN = 16  # characters that a token can have
_MOST_TOKENS = 10**7  # of a single request; servers that count more do not count


@dataclass(frozen=True)
class Endpoint:
    """An endpoint and the limits of asking it.

    url: of the endpoint, up to and with /v1; --llm-url.
    model: as the server names it; --llm-model.
    timeout: seconds that the server may be silent; a request may take three times as long.
    attempts: of a request that fails, with growing pauses; a server's Retry-After is heeded.
    backoff: seconds of the first pause at most.
    per_minute: most requests a minute; 0 for no limit.
    max_requests, max_tokens: budget of a run; 0 for no bound. A cell that would exceed it fails,
        and resumes when the bound is raised.
    """

    url: str = ""
    model: str = ""
    timeout: float = 60.0
    attempts: int = 6
    backoff: float = 1.0
    per_minute: int = 0
    max_requests: int = 0
    max_tokens: int = 0

    def __post_init__(self) -> None:
        if self.url:
            check_url(self.url)
        check_least(self, 1, "attempts")
        check_least(self, 0, "per_minute", "max_requests", "max_tokens", "backoff")
        if self.timeout <= 0:
            raise UserError(f"timeout is {self.timeout} seconds; give more than 0")


@dataclass(frozen=True)
class Answer:
    """An answer of the model.

    whole: it was not cut off.
    tokens: of question and answer.
    refused: reason for refusing it as a whole; "" otherwise.
    """

    text: str
    whole: bool
    tokens: int
    model: str
    seconds: float
    refused: str = ""


def check_url(url: str) -> None:
    """Refuse an address that is no endpoint or holds a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets of an address that do not match
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(
            "--llm-url is the address of an OpenAI-compatible server, such as "
            "http://localhost:11434/v1"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UserError(
            "--llm-url is kept in the results, so it may hold no name, password or query; give "
            f"the key in the environment variable {KEYS[0]}"
        )


class Ledger:
    """Requests and tokens of one process for one model; all correctors of that model share it."""

    _all: dict[tuple[str, str], Ledger] = {}  # noqa: RUF012  (it is shared on purpose)
    _making = threading.Lock()

    def __init__(self) -> None:
        self.requests = self.tokens = 0
        self._lock = threading.Lock()
        self._free_at = 0.0

    @classmethod
    def of(cls, endpoint: Endpoint) -> Ledger:
        """The ledger of a model."""
        with cls._making:
            return cls._all.setdefault((endpoint.url, endpoint.model), cls())

    def take(self, endpoint: Endpoint, now: float) -> float:
        """Enter one request; returns the seconds that it has to wait for the rate limit.

        Raises:
            UserError: a budget is spent.
        """
        with self._lock:
            for spent, most, name in (
                (self.requests, endpoint.max_requests, "requests"),
                (self.tokens, endpoint.max_tokens, "tokens"),
            ):
                if most and spent >= most:
                    raise UserError(
                        f"the budget of {most} {name} for {endpoint.model} is spent; all answers "
                        f"so far are kept, so raise llm.max_{name} and run again"
                    )
            self.requests += 1
            wait = max(self._free_at - now, 0.0)
            if endpoint.per_minute:
                self._free_at = max(self._free_at, now) + 60.0 / endpoint.per_minute
            return wait

    def pay(self, tokens: int) -> None:
        """Enter the tokens of an answer."""
        with self._lock:
            self.tokens += tokens


class Chat:
    """A connection to an endpoint. Threads may share it."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Connect; nothing is sent yet."""
        import httpx2

        check_url(endpoint.url)
        self.endpoint = endpoint
        self.ledger = Ledger.of(endpoint)
        self.retries = 0
        self._now = HostMeter().wall
        self._key = _key(endpoint.url)
        # An own event loop, in which a whole request can be ended in time.
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        # No redirects: the key goes to the user's server and nowhere else.
        self._client = httpx2.AsyncClient(
            timeout=endpoint.timeout,
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            follow_redirects=False,
        )

    def ask(self, system: str, user: str, most_tokens: int) -> Answer:
        """Ask for one answer at temperature 0.

        Raises:
            UserError: the server refuses or is no endpoint, or a budget is spent.
        """
        import tenacity

        body = {
            "model": self.endpoint.model,
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": user},
            ],
            "temperature": 0,
            "max_tokens": most_tokens,
            "stream": False,
        }
        tries = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.endpoint.attempts),
            wait=self._pause,
            retry=tenacity.retry_if_exception_type(_AgainError),
            before_sleep=self._count,
            reraise=True,
        )
        try:
            return tries(self._once, body)
        except _AgainError as error:
            raise UserError(
                f"{self._place} gave no answer in {self.endpoint.attempts} tries ({error}); all "
                "answers so far are kept, so run again when it is up"
            ) from None

    def close(self) -> None:
        """Close the connections; a second time does nothing."""
        if self._client.is_closed:
            return
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    @property
    def _place(self) -> str:
        return f"the language model at {self.endpoint.url}"

    def _once(self, body: dict[str, Any]) -> Answer:
        import httpx2

        wait = self.ledger.take(self.endpoint, self._now())
        if wait > 0:
            _sleep(wait)
        begin, longest = self._now(), _LONGEST * self.endpoint.timeout
        waiting = asyncio.wait_for(self._receive(body), longest)
        future = asyncio.run_coroutine_threadsafe(waiting, self._loop)
        try:
            status, headers, content = future.result()
        except TimeoutError:
            raise _AgainError(f"its answer took longer than {longest:g} s") from None
        except httpx2.TimeoutException:
            raise _AgainError(f"silent for {self.endpoint.timeout:g} s") from None
        except httpx2.ConnectError:
            raise _AgainError("it cannot be reached") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _AgainError(self._quoted(str(error)) or type(error).__name__) from None
        finally:
            future.cancel()
        self._check_status(status, headers, content)
        answer = self._read(content, body, self._now() - begin)
        self.ledger.pay(answer.tokens)
        return answer

    async def _receive(self, body: dict[str, Any]) -> tuple[int, Any, bytes]:
        """Read status, headers and about `_LARGEST` bytes of content at most."""
        url, content = f"{self.endpoint.url.rstrip('/')}/chat/completions", bytearray()
        async with self._client.stream("POST", url, json=body) as response:
            async for part in response.aiter_bytes():
                content += part
                if len(content) > _LARGEST:
                    break
        return response.status_code, response.headers, bytes(content)

    def _check_status(self, status: int, headers: Any, content: bytes) -> None:
        if status in _BUSY:
            raise _AgainError(f"status {status}", _retry_after(headers))
        if status != 200:
            words = self._quoted(content.decode("utf-8", "replace"))
            hint = f"; set {KEYS[0]}" if status in (401, 403) else ""
            raise UserError(f"{self._place} refuses: status {status} {words}".rstrip() + hint)

    def _read(self, content: bytes, body: dict[str, Any], seconds: float) -> Answer:
        """The answer in a completion."""
        most, model = body["max_tokens"], self.endpoint.model
        sent = sum(len(message["content"]) for message in body["messages"])
        try:
            if len(content) > _LARGEST:
                raise _TooMuchError(f"larger than {_LARGEST >> 20} MiB")
            record = json.loads(content)
            choice = record["choices"][0]
            text = _content(choice["message"])
            if len(text) > _PER_TOKEN * most:
                raise _TooMuchError("far longer than was asked for")
            guess = -(-(sent + len(text)) // 4)  # four characters are about a token
            return Answer(
                text=self._without_key(text),
                whole=choice.get("finish_reason") not in _CUT,
                tokens=_plausible(record.get("usage"), guess),
                model=self._quoted(str(record.get("model") or model)),
                seconds=seconds,
            )
        except RecursionError:
            why = "nested too deeply"
        except _TooMuchError as error:
            why = str(error)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise _AgainError("its answer is no chat completion") from None
        return Answer("", False, most + -(-sent // 4), model, seconds, why)

    def _without_key(self, text: str) -> str:
        """Remove the key from a server's text."""
        return text.replace(self._key, "***") if self._key else text

    def _quoted(self, text: str) -> str:
        """Shorten a server's text to one line without the key."""
        return printable(" ".join(self._without_key(text).split()))[:_QUOTED]

    def _pause(self, state: Any) -> float:
        import tenacity

        pause = state.outcome.exception().after
        if pause is None:
            jittered = tenacity.wait_random_exponential(
                multiplier=self.endpoint.backoff, max=_LONGEST_S
            )
            return float(jittered(state))
        if pause > _PATIENCE_S:
            raise UserError(
                f"{self._place} asks to come back in {pause:.6g} s; all answers so far are kept, "
                "so run again then"
            )
        return float(pause)

    def _count(self, state: Any) -> None:
        self.retries += 1


class _AgainError(Exception):
    """Another try may help. after: pause in seconds that the server asks for."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class _TooMuchError(Exception):
    """A retry would bring as much again."""


def _content(message: Any) -> str:
    """Join the text of a message; "" where the model refuses or calls a tool."""
    content = message.get("content") if message.keys() & _INSTEAD else message["content"]
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    if not isinstance(content, str | None):
        raise TypeError
    return content or ""


def _plausible(usage: Any, guess: int) -> int:
    """Tokens by a server's count; `guess` where that is missing or impossible."""
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    if isinstance(tokens, (int, float)) and guess // 4 <= tokens <= _MOST_TOKENS:
        return int(tokens)
    return guess


def _key(url: str) -> str:
    """The key for a server; OpenAI's is not sent over plain HTTP."""
    parts = urlsplit(url)
    own, openai = (os.environ.get(name, "").strip() for name in KEYS)
    closed = parts.scheme == "https" or parts.hostname in _LOOPBACK
    key = own or (openai if closed else "")
    if not re.fullmatch("[!-~]*", key):  # the header would be refused, and the error quote the key
        name = KEYS[0] if own else KEYS[1]
        raise UserError(f"{name} holds a character that no key has; copy the key again")
    return key


def _retry_after(headers: Any) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date; None without a usable one.

    A date counts from the server's own one, since the clock here may differ.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"-?[0-9]{1,99}(\.[0-9]{1,99})?", value):
        return max(float(value), 0.0)
    with contextlib.suppress(Exception):  # the parser of dates raises anything
        when, now = map(email.utils.parsedate_to_datetime, (value, headers["date"]))
        return max((when - now).total_seconds(), 0.0)
    return None


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)
