"""The duels that `python -m bench perf` fights, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

# An AR search against generate, an AR search with a CTC draft against one without, CTC with an
# n-gram against pyctcdecode, ways to run an encoder against plain float32.
Group = Literal["search", "draft", "n-gram", "encoder"]

_RANDOM = {"untrained": True}
_DAMAGE = ("blot", 2)


@dataclass(frozen=True)
class Side:
    """A decoder of the registry with its options, or how an encoder runs.

    decoder: "" in a duel of encoders.
    variant: of the encoder (`bench.analysis.perf.variants`); "" is as it is.
    """

    decoder: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    variant: str = ""

    @property
    def label(self) -> str:
        """As a table names it."""
        told = ", ".join(f"{key} {value}" for key, value in self.options.items())
        own = self.decoder or f"{self.variant} {self.dtype}".strip()
        return f"{own}{f' ({told})' if told else ''}"


@dataclass(frozen=True)
class Duel:
    """Two sides on the same lines.

    lines: of the embedded set, its first; batch: at a time.
    damage: its name and severity; None for clean lines.
    aim: the ratio that we want to reach; None where we want none.
    rounds: in which both sides have a turn each.
    """

    group: Group
    encoder: str
    ours: Side
    peer: Side
    lines: int
    batch: int
    options: Mapping[str, Any] = field(default_factory=dict)
    damage: tuple[str, int] | None = None
    aim: float | None = None
    rounds: int = 5

    @property
    def label(self) -> str:
        """For a progress bar, and to choose by."""
        damage = f", {self.damage[0]} {self.damage[1]}" if self.damage else ""
        return (
            f"{self.group}: {self.ours.label} against {self.peer.label} on {self.encoder}{damage}, "
            f"batch {self.batch}"
        )


def all_duels(reader: str, reader_options: Mapping[str, Any] | None = None) -> list[Duel]:
    """Every duel, those of the slow architectures last.

    Args:
        reader: a trained encoder with a CTC head, for what depends on posteriors.
        reader_options: of it.
    """
    given = dict(reader_options or {})
    return [
        *_ngrams(reader, given),
        *(
            Duel("draft", "mini", Side("ar-draft"), Side("ar-greedy"), lines=64, batch=batch)
            for batch in (1, 16)
        ),
        _search("mini", batch=16, beam=5, rounds=5),
        _search("mini", batch=16, beam=1, rounds=5),
        *_encoders("mini", lines=16, rounds=5),
        _search("trocr-small", batch=8, beam=5, rounds=3),
        _search("trocr-small", batch=8, beam=10, rounds=3),
        _search("trocr-base", batch=8, beam=1, aim=1.8, rounds=3),
        _search("trocr-base", batch=1, beam=10, aim=6.0, rounds=3),
        _search("trocr-base", batch=8, beam=5, aim=8.0, rounds=3),
        _search("trocr-base", batch=8, beam=10, aim=12.0, rounds=3),
        *_encoders("trocr-small", lines=4, rounds=3),
        *_encoders("trocr-base", lines=4, rounds=3),
    ]


def chosen(duels: Sequence[Duel], words: Sequence[str]) -> list[Duel]:
    """The duels whose label has all the words; all of them without words."""
    return [duel for duel in duels if all(word in duel.label for word in words)]


def _search(encoder: str, batch: int, beam: int, rounds: int, aim: float | None = None) -> Duel:
    """`ar-beam` or `ar-greedy` against generate, at the same beam, on one batch."""
    options = {} if encoder == "mini" else _RANDOM
    ours = Side("ar-greedy") if beam == 1 else Side("ar-beam", {"beam": beam})
    return Duel(
        "search", encoder, ours, Side("ar-hf", {"beam": beam}), batch, batch, options,
        aim=aim, rounds=rounds,
    )  # fmt: skip


def _encoders(name: str, lines: int, rounds: int) -> list[Duel]:
    """The ways to make an encoder faster, on one batch."""
    options = {} if name == "mini" else _RANDOM
    ways = (Side(dtype="bfloat16"), Side(variant="packed"), Side(variant="compiled"))
    return [
        Duel("encoder", name, way, Side(), lines, lines, options, rounds=rounds) for way in ways
    ]


def _ngrams(encoder: str, options: Mapping[str, Any]) -> list[Duel]:
    """Ours at pyctcdecode's own semantics (a word n-gram), and with our character n-gram."""
    peer = Side("ctc-kenlm", {"beam": 100})
    sides = (Side("ctc-ngram-word", {"beam": 100}), Side("ctc-ngram", {"beam": 100}))
    return [
        Duel(
            "n-gram", encoder, ours, peer, lines=300, batch=64, options=options, damage=damage,
            aim=20.0 if damage is None else 40.0, rounds=9 if damage is None else 3,
        )
        for damage in (None, _DAMAGE)
        for ours in sides
    ]  # fmt: skip
