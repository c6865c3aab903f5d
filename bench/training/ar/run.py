"""Fine-tuning from start to a folder, with two curves that show over-fitting as it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from bench.core.progress import Report
from bench.training.ar.curve import Epoch
from bench.training.ar.job import AROptions, Job, Reading, Said
from bench.training.ar.read import Judge
from bench.training.claim import claim
from bench.training.history import History
from bench.training.loop import Loop, LoopConfig, Progress
from bench.training.score import micro_cer
from bench.training.supply import LineBatch, batches

HISTORY = "history.jsonl"


@dataclass(frozen=True)
class ARWatcher:
    """Callbacks of a fine-tuning.

    said: a sentence.
    report: lines that are read.
    step: a step, and how many there are in all.
    epoch: all epochs so far, and how lines were read after the last one.
    """

    said: Said
    report: Report
    step: Callable[[Progress, int], None]
    epoch: Callable[[Sequence[Epoch], Reading], None]


@dataclass(frozen=True)
class Tuned:
    """How a fine-tuning ended.

    model: the folder of the best weights.
    best: when they were reached.
    epochs: all of them.
    """

    model: Path
    best: Epoch
    epochs: tuple[Epoch, ...]


def fine_tune(options: AROptions, watcher: ARWatcher) -> Tuned:
    """Fine-tune a TrOCR on train lines, resuming `out/ar.pt`; its best weights become `out/model`.

    The weights that are read and kept are moving averages: a training that val stops early seldom
    comes to the low rates at its end, and an average does what they would have done (Polyak &
    Juditsky 1992).

    Raises:
        UserError: an unknown name, no line that fits, a damaged checkpoint, a full disk.
        Unavailable: the model or a data set is not here.
    """
    with Judge(options.decoder) as judge:
        job = Job(options, watcher.said, watcher.report)
        claim(options.out / "training.json", job.identity)
        run = _Run(job, judge, watcher)
        run.train()
    best = run.history.best
    assert best is not None  # an epoch has been read
    return Tuned(options.out / "model", best, tuple(run.history.points))


class _Run:
    """The loop of a job with its readings."""

    def __init__(self, job: Job, judge: Judge, watcher: ARWatcher) -> None:
        options = job.options
        self.job, self.judge, self.watcher = job, judge, watcher
        self.supply, task = job.supply(), job.task()
        steps = options.epochs * self.supply.steps
        config = LoopConfig(
            steps,
            options.rate,
            warmup=500,
            clip=1.0,
            save_every=self.supply.steps,
        )
        groups = task.rate_groups(options.layer_decay)
        self.loop: Loop[LineBatch] = Loop(
            task, config, options.out / "ar.pt", options.device, groups
        )
        self.history = History(options.out / HISTORY, Epoch, self.loop.step)
        self.losses: list[float] = []

    def train(self) -> None:
        """To the last epoch, or until val gets no better."""
        step = self.loop.step
        at_border = step % self.supply.steps == 0
        if at_border and step not in [epoch.step for epoch in self.history.points]:
            self._read(step, self.loop.average.state)  # epoch 0, or the end came before this
        self.loop.stopped = self._enough()
        self.loop.run(self._batches, self._stepped, self._read)

    def _batches(self, step: int) -> Iterator[LineBatch]:
        return batches(self.supply, step, self.job.options.workers)

    def _stepped(self, progress: Progress) -> None:
        self.losses.append(progress.loss)
        self.watcher.step(progress, self.loop.config.steps)
        within = progress.step % self.supply.steps  # the loop saves at the end of an epoch
        if within and within % self.job.options.save_every == 0:
            self.loop.save()

    def _read(self, step: int, average: Mapping[str, Tensor]) -> None:
        number = step // self.supply.steps
        reading = self.job.read(self.judge, average)
        loss = sum(self.losses) / len(self.losses) if self.losses else None
        self.losses.clear()
        epoch = Epoch(
            number, step, loss, micro_cer(reading.train.values()), micro_cer(reading.val.values())
        )
        if step and self.history.betters(epoch):  # before it is noted: a kill may come between
            self.job.export([*self.history.points, epoch])
        self.history.add(epoch)
        self.watcher.epoch(self.history.points, reading)
        self.loop.stopped = self._enough()

    def _enough(self) -> bool:
        return 0 < self.job.options.patience <= self.history.waited
