"""A fine-tuned TrOCR as a folder laid out like the Hub's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from bench.files import plain_errors
from bench.types import ARModel
from models.hub import is_path
from models.training.ar.curve import Epoch
from models.training.start import Start
from models.trocr_files import quiet
from models.trocr_model import AR_FITS


def save_model(folder: Path, model: Any, ar: ARModel, start: Start, card: str) -> None:
    """Write a checkpoint that any program can open which opens the Hub's TrOCRs.

    Each file takes its place whole, the weights last.

    Args:
        folder: made if it is not there.
        model: a `VisionEncoderDecoderModel`.
        ar: its decoder.
        start: what the training began with; it gives image processor and tokenizer.
        card: content of README.md.

    Raises:
        UserError: the folder may not be written to, or the disk is full.
    """
    if hasattr(model.config, AR_FITS):  # it was trained with a CTC head, and fits again
        delattr(model.config, AR_FITS)
    model.generation_config = GenerationConfig(
        bos_token_id=model.config.decoder.bos_token_id,
        decoder_start_token_id=ar.start_id,
        eos_token_id=ar.eos_id,
        pad_token_id=ar.pad_id,
        max_new_tokens=ar.max_new_tokens,
    )
    draft = folder.with_name(f"{folder.name}.unfinished")
    with plain_errors(folder):
        shutil.rmtree(draft, ignore_errors=True)  # of a training that was killed
        draft.mkdir(parents=True)
        # transformers writes the names of weights that its older versions know too.
        with quiet():
            model.save_pretrained(draft, max_shard_size="1TB")
        start.save_processing(draft)
        (draft / "README.md").write_text(card, "utf-8")
        folder.mkdir(exist_ok=True)
        for path in sorted(draft.iterdir(), key=lambda path: path.suffix == ".safetensors"):
            path.replace(folder / path.name)
        draft.rmdir()


def model_card(
    start: Start, data: Sequence[str], epochs: Sequence[Epoch], decoder: str, lines: int
) -> str:
    """README.md: what it is, what it learned from, and how well it read, epoch by epoch.

    The last epoch is that of the weights.
    `models.trocr_files.trained_on` reads the list of data sets again.
    """
    names = [start.trained_on, *(f"{name} (train)" for name in data)]
    known = dict.fromkeys(name for name in names if name)
    head = ["datasets:", *(f"- {json.dumps(name)}" for name in known)]  # JSON is YAML
    if start.checkpoint is not None and not is_path(start.checkpoint.repo):
        head.append(f"base_model: {json.dumps(start.checkpoint.repo)}")
    rows = [
        f"| {epoch.epoch} | {100 * epoch.train_cer:.2f} | {100 * epoch.cer:.2f} |"
        for epoch in epochs
    ]
    return "\n".join(
        [
            "---", *head, "---",
            f"# {start.name}, fine-tuned on {', '.join(data)}",
            "",
            f"CER % (micro) with {decoder} of at most {lines} lines a set, evenly spread over "
            "each split. Epoch 0 is before training, the last one is that of these weights.",
            "",
            "| epoch | train | val |", "|---|---|---|", *rows, "",
        ]
    )  # fmt: skip
