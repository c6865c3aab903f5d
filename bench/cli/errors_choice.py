"""What `python -m bench errors` looks at: which rows, and by whose words."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import UserError
from bench.core.options import words
from bench.core.registry import did_you_mean

if TYPE_CHECKING:
    from bench.analysis.misreadings.vocabulary import Vocabulary
    from bench.core.types import Row

_ALL = "all"
_CLEAN = "none"
EMBEDDED = "embedded"


def chosen(args: argparse.Namespace, rows: Sequence[Row]) -> list[Row]:
    """The rows that the options name.

    Without `--damage` and `--severity` that is the clean sets, where the run has any.

    Raises:
        UserError: the run has nothing of a name, or nothing of them all together.
    """
    if not rows:
        raise UserError("the run has no row yet; finish it, or name another")
    damages = words(args.damage)
    if not damages and not args.severity and any(row.condition.damage == _CLEAN for row in rows):
        damages = (_CLEAN,)
    asked: dict[str, tuple[tuple[str, ...], Callable[[Row], str]]] = {
        "encoder": (words(args.encoder), lambda row: row.encoder),
        "decoder": (words(args.decoder), lambda row: row.decoder),
        "data set": (words(args.dataset), lambda row: row.condition.dataset),
        "damage": (damages, lambda row: row.condition.damage),
        "severity": (words(args.severity), lambda row: str(row.condition.severity)),
    }
    found = list(rows)
    for what, (names, of) in asked.items():
        if names and _ALL not in names:
            _check(what, names, map(of, rows))
            found = [row for row in found if of(row) in names]
    if not found:
        told = ", ".join(f"{what} {'/'.join(names)}" for what, (names, _) in asked.items() if names)
        raise UserError(f"the run has no row of {told} together; take less of these")
    if args.against:
        _check("decoder", [args.against], (row.decoder for row in found))
    return found


def vocabulary_of(asked: str | None, rows: Iterable[Row]) -> Vocabulary:
    """The words by which words are told from non-words.

    Args:
        asked: a file, `EMBEDDED`, or None for the word model that the rows were read with; the
            embedded one where they name none.
        rows: of the run.

    Raises:
        UserError: the file is no model, or the rows were read with several.
    """
    from bench.analysis.misreadings.vocabulary import vocabulary

    if asked is None:
        # A word model says how many words it has; what it is stands in the decoder's options.
        models = {
            str(row.options.get("lm") or EMBEDDED) for row in rows if "lm_words" in row.extras
        }
        if len(models) > 1:
            raise UserError(
                f"the rows were read with several word models ({', '.join(sorted(models))}); name "
                "the one whose words count with --vocabulary"
            )
        asked = models.pop() if models else EMBEDDED
        if asked != EMBEDDED and not Path(asked).is_file():
            raise UserError(
                f"the word model {asked} of the rows is not here; name one with --vocabulary, such "
                f"as --vocabulary {EMBEDDED}"
            )
    return vocabulary(None if asked == EMBEDDED else Path(asked))


def _check(what: str, names: Iterable[str], there: Iterable[str]) -> None:
    """Raise where a name is none of the run's."""
    known = list(dict.fromkeys(there))
    for name in names:
        if name not in known:
            raise UserError(f"the run has no {what} {name!r}{did_you_mean(name, known)}")
