"""Ways to make an encoder faster that are measured here, and are not the default."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from bench.core.errors import Unavailable
from decoders.ar.linear import Linear
from models.base import Encoder


def packed(encoder: Encoder) -> None:
    """Linear layers with weights laid out for oneDNN, where that is faster here; IEEE float32.

    Raises:
        Unavailable: it is faster for none of them.
    """
    layers = [one for one in _network(encoder).modules() if type(one) is nn.Linear]
    made = [(one, Linear(one.weight, one.bias)) for one in layers]
    if not any(linear.packs for _, linear in made):
        raise Unavailable("packed weights are no faster here than torch's own", "")
    for one, linear in made:
        setattr(one, "forward", _flattened(linear))  # noqa: B010 - a method of this layer alone


def compiled(encoder: Encoder) -> None:
    """`torch.compile` of the network, at its first batch.

    Raises:
        Unavailable: there is no C++ compiler.
    """
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise Unavailable("torch.compile wants a C++ compiler", "apt-get install g++")
    torch._dynamo.reset()
    for part in _network(encoder).children():
        part.compile(dynamic=False)


VARIANTS: Mapping[str, Callable[[Encoder], None]] = {
    "": lambda encoder: None,
    "packed": packed,
    "compiled": compiled,
}


def _network(encoder: Encoder) -> nn.Module:
    network: nn.Module = encoder.module()
    return network


def _flattened(linear: Linear) -> Callable[[Tensor], Tensor]:
    """A layer that takes any number of axes before the last."""

    def forward(x: Tensor) -> Tensor:
        return linear(x.flatten(0, -2)).unflatten(0, x.shape[:-1])

    return forward
