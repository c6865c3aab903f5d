"""English that is left in Japanese output."""

from __future__ import annotations

import functools
import re
import string

from bench.report.language import catalogue

# Written into weights and rows by those who made them, and printed as it stands there.
_RECORDED = re.compile(r"(学習データ|調整に用いたデータ): [^。]*[。)]")
_COMMAND = re.compile("python -m bench [!-~ ]*")
_PROSE = re.compile(r"(?:\b[a-z]{2,} ){3,}[a-z]{2,}")


def english_in(text: str) -> list[str]:
    """English sentences of the catalogue, and any four English words in a row."""
    flat = _RECORDED.sub("", re.sub(r"\s*\n\s*", " ", _COMMAND.sub("", text)))
    return [*(part for part in _sentences() if part in flat), *_PROSE.findall(flat)]


@functools.cache
def _sentences() -> frozenset[str]:
    """The English sentences between their values, of three words and more."""
    parts = {
        text.strip(" .,;:()")
        for words in catalogue("ja")
        for text, *_ in string.Formatter().parse(words)
    }
    return frozenset(part for part in parts if part.count(" ") >= 2)
