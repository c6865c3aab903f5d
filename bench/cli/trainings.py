"""The commands under `python -m bench train`: a recipe each, whose fields are the options."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App
from rich.progress import TaskID

from bench.cli import PROGRAM
from bench.cli.bars import Bars
from bench.cli.guard import guard_text, guard_training
from bench.cli.options import AllowLeak, DataRoot, Lang
from bench.core.bounds import Whole
from bench.core.errors import UserError
from bench.report.format import commas, number, percent, plural
from bench.report.language import say, say_text
from bench.training.recipes import (
    MIXTURE,
    CharLM,
    CTCHead,
    FineTuning,
    Log,
    MiniEncoder,
    MiniHead,
    Recipe,
    rank,
)

if TYPE_CHECKING:
    from bench.training.files import Point
    from bench.training.fit import Result

_MINI = "mini"

mini = App(
    help="Train mini's encoder: PP-OCR's small recogniser on handwriting.",
    help_epilogue=f"""\
examples:
  {PROGRAM} train mini --hours 3 --frozen --out runs/mini
  {PROGRAM} train mini --start models/weights/mini.safetensors --hours 3   goes on from mini
  {PROGRAM} train mini --damaged 0.5 --out runs/torn       half of the lines damaged
  torchrun --nproc-per-node 2 -m bench train mini --out runs/mini
  {PROGRAM} run --all -o mini.weights=runs/mini/mini.safetensors
  tensorboard --logdir runs/mini
""",
)
ar = App(
    help="Train mini's AR head on the frozen encoder, or fine-tune a TrOCR.",
    help_epilogue=f"""\
examples:
  {PROGRAM} train ar --encoder trocr-base --dataset hooker --device cuda
  {PROGRAM} train ar --encoder trocr-base --dataset hooker,unipen-bb --freeze-encoder
  {PROGRAM} train ar --encoder trocr-small --dataset hooker --epochs 20 --patience 5 --out runs/hooker
  {PROGRAM} train ar --encoder ./runs/hooker/model --dataset unipen    goes on from its own model
  {PROGRAM} train ar --encoder tiny --dataset lines --epochs 100       from random weights
  {PROGRAM} run --encoder ./runs/hooker/model --decoder ar-greedy,ar-beam --dataset hooker
  {PROGRAM} check overfit --system ./runs/hooker/model:ar-greedy --dataset hooker
  {PROGRAM} train ar --steps 4000 --out runs/mini                      mini's AR head
  tensorboard --logdir runs/hooker

Before a fine-tuning and at every validation the same lines of train and of val are read by
--decoder, and their CER stands in history.jsonl: where train falls and val rises,
it over-fits. The weights with the lowest CER on val become OUT/model, a folder like the Hub's.
On a CPU, base and large take seconds a line.
""",  # noqa: E501
)
ctc = App(
    help="Train a CTC head for a TrOCR, its encoder frozen or trained along.",
    help_epilogue=f"""\
examples:
  {PROGRAM} train ctc --encoder trocr-base --dataset hooker
  {PROGRAM} train ctc --encoder trocr-base --dataset hooker,unipen --head grid-linear --allow-leak
  {PROGRAM} train ctc --encoder trocr-base --dataset hooker --unfreeze --layer-decay 0.8
  {PROGRAM} train ctc --encoder tiny --dataset mixture --unfreeze --steps 20000 --out runs/tiny
  torchrun --nproc-per-node 2 -m bench train ctc --encoder tiny --head wide --unfreeze
  {PROGRAM} run --encoder ./runs/tiny/model -o ./runs/tiny/model.head=runs/tiny/model/grid-subcol.safetensors
  tensorboard --logdir runs/tiny

A shape has random weights and needs --unfreeze and much data: mixture is drawn anew for ever from
the lines that mini learned.
""",  # noqa: E501
)
lm = App(
    help="Train a small causal transformer over characters.",
    help_epilogue=f"""\
examples:
  {PROGRAM} train lm --out runs/lm                     from the embedded corpus, as shipped
  {PROGRAM} train lm --text letters.txt --out runs/my-lm
  {PROGRAM} run --decoder ctc-rescore+lm -o lm.model=runs/my-lm/lm.safetensors
  tensorboard --logdir runs/lm

The averaged weights predict the val documents (of --text: every tenth paragraph), and those with
the fewest bits a character are kept as OUT/lm.safetensors. At the end that number stands beside
that of a character n-gram model of the same text.
""",
)


@mini.default
def _mini(
    *,
    recipe: MiniEncoder = MiniEncoder(),
    allow_leak: AllowLeak = False,
    data_root: DataRoot = None,
    lang: Lang = None,
) -> int:
    return _on_mixture(recipe, allow_leak)


@ar.default
def _ar(
    *,
    recipe: FineTuning = FineTuning(),
    init: Path | None = None,
    columns: Whole | None = None,
    allow_leak: AllowLeak = False,
    data_root: DataRoot = None,
    lang: Lang = None,
) -> int:
    """Train the head of mini, or fine-tune a TrOCR.

    Args:
        recipe: of a TrOCR.
        init: safetensors weights whose AR head to start from; of mini alone.
        columns: pixel columns of a batch; of mini alone; default: 9000.
        allow_leak: see `AllowLeak`.
        data_root: see `DataRoot`.
        lang: see `Lang`.
    """
    own = {k: v for k, v in {"init": init, "columns": columns}.items() if v is not None}
    if recipe.encoder == _MINI:
        return _on_mixture(_head_of_mini(recipe, own), allow_leak)
    for name in own:
        raise UserError(
            f"--{name} is of mini alone, and --encoder is {recipe.encoder}; leave it out"
        )
    result = _fit(recipe, lambda: guard_training(recipe.sets, recipe.typed, allow_leak))
    assert result.best is not None  # an epoch has been read
    model = say("model: {path}", path=result.weights)
    end = outcome(result.points, result.best, recipe.decoder)
    return _done(f"{model}\n{end}", "--encoder", _folder(result.weights), *_read(recipe.sets))


def _head_of_mini(recipe: FineTuning, own: dict[str, Any]) -> MiniHead:
    """The recipe of mini's head with the common options that were set."""
    common = {field.name for field in fields(Recipe)}
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if value == field.default or (field.name == "out" and value == Path("runs/mini")):
            continue
        if field.name not in common:
            flag = "-o" if field.name == "options" else f"--{field.name.replace('_', '-')}"
            raise UserError(f"{flag} applies only to TrOCR encoders; choose one with --encoder")
        own[field.name] = value
    return MiniHead(**own)


