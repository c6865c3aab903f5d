"""Formatting of numbers and untrusted texts. Nothing outside of this package rounds."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bench.report.language import in_force, say

if TYPE_CHECKING:
    from bench.analysis.stats import Interval

DASH = "—"  # not applicable (the CER of untrained weights)
UNKNOWN = "n/a"  # undefined (0 / 0)

_SHORT = 40
# A piece that stays on one line: a word, or a Japanese letter with what may not begin a line; with
# the brackets that open before it, which may not end one.
_OTHER = r"[^\s\u3000-\u9fff\uff00-\uffef(]"
_BEGINS_NONE = "、。:;!?)」』々ーぁぃぅぇぉっゃゅょァィゥェォッャュョ"
_PIECE = re.compile(rf"[(「『]*(?:{_OTHER}(?:[(]*{_OTHER})*|.)[{_BEGINS_NONE}]*")


def plain(text: object) -> str:
    """Any text on one line, without anything that could steer a terminal or reorder text."""
    spaced = "".join(" " if character.isspace() else character for character in str(text))
    kept = (character for character in spaced if unicodedata.category(character)[0] != "C")
    return " ".join("".join(kept).split())


def short(text: str, width: int = _SHORT) -> str:
    """The beginning of a text, with an ellipsis when there is more."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def width_of(text: str) -> int:
    """The columns of a terminal that a text takes: two for each Japanese letter."""
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def padded(text: str, width: int) -> str:
    """A text with spaces after it, up to a number of columns of a terminal."""
    return text + " " * (width - width_of(text))


def wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines of at most `width` columns, where its words allow it."""
    lines = [""]
    for piece in _PIECE.findall(text):
        if lines[-1] and width_of(lines[-1] + piece.rstrip()) > width:
            lines.append(piece.lstrip())
        else:
            lines[-1] += piece
    return [line.rstrip() for line in lines]


def number(value: float | None, decimals: int) -> str:
    """A number with thousands separators; `DASH` for None, `UNKNOWN` for NaN and infinity."""
    if value is None:
        return DASH
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.{decimals}f}"


def percent(fraction: float | None, decimals: int = 2) -> str:
    """A fraction in percent, without the sign: 0.0289 is "2.89". Never clipped at 100."""
    return number(None if fraction is None else 100.0 * fraction, decimals)


def bracket(interval: Interval) -> str:
    """An interval of fractions in percent: "[2.51, 3.30]"."""
    return f"[{percent(interval.low)}, {percent(interval.high)}]"


def supported_decimals(low: float, high: float, most: int) -> int:
    """Number of decimals that an interval supports, 0 to `most`.

    By the rule of the Particle Data Group (Review of Particle Physics, Introduction, section 5.3):
    the uncertainty, here half of the interval, keeps two figures when its first three lie between
    100 and 354, one when they lie between 355 and 949, and from 950 on is rounded up to 1000 with
    two; the number ends where its uncertainty does.
    """
    half = (high - low) / 2
    if not (math.isfinite(half) and half > 0):
        return most
    size = math.floor(math.log10(half))
    figures_short = half / 10.0**size < 3.545
    return min(max(1 - size if figures_short else -size, 0), most)


def significant(value: float | None, digits: int = 3) -> str:
    """A number by its first digits: 0.0123, 1.23, 12.3, 1,230."""
    if value is None:
        return DASH
    if not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def parameters(count: int) -> str:
    """A parameter count as papers write it: 843k, 5.9M, 62M, 1.2B."""
    for size, unit in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        if count >= 0.9995 * size:
            scaled = count / size
            return f"{scaled:.1f}{unit}" if scaled < 10 and unit != "k" else f"{scaled:.0f}{unit}"
    return str(count)


def listing(words: list[str]) -> str:
    """Join words: "a", "a and b", "a, b and c"."""
    if in_force() == "ja":
        return "、".join(words)
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def commas(words: Iterable[str]) -> str:
    """Words with the comma of the language between them."""
    return ("、" if in_force() == "ja" else ", ").join(words)


def joined(sentences: Iterable[str]) -> str:
    """Sentences behind each other, with a space between them where the language has one."""
    return ("" if in_force() == "ja" else " ").join(filter(None, sentences))


def plural(count: int, noun: str) -> str:
    """A count with its noun: "1 line", "2,915 lines"."""
    if in_force() == "ja":
        return say(f"{{count}} {noun}", count=f"{count:,}")  # Japanese has a counter for each
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
