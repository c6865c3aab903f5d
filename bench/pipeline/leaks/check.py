"""Leak checks of splits, of trainings and of the text of language models.

The leaks of a data set are cached, so that a run can name them in every row without loading the
train split.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from bench.core.cache import cache_folder, keep, kept
from bench.core.errors import Unavailable, UserError
from bench.core.hashing import code_version, digest
from bench.core.records import dump, load
from bench.core.types import Leaks, LineSet
from bench.pipeline.leaks.leak import Leak, Overlap, compare, long_enough, overlap
from bench.pipeline.opening import Track
from bench.pipeline.plan import Part
from datasets.base import Dataset
from decoders.language.lm import EMBEDDED_TEXT, train_text

LEARNED, TESTED = "train", "test"


@dataclass(frozen=True)
class TextLeak:
    """The overlap of a text with the long enough lines of a split ("hooker test")."""

    split: str
    overlap: Overlap


def check_splits(part: Part, track: Track) -> list[Leak]:
    """Compare all pairs of splits of a data set, and cache the leaks of train and test.

    Raises:
        UserError: it has a single split, or one that cannot be read.
        Unavailable: it is not here.
    """
    dataset = _here(part)
    splits = dataset.split_names()
    if len(splits) < 2:
        raise UserError(f"{part.name} has a single split, so nothing can leak between splits")
    loaded = {split: dataset.load(split) for split in track(splits, f"loading {part.name}")}
    pairs = list(combinations(splits, 2))
    leaks = [compare(loaded[a], loaded[b]) for a, b in track(pairs, "comparing")]
    for (a, b), leak in zip(pairs, leaks, strict=True):
        if (a, b) == (LEARNED, TESTED):
            _keep(part, loaded[b], leak)
    return leaks


def check_training(parts: Sequence[Part], track: Track) -> list[Leak]:
    """Compare the test split of each data set with its train split, once a set.

    A set whose train split is not here cannot be trained on.

    Raises:
        UserError: a split cannot be read.
        Unavailable: a data set is not here.
    """
    leaks = []
    for part in track(parts, "looking for test lines among train lines"):
        dataset = _here(part)
        if {LEARNED, TESTED} <= set(dataset.splits):
            tested = dataset.load(TESTED)
            with contextlib.suppress(Unavailable):
                leaks.append(
                    leak_with_train(part, tested, functools.partial(dataset.load, LEARNED))
                )
    return leaks


def leak_with_train(part: Part, tested: LineSet, load_train: Callable[[], LineSet]) -> Leak:
    """Compare lines with the train split of a data set, once a set."""
    leak = _kept(part, tested)
    if leak is None:
        leak = compare(load_train(), tested)
        _keep(part, tested, leak)
    return leak


def check_text(text: Sequence[str], parts: Sequence[Part], track: Track) -> list[TextLeak]:
    """Look for test lines in the text of a language model.

    Raises:
        UserError: a split cannot be read.
    """
    leaks = []
    for part in track(parts, "loading, to look for test lines in the text"):
        dataset = _here(part)
        if TESTED in dataset.splits:
            lines = dataset.load(TESTED)
            leaks.append(TextLeak(f"{part.name} {TESTED}", _overlap(lines, text)))
    return leaks


def leaks_of_row(part: Part, tested: LineSet, extras: Mapping[str, Any]) -> Leaks:
    """Return the leaks for a row, from the cache alone.

    Returns:
        "train": tested lines by kind that share something with the train split, None where not
        checked yet (`bench check leak` does); "lm": share of the lines, and of their runs of 8
        words, that stand in the text of the language model, None where that is not known.
    """
    leak = _kept(part, tested)
    counts = {str(shared.kind): shared.lines for shared in leak.shared} if leak else None
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
    """Read the cached leaks of these lines; None where not checked."""
    try:
        path = _path(part, tested)
        return load(Leak, kept(path) or b"", str(path))
    except UserError:
        return None


def _path(part: Part, tested: LineSet) -> Path:
    """Cache file for a data set with its options, its whole test split, and this code."""
    identity = [
        part.name,
        part.options,
        tested.sha256,
        code_version(("bench.pipeline.leaks.leak",)),
    ]
    return cache_folder("leak") / f"{digest(identity)}.json"
