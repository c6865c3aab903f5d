"""Text files of others, whose encoding nobody declared."""

from __future__ import annotations

import codecs
import re

_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode_text(content: bytes) -> str:
    """Text by what its bytes can be: a byte order mark, UTF-16, UTF-8, else Windows-1252.

    UTF-16 without a mark has a zero byte in every Latin character. Windows-1252 is ISO-8859-1
    with letters and marks where that has control characters; the five codes that it lacks become
    U+FFFD.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    start = content[:200]
    if start and start.count(0) > len(start) // 4:
        little = start[1::2].count(0) > start[0::2].count(0)
        return content.decode("utf-16-le" if little else "utf-16-be", "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def undeclared(content: bytes) -> bytes:
    """An XML document as UTF-8 without its declaration, for documents that declare wrongly."""
    return _DECLARATION.sub("", decode_text(content), count=1).encode("utf-8", "replace")
