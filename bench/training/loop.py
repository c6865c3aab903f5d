"""The training loop: steps, averages, checkpoints, curves."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import torch
from torch import nn

from bench.core.machine import bf16_units
from bench.training import checkpoint
from bench.training.tasks import B, Task


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast.

    warmup: steps of rising rate; at most a tenth of the run.
    save_every: steps between checkpoints and validations.
    """

    steps: int
    rate: float = 1e-3
    warmup: int = 400
    weight_decay: float = 0.01
    clip: float = 2.0
    save_every: int = 500


@dataclass(frozen=True)
class Progress:
    """What a step reports."""

    step: int
    loss: float
    rate: float


class Loop(Generic[B]):
    """Trains a task from its last checkpoint, if there is one, to the last step."""

    def __init__(
        self,
        task: Task[B],
        config: LoopConfig,
        path: Path,
        device: str = "cpu",
        groups: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Take up a task.

        Args:
            task: what is learned.
            config: how long and how fast.
            path: of the checkpoint.
            device: where.
            groups: of parameters ("params"), each with its share of the rate ("scale"); all
                parameters at the full rate by default.
        """
        self.task, self.config, self.path = task, config, path
        self.device = torch.device(device)
        self.stopped = False
        task.module.to(self.device)
        self._bf16 = bf16_pays(self.device)
        self.optimizer = torch.optim.AdamW(
            groups or task.module.parameters(),
            lr=config.rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        # A window of a tenth of the run: a longer one would still hold what it knew far earlier.
        decay = min(0.9998, config.steps / (config.steps + 10))
        self.average = checkpoint.Average(task.module, decay)
        self.step = 0
        if path.exists():
            self._resume()

    def run(
        self,
        batches: Callable[[int], Iterator[B]],
        report: Callable[[Progress], None],
        validate: Callable[[int, dict[str, Any]], None],
    ) -> None:
        """Train to the end, or until `stopped` is set.

        Args:
            batches: starts the stream at a step.
            report: called after each step.
            validate: called with the averaged weights after each checkpoint.
        """
        stream = batches(self.step)
        while self.step < self.config.steps and not self.stopped:
            loss = self._step(next(stream))
            report(Progress(self.step, loss, self._rate()))
            if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                self.save()
                validate(self.step, self.average.state)

    def save(self) -> None:
        """Write the checkpoint; on several processes the first one writes."""
        if rank() == 0:
            checkpoint.save(
                self.path,
                {
                    "step": self.step,
                    "weights": self.task.module.state_dict(),
                    "average": self.average.state,
                    "optimizer": self.optimizer.state_dict(),
                    "random": torch.get_rng_state(),  # of dropout, on the CPU
                },
            )

    def _resume(self) -> None:
        state = checkpoint.load(self.path)
        self.task.module.load_state_dict(state["weights"])
        self.average.state = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])
        if "random" in state:  # checkpoints of version 0.1 have none
            torch.set_rng_state(state["random"])

    def _rate(self) -> float:
        """Linear warm-up, then a cosine from there to a hundredth."""
        warmup = min(self.config.warmup, self.config.steps // 10)
        if self.step < warmup:
            return self.config.rate * (self.step + 1) / warmup
        share = min(1.0, (self.step - warmup) / (self.config.steps - warmup))
        return self.config.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))

    def _step(self, batch: B) -> float:
        self.task.module.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate() * group.get("scale", 1.0)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            loss = self.task.loss(batch.to(self.device))
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        average_gradients(self.task.module)
        norm = nn.utils.clip_grad_norm_(self.task.module.parameters(), self.config.clip)
        if math.isfinite(float(norm)):
            self.optimizer.step()
        self.step += 1
        self.average.update(self.task.module, self.step)
        return float(loss.detach())


def bf16_pays(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster on a device than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bf16_units()


def rank() -> int:
    """This process among those that train together (torchrun)."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def agreed(flag: bool) -> bool:
    """What the first process says, in all of them."""
    if not torch.distributed.is_initialized():
        return flag
    said = torch.tensor([flag])
    torch.distributed.broadcast(said, 0)
    return bool(said)


def average_gradients(module: nn.Module) -> None:
    """Mean of the gradients over all processes, in a single all-reduce."""
    if not torch.distributed.is_initialized():
        return
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        grad.copy_(part.view_as(grad))
