"""PP-OCRv6's small recogniser as its makers publish it on the Hub, or in a folder laid out so.

transformers' own class reads the files; its weights, with norms folded and the head cut to
printable ASCII, become those of `PPOCRNet`, so that frames and stretch are those of `ppocr`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PPOCRV6SmallRecForTextRecognition

from bench.core.errors import UserError
from models import hub
from models.alphabet import ALPHABET
from models.ppocr_net import PPOCRConfig, PPOCRNet
from models.trocr_model import load_fitting

MAKERS = "PaddlePaddle/"
TRAINED_ON = (
    "PP-OCRv6's own lines, printed, handwritten and industrial, of 50 languages; "
    "its makers name no data sets (arXiv 2606.13108)"
)


def read_makers(checkpoint: hub.Checkpoint) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the network's tensors and notes on them, as `bench.core.tensors.read_tensors` does.

    Raises:
        UserError: the files are damaged, or of another network, alphabet or scale of pixels.
    """
    hub.check_architecture(checkpoint.repo, checkpoint.folder, (hub.PPOCR,))
    rows = _rows(checkpoint)
    model = load_fitting(PPOCRV6SmallRecForTextRecognition, checkpoint, "float32")
    net = converted(model, rows)
    if net is None:
        raise UserError(
            f"{checkpoint.repo} has another shape than PP-OCRv6's small recogniser, or fewer "
            "symbols than it lists; give PaddlePaddle/PP-OCRv6_small_rec_safetensors"
        )
    if not all(tensor.isfinite().all() for tensor in net.state_dict().values()):
        raise UserError(
            f"the weights of {checkpoint.repo} hold numbers that are not finite; fetch them again"
        )
    makers = checkpoint.repo.startswith(MAKERS)
    notes = {
        "source": checkpoint.origin,
        "trained_on": TRAINED_ON if makers else f"what {checkpoint.name} was trained on",
    }
    return {f"net.{name}": tensor for name, tensor in net.state_dict().items()}, notes


def converted(model: Any, rows: list[int]) -> PPOCRNet | None:
    """Our network with the weights of transformers' model, and these rows of its head.

    None where the two have different shapes.
    """
    net = PPOCRNet(replace(PPOCRConfig(), alphabet=len(rows)))
    theirs, ours = list(_layers(model)), list(net.layers())
    if len(theirs) != len(ours) or max(rows) >= len(model.head.head.weight):
        return None
    with torch.no_grad():
        for own, (weight, bias) in zip(ours, theirs, strict=True):
            if own is net.stem.first:
                weight = weight.sum(1, keepdim=True)  # of three equal grey channels
            elif own is net.ctc:
                weight, bias = weight[rows], bias[rows]
            if weight.numel() != own.weight.numel() or bias.numel() != own.bias.numel():
                return None
            own.weight.copy_(weight.view_as(own.weight))
            own.bias.copy_(bias)
    return net.eval()


def _layers(model: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Weight and bias of each layer in the order of `PPOCRNet.layers`."""
    yield from _convolutions(model.model.backbone)
    encoder = model.head.encoder
    yield from _convolutions(encoder.conv_block)
    for block in encoder.svtr_block:
        attention, feed = block.self_attn, block.mlp
        for part in (
            block.layer_norm1, attention.qkv, attention.projection, block.layer_norm2, feed.fc1,
            feed.fc2,
        ):  # fmt: skip
            yield part.weight, part.bias
    for part in (encoder.norm, model.head.head):
        yield part.weight, part.bias


def _convolutions(part: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """The convolutions of a part, the norm behind one folded into it."""
    parents = {child: parent for parent in part.modules() for child in parent.children()}
    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            norm = getattr(parents[module], "normalization", None)
            if norm is None:
                assert module.bias is not None
                yield module.weight, module.bias
            else:
                factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                yield (
                    module.weight * factor[:, None, None, None],
                    norm.bias - norm.running_mean * factor,
                )


def _rows(checkpoint: hub.Checkpoint) -> list[int]:
    """The rows of the head that are the blank and printable ASCII."""
    stated = hub.stated_processing(checkpoint)
    if [*stated.get("image_mean", ()), *stated.get("image_std", ())] != [0.5] * 6:
        raise UserError(
            f"the image processor of {checkpoint.repo} does not put black at -1 and white at 1, as "
            "PP-OCRv6's small recogniser reads them; give the makers' files"
        )
    symbols = stated.get("character_list")
    symbols = [str(symbol) for symbol in symbols] if isinstance(symbols, list) else []
    lost = [symbol for symbol in ALPHABET[1:] if symbol not in symbols[1:]]
    if lost:
        raise UserError(
            f"the character_list of {checkpoint.repo} lacks {len(lost)} symbols of printable "
            f"ASCII, {lost[0]!r} first; give the makers' files"
        )
    return [0, *(symbols.index(symbol, 1) for symbol in ALPHABET[1:])]  # the blank is the first
