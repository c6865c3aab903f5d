"""What differs between the speed table of the TrOCR paper and ours, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.speed.job import SENTENCES
from bench.core.types import UNTRAINED
from bench.report.format import listing, plain, plural
from bench.report.speed_rows import SpeedRow


def differences(rows: Sequence[SpeedRow]) -> list[str]:
    """What differs between the paper's measurement and this one, a sentence or two each."""
    told = [
        "The paper states neither the GPU nor the number of GPUs, batch size or precision of its "
        "speed table. Absolute times are therefore no comparison; the ratios of "
        "the sizes are the fairer check, since the machine cancels out of them."
    ]
    measured = [row for row in rows if row.result and row.figures]
    if not measured:
        return told
    first = measured[0].result
    assert first is not None
    runtime, condition = first.row.runtime, first.row.condition
    told.append(
        f"Here: {plain(first.setting.machine)}, device {runtime.device}, "
        f"{plural(runtime.threads, 'thread')}, {first.setting.software}. The "
        "search is transformers' with a KV cache, the paper's is fairseq's."
    )
    if untrained := sorted({row.model for row in measured if row.weights == UNTRAINED}):
        told.append(
            f"The weights of {listing(untrained)} are not here (python -m bench weights get NAME "
            "fetches them): random weights of the same architecture did the same work, each line "
            "made to emit as many tokens as its width lets expect, on average as many as in the "
            "paper's table. They are marked untrained and have no CER."
        )
    if condition.dataset != "iam":
        told.append(
            f"Lines are those of {plain(first.names.dataset)}, not of IAM: the encoder's work "
            "does not depend on them, the decoder's does through their number of tokens."
        )
    cut = sorted({row.figures.measured_lines for row in measured if row.figures})
    if cut != [SENTENCES]:
        told.append(
            f"The paper read {SENTENCES:,} lines, here {count_range(cut)} were read: totals are "
            "extrapolated, speeds are measured."
        )
    told.append(
        "The paper's timer counts its first batch, in which the machine warms up; here that is "
        "left out."
    )
    return told


def count_range(counts: Sequence[int]) -> str:
    """Sorted counts in words: "3", "3 to 16"."""
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
