"""The look for leaks before something learns: told on stderr, refused where too much was seen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError

if TYPE_CHECKING:
    from bench.pipeline.plan import Part

_Options = argparse.ArgumentParser | argparse._ArgumentGroup


def add_guard(options: _Options) -> None:
    """`--allow-leak`."""
    options.add_argument(
        "--allow-leak", action="store_true",
        help="go on where test lines stand in what is learned from",
    )  # fmt: skip


def guard_training(
    datasets: Sequence[str], options: Mapping[str, Mapping[str, Any]], allowed: bool
) -> None:
    """Look for test lines of the data sets among their train lines.

    Args:
        datasets: registered names, or a mixture, which is drawn from the sets of the main job; one
            that is not here is the training's to tell.
        options: of the data sets, by name.
        allowed: go on whatever is found. What is drawn from a mixture is only told of: one of its
            sources is not one of its tests.

    Raises:
        UserError: more than one test text or image in a hundred is among the train lines.
    """
    from bench.cli.bars import track
    from bench.pipeline.leaks.check import check_training
    from bench.pipeline.plan import MAIN_SETS
    from bench.report.leak import sentence
    from bench.training.ctc.material import MIXTURE
    from bench.training.loop import rank

    if rank():  # of several processes the first looks
        return
    mixed = MIXTURE in datasets
    names = MAIN_SETS if mixed else datasets
    leaks = check_training(_here(names, options), track)
    for leak in leaks:
        if not leak.clean:
            print(f"note: {sentence(leak)}", file=sys.stderr)
    if spoilt := [leak for leak in leaks if leak.spoils]:
        _refuse(f"{spoilt[0].tested} would be no test: {sentence(spoilt[0])}", allowed or mixed)


def guard_text(text: Sequence[str], datasets: Sequence[str] | None, allowed: bool) -> None:
    """Look for test lines in the text that a language model is to be built from.

    Args:
        text: its lines.
        datasets: registered names; None for those of the main job that are here.
        allowed: go on whatever is found.

    Raises:
        UserError: more than one test line, or run of 8 words of them, in a hundred stands in it.
    """
    from bench.cli.bars import track
    from bench.pipeline.leaks.check import check_text
    from bench.pipeline.leaks.leak import seen_too_often
    from bench.pipeline.plan import MAIN_SETS
    from bench.report.leak import text_sentence

    parts = _here(MAIN_SETS if datasets is None else datasets, {}, strict=datasets is not None)
    found = check_text(text, parts, track)
    for one in found:
        if one.overlap.lines_seen or one.overlap.grams_seen:
            print(f"note: {text_sentence(one)}", file=sys.stderr)
    if spoilt := [one for one in found if seen_too_often(one.overlap)]:
        _refuse(f"{spoilt[0].split} would be no test: {text_sentence(spoilt[0])}", allowed)


def _refuse(reason: str, allowed: bool) -> None:
    if not allowed:
        raise UserError(f"{reason}; leave these lines out, or say --allow-leak")


def _here(
    datasets: Sequence[str], options: Mapping[str, Mapping[str, Any]], strict: bool = False
) -> list[Part]:
    """The data sets that are here; with `strict` one that is not is told by its loading."""
    from bench.pipeline.plan import Part
    from datasets import DATASETS

    parts = []
    for name in datasets:
        if name in DATASETS or strict:
            given = options.get(name, {})
            thing = DATASETS.create(name, given)
            if strict or thing.missing() is None:
                parts.append(Part(name, thing, given))
    return parts
