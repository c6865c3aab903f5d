"""How likely CTC output finds given texts: all their paths, none pruned."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import ctc_loss

from bench.core.types import BLANK, Encoded
from decoders.ctc.base import ctc_output


def ctc_scores(encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[NDArray[np.float64]]:
    """Log-probabilities of texts by the forward algorithm, in float64.

    Source: Graves et al. 2006, "Connectionist temporal classification", section 4.1.

    Args:
        encoded: B lines, with symbols of one character each.
        texts: of each line, any number of texts.

    Returns:
        Of each line (K,) natural-log probabilities; minus infinity where a text has a character
        outside of the alphabet, or more characters than the line has frames for.
    """
    log_probs, frames = ctc_output(encoded)
    index = {symbol: place for place, symbol in enumerate(encoded.alphabet) if place != BLANK}
    found = [np.full(len(line), -np.inf) for line in texts]
    asked = [
        (line, k, [index[character] for character in text])
        for line, of_line in enumerate(texts)
        for k, text in enumerate(of_line)
        if frames[line] and set(text) <= index.keys()
    ]
    if asked:
        lines = torch.tensor([line for line, *_ in asked])
        lengths = torch.tensor([len(symbols) for *_, symbols in asked])
        losses = ctc_loss(
            log_probs.cpu().double()[lines].transpose(0, 1),
            torch.tensor([symbol for *_, symbols in asked for symbol in symbols]),
            torch.from_numpy(frames)[lines],
            lengths,
            blank=BLANK,
            reduction="none",
        )
        for (line, k, _), loss in zip(asked, losses.tolist(), strict=True):
            found[line][k] = -loss
    return found


def worded_scores(
    encoded: Encoded, texts: Sequence[Sequence[str]], price: Callable[[str], float]
) -> list[NDArray[np.float64]]:
    """What a search with a word model in pyctcdecode's semantics thinks of texts.

    The paths may have a space at either end, since such a search drops it from the text.

    Args:
        encoded: B lines, with symbols of one character each, a space among them.
        texts: of each line, any number of texts.
        price: what the words of a text add to its score.
    """
    ends = [(before, behind) for before in ("", " ") for behind in ("", " ")]
    spaced = [[f"{a}{text}{b}" for text in line for a, b in ends] for line in texts]
    found = ctc_scores(encoded, spaced)
    return [
        np.logaddexp.reduce(paths.reshape(len(line), len(ends)), axis=1)
        + [price(text) for text in line]
        for paths, line in zip(found, texts, strict=True)
    ]
