"""Weights on disk: safetensors files with notes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.core.errors import UserError
from bench.core.files import content_hash, draft_of

SUMS = "SHA256SUMS"  # beside shipped weights, as `sha256sum` writes it


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a file, fractions as float32, and its notes.

    Raises:
        UserError: the file is missing or damaged.
    """
    if (sums := path.with_name(SUMS)).is_file() and path.is_file():
        shipped = {name: digest for digest, name in map(str.split, sums.read_text().splitlines())}
        if path.name in shipped and shipped[path.name] != content_hash(path, 64):
            raise UserError(
                f"{path} is not the file that was shipped; run git checkout {path}, or renew {sums}"
            )
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            notes = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is no readable safetensors file ({error}); fetch or train it again"
        ) from error
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, notes


def write_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
    """Write a file whole or not at all."""
    with draft_of(path) as draft:
        save_file(dict(tensors), draft, metadata=dict(notes))
        draft.chmod(0o644)  # safetensors writes it for the owner alone
