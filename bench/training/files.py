"""Files of a training: checkpoint, curve, identity of the folder, weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.files import draft_of, write_atomically
from bench.core.tensors import write_tensors


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint that survives a kill: beside its place, then moved there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft_of(path) as draft:
        torch.save(state, draft)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, tensors and plain values only.

    Raises:
        UserError: the file is damaged or is no checkpoint of this program.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}); "
            "delete it to start anew"
        ) from error
    return state


@dataclass(frozen=True)
class Point:
    """One validation of the averaged weights.

    loss: mean training loss since the point before, or since the last start; None for none.
    values: by name.
    epoch: of a training that counts in epochs.
    """

    step: int
    loss: float | None
    values: Mapping[str, float]
    epoch: int | None = None

    def __getitem__(self, name: str) -> float:
        return self.values[name]


class History:
    """The validations so far, kept in `path`: a JSON object a line.

    measure: name of the value to minimise.
    """

    def __init__(self, path: Path, measure: str = "cer", step: float = math.inf) -> None:
        """Read the validations up to a step; later ones are repeated."""
        self.path, self.measure = path, measure
        self.points: list[Point] = []
        if path.is_file():
            try:
                rows = [json.loads(row) for row in path.read_text("utf-8").splitlines()]
                points = [
                    Point(
                        row.pop("step"), row.pop("loss"), epoch=row.pop("epoch", None), values=row
                    )
                    for row in rows
                ]
            except (ValueError, KeyError, AttributeError) as error:
                raise UserError(f"{path} is damaged; delete it, training goes on") from error
            self.points = [point for point in points if point.step <= step]

    def add(self, point: Point) -> None:
        """Keep a validation."""
        self.points.append(point)
        rows = []
        for one in self.points:
            epoch = {} if one.epoch is None else {"epoch": one.epoch}
            rows.append(json.dumps({**epoch, "step": one.step, "loss": one.loss, **one.values}))
        write_atomically(self.path, "".join(f"{row}\n" for row in rows).encode())

    @property
    def best(self) -> Point | None:
        """The first point with the lowest value, step 0 excluded."""
        trained = (point for point in self.points if point.step)
        return min(trained, key=lambda point: point[self.measure], default=None)

    @property
    def waited(self) -> int:
        """Validations since the best one."""
        best = self.best
        return 0 if best is None else len(self.points) - 1 - self.points.index(best)


def claim(path: Path, identity: Mapping[str, str]) -> None:
    """Note the training that a folder belongs to, or refuse the folder of another training.

    The identity is what stays the same when a run is resumed.
    """
    if path.is_file():
        try:
            noted = json.loads(path.read_text("utf-8"))
        except ValueError:
            noted = {}
        for name, value in identity.items():
            if noted.get(name) != value:
                raise UserError(
                    f"{path.parent} holds a training with another {name} "
                    f"({noted.get(name)}, not {value}); choose another --out, or delete it"
                )
    write_atomically(path, json.dumps(dict(identity), indent=2).encode())


def export(
    path: Path,
    net: Mapping[str, Tensor],
    head: Mapping[str, Tensor] | None,
    notes: Mapping[str, str],
) -> None:
    """Write a network and its AR head; what both or two parts of the head share is stored once."""
    named = {f"net.{k}": v for k, v in net.items()}
    shared = ("decoder.output_projection.", "project.ctc.")
    named |= {f"ar.{k}": v for k, v in (head or {}).items() if not k.startswith(shared)}
    write_weights(path, named, notes)


def write_weights(path: Path, named: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
    """Write a safetensors file, matrices as float16 and the rest as it is; atomically."""
    tensors = {
        name: value.half().contiguous()
        if value.is_floating_point() and value.dim() >= 2
        else value.clone()
        for name, value in named.items()
    }
    write_tensors(path, tensors, notes)


def without_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries under a prefix, by names without it."""
    return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
