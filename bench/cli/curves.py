"""What a training shows: a progress bar with ETA on stderr, and curves for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import TaskID

from bench.cli.bars import Bars

if TYPE_CHECKING:
    from bench.training.loop import Progress


class Curves(Bars):
    """The callbacks of a training."""

    def __init__(self, out: Path | None, steps: int = 0) -> None:
        """Begin.

        Args:
            out: folder of the curves; None for none.
            steps: in all; 0 when `step` is told.
        """
        from bench.training.loop import rank

        super().__init__(quiet=rank() != 0)
        self._steps = steps
        self._tasks: dict[str, TaskID] = {}
        self._writer = _summary_writer(out) if out is not None and rank() == 0 else None

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self._writer is not None:
            self._writer.close()

    def report(self, doing: str, done: float, total: float) -> None:
        """So much is done of something; each thing has a bar of its own, from when it begins."""
        if doing not in self._tasks:
            self._tasks[doing] = self._bars.add_task(doing, total=total)
        task = self._tasks[doing]
        if done < self._bars.tasks[task].completed:  # it has begun again
            self._bars.reset(task, total=total)
        self._bars.update(task, completed=done)

    def step(self, progress: Progress, steps: int = 0) -> None:
        """One step done, of so many."""
        self.report("training", progress.step, steps or self._steps)
        said = f"training, loss {progress.loss:.3f}"
        self._bars.update(self._tasks["training"], description=said)
        self.scalar("loss", progress.loss, progress.step)
        self.scalar("rate", progress.rate, progress.step)

    def scalar(self, name: str, value: float, step: int) -> None:
        """One value of a curve."""
        if self._writer is not None:
            self._writer.add_scalar(name, value, step)

    def validated(self, step: int, name: str, cer: float, reference: str, text: str) -> None:
        """The CER of one set, with an example."""
        self.say(f"step {step}  {name} val CER {100 * cer:.2f} %  [{reference!r} -> {text!r}]")
        self.scalar(f"cer/{name}", cer, step)


def _summary_writer(out: Path) -> Any | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # TensorBoard is optional
        return None
    return SummaryWriter(out)
