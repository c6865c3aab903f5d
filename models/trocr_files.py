"""The files of a TrOCR checkpoint other than its weights, each checked before use."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import metadata_load
from PIL import Image as PILImage
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    BertTokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)
from transformers.utils import logging as transformers_logging

from bench.core.errors import UserError
from bench.core.types import TROCR, UNREAD
from models import hub
from models.images import Pictures

# Training data of the authors' checkpoints (Li et al. 2021, sections 3.1 and 4.1; their cards on
# the Hub have no machine-readable form of it).
_AUTHORS = "microsoft/trocr-"
_STAGE_1 = "684 M printed lines"
_SAME = 1e-3  # between pixels that are prepared in the same steps
_LEAST_CONTRAST, _MOST_CONTRAST = 0.2, 25.0
_PADDING = 0.01  # share of a decoder's vocabulary, which is rounded up, that may have no token
# Settings of transformers' `generate` that change the text, each with its neutral value.
_NEUTRAL: Mapping[str, Any] = {
    "num_beams": 1, "early_stopping": False, "length_penalty": 1.0, "max_length": 20,
    "max_new_tokens": None, "min_length": 0, "min_new_tokens": 0, "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0, "repetition_penalty": 1.0, "encoder_repetition_penalty": 1.0,
    "forced_bos_token_id": None, "forced_eos_token_id": None, "suppress_tokens": None,
    "begin_suppress_tokens": None, "bad_words_ids": None, "force_words_ids": None,
    "sequence_bias": None, "do_sample": False, "num_beam_groups": 1, "diversity_penalty": 0.0,
    "exponential_decay_length_penalty": None, "penalty_alpha": None, "guidance_scale": 1.0,
    "stop_strings": None, "renormalize_logits": False, "watermarking_config": None,
}  # fmt: skip
_TRAINED_ON = {
    "stage1": _STAGE_1,
    "handwritten": f"{_STAGE_1}, 17.9 M synthetic handwritten lines, IAM train (Aachen split)",
    "printed": f"{_STAGE_1}, 3.3 M receipt lines, SROIE train",
}


def load_processor(checkpoint: hub.Checkpoint, encoder: Any) -> Any:
    """The image processor, with PIL's resizing, so that pixels are the same everywhere.

    The classes' own defaults (224 px, ImageNet statistics, DeiT's crop) are wrong for TrOCR, so
    the checkpoint has to state everything.
    """
    folder = checkpoint.folder_of(hub.IMAGES)
    stated = hub.stated_processing(checkpoint)
    for key in hub.PROCESSING:
        if stated.get(key) is None:
            raise UserError(f"the image processor of {checkpoint.repo} does not state its {key}")
    with loading(checkpoint, "the image processor"):
        processor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
        _check_contrast(checkpoint, processor)
    size = encoder.image_size
    height, width = (size, size) if isinstance(size, int) else size
    if getattr(processor, "do_center_crop", False):
        raise UserError(
            f"the image processor of {checkpoint.repo} crops its images, which cuts off text; "
            "set do_center_crop to false in its file"
        )
    made = processor.size
    if (made.height, made.width) != (height, width):
        raise UserError(
            f"the image processor of {checkpoint.repo} makes images of {made.height} x "
            f"{made.width} px, but its encoder reads {height} x {width} px; mend its size"
        )
    _check_steps(checkpoint, processor)
    return processor


def _check_steps(checkpoint: hub.Checkpoint, processor: Any) -> None:
    """Refuse a processor that does more or less than `Pictures` repeats, such as padding a line."""
    image = (np.arange(40 * 300, dtype=np.uint32) * 7 % 251).astype(np.uint8).reshape(40, 300)
    with loading(checkpoint, "the image processor"):
        picture = PILImage.fromarray(image).convert("RGB")
        expected = processor(picture, return_tensors="pt")["pixel_values"]
        repeated = Pictures.of(processor)
        made = repeated.pixels(repeated.squeeze([image]))
    if made.shape != expected.shape or not torch.allclose(made, expected, rtol=0, atol=_SAME):
        raise UserError(
            f"the image processor of {checkpoint.repo} ({type(processor).__name__}) does not "
            "squeeze each line into its size, as those of TrOCR do; choose another checkpoint, or "
            "mend the settings that it was not trained with"
        )


def _check_contrast(checkpoint: hub.Checkpoint, processor: Any) -> None:
    """Refuse pixels whose black and white no network was trained with."""
    scale = processor.rescale_factor if processor.do_rescale else 1.0
    spreads = processor.image_std if processor.do_normalize else (1.0,)
    contrasts = [255 * scale / spread if spread else float("inf") for spread in spreads]
    if not all(_LEAST_CONTRAST < contrast < _MOST_CONTRAST for contrast in contrasts):
        raise UserError(
            f"the image processor of {checkpoint.repo} puts {contrasts[0]:.3g} between black and "
            "white, where networks read 1 to 5; mend its rescale_factor and image_std"
        )
    means = processor.image_mean if processor.do_normalize else (0.0,)
    grey = [(127.5 * scale - m) / spread for m, spread in zip(means, spreads, strict=True)]
    if any(abs(level) > contrast for level, contrast in zip(grey, contrasts, strict=True)):
        raise UserError(
            f"the image processor of {checkpoint.repo} turns middle grey into {grey[0]:.3g}, where "
            "networks read about 0; mend its image_mean"
        )


def load_tokenizer(checkpoint: hub.Checkpoint, model: Any) -> Any:
    """The tokenizer; beside a TrOCR decoder its class is recognised by its files.

    transformers' own guess for that is XLM-R's, which is wrong for base and large.

    Raises:
        UserError: it cannot be read, or its special tokens or its size are not the decoder's.
    """
    kind: Any = PreTrainedTokenizerFast
    folder = checkpoint.folder_of(hub.TOKENIZER)
    if model.config.decoder.model_type != TROCR:
        kind = AutoTokenizer
    elif (folder / hub.SENTENCEPIECE).is_file():
        kind = XLMRobertaTokenizer
    elif (folder / "merges.txt").is_file() and (folder / "vocab.json").is_file():
        kind = RobertaTokenizer
    elif (folder / "vocab.txt").is_file() and not (folder / "tokenizer.json").is_file():
        kind = BertTokenizer
    with loading(checkpoint, "the tokenizer"):
        tokenizer = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    _check_vocabulary(checkpoint, tokenizer)
    tokens, size = len(tokenizer), model.config.decoder.vocab_size
    if not 0 <= size - tokens <= _PADDING * size:
        raise UserError(
            f"the tokenizer of {checkpoint.repo} has {tokens} tokens and its decoder {size}; "
            "copy the tokenizer that it was trained with into it"
        )
    numbers = tokenizer.get_vocab().values()
    if len({*numbers}) < len(numbers) or max(numbers) >= size:
        raise UserError(
            f"the tokenizer of {checkpoint.repo} has tokens with the same number, or with one that "
            "its decoder lacks; fetch the checkpoint again"
        )
    for name in ("eos_token_id", "pad_token_id"):
        own, other = getattr(tokenizer, name), token_id(model, name)
        if own not in (other, None):  # BERT's tokenizers have no EOS
            raise UserError(
                f"the tokenizer of {checkpoint.repo} does not fit its decoder: {name} is {own} "
                f"in one and {other} in the other"
            )
    return tokenizer


def _check_vocabulary(checkpoint: hub.Checkpoint, tokenizer: Any) -> None:
    """Refuse a vocab.json with other numbers than those of the tokenizer.json that is read."""
    folder = checkpoint.folder_of(hub.TOKENIZER)
    old, new = folder / "vocab.json", folder / "tokenizer.json"
    if old.is_file() and new.is_file():
        read = tokenizer.get_vocab()
        for token, number in hub.read_json(old).items():
            if read.get(token, number) != number:
                raise UserError(
                    f"{old.name} and {new.name} of {checkpoint.repo} disagree on {token}; remove "
                    "the one that it was not trained with"
                )


def token_id(model: Any, name: str) -> int:
    """The id of a special token, from the place that transformers reads.

    The start token is </s> for the authors' checkpoints, not <s>.

    Raises:
        UserError: the checkpoint names none, several, or one that its decoder does not have.
    """
    tokens = model.config.decoder.vocab_size
    for config in (model.generation_config, model.config, model.config.decoder):
        value = getattr(config, name, None)
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(value, int) and 0 <= value < tokens:
            return value
        if value is not None:
            raise UserError(
                f"the checkpoint has {name} {value}; write one number below {tokens} there"
            )
    raise UserError(f"the checkpoint does not say {name}; add it to config.json")


def generation_settings(folder: Path, decoder: Any) -> dict[str, Any]:
    """The settings for generating text that a checkpoint states, other than neutral ones.

    The name of one in config.json ends in `UNREAD` where generation_config.json is there:
    transformers reads that alone then.
    """
    config, own = hub.read_json(folder / "config.json"), folder / "generation_config.json"
    stated = _chosen({**(config.get("decoder") or {}), **config}, decoder)
    if not own.is_file():
        return stated
    read = hub.read_json(own)
    unread = {f"{name}{UNREAD}": stated[name] for name in stated if name not in read}
    return {**_chosen(read, decoder), **unread}


def _chosen(stated: Mapping[str, Any], decoder: Any) -> dict[str, Any]:
    chosen = {n: stated[n] for n in _NEUTRAL if stated.get(n) not in (None, [], {}, _NEUTRAL[n])}
    for name in ("max_length", "max_new_tokens"):  # unless the decoder's own limit is lower
        limit = chosen.get(name, 0)
        start = name == "max_length"  # which counts the start token
        if not isinstance(limit, int):
            raise UserError(
                f"the checkpoint has {name} {limit!r}; write a whole number in its "
                "generation_config.json"
            )
        if limit - start >= decoder.max_position_embeddings:
            del chosen[name]
    return chosen


def trained_on(checkpoint: hub.Checkpoint) -> str:
    """The data sets that the model card names, else those of the authors' paper, else ""."""
    card = checkpoint.folder / "README.md"
    try:
        stated = (metadata_load(card) or {}).get("datasets") if card.is_file() else None
    except Exception:  # YAML cannot read the card
        stated = None
    if stated:
        return ", ".join(map(str, stated if isinstance(stated, list) else [stated]))
    if checkpoint.repo.startswith(_AUTHORS):
        return _TRAINED_ON.get(checkpoint.repo.rpartition("-")[2], "")
    return ""


@contextmanager
def loading(checkpoint: hub.Checkpoint, what: str) -> Iterator[None]:
    """Run transformers without its log, and turn all its errors into one sentence.

    Untrusted files can make it raise anything; the cause stays chained for --traceback.
    """
    try:
        with quiet():
            yield
    except UserError:
        raise
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
