"""Training a CTC head from start to its file, and the self-test that learns lines by heart."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.core.progress import Report
from bench.training import checkpoint
from bench.training.claim import claim
from bench.training.ctc.job import BEST, Job
from bench.training.ctc.validate import COLLAPSE, CTCScore, Judge, Point, collapsed, total
from bench.training.history import History
from bench.training.loop import Loop, LoopConfig, Progress, agreed, rank, world
from bench.training.material import Wanted
from bench.training.supply import LineBatch, batches

BY_HEART = 32  # lines of the self-test


@dataclass(frozen=True)
class CTCOptions:
    """What the command line asks for.

    encoder: name, folder, Hub id, or shape for random weights.
    out: folder of checkpoints, curve and the finished head.
    features: folder of cached states.
    unfreeze: train the encoder along; else its states are computed once.
    share: of the head's learning rate that the encoder's last layer gets.
    layer_decay: of the rate from each of the encoder's layers to the one below.
    views: looks of each line that are cached; unfrozen, every line always looks new.
    patience: validations without a better CER after which training stops; 0 for never.
    decoder: that reads the validation lines; the best weights are chosen by its CER.
    """

    encoder: str
    head: str
    out: Path
    wanted: Wanted
    features: Path
    head_options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 3000
    batch: int = 32
    rate: float = 1e-3
    unfreeze: bool = False
    share: float = 0.1
    layer_decay: float = 0.8
    views: int = 1
    patience: int = 10
    decoder: str = "ctc-greedy"
    save_every: int = 200
    seed: int = 0
    workers: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class CTCWatcher:
    """Callbacks of a training: a sentence, states computed, a step, a validation."""

    said: Callable[[str], None]
    encoded: Report
    step: Callable[[Progress], None]
    scores: Callable[[int, Mapping[str, CTCScore]], None]


@dataclass(frozen=True)
class Result:
    """How a training ended.

    head: the file of the best weights.
    best: their validation.
    """

    head: Path
    best: Point


def train_ctc(options: CTCOptions, watcher: CTCWatcher) -> Result | None:
    """Train a head, resuming `out/ctc.pt`; writes it, and the encoder if that was trained along.

    The best weights are written whenever they get better. Several processes train together when
    torchrun started them; the first one validates and writes.

    Returns:
        How it ended; None in all processes but the first.

    Raises:
        UserError: an unknown name, no line that fits, no room on the disk, a damaged checkpoint.
        Unavailable: the encoder or a data set is not here.
    """
    with Judge(options.decoder) as judge:
        job = Job(options, watcher.said, watcher.encoded)
        if rank() == 0:
            claim(options.out / "training.json", job.identity)
        run = _Run(job, judge, watcher)
        run.train()
        if rank() == 0:
            job.export(run.history)  # again, should the last one have been cut off
        best = run.history.best
    return Result(job.head_path, best) if best else None


def learn_by_heart(options: CTCOptions, watcher: CTCWatcher) -> Point:
    """The self-test: the first lines, as they are, until each is read without an error.

    What fails here has a fault in its head, its targets or its rate, and no data will mend it.
    Nothing is kept.

    Returns:
        The last validation; its CER is 0 when the test is passed.
    """
    with tempfile.TemporaryDirectory() as folder, Judge(options.decoder) as judge:
        place = Path(folder)
        few = replace(options, out=place, features=place, views=1, save_every=25, patience=0)
        job = Job(few, watcher.said, watcher.encoded, by_heart=BY_HEART)
        run = _Run(job, judge, watcher)
        run.train()
        return run.history.points[-1]


class _Run:
    """The loop of a job with its validations."""

    def __init__(self, job: Job, judge: Judge, watcher: CTCWatcher) -> None:
        options = job.options
        config = LoopConfig(options.steps, options.rate, clip=1.0, save_every=options.save_every)
        self.job, self.judge, self.watcher = job, judge, watcher
        self.supply, self.validation = job.supply(), job.validation()
        path, task = options.out / "ctc.pt", job.task()
        self.loop: Loop[LineBatch] = Loop(task, config, path, options.device, job.rate_groups(task))
        self.history = History(options.out / "history.jsonl", Point, self.loop.step)
        self.losses: list[float] = []
        self.left_out = 0

    def train(self) -> None:
        """To the last step, or until it gets no better."""
        step = self.loop.step
        if agreed(step > 0 and step not in [point.step for point in self.history.points]):
            self._validate(step, self.loop.average.state)  # the end came between save and this
        self.loop.stopped = agreed(self._enough())
        self.loop.run(self._batches, self._stepped, self._validate)
        if self.left_out:
            self.watcher.said(f"{self.left_out} drawn lines could not be spelled and were redrawn")

    def _batches(self, step: int) -> Iterator[LineBatch]:
        first = step * world() + rank()
        for batch in batches(self.supply, first, self.job.options.workers, stride=world()):
            self.left_out += batch.left_out
            yield batch

    def _stepped(self, progress: Progress) -> None:
        self.losses.append(progress.loss)
        self.watcher.step(progress)

    def _validate(self, step: int, average: Mapping[str, Tensor]) -> None:
        if rank() == 0:
            self._judge(step, average)
        self.loop.stopped = agreed(self._enough())

    def _judge(self, step: int, average: Mapping[str, Tensor]) -> None:
        weights = self.loop.task.module.state_dict() if self.job.by_heart else average
        witness = self.job.witness(weights)
        scores = {
            name: self.judge.score(lines.logits(witness), lines.texts)
            for name, lines in self.validation.items()
        }
        cer, blank = total(scores.values())
        loss = sum(self.losses) / len(self.losses) if self.losses else math.nan
        self.losses.clear()
        self.watcher.scores(step, scores)
        point = Point(step, loss, cer, blank)
        better = self.history.betters(point) and not self.job.by_heart
        if better:  # before it is noted: a kill may come between
            checkpoint.save(self.job.options.out / BEST, {"step": step, "weights": dict(weights)})
        self.history.add(point)
        if better:
            self.job.export(self.history)
        if collapsed(self.history.points) and not self.job.by_heart:
            self.watcher.said(
                f"step {step}: for {COLLAPSE} validations every frame was a blank; every CTC head "
                "begins so, but if it lasts, lower --rate or try --sanity"
            )

    def _enough(self) -> bool:
        if self.job.by_heart:
            return bool(self.history.points) and self.history.points[-1].cer == 0
        patience = self.job.options.patience
        return 0 < patience <= self.history.waited
