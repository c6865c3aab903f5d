"""Looking for leaks where they matter: in splits, before a training, in a model's text.

What was found of a data set is kept in the cache folder, so that a run can tell it in every row
without loading the train split.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from bench.core.cache import cache_folder, keep, kept
from bench.core.errors import UserError
from bench.core.hashing import code_version, digest
from bench.core.records import dump, load
from bench.core.types import Leaks, LineSet
from bench.pipeline.leaks.leak import Leak, compare, long_enough
from bench.pipeline.leaks.overlap import Overlap, overlap
from bench.pipeline.plan import Part
from bench.pipeline.reading import Track
from datasets.base import Dataset
from decoders.language.lm import EMBEDDED_TEXT, train_text

LEARNED, TESTED = "train", "test"


@dataclass(frozen=True)
class TextLeak:
    """What a text shares with the lines of a split that are long enough. split: "hooker test"."""

    split: str
    overlap: Overlap


def check_splits(part: Part, track: Track) -> list[Leak]:
    """Every split of a data set against every later one; what train and test share is kept.

    Raises:
        UserError: it has a single split, or one that cannot be read.
        Unavailable: it is not here.
    """
    dataset = _here(part)
    if len(dataset.splits) < 2:
        raise UserError(f"{part.name} has a single split, so nothing can leak between splits")
    loaded = {
        split: dataset.load(split) for split in track(list(dataset.splits), f"loading {part.name}")
    }
    pairs = list(combinations(dataset.splits, 2))
    leaks = [compare(loaded[a], loaded[b]) for a, b in track(pairs, "comparing")]
    for (a, b), leak in zip(pairs, leaks, strict=True):
        if (a, b) == (LEARNED, TESTED):
            _keep(part, loaded[b], leak)
    return leaks


def check_training(parts: Sequence[Part], track: Track) -> list[Leak]:
    """What the test split of each data set shares with its train split; looked for once a set.

    Raises:
        UserError: a split cannot be read.
        Unavailable: a data set is not here.
    """
    leaks = []
    for part in track(parts, "looking for test lines among train lines"):
        dataset = _here(part)
        if {LEARNED, TESTED} <= set(dataset.splits):
            tested = dataset.load(TESTED)
            leak = _kept(part, tested)
            if leak is None:
                leak = compare(dataset.load(LEARNED), tested)
                _keep(part, tested, leak)
            leaks.append(leak)
    return leaks


def check_text(text: Sequence[str], parts: Sequence[Part], track: Track) -> list[TextLeak]:
    """Test lines in the text of a language model.

    Raises:
        UserError: a split cannot be read.
    """
    found = []
    for part in track(parts, "loading, to look for test lines in the text"):
        dataset = _here(part)
        if TESTED in dataset.splits:
            lines = dataset.load(TESTED)
            found.append(TextLeak(f"{part.name} {TESTED}", _overlap(lines, text)))
    return found


def told_in_row(part: Part, tested: LineSet, extras: Mapping[str, Any]) -> Leaks:
    """What a row says of leaks, without anything being loaded for it.

    Args:
        part: the data set.
        tested: the lines of the row.
        extras: of the decoder.

    Returns:
        "train": tested lines by kind that share something with the train split, None where
        nobody looked yet (`bench check leak` does); "lm": share of the lines, and of their runs of
        8 words, that stand in the text of the language model, None where that is not known.
    """
    leak = _kept(part, tested)
    counts = {str(found.kind): found.lines for found in leak.found} if leak else None
    return {"train": counts, "lm": _lm(tested, extras)}


def _lm(tested: LineSet, extras: Mapping[str, Any]) -> dict[str, float | None] | None:
    names = (extras.get(name) for name in ("lm_trained_on", "first_lm_trained_on"))
    if EMBEDDED_TEXT not in names:
        return None
    texts = tuple(line.text for line in tested.lines if long_enough(line.text))
    seen = _in_embedded_text(texts)
    return {"lines": seen.line_share, "runs": seen.gram_share}


@functools.lru_cache(maxsize=16)
def _in_embedded_text(texts: tuple[str, ...]) -> Overlap:
    return overlap(texts, train_text())


def _overlap(lines: LineSet, text: Iterable[str]) -> Overlap:
    return overlap((line.text for line in lines.lines if long_enough(line.text)), text)


def _here(part: Part) -> Dataset:
    dataset: Dataset = part.thing
    if absent := dataset.missing():
        raise absent
    return dataset


def _keep(part: Part, tested: LineSet, leak: Leak) -> None:
    keep(_path(part, tested), dump(leak))


def _kept(part: Part, tested: LineSet) -> Leak | None:
    """What was found of these very lines; None where nobody looked."""
    path = _path(part, tested)
    try:
        return load(Leak, kept(path) or b"", str(path))
    except UserError:
        return None


def _path(part: Part, tested: LineSet) -> Path:
    """By the data set with its options, its whole test split, and the code that looks."""
    identity = [
        part.name,
        part.options,
        tested.sha256,
        code_version(("bench.pipeline.leaks.leak",)),
    ]
    return cache_folder("leak") / f"{digest(identity)}.json"
