"""An instruction model behind an OpenAI-compatible chat endpoint, asked to correct each line."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.core.cache import cache_folder, keep, kept
from bench.core.errors import Unavailable, UserError
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders.base import Decoder, DecoderSpec
from decoders.correctors.answers import checked, listed
from decoders.correctors.base import REFUSED, Correction, Corrector, CorrectorSpec
from decoders.correctors.chat import Answer, Chat, Endpoint, check_url

PROMPTS = Path(__file__).with_name("prompts")
_LINE, _LINES = "line-1", "lines-1"


@dataclass(frozen=True)
class InstructedSpec(CorrectorSpec):
    """Ask a language model for the corrected line, at temperature 0, and check what it says.

    Works with Ollama, vLLM, the server of llama.cpp, `transformers serve` and hosted models. The
    key comes from the environment (KAIDOKU_LLM_KEY, else OPENAI_API_KEY) and is kept nowhere.
    Every answer is kept on disk by a hash of server, model, prompt and line, so that a repeated
    run asks nothing and a killed one loses nothing; the time of a kept answer is the one that it
    took. An answer is refused, and counted, that is empty, has several lines, markup or control
    characters, is far longer or shorter than the line, or differs from it by more than `edits`;
    one of more than 1 MiB or too many levels of JSON as well, and it is not kept.

    url: of the endpoint, up to and with /v1; --llm-url.
    model: as the server names it; --llm-model.
    prompt: a text file with instructions of your own; "" for those of the project.
    batch: lines of a request.
    parallel: requests at a time.
    edits: most character edits of a correction, as a share of the line.
    timeout: seconds that the server may be silent; a request may take three times as long.
    attempts: of a request that fails, with growing pauses; a server's Retry-After is heeded.
    backoff: seconds of the first pause at most.
    per_minute: most requests a minute; 0 for no limit.
    max_requests, max_tokens: what a run may ask of the model; 0 for no bound. A cell that would
        go past it fails, and goes on from there when the bound is raised.
    """

    url: str = ""
    model: str = ""
    prompt: str = ""
    batch: int = 1
    parallel: int = 1
    edits: float = 0.5
    timeout: float = 60.0
    attempts: int = 6
    backoff: float = 1.0
    per_minute: int = 0
    max_requests: int = 0
    max_tokens: int = 0

    def __post_init__(self) -> None:
        if self.url:
            check_url(self.url)
        for option in ("batch", "parallel", "attempts"):
            if getattr(self, option) < 1:
                raise UserError(f"{option} is {getattr(self, option)}; give at least 1")
        for option in ("per_minute", "max_requests", "max_tokens", "backoff"):
            if getattr(self, option) < 0:
                raise UserError(f"{option} is {getattr(self, option)}; give 0 or more")
        if not 0 <= self.edits <= 1:
            raise UserError(f"edits is a share of the line, 0 to 1, not {self.edits}")
        if self.timeout <= 0:
            raise UserError(f"timeout is {self.timeout} seconds; give more than 0")

    def missing(self, encoder: EncoderInfo, decoder: DecoderSpec) -> Unavailable | None:
        """A server and a model have to be named."""
        for option, flag in ((self.url, "--llm-url URL"), (self.model, "--llm-model NAME")):
            if not option:
                return Unavailable("it is not said which language model to ask", f"give {flag}")
        return None

    def open(self, encoder: EncoderInfo, decoder: Decoder) -> Corrector:
        """Read the prompt and connect; nothing is sent yet.

        Raises:
            UserError: the prompt cannot be read, or the address is none.
        """
        return Instructed(self, decoder)


class Instructed(Corrector):
    """Asks, and counts what it has asked."""

    once = True
    spec: InstructedSpec

    def __init__(self, spec: InstructedSpec, decoder: Decoder) -> None:
        super().__init__(spec, decoder)
        self._system = _instructions(spec)
        names = ("timeout", "attempts", "backoff", "per_minute", "max_requests", "max_tokens")
        endpoint = Endpoint(spec.url, spec.model, **{n: getattr(spec, n) for n in names})
        self._folder = cache_folder("llm")
        self._chat = Chat(endpoint)
        self._spent: dict[str, float] = {"requests": 0, "tokens": 0, "seconds": 0.0, "cached": 0}
        self._recalled_s = 0.0  # of kept answers, not reported yet
        self._lock = threading.Lock()

    def correct(self, encoded: Encoded, lines: Sequence[Decoded]) -> list[Correction]:
        """Ask for all lines that are not empty.

        Raises:
            UserError: the server cannot be asked, or a budget is spent.
        """
        found = [Correction(line.text) for line in lines]
        asked = [place for place, line in enumerate(lines) if line.text.strip()]
        size = self.spec.batch
        groups = [asked[i : i + size] for i in range(0, len(asked), size)]
        texts = [[lines[place].text for place in group] for group in groups]
        for group, corrections in zip(groups, self._all(texts), strict=True):
            for place, correction in zip(group, corrections, strict=True):
                found[place] = correction
        return found

    def close(self) -> None:
        """Close the connections."""
        self._chat.close()

    def extras(self) -> Mapping[str, Any]:
        """The model, and the prompt by its name and hash."""
        return {
            "lm": self.spec.model,
            "llm_prompt_name": Path(self.spec.prompt).name or _shipped_name(self.spec),
            "prompt_sha256": hashlib.sha256(self._system.encode()).hexdigest(),
        }

    def spent(self) -> Mapping[str, float]:
        """Requests, tokens and seconds of new answers, tries again, and answers from the disk."""
        return {**self._spent, "retries": self._chat.retries}

    def recalled_s(self) -> float:
        """Of several requests at a time the seconds are shared by them."""
        seconds, self._recalled_s = self._recalled_s, 0.0
        return seconds / self.spec.parallel

    def _all(self, groups: Sequence[Sequence[str]]) -> list[list[Correction]]:
        if self.spec.parallel == 1 or len(groups) < 2:
            return [self._group(group) for group in groups]
        with ThreadPoolExecutor(self.spec.parallel) as pool:
            try:
                return list(pool.map(self._group, groups))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _group(self, lines: Sequence[str]) -> list[Correction]:
        alone = self.spec.batch == 1
        user = lines[0] if alone else json.dumps(list(lines), ensure_ascii=False)
        answer = self._answer(user, 64 + 2 * len(user))
        if answer.refused:
            return [Correction(line, REFUSED + answer.refused) for line in lines]
        if alone:
            return [checked(lines[0], answer.text, self.spec.edits, answer.whole)]
        texts = listed(answer.text, len(lines))
        if texts is None:
            return [Correction(line, f"{REFUSED}no list of the lines") for line in lines]
        return [checked(*pair, self.spec.edits) for pair in zip(lines, texts, strict=True)]

    def _answer(self, user: str, most_tokens: int) -> Answer:
        """From the disk, or from the server and then kept."""
        question = [self.spec.url, self.spec.model, self._system, user, most_tokens]
        name = hashlib.sha256(json.dumps(question).encode()).hexdigest()
        path = self._folder / name[:2] / f"{name}.json"
        answer = _kept(path)
        if answer is not None:
            self._count(recalled=answer.seconds, cached=1)
            return answer
        answer = self._chat.ask(self._system, user, most_tokens)
        if not answer.refused:
            path.parent.mkdir(parents=True, exist_ok=True)
            keep(path, json.dumps(asdict(answer)).encode())
        self._count(requests=1, tokens=answer.tokens, seconds=answer.seconds)
        return answer

    def _count(self, recalled: float = 0.0, **spent: float) -> None:
        """Add up; threads may call it."""
        with self._lock:
            self._recalled_s += recalled
            for name, value in spent.items():
                self._spent[name] += value


def _instructions(spec: InstructedSpec) -> str:
    if not spec.prompt:
        return _shipped(_shipped_name(spec))
    path = Path(spec.prompt).expanduser()
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the prompt {path} cannot be read ({error}); give a text file") from error


def _shipped_name(spec: InstructedSpec) -> str:
    return _LINE if spec.batch == 1 else _LINES


@functools.cache
def _shipped(name: str) -> str:
    return (PROMPTS / f"{name}.txt").read_text("utf-8").strip()


def _kept(path: Path) -> Answer | None:
    """An answer from the disk; None where there is none, or it is damaged."""
    try:
        return Answer(**json.loads(kept(path) or b""))
    except (ValueError, TypeError):
        return None