def outcome(points: Sequence[Point], best: Point, decoder: str) -> str:
    """The end of a fine-tuning in a sentence or two."""
    before = next((point for point in points if not point.step), None)
    values = {"cer": percent(best["cer"]), "decoder": decoder, "when": _at(best)}
    parts = [say("val CER {cer} % ({decoder}) after {when}", **values)]
    if before is not None:
        parts.append(say("{cer} % before training", cer=percent(before["cer"])))
    if before is not None and before["cer"] <= best["cer"]:
        gained = say("Nothing is gained: the weights before training read val as well.")
        return f"{commas(parts)}\n{gained}"
    if waited := len(points) - 1 - points.index(best):
        parts.append(
            say("no better in {validations} since", validations=plural(waited, "validation"))
        )
    return commas(parts)


def _at(point: Point) -> str:
    if point.epoch is None:
        return say("step {step}", step=point.step)
    return say("epoch {epoch}", epoch=point.epoch)


@ctc.default
def _ctc(
    *,
    recipe: CTCHead,
    allow_leak: AllowLeak = False,
    data_root: DataRoot = None,
    lang: Lang = None,
) -> int:
    result = _fit(recipe, lambda: guard_training(recipe.sets, recipe.typed, allow_leak))
    best = result.best
    lines = [say("head: {path}", path=result.weights)]
    if best:
        words = "val CER {cer} % ({decoder}) at step {step}"
        cer = percent(best["cer"])
        lines.append(say(words, cer=cer, decoder=recipe.decoder, step=best.step))
    encoder = _folder(result.weights.parent) if recipe.unfreeze else recipe.encoder
    head = f"{encoder}.head={result.weights}"
    use = ("--encoder", encoder, "-o", head, "--decoder", recipe.decoder, *_read(recipe.sets))
    return _done("\n".join(lines), *use)


@lm.default
def _lm(
    *,
    recipe: CharLM = CharLM(),
    allow_leak: AllowLeak = False,
    data_root: DataRoot = None,
    lang: Lang = None,
) -> int:
    from bench.training.lm import BASELINE_ORDER, baseline

    text = recipe.paragraphs
    result = _fit(recipe, lambda: guard_text(text.train, None, allow_leak))
    assert result.best is not None  # the last step validates
    ngram, val = baseline(text), result.best["val"]
    words = (
        "step {step}: {bits} bits a character of the val text (perplexity {perplexity}); an n-gram "
        "model of order {order} of the same text: {ngram_bits} ({ngram_perplexity})"
    )
    bits = say(
        words,
        step=result.best.step,
        bits=number(val, 3),
        perplexity=number(2**val, 2),
        order=BASELINE_ORDER,
        ngram_bits=number(ngram, 3),
        ngram_perplexity=number(2**ngram, 2),
    )
    weights = say("weights: {path}", path=result.weights)
    model = f"lm.model={result.weights}"
    use = ("--encoder", _MINI, "--decoder", "ctc-ngram+lm", "-o", model)
    return _done(f"{weights}\n{bits}", *use)


def _on_mixture(recipe: Recipe, allow_leak: bool) -> int:
    result = _fit(recipe, lambda: guard_training((MIXTURE,), {}, allow_leak))
    weights = say("weights: {path}", path=result.weights)
    return _done(weights, "--encoder", _MINI, "-o", f"{_MINI}.weights={result.weights}")


def _fit(recipe: Recipe, guard: Callable[[], None]) -> Result:
    from bench.training.fit import fit

    recipe.check()
    guard()
    with Curves(recipe.out) as curves:
        return fit(recipe, curves)


def _read(sets: Sequence[str]) -> tuple[str, ...]:
    """The option of `run` that reads the sets of a training."""
    known = [name for name in sets if name != MIXTURE]
    return ("--dataset", ",".join(known)) if known else ()


def _folder(path: Path) -> str:
    """The name of an encoder in a folder, which shows that it is no Hub id."""
    return str(path) if path.is_absolute() else f"./{path}"


def _done(text: str, *use: str) -> int:
    """Print the end of a training, and the command that uses its result."""
    if rank() == 0:
        print(text)
        if use:
            print(say("use it: {command}", command=f"{PROGRAM} run {shlex.join(use)}"))
    return 0


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
            self._tasks[doing] = self._bars.add_task(say_text(doing), total=total)
        task = self._tasks[doing]
        if done < self._bars.tasks[task].completed:  # it has begun again
            self._bars.reset(task, total=total)
        self._bars.update(task, completed=done, total=total)

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add a value to a curve; the loss stands beside its bar too."""
        if name == "loss" and "training" in self._tasks:
            text = say_text(f"training, loss {value:.3f}")
            self._bars.update(self._tasks["training"], description=text)
        if self._writer is not None:
            self._writer.add_scalar(name, value, step)


def _summary_writer(out: Path) -> Any | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # TensorBoard is optional
        return None
    return SummaryWriter(out)
