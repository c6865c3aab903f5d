"""Progress bars of a training on stderr, and its curves for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.progress import TaskID

from bench.cli.bars import Bars
from bench.training.fit import Log, rank


class Curves(Bars, Log):
    """The callbacks of a training; of several processes the first one's.

    out: folder of the curves; None for none.
    """

    def __init__(self, out: Path | None = None) -> None:
        super().__init__(quiet=rank() != 0)
        self._tasks: dict[str, TaskID] = {}
        self._writer = _summary_writer(out) if out is not None and rank() == 0 else None

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self._writer is not None:
            self._writer.close()

    def report(self, doing: str, done: float, total: float) -> None:
        """Move the bar of what is being done; each thing has a bar of its own."""
        if doing not in self._tasks:
            self._tasks[doing] = self._bars.add_task(doing, total=total)
        task = self._tasks[doing]
        if done < self._bars.tasks[task].completed:  # it has begun again
            self._bars.reset(task, total=total)
        self._bars.update(task, completed=done)

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add a value to a curve; the loss stands beside its bar too."""
        if name == "loss" and "training" in self._tasks:
            self._bars.update(self._tasks["training"], description=f"training, loss {value:.3f}")
        if self._writer is not None:
            self._writer.add_scalar(name, value, step)


def _summary_writer(out: Path) -> Any | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # TensorBoard is optional
        return None
    return SummaryWriter(out)
