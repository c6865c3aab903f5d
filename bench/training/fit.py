"""One loop for every training: `fit(recipe)`.

A recipe is a frozen set of options. `recipe.open(log)` gives a `Training`: a module, its batches,
its loss, its validation and its export. The loop does the rest: rate, averages, checkpoints,
resuming, several processes, an early end.
"""

# Without postponed annotations: cyclopts reads inherited fields in the module of the subclass.

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, distributed, nn
from torch.optim.swa_utils import AveragedModel

from bench.core.errors import UserError
from bench.core.locks import locked
from bench.core.stopwatch import steady_s
from bench.training.files import History, Point, claim, load_checkpoint, save_checkpoint
from bench.training.recipes import Log, Recipe, rank, world

_FLOOR = 0.01  # of the peak rate, at the end


class Training(ABC):
    """An opened recipe.

    module: learns; a copy of it with averaged weights is validated and exported.
    epoch: steps of a pass over the lines; None where lines are drawn without end.
    steps: of the run; None where a clock ends it.
    """

    measure: ClassVar[str] = "cer"  # the value to minimise
    from_start: ClassVar[bool] = False  # whether weights are validated before the first step
    keeps_last: ClassVar[bool] = False  # whether the last weights are kept and not the best

    def __init__(self, recipe: Recipe, module: nn.Module, epoch: int | None = None) -> None:
        """Work out the length."""
        self.module, self.epoch = module, epoch
        unit, count = recipe.length()
        if unit == "epochs" and epoch is None:
            raise UserError("these lines are drawn without end and have no epochs; give --steps")
        self.steps = {"steps": int(count), "epochs": int(count) * (epoch or 0)}.get(unit)

    @property
    def identity(self) -> Mapping[str, str]:
        """Names and values that stay the same when a run is resumed."""
        return {}

    def groups(self) -> list[dict[str, Any]]:
        """Parameters ("params") with their shares of the rate ("scale")."""
        return [{"params": list(self.module.parameters()), "scale": 1.0}]

    @abstractmethod
    def batches(self, step: int) -> Iterable[Any]:
        """Yield batches for ever, from a step on; each has a method `to(device)`."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """Mean loss of a batch."""

    @abstractmethod
    def validate(self, module: Any) -> Mapping[str, float]:
        """Measure the values of a `Point` on a copy of the module in eval mode."""

    @abstractmethod
    def export(self, module: Any, points: Sequence[Point]) -> None:
        """Write the weights of a copy of the module; the last point is theirs."""

    @property
    @abstractmethod
    def weights(self) -> Path:
        """File or folder of the exported weights."""

    def describe(self, values: Mapping[str, float]) -> str:
        """The values in words; they are fractions unless this is overridden."""
        return "  ".join(
            f"{name.replace('_', ' ').replace('cer', 'CER')} {100 * value:.2f} %"
            for name, value in values.items()
        )

    def remark(self, points: Sequence[Point]) -> str:
        """Return a warning about the last points, or ""."""
        return ""

    def close(self) -> None:
        """Close everything that was opened."""


@dataclass(frozen=True)
class Result:
    """The end of a training: its validations, and the file or folder of the weights."""

    points: tuple[Point, ...]
    best: Point | None
    weights: Path


def fit(recipe: Recipe, log: Log | None = None) -> Result:
    """Train to the end, from the checkpoint in `recipe.out` where there is one.

    Weights are written when a validation is better than all before. Several processes train
    together when torchrun started them; the first one validates and writes.

    Raises:
        UserError: see `Recipe.open`; a damaged checkpoint, a folder of another training, or one
            that another process is writing.
        Unavailable: weights or a data set are not here.
    """
    recipe.check()
    if world() > 1 and not distributed.is_initialized():
        distributed.init_process_group("gloo")
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    log = log or Log()
    with _alone_in(recipe.out), contextlib.closing(recipe.open(log)) as training:
        run = _Run(recipe, training, log)
        run.train()
    return Result(tuple(run.history.points), run.history.best, training.weights)


def _alone_in(out: Path) -> contextlib.AbstractContextManager[None]:
    """Keep another training out of a folder, whose checkpoints would alternate."""
    if rank():
        return contextlib.nullcontext()
    return locked(
        out / "lock",
        refusal=lambda process: UserError(
            f"another training (process {process}) is writing {out}; wait for it to end or choose "
            "another --out"
        ),
    )


class _Run:
    """A training with its optimiser, its averages and its checkpoint."""

    def __init__(self, recipe: Recipe, training: Training, log: Log) -> None:
        self.recipe, self.training, self.log = recipe, training, log
        self.device = torch.device(recipe.device)
        self.bf16 = recipe.dtype == "bfloat16" or (
            recipe.dtype == "auto" and bf16_pays(self.device)
        )
        self.module, self.steps = training.module.to(self.device), training.steps
        self.optimizer = torch.optim.AdamW(
            training.groups(), recipe.peak(), weight_decay=recipe.weight_decay, fused=True
        )
        self.average = averaged(self.module, recipe.ema, self.steps)
        self.step, self.ended = 0, False
        self.began = self.saved = self.now = first(steady_s())
        self.unit, length = recipe.length()
        self.until = self.began + 3600 * length
        self.every = {"steps": recipe.save_every, "epochs": training.epoch}.get(self.unit)
        self.losses: list[float] = []
        self.path, history = recipe.out / f"{recipe.name}.pt", recipe.out / recipe.history
        note = recipe.out / "training.json"
        if rank() == 0:
            recipe.out.mkdir(parents=True, exist_ok=True)
            for old in (self.path, history, note) if recipe.anew else ():
                old.unlink(missing_ok=True)
            if training.identity:
                claim(note, training.identity)
        if first(self.path.exists()):
            self._resume()
        self.history = History(history, training.measure, self.step)
        if world() > 1:
            for value in self.module.state_dict().values():
                distributed.broadcast(value, 0)
        if rank():
            torch.manual_seed(recipe.seed + rank())  # each process drops out units of its own

    def train(self) -> None:
        """Train to the end, or until validations stop improving."""
        border = self.every is None or self.step % self.every == 0 or self.step == self.steps
        due = border and (self.step > 0 or self.training.from_start)
        if first(due and self.step not in [point.step for point in self.history.points]):
            self._validate()  # of the first start, or a kill came between checkpoint and validation
        self.ended = self._enough() or self.step == self.steps
        for batch in () if self.ended else self.training.batches(self.step):
            loss, rate = self._step(batch)
            self.losses.append(loss)
            self.log.report("training", *self._progress())
            self.log.scalar("loss", loss, self.step)
            self.log.scalar("rate", rate, self.step)
            if self._due():
                self._save()
                self._validate()
                self.ended = self._enough() or self._over()
            elif self.every and self.step % self.recipe.save_every == 0:
                self._save()
            if self.ended:
                break

    def _over(self) -> bool:
        return self.step == self.steps or (self.steps is None and self.now >= self.until)

    def _due(self) -> bool:
        """Whether it is time for a checkpoint with validation."""
        if self.every is not None:
            return self.step % self.every == 0 or self.step == self.steps
        return self._over() or self.now - self.saved > 60 * self.recipe.minutes

    def _enough(self) -> bool:
        return bool(first(0 < self.recipe.patience <= self.history.waited))

    def _progress(self) -> tuple[float, float]:
        """Done and total amount of the run."""
        if self.steps is not None:
            return self.step, self.steps
        return self.now - self.began, self.until - self.began

    def _rate(self) -> float:
        """Learning rate: a linear rise, a hold, and a cosine to the end of steps or time."""
        recipe, (done, total) = self.recipe, self._progress()
        warmup = recipe.warmup
        if self.steps is not None:
            warmup = min(warmup, self.steps // 10)
            done, total = done - warmup, total - warmup
        rise = min(1.0, (self.step + 1) / max(1, warmup))
        fall = min(1.0, max(0.0, (done / total - recipe.hold) / (1 - recipe.hold)))
        return recipe.peak() * rise * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * fall)))

    def _step(self, batch: Any) -> tuple[float, float]:
        """Learn a batch; returns its loss and the rate."""
        self.module.train()
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = self.training.loss(batch.to(self.device))
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        average_gradients(self.module)
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.clip)
        if math.isfinite(float(norm)):
            self.optimizer.step()
        self.step += 1
        if self.steps is None:
            self.now = first(steady_s())
        self.average.update_parameters(self.module)
        return float(loss.detach()), rate

    def _validate(self) -> None:
        """Validate the averaged weights, and export the best or the latest."""
        if rank():
            return
        module = self.average.module.eval()
        values = self.training.validate(module)
        loss = sum(self.losses) / len(self.losses) if self.losses else None
        self.losses.clear()
        epoch = self.step // self.every if self.every and self.unit == "epochs" else None
        point = Point(self.step, loss, values, epoch)
        best = self.history.best
        measure = self.training.measure
        better = self.step > 0 and (best is None or point[measure] < best[measure])
        points = [*self.history.points, point]
        if better or (self.step and self.training.keeps_last):
            self.training.export(module, points)  # before the point: a kill may come between
        self.history.add(point)
        self._report(point, better)

    def _report(self, point: Point, better: bool) -> None:
        words = [f"step {point.step}" if point.epoch is None else f"epoch {point.epoch}"]
        words += [] if point.loss is None else [f"loss {point.loss:.3f}"]
        words.append(self.training.describe(point.values) + (", best so far" if better else ""))
        self.log.say("  ".join(words))
        if remark := self.training.remark(self.history.points):
            self.log.say(remark)
        for name, value in point.values.items():
            self.log.scalar(name, value, point.step)

    def _save(self) -> None:
        """Write the checkpoint; on several processes the first one writes."""
        self.saved = self.now
        if rank() == 0:
            save_checkpoint(
                self.path,
                {
                    "step": self.step,
                    "weights": self.module.state_dict(),
                    "average": self.average.module.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "random": torch.get_rng_state(),  # of dropout, on the CPU
                },
            )

    def _resume(self) -> None:
        state = load_checkpoint(self.path)
        self.step = int(state["step"])
        self.module.load_state_dict(state["weights"])
        self.average.module.load_state_dict(state["average"])
        self.average.n_averaged.fill_(self.step + 1)
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])


def averaged(module: nn.Module, decay: float, steps: int | None) -> AveragedModel:
    """A copy of a module that follows its weights and buffers (Polyak & Juditsky 1992).

    It follows quickly at first, so that early averages are useful, and over a tenth of the run at
    most: a longer window would still hold weights from far earlier.
    """
    longest = min(decay, steps / (steps + 10)) if steps else decay

    def follow(means: Any, values: Any, count: Any) -> None:
        share = 1 - min(longest, (int(count) + 1) / (int(count) + 10))
        for mean, value in zip(means, values, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, share)
            else:
                mean.copy_(value)

    average = AveragedModel(module, multi_avg_fn=torch.no_grad()(follow), use_buffers=True)
    average.n_averaged.fill_(1)  # at 0 it would take the first weights as they are
    return average.requires_grad_(False)


def bf16_pays(device: torch.device) -> bool:
    """Whether bfloat16 makes matrix products on a device faster than float32 does."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Measured, since units alone do not tell: a Xeon with avx512_bf16 took 1.7 times as long with
    # them, an EPYC half as long.
    rows = torch.ones(1024, 512)
    return _product_seconds(rows.bfloat16()) < _product_seconds(rows)


def _product_seconds(rows: Tensor) -> float:
    times = []
    for _ in range(6):
        start = steady_s()
        rows @ rows.T
        times.append(steady_s() - start)
    return min(times[1:])  # the first one sets up


def first(value: float) -> float:
    """Broadcast the first process's value to all."""
    if not distributed.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    distributed.broadcast(shared, 0)
    return float(shared)


def average_gradients(module: nn.Module) -> None:
    """Mean of the gradients over all processes, in a single all-reduce."""
    if not distributed.is_initialized():
        return
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        grad.copy_(part.view_as(grad))
