"""`ppocr` loaded: weights file to encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.core.errors import UserError
from bench.core.files import content_hash
from bench.core.types import UNTRAINED, Encoded, EncoderInfo, Image, Runtime
from models.alphabet import ALPHABET
from models.base import Encoder
from models.images import darkness
from models.mini_encoder import dtype_of, read_weights
from models.ppocr_images import STEP, squeeze, to_batch
from models.ppocr_net import PPOCRNet


class PPOCREncoder(Encoder):
    """A loaded `ppocr`."""

    def __init__(self, path: Path, runtime: Runtime) -> None:
        self.device = torch.device(runtime.device)
        self.dtype = dtype_of(runtime.dtype)
        self.net, notes = read_net(path)
        self.net.to(self.device).requires_grad_(False)
        count = sum(p.numel() for p in self.net.parameters())
        head = sum(p.numel() for p in self.net.ctc.parameters())
        self.info = EncoderInfo(
            name="ppocr",
            # A file that does not say what it was trained on gets no CER.
            weights=content_hash(path) if notes.get("trained_on") else UNTRAINED,
            parameters={"encoder": count - head, "ctc": head},
            alphabet=ALPHABET,
            has_ar=False,
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
        states, logits = self._read(images.to(self.device), widths)
        frames = self.net.config.frames(widths).to(self.device)
        steps = torch.arange(states.shape[1], device=self.device)
        return Encoded(
            states=states.to(self.dtype),
            state_mask=steps[None] < frames[:, None],
            log_probs=logits.float().log_softmax(-1),
            frames=frames,
            alphabet=ALPHABET,
        )

    def _read(self, images: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
        """States and logits; on a CPU, where small batches are as quick, with little padding."""
        groups = _near(widths.tolist()) if self.device.type == "cpu" else [list(range(len(widths)))]
        length = int(self.net.config.frames(torch.tensor(images.shape[3])))
        outputs: tuple[list[Tensor], ...] = ([], [])
        for group in groups:
            columns = -(-int(widths[group].max()) // STEP) * STEP
            with torch.autocast(
                self.device.type, self.dtype, enabled=self.dtype is not torch.float32
            ):
                found = self.net(images[group, :, :, :columns], widths[group])
            for rows, tensor in zip(outputs, found, strict=True):
                rows += functional.pad(tensor, (0, 0, 0, length - tensor.shape[1]))
        order = np.argsort(np.concatenate(groups))
        states, logits = (torch.stack([rows[at] for at in order]) for rows in outputs)
        return states, logits

    def module(self) -> nn.Module:
        """The network."""
        return self.net


def _near(widths: Sequence[int]) -> list[list[int]]:
    """Places of lines of about one width, at most eight together and a tenth padding."""
    groups: list[list[int]] = []
    for place in sorted(range(len(widths)), key=lambda place: -widths[place]):
        if not groups or len(groups[-1]) == 8 or widths[place] < 0.9 * widths[groups[-1][0]]:
            groups.append([])
        groups[-1].append(place)
    return groups


def read_net(path: Path) -> tuple[PPOCRNet, dict[str, str]]:
    """The network of a weights file, ready to read, and the file's notes.

    Raises:
        UserError: the file is damaged or holds another network.
    """
    tensors, notes = read_weights(path)
    net = PPOCRNet()
    try:
        net.load_state_dict({k.removeprefix("net."): v for k, v in tensors.items()})
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"the weights {path} do not fit the encoder ppocr: {first}") from error
    return net.eval(), dict(notes)
