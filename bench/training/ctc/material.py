"""The lines of a CTC training: of data sets' train splits, or a mixture that is drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bench.core.errors import UserError
from bench.training import material
from bench.training.material import Material, Unfit, Wanted, named
from bench.training.run import VALIDATION, data_hash
from datasets import DATASETS
from models.alphabet import encode, frames_needed

MIXTURE = "mixture"  # what `mini` is trained on: rendered and joined lines, UNIPEN, Hooker, Copiste


def gather(wanted: Wanted, frames: int) -> Material:
    """The lines of the data sets, or of the mixture, sorted out for a head of so many frames.

    The loss alone would pass over what does not fit without a word (`zero_infinity`).

    Raises:
        UserError: an unknown data set, a set without a line that fits, or none to validate on.
        Unavailable: a data set is not here.
    """
    if wanted.datasets == (MIXTURE,):
        return _mixture(wanted)
    if MIXTURE in wanted.datasets:
        raise UserError(f"{MIXTURE} cannot be joined with other data sets; give it alone")
    return material.gather(wanted, partial(why_unfit, frames=frames), also=(MIXTURE,))


def why_unfit(text: str, frames: int) -> str:
    """Why a text cannot be spelled in so many frames; "" when it can.

    It needs a frame for each character and one between two equal neighbours.
    """
    symbols = encode(text)
    if symbols is None:
        foreign = sorted({char for char in text if encode(char) is None})
        return f"{''.join(foreign)!r} is not in the alphabet"
    if not symbols:
        return "it has no text"
    needed = frames_needed(symbols)
    return f"it needs {needed} frames and the head has {frames}" if needed > frames else ""


def summary(unfit: Sequence[Unfit], lines: int, frames: int) -> str:
    """One sentence on the lines that are left out; the first ones by name."""
    if not unfit:
        return f"all {lines} lines can be spelled in {frames} frames"
    return f"{len(unfit)} of {lines} lines cannot be spelled and are left out ({named(unfit)})"


def _mixture(wanted: Wanted) -> Material:
    here = [name for name in VALIDATION if DATASETS.create(name).missing() is None]
    validation = {
        name: material.load(wanted, name, "val", wanted.validation).lines for name in here
    }
    return Material({}, (), validation, MIXTURE, data_hash(wanted.root))
