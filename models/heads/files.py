"""Trained heads on disk: a safetensors file with notes, and a card beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.files import write_atomically
from bench.core.records import dump, load
from bench.core.tensors import read_tensors, write_tensors
from models.heads import HEADS
from models.heads.base import Grid, Head, HeadConfig

_FORMAT = "kaidoku-ctc-head-1"


@dataclass(frozen=True)
class HeadNotes:
    """The notes in a head's file.

    head, options: registered name, and options of its config.
    encoder, encoder_hash: name and content hash of the weights file that it belongs to.
    unfrozen: whether the encoder was trained along, away from its AR decoder.
    data, data_hash: names of the sets (train splits), and hash of their lines.
    alphabet: V symbols, the blank first.
    steps: of the best weights, which are these.
    val_cer: a fraction, on the val split of `val_data`, read with `decoder`; None: not measured.
    """

    head: str
    options: Mapping[str, Any]
    encoder: str
    encoder_hash: str
    unfrozen: bool
    data: str
    data_hash: str
    alphabet: tuple[str, ...]
    steps: int
    val_cer: float | None
    val_data: str
    decoder: str
    seed: int

    def config(self) -> HeadConfig:
        """The config of the head."""
        config: HeadConfig = HEADS.create(self.head, self.options)
        return config


def save_head(path: Path, state: Mapping[str, Tensor], notes: HeadNotes) -> None:
    """Write a head and its card, each whole or not at all."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    write_tensors(path, tensors, {"format": _FORMAT, "notes": dump(notes).decode()})
    write_atomically(path.with_suffix(".md"), _card(path, notes, tensors).encode())


def read_head(path: Path) -> tuple[dict[str, Tensor], HeadNotes]:
    """Read the tensors and notes of a head's file.

    Raises:
        UserError: it is damaged, or is no head of this program.
    """
    tensors, stored = read_tensors(path)
    remedy = "make one with python -m bench train ctc"
    if stored.get("format") != _FORMAT:
        raise UserError(f"{path} is no CTC head of this program; {remedy}")
    return tensors, load(
        HeadNotes, stored.get("notes", "").encode(), f"the notes of {path}", remedy
    )


def load_head(path: Path, encoder: Any, encoder_hash: str) -> tuple[Head, HeadNotes]:
    """A head in eval mode, for an encoder's configuration (ViT, DeiT) and hash of its weights.

    Raises:
        UserError: it is damaged, is no head, or was trained on another encoder.
    """
    tensors, notes = read_head(path)
    if notes.encoder_hash != encoder_hash:
        raise UserError(
            f"the head {path} was trained on the weights {notes.encoder_hash} ({notes.encoder}) "
            f"and cannot read those of {encoder_hash}; train one for this encoder with "
            "python -m bench train ctc"
        )
    config = notes.config()
    with torch.device("meta"):  # only its shapes: the file has the values
        head = Head(config, Grid.of(encoder, config.image()), len(notes.alphabet))
    try:
        head.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        first = next((x.strip() for x in str(error).splitlines()[1:]), str(error))
        raise UserError(f"the head {path} is damaged ({first}); train it again") from error
    return head.eval(), notes


def _card(path: Path, notes: HeadNotes, tensors: Mapping[str, Tensor]) -> str:
    """Write the model card."""
    count = sum(value.numel() for value in tensors.values())
    options = ", ".join(f"{name} = {value}" for name, value in notes.options.items())
    cer = "not measured" if notes.val_cer is None else f"{100 * notes.val_cer:.2f} %"
    trained = "trained along" if notes.unfrozen else "frozen"
    rows = {
        "head": f"`{notes.head}` ({options or 'all options as they are'})",
        "parameters": f"{count:,}",
        "encoder": f"{notes.encoder}, weights `{notes.encoder_hash}`, {trained}",
        "trained on": f"{notes.data} (train), hash `{notes.data_hash[:16]}`",
        "steps": f"{notes.steps:,}, seed {notes.seed}",
        "chosen by": f"CER {cer} on {notes.val_data} (val), read with `{notes.decoder}`",
        "alphabet": f"{len(notes.alphabet)} symbols, the blank included",
    }
    table = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    return f"# {path.stem}\n\nA CTC head for a TrOCR encoder.\n\n| | |\n|---|---|\n{table}"
