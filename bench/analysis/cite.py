"""Lookup of rows by a signature or key quoted in a text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bench.analysis.evidence import Chosen, Store
from bench.core.errors import UserError
from bench.core.types import Row
from bench.pipeline.signature import signature_parts

_KEY = re.compile(r"[0-9a-f]{6,}")
_BRACES = re.compile(r"(\w+:|)\{([^{}]*)\}(.*)", re.DOTALL)


def cited(word: str, stores: Iterable[Store]) -> Chosen:
    """The rows with a signature or key, from the first run that has any.

    Args:
        word: a row's key or the beginning of it (six letters and more), its signature, or the
            signature below a table, in which braces list alternatives.
        stores: the runs to search, in this order.

    Raises:
        UserError: no run has such a row, or the word is neither a key nor a signature.
    """
    word = word.strip().strip("`").strip()
    if not _KEY.fullmatch(word) and "|" not in word:
        raise UserError(
            f"{word!r} is neither a signature (e:...|d:...|s:...) nor the key of a row (six or "
            "more letters of 0-9, a-f); the one stands below the tables of a run, the other in "
            "its rows.jsonl"
        )
    looked = 0
    for store in stores:
        looked += 1
        if found := tuple(row for row in store.rows() if _meant(word, row)):
            return Chosen(store, found)
    where = "that run" if looked == 1 else f"the {looked} runs that were looked through"
    raise UserError(f"no row of {where} has this key or signature: {word}; name another with --run")


def _meant(word: str, row: Row) -> bool:
    if "|" not in word:
        return row.key.startswith(word)
    if "{" not in word:
        return row.signature == word
    meant, own = word.split("|"), signature_parts(row).values()
    return len(meant) == len(own) and all(
        part in _alternatives(alike) for part, alike in zip(own, meant, strict=True)
    )


def _alternatives(part: str) -> Sequence[str]:
    """Alternatives of a part of a merged signature: "s:{a b}@1" is "s:a@1" or "s:b@1"."""
    braced = _BRACES.fullmatch(part)
    if braced is None:
        return (part,)
    return tuple(f"{braced[1]}{one}{braced[3]}" for one in braced[2].split(" "))
