"""Language models whose numbers a decoder of our own reads: ARPA files, the embedded ones too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bench.core.errors import UserError
from bench.core.files import content_hash
from decoders.language.arpa import MARKS, SPACE, NGramModel
from decoders.language.arpa_reader import is_arpa, read_arpa
from decoders.language.lm import EMBEDDED_TEXT, embedded_arpa
from decoders.language.ngram import check_order
from decoders.language.units import Unit, check_unit, space_of

EMBEDDED = "embedded"


@dataclass(frozen=True, eq=False)
class ArpaLM:
    """A model in memory, and what a row says of it.

    model: in one of characters the space is `SPACE`, whatever the file writes.
    name: what weights are tuned for: `EMBEDDED` whatever its text, or the hash of one very file.
    trained_on: the text behind it, as a row says it.
    space: in a model of characters the entry of the file that is the space.
    """

    path: Path
    model: NGramModel
    name: str
    sha256: str
    trained_on: str
    space: str = SPACE

    @property
    def words(self) -> tuple[str, ...]:
        """What it is a model of, without the marks."""
        return tuple(word for word in self.model.vocabulary if word not in MARKS)


def check_embedded_order(path: str, order: int, default: int) -> None:
    """Refuse an order that there is not, or one beside a model that has its own.

    Args:
        path: the user's own model, "" for the embedded one.
        order: the option.
        default: of the option.

    Raises:
        UserError: with what to change.
    """
    check_order(order)
    if path and order != default:
        raise UserError("order is of the embedded model; a file of your own has its own order")


def arpa_lm(path: str, unit: Unit, order: int) -> ArpaLM:
    """A user's own model, or the embedded one of an order, estimated at first use and cached.

    Args:
        path: an ARPA file; "" for the embedded model.
        unit: of the model.
        order: of the embedded model, 1 to 6.

    Raises:
        UserError: the file is missing or broken, is a KenLM binary, or a model of another unit;
            or the cache may not be written to.
    """
    if path:
        return _read(Path(path).expanduser(), unit)
    lm = _read(embedded_arpa(order, unit), unit)
    return replace(lm, name=EMBEDDED, trained_on=EMBEDDED_TEXT)


def _read(path: Path, unit: Unit) -> ArpaLM:
    if not is_arpa(path):
        raise UserError(
            f"{path} is a KenLM binary, which keeps its numbers to itself; give the ARPA file that "
            "it was made from"
        )
    model = read_arpa(path)
    check_unit(model.vocabulary, unit, path)
    space = space_of(model.vocabulary, model) if unit == "char" else None
    if space is not None:
        words = tuple(SPACE if word == space else word for word in model.vocabulary)
        model = replace(model, vocabulary=words)
    sha256 = content_hash(path, 64)
    trained_on = f"unknown text ({path.name})"
    return ArpaLM(path, model, sha256, sha256, trained_on, space or SPACE)
