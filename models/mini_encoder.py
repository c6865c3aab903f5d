"""`mini` loaded: weights file to encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.core.files import content_hash
from bench.core.types import UNTRAINED, ARModel, Encoded, EncoderInfo, Image, Runtime
from models.alphabet import ALPHABET
from models.base import Encoder
from models.images import darkness, to_batch, to_height
from models.mini_ar import EOS, PAD, START, MiniAR, detokenize, load_tokenizer, tokenize
from models.mini_net import MiniNet, frames_of

_DECODER = "ar.decoder."
_EMBEDDING = f"{_DECODER}model.decoder.embed_tokens.weight"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class MiniEncoder(Encoder):
    """A loaded `mini`."""

    def __init__(self, path: Path, runtime: Runtime) -> None:
        tensors, notes = read_weights(path)
        self.device = torch.device(runtime.device)
        self.dtype = dtype_of(runtime.dtype)
        self.net = MiniNet()
        _fit(self.net, tensors, "net.", path)
        self.head = read_head(tensors, self.net.config.width, path)
        self._both = nn.ModuleDict({"net": self.net, **({"ar": self.head} if self.head else {})})
        self._both.to(self.device).eval().requires_grad_(False)
        self.ar = self._ar_model(self.head) if self.head else None
        self.info = EncoderInfo(
            name="mini",
            # A file that does not say what it was trained on gets no CER.
            weights=content_hash(path) if notes.get("trained_on") else UNTRAINED,
            parameters=_parameters(self.net, self.head),
            alphabet=ALPHABET,
            has_ar=self.head is not None,
            trained_on=notes.get("trained_on", ""),
        )

    def prepare(self, images: Sequence[Image]) -> tuple[Tensor, Tensor]:
        """To 64 px high darkness images; (B, 1, 64, W) and the (B,) widths."""
        return to_batch([darkness(to_height(image)) for image in images])

    @torch.inference_mode()
    def encode(self, batch: tuple[Tensor, Tensor]) -> Encoded:
        """States and CTC log-probabilities of a prepared batch."""
        images, widths = batch
        frames = frames_of(widths).to(self.device)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            states, logits = self.net(images.to(self.device), frames)
        steps = torch.arange(states.shape[1], device=self.device)
        return Encoded(
            states=states.to(self.dtype),
            state_mask=steps[None] < frames[:, None],
            log_probs=logits.float().log_softmax(-1),
            frames=frames,
            alphabet=ALPHABET,
            ar=self.ar,
        )

    def module(self) -> nn.Module:
        """Network and AR head."""
        return self._both

    def _ar_model(self, head: MiniAR) -> ARModel:
        head.to(self.dtype)
        tokenizer = load_tokenizer()
        return ARModel(
            decoder=head.decoder,
            project=head.project,
            detokenize=partial(detokenize, tokenizer),
            tokenize=partial(tokenize, tokenizer),
            start_id=START,
            eos_id=EOS,
            pad_id=PAD,
            max_new_tokens=head.config.positions - 1,
        )


def read_weights(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """Tensors, as float32, and the notes of a safetensors file.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            notes = file.metadata() or {}
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is no readable safetensors file ({error}); fetch the checkout anew"
        ) from error
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, notes


def read_head(tensors: Mapping[str, Tensor], width: int, path: Path) -> MiniAR | None:
    """The AR head among the tensors of a weights file, over states of a width; None without one.

    Raises:
        UserError: the weights do not fit it.
    """
    if _EMBEDDING not in tensors:
        return None
    head = MiniAR(width)
    # The output projection is the token embedding and is stored once.
    tied = {f"{_DECODER}output_projection.weight": tensors[_EMBEDDING]}
    _fit(head, {**tensors, **tied}, "ar.", path)
    return head


def _fit(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str, path: Path) -> None:
    own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"the weights {path} do not fit the encoder mini: {first}") from error


def _parameters(net: MiniNet, head: nn.Module | None) -> dict[str, int]:
    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    parts: dict[str, int] = {"encoder": count(net) - count(net.ctc), "ctc": count(net.ctc)}
    return {**parts, "ar": count(head)} if head is not None else parts


def dtype_of(name: str) -> Any:
    """The torch dtype of a runtime's precision.

    Raises:
        UserError: there is none of this name.
    """
    if name not in _DTYPES:
        raise UserError(f"no dtype is called {name!r}; there are: {', '.join(_DTYPES)}")
    return _DTYPES[name]
