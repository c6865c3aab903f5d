"""Linear layers as a search needs them: a few rows through large weights, the same at each step.

torch's own linear layer reads weights as they lie. oneDNN can lay them out in blocks beforehand
and is then up to three times as fast for the 5 to 40 rows of a step, in the same IEEE float32
(relative differences below 1e-6). How torch reaches it is internal (it is what `torch.compile`
emits on CPUs), so it is used only where it is there and was measured to be faster.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import linear

from bench.core.stopwatch import HostMeter

# Products are judged by size: up to so many rows, and the rows that are tried for each size. The
# last are those of an image's states; before them come hypotheses.
_LIMITS, _TRIED = (16, 64, 128), (8, 40, 96, 577)
# TrOCR base's largest layer, several times: in a search, too, no cache holds the weights. It
# matters for few rows alone.
_INPUTS, _OUTPUTS, _LAYERS, _LAYERS_OF_MANY = 1024, 4096, 8, 2
_REPETITIONS = 5
_CLEARLY = 0.95  # of the time of torch's own; a packed copy takes memory


class Linear:
    """y = x W^T + b on (rows, inputs), by the faster of the two ways for that many rows."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Take up weights, and pack a copy of them where that pays.

        Args:
            weight: (outputs, inputs).
            bias: (outputs,) or None.
        """
        self.weight, self.bias = weight, bias
        self._faster = _where_faster(weight)
        self._packed = _packed(weight) if any(self._faster) else None

    def __call__(self, x: Tensor) -> Tensor:
        """(rows, inputs) to (rows, outputs)."""
        if self._packed is None or not self._faster[_size(len(x))]:
            return linear(x, self.weight, self.bias)
        return _multiply(x, self._packed, self.bias)


def joined(weights: list[Tensor], biases: list[Tensor | None]) -> Linear:
    """Several layers that read the same rows as one; outputs one behind the other."""
    there = [bias for bias in biases if bias is not None]
    return Linear(torch.cat(weights), torch.cat(there) if there else None)


def _where_faster(weight: Tensor) -> tuple[bool, ...]:
    """For each size of a product: whether packed weights are faster here."""
    if weight.device.type != "cpu" or not _can_pack(weight.dtype):
        return (False,) * len(_TRIED)
    return tuple(_measured_faster(weight.dtype, rows, torch.get_num_threads()) for rows in _TRIED)


def _size(rows: int) -> int:
    return bisect.bisect_left(_LIMITS, rows)


@cache
def _can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch has the internal operators, and they give the right product."""
    x, weight = torch.ones(2, 3, dtype=dtype), torch.ones(4, 3, dtype=dtype)
    try:
        product = _multiply(x, _packed(weight), None)
    except (AttributeError, RuntimeError):
        return False
    return bool((product == linear(x, weight)).all())


@cache
def _measured_faster(dtype: torch.dtype, rows: int, threads: int) -> bool:
    """Whether a product with packed weights is clearly faster; `threads` only keys the answer."""
    x = torch.ones(rows, _INPUTS, dtype=dtype)
    layers = _LAYERS_OF_MANY if rows > _LIMITS[-1] else _LAYERS
    weights = torch.ones(layers, _OUTPUTS, _INPUTS, dtype=dtype)
    packed = [_packed(weight) for weight in weights]
    ways = (
        lambda: [linear(x, weight) for weight in weights],
        lambda: [_multiply(x, weight, None) for weight in packed],
    )
    times = [[_seconds(way) for way in ways] for _ in range(_REPETITIONS + 1)][1:]
    own, ours = (min(column) for column in zip(*times, strict=True))
    return ours < _CLEARLY * own


def _seconds(work: Callable[[], object]) -> float:
    """CPU seconds, which other programs disturb less than those of the clock on the wall."""
    meter = HostMeter()
    start = meter.cpu()
    work()
    return meter.cpu() - start


def _packed(weight: Tensor) -> Tensor:
    """An opaque copy in oneDNN's layout."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())


def _multiply(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
