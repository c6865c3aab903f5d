"""TrOCR models for training: opening one, and saving it as a folder like the Hub's."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AttentionInterface, GenerationConfig, PreTrainedTokenizerFast

from bench.core.errors import UserError
from bench.core.files import content_hash, plain_errors
from bench.core.registry import did_you_mean
from bench.core.types import TROCR, Runtime
from models import ENCODERS, hub
from models.images import Pictures
from models.mini_ar import EOS, PAD, START
from models.trocr import AR_FITS, TrOCRSpec
from models.trocr_files import load_tokenizer, quiet, token_id
from models.trocr_model import open_checkpoint, processor
from models.trocr_shapes import SHAPES, TOKENIZER, build

WEIGHTS = "model.safetensors"
_ENCODER = ("encoder", "width", "layers", "heads", "feed_forward", "qkv_bias")
_SPECIAL = {"bos_token": START, "pad_token": PAD, "eos_token": EOS}
# A checkpoint's files that a training writes anew.
_OURS = {"config.json", "generation_config.json", ".gitattributes"}
_OURS_TOO = (".safetensors", ".bin", ".index.json", ".md")
_PRODUCTS = "kaidoku_products"


@dataclass(frozen=True, eq=False)
class Start:
    """An initial TrOCR.

    model: the `VisionEncoderDecoderModel`, float32, without a pooler.
    pictures: lines to its pixels.
    weights: content hash of its weights file; of random weights, their shape and seed.
    trained_on: data sets, where the checkpoint names them.
    checkpoint: None for a shape with random weights.
    """

    name: str
    model: Any
    pictures: Pictures
    weights: str
    trained_on: str = ""
    checkpoint: hub.Checkpoint | None = None

    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer; of a shape, the 1,000 units that its decoder is made for.

        Raises:
            UserError: it cannot be read, or is not that of the decoder.
        """
        if self.checkpoint is not None:
            return load_tokenizer(self.checkpoint, self.model)
        tokenizer = Tokenizer.from_file(str(TOKENIZER))
        names = {role: tokenizer.id_to_token(i) for role, i in _SPECIAL.items()}
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)

    def with_parts(self, **parts: nn.Module) -> Any:
        """Replace parts (encoder, decoder, enc_to_dec_proj); the new model shares the rest."""
        model = copy.copy(self.model)
        model._modules = {**self.model._modules, **parts}
        return model.eval()

    def save(self, folder: Path, model: Any, text: str, data: Sequence[str], ar_fits: bool) -> str:
        """Write a `VisionEncoderDecoderModel` for any program that opens the Hub's TrOCRs.

        Each file takes its place whole, the weights last. The AR decoder is kept even where it does
        not fit the encoder's states (`ar_fits`), so that it can be trained on them. `text` is that
        of the model card, `data` the sets that the model was trained on.

        Returns:
            The hash of the weights file.
        """
        _settle(model, ar_fits)
        draft = folder.with_name(f"{folder.name}.unfinished")
        with plain_errors(folder):
            shutil.rmtree(draft, ignore_errors=True)  # left by a killed training
            draft.mkdir(parents=True)
            with quiet():
                # It names weights so that older versions of transformers read them too.
                model.save_pretrained(draft, max_shard_size="1TB")
            (draft / WEIGHTS).chmod(0o644)  # safetensors writes it for the owner alone
            self._save_processing(draft)
            (draft / "README.md").write_text(self._card_head(data) + text, "utf-8")
            folder.mkdir(exist_ok=True)
            for path in sorted(draft.iterdir(), key=lambda path: path.name == WEIGHTS):
                path.replace(folder / path.name)
            draft.rmdir()
        return content_hash(folder / WEIGHTS)

    def _save_processing(self, folder: Path) -> None:
        """Write image processor and tokenizer."""
        if self.checkpoint is None:
            processor().save_pretrained(folder)
            self.tokenizer().save_pretrained(folder)
            return
        for source in (*self.checkpoint.others.values(), self.checkpoint.folder):
            for path in source.iterdir():
                if path.is_file() and path.name not in _OURS and not path.name.endswith(_OURS_TOO):
                    shutil.copyfile(path, folder / path.name)

    def _card_head(self, data: Sequence[str]) -> str:
        """The data sets, earlier ones included, as `models.trocr_files.trained_on` reads them."""
        names = [self.trained_on, *(f"{name} (train)" for name in data)]
        known = dict.fromkeys(name for name in names if name)
        lines = ["datasets:", *(f"- {json.dumps(name)}" for name in known)]  # JSON is YAML
        if self.checkpoint is not None and not hub.is_path(self.checkpoint.repo):
            lines.append(f"base_model: {json.dumps(self.checkpoint.repo)}")
        return "\n".join(["---", *lines, "---", ""])


