"""A trained TrOCR as a folder laid out like the Hub's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from bench.core.files import content_hash, plain_errors
from bench.training.start import Start
from models.hub import is_path
from models.trocr_files import quiet, token_id
from models.trocr_model import AR_FITS

WEIGHTS = "model.safetensors"


def save_folder(folder: Path, model: Any, start: Start, card: str, ar_fits: bool) -> str:
    """Write a checkpoint that any program can open which opens the Hub's TrOCRs.

    Each file takes its place whole, the weights last.

    Args:
        folder: made if it is not there.
        model: a `VisionEncoderDecoderModel`.
        start: what the training began with; it gives image processor and tokenizer.
        card: content of README.md.
        ar_fits: whether the decoder can read what the encoder says.

    Returns:
        The hash of the weights file.

    Raises:
        UserError: the folder may not be written to, or the disk is full.
    """
    _settle(model, ar_fits)
    draft = folder.with_name(f"{folder.name}.unfinished")
    with plain_errors(folder):
        shutil.rmtree(draft, ignore_errors=True)  # of a training that was killed
        draft.mkdir(parents=True)
        with quiet():
            # It writes the names of weights that older versions of transformers know too.
            model.save_pretrained(draft, max_shard_size="1TB")
        (draft / WEIGHTS).chmod(0o644)  # safetensors writes it for the owner alone
        start.save_processing(draft)
        (draft / "README.md").write_text(card, "utf-8")
        folder.mkdir(exist_ok=True)
        for path in sorted(draft.iterdir(), key=lambda path: path.name == WEIGHTS):
            path.replace(folder / path.name)
        draft.rmdir()
    return content_hash(folder / WEIGHTS)


def card_head(start: Start, data: Sequence[str]) -> str:
    """The part of README.md for programs: the data sets, those of the checkpoint before included.

    `models.trocr_files.trained_on` reads it again.
    """
    names = [start.trained_on, *(f"{name} (train)" for name in data)]
    known = dict.fromkeys(name for name in names if name)
    lines = ["datasets:", *(f"- {json.dumps(name)}" for name in known)]  # JSON is YAML
    if start.checkpoint is not None and not is_path(start.checkpoint.repo):
        lines.append(f"base_model: {json.dumps(start.checkpoint.repo)}")
    return "\n".join(["---", *lines, "---", ""])


def _settle(model: Any, ar_fits: bool) -> None:
    """What config.json and generation_config.json say.

    The Hub's files switch the KV cache off and say no length, so that transformers ends every line
    after 20 tokens; these do not.
    """
    if not ar_fits:
        setattr(model.config, AR_FITS, False)
    elif hasattr(model.config, AR_FITS):
        delattr(model.config, AR_FITS)
    decoder = model.config.decoder
    model.generation_config = GenerationConfig(
        bos_token_id=decoder.bos_token_id,
        decoder_start_token_id=token_id(model, "decoder_start_token_id"),
        eos_token_id=token_id(model, "eos_token_id"),
        pad_token_id=token_id(model, "pad_token_id"),
        max_new_tokens=decoder.max_position_embeddings,
    )
