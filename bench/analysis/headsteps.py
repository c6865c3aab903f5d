"""A CTC head on a ViT, step by step: what shape a line has after each, without any weights.

The encoder is built on torch's meta device, where tensors have shapes and no values; the head is
built with random weights and fed zeros. So this takes a second or two whatever the encoder's size.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.heads.base import Grid, Head

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """What one step makes of a line.

    letters: its axes: those of `bench.core.types`, N patches in R rows and C columns, F features.
    parameters: that it learned.
    about: what is done, in words.
    """

    name: str
    letters: str
    shape: Shape
    parameters: int
    about: str


_LETTERS = {
    "grid": "B, R, C, D",
    "columns": "B, C, F",
    "patches": "B, N, F",
    "frames": "B, T, F",
    "sequence": "B, T, F",
    "symbols": "B, T, V",
}


def head_steps(config: Any, head: Head, lines: int = 1) -> list[Step]:
    """The steps from pixels to log-probabilities.

    Args:
        config: the encoder's configuration (ViT, DeiT).
        head: on the CPU.
        lines: B.
    """
    encoder, seen = _encoder(config, head, lines)
    embeddings = encoder.embeddings
    patches, whole = _count(embeddings.patch_embeddings), _count(embeddings)
    states = seen["states"]
    special = states[1] - head.geometry.rows * head.geometry.columns
    resized = head.geometry.image != Grid.of(config).image
    placed = "positions interpolated" if resized else "positions added"
    steps = [
        Step("pixels", "B, 3, H, W", seen["pixels"], 0, "The line squeezed into the image"),
        Step("patches", "B, N, D", seen["patches"], patches, "One vector a patch"),
        Step("tokens", "B, S, D", seen["tokens"], whole - patches, f"{special} special, {placed}"),
        Step("states", "B, S, D", states, _count(encoder) - whole, "The transformer's layers"),
    ]
    stages = _stages(head, states)
    for name, stage in head.named_children():
        steps.append(Step(name, _LETTERS[name], stages[name], _count(stage), _about(stage)))
    last = steps[-1].shape
    return [*steps, Step("log_probs", "B, T, V", last, 0, "Logarithm of the softmax over V")]


def _encoder(config: Any, head: Head, lines: int) -> tuple[Any, Mapping[str, Shape]]:
    """The encoder without weights, and the shapes in it."""
    from transformers import AutoModel

    with torch.device("meta"):
        encoder = AutoModel.from_config(config, trust_remote_code=False)
        pixels = torch.empty(lines, 3, *head.geometry.image)
    encoder.pooler = None
    shapes: dict[str, Shape] = {"pixels": tuple(pixels.shape)}
    embeddings = encoder.embeddings
    for name, module in (("patches", embeddings.patch_embeddings), ("tokens", embeddings)):
        _watch(module, name, shapes)
    with torch.inference_mode():
        resized = head.geometry.image != Grid.of(config).image
        output = encoder(pixels, interpolate_pos_encoding=resized)
    shapes["states"] = tuple(output.last_hidden_state.shape)
    return encoder, shapes


def _stages(head: Head, states: Shape) -> Mapping[str, Shape]:
    """The shape after each stage of the head."""
    shapes: dict[str, Shape] = {}
    for name, stage in head.named_children():
        _watch(stage, name, shapes)
    with torch.inference_mode():
        head.eval()(torch.zeros(states))
    return shapes


def _about(stage: nn.Module) -> str:
    """What a stage does: the first line of its documentation."""
    if isinstance(stage, nn.Linear):
        return "Logits of the blank and of the characters"
    return (inspect.getdoc(type(stage)) or "").partition("\n")[0].rstrip(".")


def _watch(module: nn.Module, name: str, shapes: dict[str, Shape]) -> None:
    module.register_forward_hook(
        lambda _module, _inputs, output: shapes.__setitem__(name, tuple(output.shape))
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
