"""From checkpoints to the shipped safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from bench.core.files import draft_of


def export(
    path: Path,
    net: Mapping[str, Tensor],
    head: Mapping[str, Tensor] | None,
    notes: Mapping[str, str],
) -> None:
    """Write weights, matrices as float16 (half the size), the rest as float32; atomically."""
    named = {f"net.{k}": v for k, v in net.items()}
    named |= {f"ar.{k}": v for k, v in (head or {}).items() if not _tied(k)}
    write_weights(path, named, notes)


def write_weights(path: Path, named: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
    """Write a safetensors file, matrices as float16 and the rest as it is; atomically."""
    tensors = {
        name: value.half().contiguous() if _is_matrix(value) else value.clone()
        for name, value in named.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft_of(path) as draft:
        save_file(tensors, draft, metadata=dict(notes))
        draft.chmod(0o644)  # safetensors writes it for the owner alone


def _is_matrix(value: Tensor) -> bool:
    return value.is_floating_point() and value.dim() >= 2


def _tied(name: str) -> bool:
    """The output projection is the token embedding: stored once."""
    return name.endswith("output_projection.weight")


def without_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries under a prefix, with it taken off."""
    return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
