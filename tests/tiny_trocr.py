"""Tiny TrOCR checkpoints with random weights, laid out as the Hub's folders are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import ByteLevelBPETokenizer, SentencePieceUnigramTokenizer
from transformers import (
    DeiTConfig,
    TrOCRConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    XLMRobertaTokenizer,
)

from bench.core.types import Image, Runtime
from models.trocr import TrOCRSpec

Kind = Literal["small", "base"]

IMAGE = 32
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
TEXT = [
    "It was a dark and stormy night ; the rain fell in torrents .",
    'He said , "I don\'t know what you mean" , and left the room .',
    "The quick brown fox jumps over the lazy dog ( twice ) !",
] * 4

# Verbatim from the Hub: the KV cache is off, and nothing is said of beams or of length.
GENERATION = {
    "_from_model_config": True,
    "bos_token_id": 0,
    "decoder_start_token_id": 2,
    "eos_token_id": 2,
    "pad_token_id": 1,
    "transformers_version": "4.27.0.dev0",
    "use_cache": False,
}
_STEPS = {"do_normalize": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
_SIZE = {"height": IMAGE, "width": IMAGE}
PREPROCESSOR: dict[Kind, dict[str, Any]] = {
    "base": {
        **_STEPS, "image_processor_type": "ViTImageProcessor", "resample": 2, "size": IMAGE,
    },
    "small": {
        **_STEPS, "feature_extractor_type": "DeiTFeatureExtractor", "resample": 3, "size": _SIZE,
        "crop_size": _SIZE, "do_center_crop": False,
    },
}  # fmt: skip


def tiny_model(kind: Kind, vocabulary: int, seed: int = 0, **decoder: Any) -> Any:
    """A random model: DeiT + sinusoidal positions, untied ("small"); ViT + learned ("base").

    The weights are drawn wide, so that lines differ from each other and some of them end.
    """
    torch.manual_seed(seed)
    vision = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 32,
        "image_size": IMAGE,
        "patch_size": 8,
        "initializer_range": 0.3,
    }
    language: dict[str, Any] = {
        "vocab_size": vocabulary,
        "d_model": 32,
        "decoder_layers": 2,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 48,
        "max_position_embeddings": 64,
        "cross_attention_hidden_size": 24,
        "init_std": 0.5,
    }
    if kind == "small":
        encoder: Any = DeiTConfig(**vision)
        language |= {
            "use_learned_position_embeddings": False,
            "scale_embedding": True,
            "tie_word_embeddings": False,
            "activation_function": "relu",
        }
    else:
        encoder = ViTConfig(**vision, qkv_bias=False)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        encoder, TrOCRConfig(**(language | decoder))
    )
    config.decoder_start_token_id, config.pad_token_id = 2, 1
    return VisionEncoderDecoderModel(config=config).eval()


def save_tokenizer(folder: Path, kind: Kind) -> int:
    """Write RoBERTa's two files ("base") or XLM-R's one ("small"); returns how many tokens."""
    if kind == "base":
        bpe = ByteLevelBPETokenizer()
        bpe.train_from_iterator(TEXT, vocab_size=320, special_tokens=SPECIAL, show_progress=False)
        bpe.save_model(str(folder))
        said = {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": False}
        write_json(folder / "tokenizer_config.json", said)
        return int(bpe.get_vocab_size())
    unigram = SentencePieceUnigramTokenizer()
    unigram.train_from_iterator(
        TEXT, vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    vocabulary = json.loads(unigram.to_str())["model"]["vocab"]
    tokenizer = XLMRobertaTokenizer(vocab=[tuple(piece) for piece in vocabulary])
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def save_checkpoint(folder: Path, kind: Kind, seed: int = 0, pickled: bool = False) -> Any:
    """Write a whole checkpoint and return its model; `pickled` weights are pytorch_model.bin."""
    folder.mkdir(parents=True, exist_ok=True)
    model = tiny_model(kind, save_tokenizer(folder, kind), seed)
    model.save_pretrained(folder)
    write_json(folder / "generation_config.json", GENERATION)
    write_json(folder / "preprocessor_config.json", PREPROCESSOR[kind])
    (folder / "README.md").write_text("---\ntags:\n- trocr\n---\n# A tiny TrOCR\n")
    if pickled:
        weights = folder / "model.safetensors"
        torch.save(load_file(weights), folder / "pytorch_model.bin")
        weights.unlink()
    return model


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2))


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    write_json(path, content)


def opened(folder: Path, **runtime: Any) -> Any:
    return TrOCRSpec(str(folder)).open(replace(Runtime(), **runtime))


def lines(count: int) -> list[Image]:
    """Pictures of several sizes with strokes in them, some so small or wide as a user may have."""
    rng = np.random.default_rng(0)
    sizes = [(64, 400), (1, 1), (3, 20_000), (300, 7), (48, 48), (100, 1800)]
    images = []
    for index in range(count):
        height, width = sizes[index % len(sizes)]
        image = np.full((height, width), 255, np.uint8)
        image[rng.random((height, width)) < 0.3] = 20
        images.append(image)
    return images
