"""TrOCR's architectures by size, and models of them with random weights.

Small, base and large are those of the authors' `-handwritten` checkpoints (Li et al. 2021, "TrOCR",
https://arxiv.org/abs/2109.10282, section 4.1; the numbers are those of the checkpoints' files on
the Hub). The paper's speed table prints 62M, 334M and 558M parameters, the counts of these models
with everything counted once: the pooler behind the encoder too (61.6M, 333.9M, 558.2M; without it
61.4M, 333.3M, 557.2M), and the output projection of base and large as the token embedding that it
is; in small the two are separate. No decoder reads the pooler. The authors' code has none, but
carries the encoder's classifier of 1,000 ImageNet classes, as unread (deit.py in
https://github.com/microsoft/unilm, folder trocr), which rounds to the same: 62.2M, 334.1M, 558.2M.

No torch is imported until a model is built, so that shapes can be listed without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.core.errors import UserError
from bench.core.registry import did_you_mean

if TYPE_CHECKING:
    import torch

IMAGE = 384  # pixels, both ways: a line is squeezed into a square
PATCH = 16
# 1,000 byte-level BPE units, of a shape with random weights.
TOKENIZER = Path(__file__).parent / "weights" / "trocr-tokenizer.json"
BOS, PAD, EOS = 0, 1, 2  # of every TrOCR's vocabulary; EOS also starts a line

_STD = 0.02  # of BERT's, ViT's and TrOCR's own random weights


@dataclass(frozen=True)
class Shape:
    """The sizes of a TrOCR.

    encoder: "vit" puts a class token before the patches, "deit" a distillation token as well.
    width, layers, heads, feed_forward: of the encoder; the decoder's begin with `decoder_`.
    vocabulary: tokens of the decoder, special ones included.
    positions: most tokens of a line, EOS included.
    tied: whether the output projection is the token embedding.
    mean_tokens: tokens a line, EOS included, that it emits on IAM's test set by the paper's speed
        table (31,081, 31,959 and 31,966 tokens for 2,915 lines).
    learned_positions: of the decoder; else sinusoids.
    layernorm_embedding: whether the decoder normalises its embeddings.
    """

    encoder: Literal["vit", "deit"]
    width: int
    layers: int
    heads: int
    feed_forward: int
    decoder_width: int
    decoder_layers: int
    decoder_heads: int
    decoder_feed_forward: int
    vocabulary: int
    positions: int
    qkv_bias: bool
    activation: str
    scale_embedding: bool
    tied: bool
    mean_tokens: float
    learned_positions: bool = True
    layernorm_embedding: bool = True

    def config(self) -> Any:
        """The `VisionEncoderDecoderConfig`, of transformers."""
        from transformers import (
            DeiTConfig,
            TrOCRConfig,
            VisionEncoderDecoderConfig,
            ViTConfig,
        )

        encoder = (DeiTConfig if self.encoder == "deit" else ViTConfig)(
            image_size=IMAGE,
            patch_size=PATCH,
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.feed_forward,
            qkv_bias=self.qkv_bias,
        )
        decoder = TrOCRConfig(
            vocab_size=self.vocabulary,
            d_model=self.decoder_width,
            decoder_layers=self.decoder_layers,
            decoder_attention_heads=self.decoder_heads,
            decoder_ffn_dim=self.decoder_feed_forward,
            cross_attention_hidden_size=self.width,
            max_position_embeddings=self.positions,
            activation_function=self.activation,
            scale_embedding=self.scale_embedding,
            tie_word_embeddings=self.tied,
            use_learned_position_embeddings=self.learned_positions,
            layernorm_embedding=self.layernorm_embedding,
            bos_token_id=BOS,
            pad_token_id=PAD,
            eos_token_id=EOS,
            decoder_start_token_id=EOS,
        )
        config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
        config.decoder_start_token_id, config.pad_token_id = EOS, PAD
        return config


_LARGE: dict[str, Any] = {  # of the decoders of base and large
    "decoder_width": 1024,
    "decoder_layers": 12,
    "decoder_heads": 16,
    "decoder_feed_forward": 4096,
    "vocabulary": 50_265,
    "qkv_bias": False,
}
_LEARNED: dict[str, Any] = {
    "positions": 512, "activation": "gelu", "scale_embedding": False, "tied": True,
}  # fmt: skip
_SINUSOIDAL: dict[str, Any] = {
    "positions": 1024, "activation": "relu", "scale_embedding": True, "tied": False,
    "learned_positions": False, "layernorm_embedding": False,
}  # fmt: skip
_BASE: dict[str, Any] = {
    "encoder": "vit", "width": 768, "layers": 12, "heads": 12, "feed_forward": 3072,
    "mean_tokens": 31_959 / 2_915, **_LARGE,
}  # fmt: skip
_BIG: dict[str, Any] = {
    "encoder": "vit", "width": 1024, "layers": 24, "heads": 16, "feed_forward": 4096,
    "mean_tokens": 31_966 / 2_915, **_LARGE,
}  # fmt: skip

SHAPES: Mapping[str, Shape] = {
    "small": Shape(
        encoder="deit", width=384, layers=12, heads=6, feed_forward=1536, qkv_bias=True,
        decoder_width=256, decoder_layers=6, decoder_heads=8, decoder_feed_forward=1024,
        vocabulary=64_044, positions=512, activation="relu", scale_embedding=True, tied=False,
        mean_tokens=31_081 / 2_915,
    ),
    "base": Shape(**_BASE, **_LEARNED),
    "large": Shape(**_BIG, **_LEARNED),
    # Of the checkpoints -stage1 of base, and -stage1 and -printed of large.
    "base-sinusoidal": Shape(**_BASE, **_SINUSOIDAL),
    "large-sinusoidal": Shape(**_BIG, **_SINUSOIDAL),
    # None of the authors': to train on a CPU. Its image and its grid are TrOCR's, its decoder has
    # the sizes and the vocabulary of the AR head of `mini`.
    "tiny": Shape(
        encoder="vit", width=192, layers=4, heads=3, feed_forward=768, qkv_bias=True,
        decoder_width=192, decoder_layers=3, decoder_heads=6, decoder_feed_forward=768,
        vocabulary=1_000, positions=160, activation="gelu", scale_embedding=True, tied=True,
        mean_tokens=31_959 / 2_915,
    ),
}  # fmt: skip


def shape_of(name: str) -> Shape:
    """The shape of a name."""
    if name not in SHAPES:
        raise UserError(f"no shape of TrOCR is called {name!r}{did_you_mean(name, SHAPES)}")
    return SHAPES[name]


def build(shape: str | Shape, seed: int) -> Any:
    """A `VisionEncoderDecoderModel` of a shape with random weights, on the CPU, in eval mode.

    Each tensor is drawn by a generator of its own, seeded with `seed` and the tensor's name, from
    a uniform distribution with the standard deviation of BERT's, ViT's and TrOCR's own
    initialisation (0.02; biases 0, scales of normalisations 1). Uniform numbers are the same on
    every machine, which torch's normal ones are not (their code differs with the vector units),
    and large is built in seconds.
    """
    import torch
    from transformers import VisionEncoderDecoderModel

    config = (shape_of(shape) if isinstance(shape, str) else shape).config()
    with torch.device("meta"):  # shapes only: transformers' own initialisation is not run
        model = VisionEncoderDecoderModel(config=config)
    tied = set(model.all_tied_weights_keys)
    own = {
        name: _drawn(name, parameter.shape, seed)
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if name not in tied
    }
    model.load_state_dict(own, strict=False, assign=True)
    model.tie_weights()
    restore_sinusoids(model.decoder, torch.float32, torch.device("cpu"))
    return model.eval()


def restore_sinusoids(decoder: Any, dtype: torch.dtype, device: torch.device) -> None:
    """Compute sinusoidal positions anew, which transformers 5 loses while loading.

    They are a plain tensor, neither parameter nor buffer: a model that is built on the meta
    device, as `from_pretrained` does, leaves them there, and `to` does not move them. Learned
    positions of a `TrOCRForCausalLM` stay as they are.
    """
    from transformers.models.trocr.modeling_trocr import TrOCRSinusoidalPositionalEmbedding

    positions = decoder.model.decoder.embed_positions
    if isinstance(positions, TrOCRSinusoidalPositionalEmbedding):
        rows = decoder.config.max_position_embeddings + positions.padding_idx + 1
        table = positions.get_embedding(rows, positions.embedding_dim, positions.padding_idx)
        positions.weights = table.to(device, dtype)


def _drawn(name: str, size: torch.Size, seed: int) -> torch.Tensor:
    """The first values of a tensor, float32."""
    import torch

    if name.endswith("bias"):
        return torch.zeros(size)
    if "norm" in name.rpartition(".")[0].rpartition(".")[2]:
        return torch.ones(size)
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    bound = _STD * 3**0.5  # of the uniform distribution with this standard deviation
    return torch.empty(size).uniform_(-bound, bound, generator=generator)
