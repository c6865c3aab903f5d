"""The encoders with shipped weights: weights file to encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.core.errors import UserError
from bench.core.tensors import read_tensors
from bench.core.types import UNTRAINED, ARModel, Encoded, EncoderInfo, Image, Runtime
from models.alphabet import ALPHABET
from models.base import Encoder
from models.images import columns_of, darkness, to_batch
from models.mini_ar import EOS, PAD, START, MiniAR, detokenize, tokenize
from models.ppocr_net import PPOCRNet, squeeze
from models.shipped import EMBEDDING

_DECODER = "ar.decoder."
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class ShippedEncoder(Encoder):
    """PP-OCR's network with a CTC head, and perhaps an AR head on its states."""

    def __init__(
        self,
        name: str,
        path: Path,
        runtime: Runtime,
        loaded: tuple[Mapping[str, Tensor], Mapping[str, str]] | None = None,
    ) -> None:
        tensors, notes = loaded or read_tensors(path)
        self.device, self.dtype = torch.device(runtime.device), dtype_of(runtime.dtype)
        net: Any = PPOCRNet()
        _fit(net, tensors, "net.", path)
        self.net = net.to(self.device).eval().requires_grad_(False)
        self.head = read_head(tensors, net.config.width, path)
        self.ar: ARModel | None = None
        if self.head is not None:
            self.head.to(self.device, self.dtype).eval().requires_grad_(False)
            self.ar = ar_model(self.head)
        ctc = _count(net.ctc)
        parameters = {"encoder": _count(net) - ctc, "ctc": ctc}
        self.info = EncoderInfo(
            name=name,
            # Weights without a note on their training get no CER.
            weights=_hash(tensors, "net.") if notes.get("trained_on") else UNTRAINED,
            ar_weights=_hash(tensors, "ar.") if self.head else "",
            # The AR head counts characters with the same CTC head.
            parameters=parameters | ({"ar": _count(self.head) - ctc} if self.head else {}),
            alphabet=ALPHABET,
            has_ar=self.head is not None,
            trained_on=notes.get("trained_on", ""),
            origin=notes.get("source", ""),
        )

    def prepare(self, images: Sequence[Image]) -> tuple[Tensor, Tensor]:
        """To 48 px high darkness images; (B, 1, 48, W) and the (B,) widths."""
        return to_batch([darkness(squeeze(image)) for image in images])

    @torch.inference_mode()
    def encode(self, batch: tuple[Tensor, Tensor]) -> Encoded:
        """States and CTC log-probabilities of a prepared batch."""
        images, widths = batch
        frames = self.net.config.frames(widths).to(self.device)
        states, logits = self._read(images.to(self.device), widths)
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
        return nn.ModuleDict({"net": self.net, **({"ar": self.head} if self.head else {})})

    def _read(self, images: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, T, D) and logits (B, T, V).

        On a CPU, where small batches are as quick, with little padding.
        """
        groups = _near(widths.tolist()) if self.device.type == "cpu" else [list(range(len(widths)))]
        length = int(self.net.config.frames(torch.tensor(images.shape[3])))
        outputs: tuple[list[Tensor], ...] = ([], [])
        for group in groups:
            columns = columns_of(int(widths[group].max()))
            with torch.autocast(
                self.device.type, self.dtype, enabled=self.dtype is not torch.float32
            ):
                parts = self.net(images[group, :, :, :columns], widths[group])
            for rows, tensor in zip(outputs, parts, strict=True):
                rows += functional.pad(tensor, (0, 0, 0, length - tensor.shape[1]))
        order = np.argsort(np.concatenate(groups))
        states, logits = (torch.stack([rows[at] for at in order]) for rows in outputs)
        return states, logits


def ar_model(head: MiniAR) -> ARModel:
    """Wrap a head for decoders."""
    return ARModel(
        decoder=head.decoder,
        project=head.project,
        detokenize=detokenize,
        tokenize=tokenize,
        start_id=START,
        eos_id=EOS,
        pad_id=PAD,
        max_new_tokens=head.config.positions - 1,
    )


def read_head(tensors: Mapping[str, Tensor], width: int, path: Path) -> MiniAR | None:
    """The AR head among the tensors of a weights file, over states of a width; None without one.

    Raises:
        UserError: the weights do not fit it.
    """
    if EMBEDDING not in tensors:
        return None
    head = MiniAR(width)
    # The output projection is the token embedding, and the counting head is the CTC head.
    tied = {
        f"{_DECODER}output_projection.weight": tensors[EMBEDDING],
        **{
            f"ar.project.{name[4:]}": tensors[name]
            for name in tensors
            if name.startswith("net.ctc.")
        },
    }
    _fit(head, {**tensors, **tied}, "ar.", path)
    return head


def dtype_of(name: str) -> Any:
    """The torch dtype of a runtime's precision."""
    if name not in _DTYPES:
        raise UserError(f"no dtype is called {name!r}; there are: {', '.join(_DTYPES)}")
    return _DTYPES[name]


def _fit(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str, path: Path) -> None:
    own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"the weights {path} do not fit their encoder: {first}") from error


def _hash(tensors: Mapping[str, Tensor], prefix: str) -> str:
    """Short hash of the tensors whose names begin so."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if name.startswith(prefix):
            digest.update(name.encode())
            digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _near(widths: Sequence[int]) -> list[list[int]]:
    """Places of lines of about one width, at most eight together and a tenth padding."""
    groups: list[list[int]] = []
    for place in sorted(range(len(widths)), key=lambda place: -widths[place]):
        if not groups or len(groups[-1]) == 8 or widths[place] < 0.9 * widths[groups[-1][0]]:
            groups.append([])
        groups[-1].append(place)
    return groups
