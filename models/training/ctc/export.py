"""A trained encoder as a folder laid out like the Hub's, its head in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from bench.files import draft_of, write_atomically
from models.hub import content_hash
from models.mini_ar import EOS, PAD, START, TOKENIZER
from models.training.ctc.start import Start
from models.trocr_model import AR_FITS

WEIGHTS = "model.safetensors"
_OURS = {"config.json", WEIGHTS, "pytorch_model.bin", "README.md", ".gitattributes"}


def save_encoder(
    folder: Path, start: Start, encoder: Mapping[str, Tensor], data: Sequence[str]
) -> str:
    """Write a checkpoint with these weights of the encoder; returns the hash of its weights file.

    Everything else is that of the checkpoint it started from. The AR decoder is kept, so that it
    can be trained on the changed encoder, and marked as not fit to read it.

    Args:
        folder: made if it is not there.
        start: what the training began with.
        encoder: state of the encoder.
        data: what it was trained on, for its card.

    Raises:
        UserError: the folder may not be written to, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = start.model
    setattr(model.config, AR_FITS, False)
    model.config.save_pretrained(folder)
    _save_processing(folder, start)
    datasets = "".join(f"- {json.dumps(name)}\n" for name in data)  # JSON is YAML
    card = f"---\ndatasets:\n{datasets}---\n# {start.name}, trained on with a CTC head\n"
    write_atomically(folder / "README.md", card.encode())
    own = {f"encoder.{name}": value for name, value in encoder.items()}
    tied = set(model.all_tied_weights_keys)
    kept = {k: v for k, v in model.state_dict().items() if k not in tied and k not in own}
    tensors = {name: value.detach().cpu().contiguous() for name, value in (kept | own).items()}
    with draft_of(folder / WEIGHTS) as draft:
        save_file(tensors, draft, {"format": "pt"})
        draft.chmod(0o644)  # safetensors writes it for the owner alone
    return content_hash(folder / WEIGHTS)


def _save_processing(folder: Path, start: Start) -> None:
    """Image processor, tokenizer, generation: of the checkpoint, or `mini`'s tokenizer."""
    if start.folder is None:
        start.processor.save_pretrained(folder)
        _tokenizer().save_pretrained(folder)
        return
    for path in start.folder.iterdir():
        if path.is_file() and path.name not in _OURS and path.suffix not in (".safetensors", ".md"):
            shutil.copyfile(path, folder / path.name)


def _tokenizer() -> Any:
    """The 1,000 units of `mini`, which the decoder of the shape "tiny" is made for."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    names = {role: tokenizer.id_to_token(i) for role, i in _ROLES.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


_ROLES = {"bos_token": START, "pad_token": PAD, "eos_token": EOS}