def open_start(name: str, seed: int, device: str) -> Start:
    """A TrOCR by its registered name, folder or Hub id; of a shape ("tiny") one of random weights.

    Raises:
        UserError: nothing has this name, or it is no TrOCR.
        Unavailable: the checkpoint is not here.
    """
    if name in SHAPES:
        return _random(name, seed, device)
    if name not in ENCODERS:
        known = [*SHAPES, *ENCODERS.names()]
        raise UserError(f"no encoder is called {name!r}{did_you_mean(name, known)}")
    spec = ENCODERS.create(name)
    if not isinstance(spec, TrOCRSpec):
        raise UserError(
            f"{name} is no TrOCR and has a CTC head of its own; see python -m bench train --help"
        )
    checkpoint = spec.locate()
    encoder = open_checkpoint(checkpoint, Runtime(device=device))
    info, model = encoder.info, encoder.module()
    if info.ar_type != TROCR:
        raise UserError(
            f"the decoder of {name} is a {info.ar_type} model, which cannot be trained here; name "
            "a TrOCR"
        )
    return Start(info.name, model, encoder.pictures, info.weights, info.trained_on, checkpoint)


def _random(name: str, seed: int, device: str) -> Start:
    """Make a shape's encoder with the decoder of "tiny", the only one with a tokenizer."""
    tiny = dataclasses.asdict(SHAPES["tiny"])
    decoder = {field: value for field, value in tiny.items() if field not in _ENCODER}
    model = build(dataclasses.replace(SHAPES[name], **decoder), seed).to(device)
    model.encoder.pooler = None
    pictures = Pictures.of(processor())
    return Start(f"{name} from random weights", model, pictures, f"random-{name}-{seed}")


def _settle(model: Any, ar_fits: bool) -> None:
    """Complete config.json and generation_config.json.

    The Hub's files switch the KV cache off and state no length, so that transformers ends every
    line after 20 tokens.
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


def rate_groups(module: nn.Module, share: float, decay: float) -> list[dict[str, Any]]:
    """Parameters with shares of the learning rate: of a ViT in `module.encoder`, by layer.

    Layer-wise decay (Howard & Ruder, arXiv 1801.06146; for ViTs Bao et al., arXiv 2106.08254):
    the encoder's last layer learns at `share` of the rate, each layer below at `decay` of the one
    above, the embeddings last; everything else at the full rate.
    """
    own = [p for name, p in module.named_parameters() if not name.startswith("encoder.")]
    groups: list[dict[str, Any]] = []
    encoder: Any = getattr(module, "encoder", None)
    if encoder is not None:
        parts = [encoder.embeddings, *encoder.layers]  # lowest first
        for height, part in enumerate(parts):
            scale = share * decay ** (len(parts) - 1 - height)
            groups.append({"params": list(part.parameters()), "scale": scale})
        groups.append({"params": list(encoder.layernorm.parameters()), "scale": share})
    return [*groups, {"params": own, "scale": 1.0}]


def use_products(encoder: Any) -> None:
    """Make a ViT or DeiT on a CPU attend by plain matrix products.

    The backward pass of torch's fused attention takes twice as long there in bfloat16, which
    matrix products have units for. Same numbers but for rounding; no mask, no dropout.
    """
    if next(encoder.parameters()).device.type == "cpu":
        AttentionInterface.register(_PRODUCTS, _products)
        encoder.set_attn_implementation(_PRODUCTS)


def _products(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Shape: query, key, value B, heads, S, D / heads; the result B, S, heads, D / heads."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    with torch.autocast(query.device.type, enabled=False):  # it would make the softmax float32
        shares = torch.matmul(query * scale, key.transpose(-1, -2)).softmax(-1)
        return torch.matmul(shares, value).transpose(1, 2).contiguous(), None
