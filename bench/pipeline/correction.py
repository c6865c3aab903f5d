"""What a corrector made of the lines that a decoder read: better, the same, or worse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

from bench.core import metrics
from bench.core.types import Correction, LineResult, Spent
from decoders.correctors.base import REFUSED


def told(
    lines: Sequence[LineResult], trained: bool, spent: Mapping[str, float] = {}
) -> Correction | None:
    """What a row says of its corrector, from the lines as they are stored.

    Args:
        lines: of one cell.
        trained: the weights may be given rates.
        spent: the cost of the corrector, by kind.

    Returns:
        "improved", "same", "worse": lines with fewer, as many and more character edits than before;
        "changed": lines with another text, after normalising; "refused": answers that were not
        taken, by reason; "edits_before" and "cer_before", "wer_before": of what the decoder read
        (rates are None for untrained weights).
        None without a corrector.
    """
    if not lines or any(line.uncorrected is None for line in lines):
        return None
    before = [metrics.score_line(line.reference, line.uncorrected or "") for line in lines]
    gains = [one.edits - line.edits for one, line in zip(before, lines, strict=True)]
    edits, characters = sum(x.edits for x in before), sum(x.characters for x in before)
    words, word_edits = sum(x.words for x in before), sum(x.word_edits for x in before)
    rates = trained and characters > 0
    return {
        "improved": sum(gain > 0 for gain in gains),
        "same": sum(gain == 0 for gain in gains),
        "worse": sum(gain < 0 for gain in gains),
        "changed": sum(
            metrics.normalise(line.text) != metrics.normalise(line.uncorrected or "")
            for line in lines
        ),
        "refused": refusals(lines),
        "edits_before": edits,
        "cer_before": edits / characters if rates else None,
        "wer_before": word_edits / words if rates and words else None,
        **cast(Spent, spent),
    }


def refusals(lines: Sequence[LineResult]) -> Mapping[str, int]:
    """Answers that were refused, by reason, the most frequent first."""
    reasons = Counter(
        line.verdict[len(REFUSED) :] for line in lines if line.verdict.startswith(REFUSED)
    )
    return dict(reasons.most_common())
