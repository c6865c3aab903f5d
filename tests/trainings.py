"""For tests of trainings: a recipe of one weight, logs that listen or kill, and a CER."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from bench.core.metrics import count_edits
from bench.core.types import Line
from bench.training.fit import Training
from bench.training.recipes import Log, Recipe
from decoders import DECODERS


class Killed(Exception):  # noqa: N818
    """The end comes here."""


@dataclass
class Listening(Log):
    """Keeps sentences and curves; kills the training behind a step."""

    kill: float = 0
    said: list[str] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=dict)

    def say(self, text: str) -> None:
        self.said.append(text)

    def report(self, doing: str, done: float, total: float) -> None:
        if doing == "training" and done == self.kill:
            raise Killed

    def scalar(self, name: str, value: float, step: int) -> None:
        self.curves.setdefault(name, []).append(value)


@dataclass(frozen=True, kw_only=True)
class Slope(Recipe):
    """A weight that only ever grows, from 0.5 on, and a dropout that draws random numbers."""

    name: ClassVar[str] = "slope"
    usual: ClassVar[Mapping[str, float]] = {"steps": 10, "rate": 1e-3}
    weight_decay: ClassVar[float] = 0.0

    workers: int = 0
    epoch: int | None = None
    keeps_last: bool = False
    from_start: bool = False

    def open(self, log: Log) -> Training:
        return _Slope(self)


class _Slope(Training):
    def __init__(self, recipe: Slope) -> None:
        self.recipe = recipe
        linear = nn.Linear(1, 1, bias=False)
        nn.init.constant_(linear.weight, 0.5)
        super().__init__(recipe, nn.Sequential(nn.Dropout(0.3), linear), recipe.epoch)
        self.keeps_last, self.from_start = recipe.keeps_last, recipe.from_start  # type: ignore[misc]

    @property
    def identity(self) -> Mapping[str, str]:
        return {"seed": str(self.recipe.seed)}

    @property
    def weights(self) -> Path:
        return self.recipe.out / "weights.txt"

    def batches(self, step: int) -> Iterator[Any]:
        while True:
            yield torch.ones(4, 1) + step
            step += 1

    def loss(self, batch: Any) -> torch.Tensor:
        return -self.module(batch).mean()

    def validate(self, module: Any) -> Mapping[str, float]:
        assert not module.training
        weight = float(module[1].weight)
        return {"cer": 1 - weight, "weight": weight}

    def export(self, module: Any, points: Any) -> None:
        self.weights.write_text(f"{points[-1].step} {float(module[1].weight)}")


def cer_of(encoder: Any, decoder: str, lines: Sequence[Line]) -> float:
    """Micro CER of lines by an encoder and a registered decoder."""
    encoded = encoder.encode(encoder.prepare([line.image for line in lines]))
    read = DECODERS.create(decoder).open(encoder.info).decode(encoded)
    edits, characters = count_edits([(x.text, y.text) for x, y in zip(lines, read, strict=True)])
    return edits / characters
