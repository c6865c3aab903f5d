"""The files of a TrOCR checkpoint other than its weights, each checked before it is believed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import metadata_load
from transformers import (
    AutoImageProcessor,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)
from transformers.utils import logging as transformers_logging

from bench.errors import UserError
from models import hub

# What the authors' checkpoints are trained on (Li et al. 2021, sections 3.1 and 4.1; their cards
# on the Hub do not say it in a form that a program can read).
_AUTHORS = "microsoft/trocr-"
_STAGE_1 = "684 M printed lines"
_TRAINED_ON = {
    "stage1": _STAGE_1,
    "handwritten": f"{_STAGE_1}, 17.9 M synthetic handwritten lines, IAM train (Aachen split)",
    "printed": f"{_STAGE_1}, 3.3 M receipt lines, SROIE train",
}


def load_processor(checkpoint: hub.Checkpoint, encoder: Any) -> Any:
    """The image processor: PIL's resizing whatever else is installed, so that pixels are the same.

    The classes' own defaults (224 px, ImageNet statistics, DeiT's crop) are wrong for TrOCR, so
    everything has to be said by the checkpoint.
    """
    stated = _stated_processing(checkpoint.folder)
    for key in ("size", "image_mean", "image_std"):
        if key not in stated:
            raise UserError(f"the image processor of {checkpoint.repo} does not state its {key}")
    with loading(checkpoint, "the image processor"):
        processor = AutoImageProcessor.from_pretrained(
            checkpoint.folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
    wanted = encoder.image_size
    height, width = (wanted, wanted) if isinstance(wanted, int) else wanted
    if getattr(processor, "do_center_crop", False):
        raise UserError(
            f"the image processor of {checkpoint.repo} crops its images, which cuts off text; "
            "set do_center_crop to false in its file"
        )
    found = processor.size
    if (found.height, found.width) != (height, width):
        raise UserError(
            f"the image processor of {checkpoint.repo} makes images of {found.height} x "
            f"{found.width} px, but its encoder reads {height} x {width} px; mend its size"
        )
    return processor


def _stated_processing(folder: Path) -> Mapping[str, Any]:
    """What the checkpoint says of its image processor, in the old layout or the new one."""
    old = folder / "preprocessor_config.json"
    if old.is_file():
        return hub.read_json(old)
    nested: Mapping[str, Any] = hub.read_json(folder / "processor_config.json").get(
        "image_processor", {}
    )
    return nested


def load_tokenizer(checkpoint: hub.Checkpoint, decoder: Any) -> Any:
    """The tokenizer, its class told from its files.

    transformers' own guess for a TrOCR decoder is XLM-R's, which is wrong for base and large.

    Raises:
        UserError: it cannot be read, or its special tokens or its size are not the decoder's.
    """
    kind: Any = PreTrainedTokenizerFast
    if (checkpoint.folder / hub.SENTENCEPIECE).is_file():
        kind = XLMRobertaTokenizer
    elif (checkpoint.folder / "merges.txt").is_file():
        kind = RobertaTokenizer
    with loading(checkpoint, "the tokenizer"):
        tokenizer = kind.from_pretrained(checkpoint.folder, local_files_only=True)
    for name in ("eos_token_id", "pad_token_id"):
        said, wanted = getattr(tokenizer, name), getattr(decoder, name)
        if said != wanted:
            raise UserError(
                f"the tokenizer of {checkpoint.repo} does not fit its decoder: {name} is {said} "
                f"in one and {wanted} in the other"
            )
    return tokenizer


def trained_on(checkpoint: hub.Checkpoint) -> str:
    """The data sets that the model card names, else what the authors' paper says, else nothing."""
    card = checkpoint.folder / "README.md"
    try:
        stated = (metadata_load(card) or {}).get("datasets") if card.is_file() else None
    except Exception:  # a card that YAML cannot read says nothing
        stated = None
    if stated:
        return ", ".join(map(str, stated if isinstance(stated, list) else [stated]))
    if checkpoint.repo.startswith(_AUTHORS):
        return _TRAINED_ON.get(checkpoint.repo.rpartition("-")[2], "")
    return ""


@contextmanager
def loading(checkpoint: hub.Checkpoint, what: str) -> Iterator[None]:
    """Run transformers without its chatter, and with whatever it raises as one sentence.

    Foreign files can make it raise anything; the cause stays chained for --traceback.
    """
    try:
        with quiet():
            yield
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        reason = words.partition(". ")[0][:200]
        raise UserError(
            f"{what} of {checkpoint.repo} cannot be used ({reason}); fetch the checkpoint "
            "again, or choose another"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Run transformers without its log and its bars."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
