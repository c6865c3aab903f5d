"""Leak check before training: notes on stderr, or a refusal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.report.language import say

if TYPE_CHECKING:
    from bench.pipeline.plan import Part


def guard_training(
    datasets: Sequence[str], options: Mapping[str, Mapping[str, Any]], allowed: bool
) -> None:
    """Search the train lines of data sets for their test lines.

    Args:
        datasets: registered names, or a mixture, which is drawn from the sets of the main job; one
            that is not here is refused when it is loaded.
        options: of the data sets, by name.
        allowed: go on despite any leak. A mixture is never refused: one of its sources is not
            one of its tests.

    Raises:
        UserError: more than one test text or image in a hundred is among the train lines.
    """
    from bench.cli.bars import track
    from bench.pipeline.leaks.check import check_training
    from bench.pipeline.plan import MAIN_SETS
    from bench.report.leak import sentence
    from bench.training.recipes import MIXTURE, rank

    if rank():  # of several processes the first looks
        return
    mixed = MIXTURE in datasets
    leaks = check_training(_here(MAIN_SETS if mixed else datasets, options), track)
    _notes([sentence(leak) for leak in leaks if not leak.clean])
    if spoilt := [leak for leak in leaks if leak.spoils]:
        _refuse(f"{spoilt[0].tested} would be no test: {sentence(spoilt[0])}", allowed or mixed)


def guard_text(text: Sequence[str], datasets: Sequence[str] | None, allowed: bool) -> None:
    """Search the text of a new language model for test lines.

    Args:
        text: its lines.
        datasets: registered names; None for those of the main job that are here.
        allowed: go on despite any leak.

    Raises:
        UserError: more than one test line, or run of 8 words of them, in a hundred stands in it.
    """
    from bench.cli.bars import track
    from bench.pipeline.leaks.check import check_text
    from bench.pipeline.leaks.leak import seen_too_often
    from bench.pipeline.plan import MAIN_SETS
    from bench.report.leak import text_sentence

    parts = _here(MAIN_SETS if datasets is None else datasets, {}, strict=datasets is not None)
    checked = check_text(text, parts, track)
    seen = [one for one in checked if one.overlap.lines_seen or one.overlap.grams_seen]
    _notes([text_sentence(one) for one in seen])
    if spoilt := [one for one in checked if seen_too_often(one.overlap)]:
        _refuse(f"{spoilt[0].split} would be no test: {text_sentence(spoilt[0])}", allowed)


def _notes(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        print(say("note: {note}", note=sentence), file=sys.stderr)


def _refuse(reason: str, allowed: bool) -> None:
    if not allowed:
        raise UserError(f"{reason}; leave these lines out, or give --allow-leak")


def _here(
    datasets: Sequence[str], options: Mapping[str, Mapping[str, Any]], strict: bool = False
) -> list[Part]:
    """The data sets that are here; with `strict` the others too, which fail in loading."""
    from bench.pipeline.plan import Part
    from datasets import DATASETS

    parts = []
    for name in datasets:
        if name in DATASETS or strict:
            chosen = options.get(name, {})
            dataset = DATASETS.create(name, chosen)
            if strict or dataset.missing() is None:
                parts.append(Part(name, dataset, chosen))
    return parts
