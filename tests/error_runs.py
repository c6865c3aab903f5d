"""A small run on disk, of real lines with made-up readings, for tests of the error analysis."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from bench.core import metrics
from bench.core.types import UNTRAINED, Condition, Decoded, LineSet
from bench.pipeline.cells import line_result
from bench.pipeline.store import RunStore
from datasets.damage.base import SUITE
from datasets.lines import RenderedLines
from tests.run_rows import ENVIRONMENT, failed, row

LINES = 8
# What decoders make of a line; the second undoes what the first does and does something else.
READERS = {
    "ctc-greedy": lambda text: text.replace("n", "u").replace("w", "v"),
    "ctc-ngram": lambda text: text.replace(" the ", " then ").lower(),
    "ar-beam": lambda text: text[: len(text) // 2],
}
HOSTILE = ("=HYPERLINK(A1)", "+1", "-1", "@x", "_x0041_ \u202e\x07 \x85", "<b>&amp;")


def make(folder: Path, hostile: bool = False) -> tuple[RunStore, LineSet]:
    """A run of the clean set and of two damages, with rows that failed and that are untrained.

    Args:
        folder: the run folder.
        hostile: let every decoder read what would harm a careless spreadsheet.
    """
    clean = RenderedLines().load("test", LINES)
    store = RunStore(folder)
    with store.writing(ENVIRONMENT) as environment:
        for damage, severity in (("none", 0), ("char_erase", 3), ("defocus", 2)):
            condition = Condition("lines", "test", damage, severity, limit=LINES)
            shared: dict[str, Any] = {"condition": condition, "dataset_sha256": clean.sha256}
            shared |= {"environment": environment, "damage": damage, "severity": severity}
            shared |= {"suite": SUITE if severity else ""}
            for decoder, read in READERS.items():
                texts = [HOSTILE[n % len(HOSTILE)] if hostile else read(line.text)
                         for n, line in enumerate(clean.lines)]  # fmt: skip
                decoded = [Decoded(text, 9) for text in texts]
                results = list(map(line_result, clean.lines, decoded))
                counts = metrics.totals(results)
                rates = {"counts": counts, "cer": metrics.cer(counts), "wer": metrics.wer(counts)}
                made = row(decoder, **{**shared, **rates})
                store.write(made, results)
            if not severity:
                untrained = row("ar-beam", encoder="trocr-small", weights=UNTRAINED, **shared)
                untrained = dataclasses.replace(untrained, cer=None, wer=None)
                store.write(untrained, results)
                store.write(failed(decoder="ctc-kenlm", **shared))
    return store, clean
