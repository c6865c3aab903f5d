"""What is taken of a language model's answer, and what is refused. A foreign text, never obeyed."""

from __future__ import annotations

import json
import re
import unicodedata

from rapidfuzz.distance import Levenshtein

from decoders.correctors.base import REFUSED, Correction

_THOUGHT = re.compile(r"\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```\w*")
_PREAMBLE = re.compile(
    r"(?:(?:sure|certainly|of course|okay|ok)[,.!]?\s*)?"
    r"(?:(?:here(?: is|'s)|this is)?\s*(?:the|your)?\s*"
    r"(?:corrected|correct|correction|output|answer|result)"
    r"(?:\s+(?:line|text|version|transcription|of the line))*"
    r"(?:\s+is)?)\s*:\s*",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_MARKUP = re.compile(r"</?[A-Za-z!][^>]*>|\]\(|^#{1,6} |\*\*|`")
_LONGER, _SHORTER = 1.5, 0.6  # of the line; answers far longer are chatter (Boros et al. 2024)


def checked(line: str, answer: str, edits: float, whole: bool = True) -> Correction:
    """An answer as a correction of a line, or the line and why the answer was refused.

    Args:
        line: what the decoder read.
        answer: what the model said of it.
        edits: most character edits, as a share of the longer of both.
        whole: the model came to an end.
    """
    text = stripped(line, answer)
    reason = _reason(line, text, edits) if whole else "cut off"
    return Correction(line, REFUSED + reason) if reason else Correction(text)


def stripped(line: str, answer: str) -> str:
    """An answer without what models set around a line: thoughts, fences, preambles, quotes."""
    text = _THOUGHT.sub("", answer).strip()
    if text.startswith("```") and not line.startswith("```"):
        text = _FENCE.sub("", text).strip()
    preamble = _PREAMBLE.match(text)
    if preamble and not _PREAMBLE.match(line) and preamble.end() < len(text):
        text = text[preamble.end() :].strip()
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and not line.startswith(text[0]):
        text = text[1:-1].strip()
    return text


def listed(answer: str, count: int) -> list[str] | None:
    """The strings of an answer that is a JSON array of so many; None where it is none."""
    text = _FENCE.sub("", _THOUGHT.sub("", answer)).strip()
    start, end = text.find("["), text.rfind("]")
    try:
        found = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    fits = isinstance(found, list) and len(found) == count
    return found if fits and all(isinstance(one, str) for one in found) else None


def _reason(line: str, text: str, edits: float) -> str:
    """Why an answer is no correction of the line; "" where it is one."""
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
