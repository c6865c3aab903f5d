"""An instruction model behind an OpenAI-compatible chat endpoint, asked to correct each line.

An answer is untrusted text: it is checked, and never executed or followed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rapidfuzz.distance import Levenshtein

from bench.core.cache import cache_folder, keep, kept
from bench.core.errors import Unavailable, UserError
from bench.core.options import check_least
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders.base import Decoder, DecoderSpec
from decoders.correctors.base import REFUSED, CorrectedLine, Corrector, CorrectorSpec
from decoders.correctors.chat import Answer, Chat, Endpoint

PROMPTS = Path(__file__).with_name("prompts")
_LINE, _LINES = "line-1", "lines-1"
# Parts of an answer around the line: thoughts, fences, quotes and emphasis, preambles, bullets
# before it and remarks behind it.
_THOUGHT = re.compile(r"\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```\w*")
_QUOTES = {
    "\u201c": "\u201d", "\u2018": "\u2019", "\u201e": "\u201c", "\u00ab": "\u00bb",
    "\u300c": "\u300d", "\u300e": "\u300f", **{mark: mark for mark in "\"'`*_$"},
}  # fmt: skip
_PREAMBLE = re.compile(r"[^:\uff1a{\[]{1,80}[:\uff1a]\s*")
_BULLET = re.compile(r"(?:\[/?\w[^\]]*\]|\d{1,3}[.)]|[-=]?>|[-*+\u2022\u2192#]+)\s+")
_REMARK = re.compile(r"\s*\([^()]+\)\Z|\\n\Z")
_FRAMES = (_PREAMBLE, _BULLET, _REMARK)
# Of HTML, Markdown, JSON, TeX and chat templates.
_MARKUP = re.compile(
    r"</?[A-Za-z!][^>]*>|\]\(|^#{1,6} |\*\*|`|&#?\w+;|^[\[{]\s*[\"\[{]|\\\w+\{|<\||\[/?[A-Z]+\]"
)
_LONGER, _SHORTER = 1.5, 0.6  # of the line; answers far longer are chatter (Boros et al. 2024)


@dataclass(frozen=True)
class InstructedSpec(Endpoint, CorrectorSpec):
    """Ask a language model for the corrected line, at temperature 0, and check the answer.

    Works with Ollama, vLLM, the server of llama.cpp, `transformers serve` and hosted models. The
    key comes from the environment (KAIDOKU_LLM_KEY, else OPENAI_API_KEY) and is never stored. Every
    answer is cached on disk by a hash of server, model, prompt and line, so that a repeated run
    sends nothing and a killed one loses nothing; a cached answer counts with its original time. An
    answer is refused, and counted, if it is empty, has several lines, markup or control characters,
    is far longer or shorter than the line, or differs from it by more than `edits`; also if it has
    more than 1 MiB or too many levels of JSON, and then it is not cached.

    prompt: a text file with instructions of your own; "" for those of the project.
    batch: lines of a request.
    parallel: requests at a time.
    edits: most character edits of a correction, as a share of the line.
    """

    prompt: str = ""
    batch: int = 1
    parallel: int = 1
    edits: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "batch", "parallel")
        if not 0 <= self.edits <= 1:
            raise UserError(f"edits is a share of the line, 0 to 1, not {self.edits}")

    def missing(self, encoder: EncoderInfo, decoder: DecoderSpec) -> Unavailable | None:
        """Check that a server and a model are named."""
        for option, flag in ((self.url, "--llm-url URL"), (self.model, "--llm-model NAME")):
            if not option:
                return Unavailable("no language model is named", f"give {flag}")
        return None

    def open(self, encoder: EncoderInfo, decoder: Decoder) -> Corrector:
        """Read the prompt and connect; nothing is sent yet."""
        return _Instructed(self, decoder)


class _Instructed(Corrector):
    once = True
    spec: InstructedSpec

    def __init__(self, spec: InstructedSpec, decoder: Decoder) -> None:
        super().__init__(spec, decoder)
        self._system = _instructions(spec)
        self._folder = cache_folder("llm")
        self._chat = Chat(spec)
        self._spent: dict[str, float] = {"requests": 0, "tokens": 0, "seconds": 0.0, "cached": 0}
        self._recalled_s = 0.0  # of kept answers, not reported yet
        self._lock = threading.Lock()

    def correct(self, encoded: Encoded, lines: Sequence[Decoded]) -> list[CorrectedLine]:
        results = [CorrectedLine(line.text) for line in lines]
        filled = [place for place, line in enumerate(lines) if line.text.strip()]
        size = self.spec.batch
        groups = [filled[i : i + size] for i in range(0, len(filled), size)]
        texts = [[lines[place].text for place in group] for group in groups]
        for group, corrections in zip(groups, self._all(texts), strict=True):
            for place, correction in zip(group, corrections, strict=True):
                results[place] = correction
        return results

    def close(self) -> None:
        self._chat.close()

    def extras(self) -> Mapping[str, Any]:
        return {
            "lm": self.spec.model,
            "llm_prompt_name": Path(self.spec.prompt).name or _shipped(self.spec),
            "prompt_sha256": hashlib.sha256(self._system.encode()).hexdigest(),
        }

    def spent(self) -> Mapping[str, float]:
        return {**self._spent, "retries": self._chat.retries}

    def recalled_s(self) -> float:
        seconds, self._recalled_s = self._recalled_s, 0.0
        return seconds / self.spec.parallel

    def _all(self, groups: Sequence[Sequence[str]]) -> list[list[CorrectedLine]]:
        if self.spec.parallel == 1 or len(groups) < 2:
            return [self._group(group) for group in groups]
        with ThreadPoolExecutor(self.spec.parallel) as pool:
            try:
                return list(pool.map(self._group, groups))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _group(self, lines: Sequence[str]) -> list[CorrectedLine]:
        alone = self.spec.batch == 1
        user = lines[0] if alone else json.dumps(list(lines), ensure_ascii=False)
        answer = self._answer(user, 64 + 2 * len(user))
        if answer.refused:
            return [CorrectedLine(line, REFUSED + answer.refused) for line in lines]
        if alone:
            return [checked(lines[0], answer.text, self.spec.edits, answer.whole)]
        texts = listed(answer.text, len(lines))
        if texts is None:
            return [CorrectedLine(line, f"{REFUSED}no list of the lines") for line in lines]
        return [checked(*pair, self.spec.edits) for pair in zip(lines, texts, strict=True)]

    def _answer(self, user: str, most_tokens: int) -> Answer:
        """Get an answer from the cache, or from the server and cache it."""
        question = [self.spec.url, self.spec.model, self._system, user, most_tokens]
        name = hashlib.sha256(json.dumps(question).encode()).hexdigest()
        path = self._folder / name[:2] / f"{name}.json"
        answer = _kept(path)
        if answer is not None:
            self._count(recalled=answer.seconds, cached=1)
            return answer
        answer = self._chat.ask(self._system, user, most_tokens)
        if not answer.refused:
            with contextlib.suppress(UserError):  # a full disk costs no answer that was paid for
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
    path = Path(spec.prompt).expanduser() if spec.prompt else PROMPTS / f"{_shipped(spec)}.txt"
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the prompt {path} cannot be read ({error}); give a text file") from error


def _shipped(spec: InstructedSpec) -> str:
    return _LINE if spec.batch == 1 else _LINES


def _kept(path: Path) -> Answer | None:
    """Read a cached answer; None where it is missing or damaged."""
    try:
        return Answer(**json.loads(kept(path) or b""))
    except (ValueError, TypeError):
        return None


def checked(line: str, answer: str, edits: float, whole: bool = True) -> CorrectedLine:
    """Make a correction of an answer, or of the line with the reason for refusing the answer.

    `edits` is the most character edits, as a share of the longer of both; `whole` that the answer
    was not cut off.
    """
    text = stripped(line, answer)
    reason = _reason(line, text, edits) if whole else "cut off"
    return CorrectedLine(line, REFUSED + reason) if reason else CorrectedLine(text)


def stripped(line: str, answer: str) -> str:
    """Strip thoughts, fences, preambles, bullets, remarks and quotes from around the line."""
    text = _THOUGHT.sub("", answer).strip()
    if text.startswith("```") and not line.startswith("```"):
        text = _FENCE.sub("", text).strip()
    before = ""
    while text != before:
        before = text
        for frame in _FRAMES:
            match = frame.search(text) if frame is _REMARK else frame.match(text)
            if match is not None:
                text = _nearer(line, text, text[: match.start()] + text[match.end() :])
        if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
            text = _nearer(line, text, text[1:-1])
    return text


def _nearer(line: str, text: str, rest: str) -> str:
    """Drop a part of an answer if that takes off most of its length in edits to the line."""
    rest, length = rest.strip(), len(text) - len(rest)
    gain = Levenshtein.distance(line, text) - Levenshtein.distance(line, rest)
    return rest if rest and 2 * gain > length else text


def listed(answer: str, count: int) -> list[str] | None:
    """The strings of an answer that is a JSON array of so many; None where it is none."""
    text = _FENCE.sub("", _THOUGHT.sub("", answer)).strip()
    start, end = text.find("["), text.rfind("]")
    try:
        texts = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    fits = isinstance(texts, list) and len(texts) == count
    return texts if fits and all(isinstance(one, str) for one in texts) else None


def _reason(line: str, text: str, edits: float) -> str:
    """The reason for refusing an answer; "" for a correction of the line."""
    if not text:
        return "empty"
    if "\n" in text:
        return "several lines"
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") for c in text):
        return "control characters"
    if _MARKUP.search(text) and not _MARKUP.search(line):
        return "markup"
    if not _SHORTER * len(line) - 2 <= len(text) <= _LONGER * len(line) + 2:
        return "length"
    if Levenshtein.distance(line, text) > edits * max(len(line), len(text)):
        return "too far from the line"
    return ""
