"""A trained encoder as a folder laid out like the Hub's, its head in it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from bench.training.folder import card_head, save_folder
from bench.training.start import Start


def save_encoder(
    folder: Path, start: Start, encoder: Mapping[str, Tensor], data: Sequence[str]
) -> str:
    """Write a checkpoint with these weights of the encoder; returns the hash of its weights file.

    Everything else is that of the checkpoint it started from. The AR decoder is kept, so that it
    can be trained on the changed encoder, and marked as not fit to read it.

    Args:
        folder: made if it is not there.
        start: what the training began with.
        encoder: state of the encoder.
        data: what it was trained on, for its card.

    Raises:
        UserError: the folder may not be written to, or the disk is full.
    """
    model = copy.deepcopy(start.model)
    model.encoder.load_state_dict(dict(encoder))
    card = f"{card_head(start, data)}# {start.name}, trained on with a CTC head\n"
    return save_folder(folder, model, start, card, ar_fits=False)
