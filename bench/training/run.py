"""Training `mini` from start to safetensors file: the encoder first, then the AR head."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.types import Line
from bench.training.export import export, without_prefix
from bench.training.loop import Loop, LoopConfig, Progress, rank, world
from bench.training.score import ReadScore
from bench.training.sources import FILES
from bench.training.stream import Batch, StreamConfig, loader
from bench.training.tasks import ARTask, EncoderTask, Task
from bench.training.tokens import learn_tokenizer
from bench.training.validate import ar_scores, ctc_scores
from datasets import DATASETS
from models.mini_ar import TOKENIZER, MiniAR, load_tokenizer
from models.mini_net import MiniNet
from models.shipped_encoders import read_head, read_weights

VALIDATION = ("lines", "unipen-all", "hooker")


@dataclass(frozen=True)
class TrainOptions:
    """What the command line asks for.

    out: folder of checkpoints, curves and the finished weights.
    root: data root; None trains on rendered lines alone.
    init: safetensors file to start from instead of random weights.
    """

    out: Path
    steps: int
    root: Path | None
    init: Path | None = None
    rate: float = 1.2e-3
    columns: int = 12_500
    seed: int = 0
    workers: int = 1
    save_every: int = 400
    validation_lines: int = 100
    device: str = "cpu"


@dataclass(frozen=True)
class Watcher:
    """Callbacks of a training run: every step, and every validation."""

    step: Callable[[Progress], None]
    scores: Callable[[int, Mapping[str, ReadScore]], None]


def train_encoder(options: TrainOptions, watcher: Watcher) -> Path:
    """Train the encoder with CTC, resuming `out/encoder.pt`; returns the weights file."""
    torch.manual_seed(options.seed + rank())
    net, judge = MiniNet(), MiniNet()
    if options.init:
        _start_from(options.init, net)
    loop = _loop(EncoderTask(net), options, options.out / "encoder.pt")
    sets = _validation_sets(options) if rank() == 0 else {}

    def validate(step: int, average: Mapping[str, Tensor]) -> None:
        judge.load_state_dict(without_prefix(average, "net."))
        watcher.scores(step, ctc_scores(judge, sets))

    _run(loop, options, watcher, validate, english=False)
    weights = options.out / "mini.safetensors"
    net_state = without_prefix(loop.average.state, "net.")
    export(weights, net_state, None, _notes(options, loop.step, 0))
    return weights


def train_ar(options: TrainOptions, watcher: Watcher) -> Path:
    """Train the AR head on the frozen encoder of `out/mini.safetensors`, with English.

    With `init` it starts from the AR head of that file: of an earlier state of the encoder, say.

    Raises:
        UserError: there is no trained encoder in `out`.
    """
    torch.manual_seed(options.seed + rank())
    weights = options.out / "mini.safetensors"
    if not weights.is_file():
        raise UserError(f"{weights} is not there; run python -m bench train encoder first")
    net = MiniNet()
    notes = _start_from(weights, net)
    head, judge = _first_head(options.init, net.config.width), MiniAR(net.config.width)
    if not TOKENIZER.is_file():
        learn_tokenizer(TOKENIZER)
    loop = _loop(ARTask(net, head, load_tokenizer()), options, options.out / "ar.pt")
    sets = _validation_sets(options) if rank() == 0 else {}

    def validate(step: int, average: Mapping[str, Tensor]) -> None:
        judge.load_state_dict(dict(average))
        # Every fourth line: this search keeps no cache, and a young head ends no line.
        watcher.scores(step, ar_scores(net, judge, {k: v[::4] for k, v in sets.items()}))

    _run(loop, options, watcher, validate, english=True)
    made = _notes(options, int(notes.get("encoder_steps", 0)), loop.step)
    export(weights, net.state_dict(), loop.average.state, made)
    return weights


def data_hash(root: Path | None) -> str:
    """SHA-256 over the training files, in a fixed order; of nothing without a data root."""
    digest = hashlib.sha256()
    for path in (root / name for name in FILES) if root else ():
        if path.is_file():
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def join_processes() -> None:
    """Train together with the other processes that torchrun started, if it did."""
    if world() > 1:
        torch.distributed.init_process_group("gloo")


def _loop(task: Task[Batch], options: TrainOptions, path: Path) -> Loop[Batch]:
    config = LoopConfig(options.steps, rate=options.rate, save_every=options.save_every)
    return Loop(task, config, path, options.device)


def _run(
    loop: Loop[Batch],
    options: TrainOptions,
    watcher: Watcher,
    validate: Callable[[int, Mapping[str, Tensor]], None],
    english: bool,
) -> None:
    ramp = min(1500, options.steps // 2)
    stream = StreamConfig(options.root, english, options.seed, options.columns, ramp)

    def batches(step: int) -> Iterator[Batch]:
        return loader(stream, step, rank(), options.workers)

    def on_first(step: int, average: Mapping[str, Tensor]) -> None:
        if rank() == 0:
            validate(step, average)

    loop.run(batches, watcher.step, on_first)


def _start_from(path: Path, net: MiniNet) -> Mapping[str, str]:
    tensors, notes = read_weights(path)
    net.load_state_dict(without_prefix(tensors, "net."))
    return notes


def _first_head(path: Path | None, width: int) -> MiniAR:
    if path is None:
        return MiniAR(width)
    head = read_head(read_weights(path)[0], width, path)
    if head is None:
        raise UserError(f"{path} has no AR head to start from; leave --init out")
    return head


def _validation_sets(options: TrainOptions) -> dict[str, Sequence[Line]]:
    sets: dict[str, Sequence[Line]] = {}
    for name in VALIDATION:
        dataset = DATASETS.create(name)
        if dataset.missing() is None:
            lines = dataset.load("val", options.validation_lines).lines
            sets[name] = sorted(lines, key=lambda line: line.image.shape[1] / line.image.shape[0])
    return sets


def _notes(options: TrainOptions, encoder_steps: int, ar_steps: int) -> dict[str, str]:
    here = [name for name in FILES if options.root and (options.root / name).is_file()]
    return {
        "architecture": "kaidoku-mini-1",
        "trained_on": ", ".join(["rendered lines", *here]) + " (train splits)",
        "data_sha256": data_hash(options.root),
        "encoder_steps": str(encoder_steps),
        "ar_steps": str(ar_steps),
        "seed": str(options.seed),
    }
