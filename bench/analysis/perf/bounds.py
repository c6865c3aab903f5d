"""The least time that an AR search can take: its arithmetic and its memory against the peaks.

The roofline model (Williams et al. 2009, https://doi.org/10.1145/1498765.1498785): a step takes at
least the larger of operations / peak and bytes / bandwidth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.analysis.perf.machine import Peaks
from bench.core.types import ARModel, Decoded, Encoded

_FLOAT = 4  # bytes


def least_seconds(encoded: Encoded, decoded: Sequence[Decoded], beam: int, peaks: Peaks) -> float:
    """Seconds for one batch in float32.

    Counted are the products with weights and the reading of weights and cross-attention keys and
    values. Softmax, sorting and self-attention are left out, so the bound is a little too low. A
    line has no more steps than its best hypothesis has tokens, and all beams in each of them.

    Args:
        encoded: the batch.
        decoded: what its search found.
        beam: hypotheses of a line.
        peaks: of the machine.

    Raises:
        ValueError: the batch has no AR head.
    """
    if encoded.ar is None:
        raise ValueError("there is no AR head whose search could be bounded")
    lines, states, _ = encoded.states.shape
    return sum(
        _at_least(flops, read, peaks)
        for flops, read in (
            _cross_projection(encoded.ar, lines, states),
            *_steps(encoded.ar, [one.tokens or 0 for one in decoded], beam, states),
        )
    )


def _cross_projection(ar: ARModel, lines: int, states: int) -> tuple[float, float]:
    """Keys and values of the states, once a line."""
    weights = sum(
        linear.weight.numel()
        for layer in ar.decoder.model.decoder.layers
        for linear in (layer.encoder_attn.k_proj, layer.encoder_attn.v_proj)
    )
    return 2.0 * lines * states * weights, float(_FLOAT * weights)


def _steps(ar: ARModel, tokens: Sequence[int], beam: int, states: int) -> list[tuple[float, float]]:
    """Operations and bytes of each step, for the lines that are not finished."""
    weights = _used_each_step(ar.decoder)
    layers = ar.decoder.model.decoder.layers
    cross = 2 * len(layers) * states * ar.decoder.config.d_model  # keys and values of a line
    steps = []
    for step in range(max(tokens, default=0)):
        alive = sum(count > step for count in tokens)
        rows = alive * (1 if step == 0 else beam)
        steps.append((2.0 * rows * (weights + cross), float(_FLOAT * (weights + alive * cross))))
    return steps


def _used_each_step(decoder: Any) -> int:
    """Weights of the layers but for the cross-attention's keys and values, and of the output."""
    layers = sum(
        parameter.numel()
        for name, parameter in decoder.model.decoder.layers.named_parameters()
        if "encoder_attn.k_proj" not in name and "encoder_attn.v_proj" not in name
    )
    return layers + int(decoder.get_output_embeddings().weight.numel())


def _at_least(flops: float, read: float, peaks: Peaks) -> float:
    return max(flops / peaks.flops, read / peaks.bytes_per_s)
