"""Training the embedded language model, from text to safetensors file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bench.training.claim import claim
from bench.training.export import write_weights
from bench.training.history import History
from bench.training.lm.text import Draw, Paragraphs, Windows, windows
from bench.training.loop import Loop, LoopConfig, Progress
from decoders.language.causal import (
    CharConfig,
    bits,
    new_net,
    paragraph_scores,
    save_notes,
    stored,
)
from decoders.language.ngram import characters_of, estimate
from decoders.language.perplexity import score_arpa

BASELINE_ORDER = 6
WEIGHTS = "lm.safetensors"
_SAMPLE = 30  # train paragraphs that are scored beside those of val
_NET = "net."


@dataclass(frozen=True)
class LMOptions:
    """What the command line asks for.

    out: folder of checkpoint, curve and the best weights.
    steps: at most; each of `batch` windows of `config.context` characters.
    patience: validations without a better one that end the training; 0 for never.
    """

    out: Path
    text: Paragraphs
    config: CharConfig = field(default_factory=CharConfig)
    steps: int = 3000
    rate: float = 1e-3
    batch: int = 32
    dropout: float = 0.2
    weight_decay: float = 0.1
    seed: int = 0
    save_every: int = 100
    patience: int = 6
    device: str = "cpu"


@dataclass(frozen=True)
class Validation:
    """What the averaged weights make of text, in bits a character.

    train: of some train paragraphs, without dropout; far below `val` it learns by heart.
    """

    step: int
    train: float
    val: float

    @property
    def error(self) -> float:
        """What the best weights have least of."""
        return self.val


@dataclass(frozen=True)
class LMWatcher:
    """Callbacks of a training: every step, and every validation."""

    step: Callable[[Progress], None]
    validated: Callable[[Validation], None]


@dataclass(frozen=True)
class LMResult:
    """What a training came to: the weights file, and the validation that they had."""

    weights: Path
    best: Validation


class LMTask:
    """The next character of each place of a window."""

    def __init__(self, config: CharConfig, dropout: float) -> None:
        self.module = torch.nn.ModuleDict({"net": new_net(config, dropout)})

    def loss(self, batch: Windows) -> Tensor:
        """Mean cross-entropy a character, natural logarithm."""
        logits = self.module["net"](input_ids=batch.inputs).logits
        return functional.cross_entropy(logits.float().flatten(0, 1), batch.targets.flatten())


def train_lm(options: LMOptions, watcher: LMWatcher) -> LMResult:
    """Train, resuming `out/lm.pt`; the weights with the fewest bits on val text are kept.

    Raises:
        UserError: the folder holds another training, or may not be written to.
    """
    torch.manual_seed(options.seed)
    claim(options.out / "training.json", _identity(options))
    loop = Loop(
        LMTask(options.config, options.dropout),
        LoopConfig(
            options.steps,
            rate=options.rate,
            warmup=200,
            weight_decay=options.weight_decay,
            clip=1.0,
            save_every=options.save_every,
        ),
        options.out / "lm.pt",
        options.device,
    )
    history = History(options.out / "history.jsonl", Validation, loop.step)
    judge = new_net(options.config).to(loop.device).eval()
    weights = options.out / WEIGHTS

    def validate(step: int, average: Mapping[str, Tensor]) -> None:
        state = {k[len(_NET) :]: v for k, v in average.items()}
        judge.load_state_dict(state)
        point = Validation(
            step,
            bits(paragraph_scores(judge, options.config, options.text.train[:: _stride(options)])),
            bits(paragraph_scores(judge, options.config, options.text.val)),
        )
        if history.betters(point):  # before it is noted: a kill may come between
            notes = save_notes(options.config, _notes(options, point))
            write_weights(weights, stored(state), notes)
        history.add(point)
        watcher.validated(point)
        loop.stopped = 0 < options.patience <= history.waited

    def batches(step: int) -> Iterator[Windows]:
        draw = Draw(options.config.context, options.batch, options.seed)
        return windows(options.text.train, draw, step)

    if not 0 < options.patience <= history.waited:
        loop.run(batches, watcher.step, validate)
    best = history.best
    assert best is not None  # the last step validates
    return LMResult(weights, best)


def baseline(text: Paragraphs) -> float:
    """Bits a character of the val text by a Kneser-Ney n-gram model of the train text.

    The same predictions as those of a `Validation`: every character and the end of a paragraph.
    """
    model = estimate(map(characters_of, text.train), BASELINE_ORDER).model
    log10, _ = score_arpa(model, [characters_of(paragraph) for paragraph in text.val])
    return float(-log10.mean() / math.log10(2))


def _stride(options: LMOptions) -> int:
    return max(1, len(options.text.train) // _SAMPLE)


def _identity(options: LMOptions) -> dict[str, str]:
    """What may not change from one start to the next."""
    text = "\n".join((*options.text.train, "", *options.text.val))
    return {
        "text": hashlib.sha256(text.encode()).hexdigest()[:16],
        "network": " ".join(f"{k}={v}" for k, v in asdict(options.config).items()),
        "seed": str(options.seed),
    }


def _notes(options: LMOptions, point: Validation) -> dict[str, str]:
    kept: tuple[str, ...] = ("rate", "batch", "dropout", "weight_decay", "seed")
    made: dict[str, Any] = {name: getattr(options, name) for name in kept}
    return {
        "trained_on": options.text.name,
        "text": _identity(options)["text"],
        "steps": str(point.step),
        "bits_val": repr(point.val),
        "bits_train": repr(point.train),
        **{name: str(value) for name, value in made.items()},
    }
