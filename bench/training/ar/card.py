"""The model card of a fine-tuned TrOCR."""

from __future__ import annotations

from collections.abc import Sequence

from bench.training.ar.curve import Epoch
from bench.training.folder import card_head
from bench.training.start import Start


def model_card(
    start: Start, data: Sequence[str], epochs: Sequence[Epoch], decoder: str, lines: int
) -> str:
    """README.md: what it is, what it learned from, and how well it read, epoch by epoch.

    The last epoch is that of the weights.
    """
    rows = [
        f"| {epoch.epoch} | {100 * epoch.train_cer:.2f} | {100 * epoch.cer:.2f} |"
        for epoch in epochs
    ]
    return card_head(start, data) + "\n".join(
        [
            f"# {start.name}, fine-tuned on {', '.join(data)}",
            "",
            f"CER % (micro) with {decoder} of at most {lines} lines a set, evenly spread over "
            "each split. Epoch 0 is before training, the last one is that of these weights.",
            "",
            "| epoch | train | val |", "|---|---|---|", *rows, "",
        ]
    )  # fmt: skip
