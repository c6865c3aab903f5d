"""An error budget: how many edits the search, the lost ink, and the model answer for.

Search errors are those of `bench.analysis.diagnostics`. The edits of all other lines are split by
where they stand: at a hidden character, whose ink no model has, or at a visible one.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.analysis.diagnostics import line_findings
from bench.analysis.experiment.counts import place, shares_of
from bench.analysis.experiment.design import CLEAN, ENGLISH
from bench.analysis.experiment.run import SHARES, Measured
from bench.pipeline.measure import batches_of
from bench.pipeline.opening import Track, open_encoder, torch_threads
from bench.pipeline.plan import Block
from datasets.damage.cache import cached_lines
from datasets.damage.visible import HIDDEN
from models.base import Encoder

CONDITIONS = (CLEAN, "erased")
DOSES = ("ctc-ngram", "ctc-gap")  # beside the baseline


@dataclass(frozen=True)
class Budget:
    """The character edits of a decoder on English under a condition, by cause.

    search: of lines whose reference the decoder itself scores higher than what it read; None where
        it scores no texts, and these edits are counted elsewhere.
    ink, model: of the other lines, at hidden and at visible characters.
    characters: of the references.
    best: edits of the best text of each line in the beam, the oracle of the search.
    beam: texts that it holds.
    """

    reader: str
    condition: str
    system: str
    search: int | None
    ink: int
    model: int
    characters: int
    best: int
    beam: int


def budgets(measured: Measured, track: Track) -> Iterator[Budget]:
    """Read English again with all texts of the beam, behind every reader."""
    design = measured.design
    places = [
        (reader, condition)
        for reader in measured.infos
        for condition in CONDITIONS
        if (reader, ENGLISH, condition, design.baseline) in measured.rows
    ]
    encoder: Encoder | None = None
    with torch_threads(design.runtime.threads):
        for reader, condition in track(places, "looking for causes"):
            block = measured.blocks[reader, ENGLISH, condition]
            if encoder is None or encoder.info.name != reader:
                encoder = open_encoder(block.encoder.thing, reader, design.runtime)
            yield from _of_block(measured, block, (reader, ENGLISH, condition), encoder)


def _of_block(
    measured: Measured, block: Block, at: tuple[str, str, str], encoder: Encoder
) -> Iterator[Budget]:
    clean = measured.sets[ENGLISH]
    shares = shares_of(measured.store.path / SHARES, block, clean)
    lines, own = list(clean.lines), block.condition
    if block.damage:
        made = cached_lines(block.damage.thing, lines, own.dataset, own.severity, own.seed)
        lines = [one.line for one in made]
    batches = [
        [lines[index] for index in batch]
        for batch in batches_of([line.image for line in lines], block.runtime.batch_size)
    ]
    encoded = [encoder.encode(encoder.prepare([x.image for x in some])) for some in batches]
    for part in block.decoders:
        row = measured.rows.get((*at, part.name))
        if row is None or part.name not in (measured.design.baseline, *DOSES):
            continue
        decoder = dataclasses.replace(part.thing, nbest=part.thing.beam).open(encoder.info)
        with contextlib.closing(decoder):
            found = {
                one.id: one
                for pair in zip(encoded, batches, strict=True)
                for one in line_findings(decoder, *pair)
            }
        searching = [one.edits[0] for one in found.values() if one.kind == "search"]
        edits = np.zeros(2, np.int64)
        read = measured.store.lines(row.key)
        for line, visible, own_text in zip(lines, shares, read, strict=True):
            if found[line.id].kind != "search":
                at_each = place(line.text, own_text.text, visible).edits
                edits += at_each[visible < HIDDEN].sum(), at_each[visible >= HIDDEN].sum()
        unknown = any(one.kind == "unknown" for one in found.values())
        yield Budget(
            reader=at[0],
            condition=at[2],
            system=part.name,
            search=None if unknown else sum(searching),
            ink=int(edits[0]),
            model=int(edits[1]),
            characters=sum(one.characters for one in found.values()),
            best=sum(min(one.edits) for one in found.values()),
            beam=part.thing.beam,
        )
