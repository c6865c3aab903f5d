"""Effects of language behind CTC heads of several training seeds, to be run as a module.

    python -m bench.analysis.experiment.seeds results/reference/two-cores-seeds

Heads of random weights learn on the same states of the frozen `mini`, a seed each for weights and
order, and then read `ink` as the language experiment does. The effects are those of its contrasts
that need no other cells; Holm is over all of them here. `mini` with its own head stands beside.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.analysis.experiment.analysis import conclude
from bench.analysis.experiment.counts import Counts, columns
from bench.analysis.experiment.design import CLEAN, ENGLISH, Design, read_design
from bench.analysis.experiment.run import Cell
from bench.analysis.stats import Redrawn
from bench.core.files import write_atomically
from bench.core.hashing import plain
from bench.core.tensors import read_tensors
from bench.core.types import Decoded, Encoded, Line, Runtime
from bench.training.batches import Batch
from bench.training.fit import fit
from bench.training.frozen_head import FrozenHead, training_states
from datasets import DATASETS
from datasets.damage import DAMAGES
from datasets.damage.cache import cached_lines
from datasets.damage.visible import completed, visible_shares
from datasets.root import data_root
from decoders import DECODERS
from decoders.base import Decoder
from models import ENCODERS

READER = "mini"
SEEDS = (1, 2, 3)
CONDITIONS = (CLEAN, "erased")
SYSTEMS = ("ctc-beam", "ctc-ngram", "ctc-gap")

_BATCHES, _COLUMNS = 160, 6000  # of training
_VAL = 60  # lines of `ink` val
_SIZE = 8  # lines encoded at a time


def measure(
    root: Path | None, batches: int = _BATCHES, lines: int = 0, steps: int | None = None
) -> dict[str, Any]:
    """Train the heads and compare what language adds behind each.

    Without a root of training data lines are rendered; `lines` of `ink` test are read (0 for the
    design's), and each training takes so many steps (None for the recipe's).
    """
    design = read_design()
    encoder: Any = ENCODERS.create(READER).open(Runtime(threads=1, batch_size=_SIZE))
    learned = training_states(encoder.net, root, batches, _COLUMNS)
    val = DATASETS.create("ink").load("val", _VAL)
    validated = [
        Batch(e.states.half(), tuple(line.text for line in some), e.frames)
        for e, some in _encoded(encoder, val.lines)
    ]
    clean = DATASETS.create(design.sets[ENGLISH]).load(design.split, lines or design.lines)
    heads, cers = {READER: encoder.net.ctc}, {}
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as out:
            recipe = FrozenHead(
                out=Path(out), seed=seed, steps=steps, learned=learned, validated=validated
            )
            result = fit(recipe)
            head = torch.nn.Linear(encoder.net.ctc.in_features, encoder.net.ctc.out_features)
            head.load_state_dict(read_tensors(result.weights)[0])
        heads[f"seed {seed}"] = head.eval()
        cers[f"seed {seed}"] = result.points[-1]["cer"]
    names = [line.block for line in clean.lines]
    redrawn = Redrawn(tuple(sorted(set(names))))
    cells: dict[Cell, Any] = {}
    for condition in CONDITIONS:
        damaged, visible = _seen(design, condition, clean.lines)
        encoded = list(_encoded(encoder, damaged))
        for system in SYSTEMS:
            with contextlib.closing(DECODERS.create(system).open(encoder.info)) as decoder:
                for name, read in _read(decoder, heads, encoded).items():
                    sums = np.stack(columns(clean.lines, visible, read))
                    cells[name, ENGLISH, condition, system] = redrawn.block_sums(sums, names)
    counts = Counts({ENGLISH: redrawn}, cells)
    known = {(ENGLISH, condition, system) for condition in CONDITIONS for system in SYSTEMS}
    own = tuple(
        contrast
        for contrast in design.contrasts
        if {(t[1], t[2], name) for t in contrast.terms for name in t[3:]} <= known
    )
    judged = conclude(counts, dataclasses.replace(design, readers=tuple(heads), contrasts=own))
    return {
        "design_sha256": design.sha256,
        "weights": encoder.info.weights,
        "dataset_sha256": clean.sha256,
        "lines": len(clean.lines),
        "training": {"batches": batches, "columns": _COLUMNS, "lines": sum(map(_size, learned))},
        "val_cer": cers,
        "blocks": redrawn.blocks,
        "cells": [[*cell, sums.tolist()] for cell, sums in cells.items()],
        "judged": [dataclasses.asdict(one) for one in judged],
    }


def _encoded(encoder: Any, lines: Sequence[Line]) -> Iterator[tuple[Encoded, Sequence[Line]]]:
    for start in range(0, len(lines), _SIZE):
        some = lines[start : start + _SIZE]
        yield encoder.encode(encoder.prepare([line.image for line in some])), some


def _seen(
    design: Design, condition: str, clean: Sequence[Line]
) -> tuple[Sequence[Line], list[NDArray[np.float32]]]:
    """The lines as they are read, and the visible share of each character."""
    at = design.conditions[condition]
    if not at.damage:
        return clean, [np.ones(len(line.text), np.float32) for line in clean]
    damage = DAMAGES.create(at.damage, at.options)
    made = list(cached_lines(damage, clean, design.sets[ENGLISH], at.severity, design.seed))
    pairs = zip(clean, made, strict=True)
    return [one.line for one in made], [completed(a.text, visible_shares(a, b)) for a, b in pairs]


@torch.inference_mode()
def _read(
    decoder: Decoder, heads: Mapping[str, Any], batches: Sequence[tuple[Encoded, Sequence[Line]]]
) -> dict[str, list[Decoded]]:
    """Read all lines behind each head."""
    return {
        name: [
            line
            for own, _ in batches
            for line in decoder.decode(
                dataclasses.replace(own, log_probs=head(own.states).log_softmax(-1))
            )
        ]
        for name, head in heads.items()
    }


def _size(batch: Batch) -> int:
    return len(batch.texts)


def main() -> None:
    """Measure, and write seeds.json into the folder that the command line names."""
    record = measure(data_root())
    text = json.dumps(plain(record), indent=1)
    (folder := Path(sys.argv[1])).mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "seeds.json", f"{text}\n".encode())
    print(folder / "seeds.json")


if __name__ == "__main__":
    main()
