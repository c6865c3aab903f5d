"""The recipes of all trainings: frozen sets of options, which `bench.training.fit` carries out.

A recipe imports its training, and torch with it, when it is opened, so that a command line is read
and its help shown without.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from bench.core.bounds import Count, Natural, Part, Positive, Share
from bench.core.errors import UserError
from bench.core.options import parse_options, typed_options, words
from bench.core.registry import Registry
from datasets import DATASETS
from models.heads import HEADS
from models.shipped import WEIGHTS
from models.trocr_shapes import SHAPES

if TYPE_CHECKING:
    from bench.training.fit import Training
    from bench.training.lm import Paragraphs

MIXTURE = "mixture"  # rendered and joined lines, UNIPEN, Hooker, Copiste, as `mini` learned

Options = Mapping[str, Mapping[str, Any]]


class Log:
    """Callbacks of a training; this one ignores them."""

    def say(self, text: str) -> None:
        """A sentence for the user."""

    def report(self, doing: str, done: float, total: float) -> None:
        """Progress of whatever is being done."""

    def scalar(self, name: str, value: float, step: int) -> None:
        """One value of a curve."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The options of every training.

    Attributes:
        out: folder of checkpoint, curve and weights; a second start with it goes on from there
        anew: start anew in the same folder
        steps: length of the run in steps, resumed ones included
        epochs: length of the run in passes over the lines, each followed by a validation
        hours: length of the run in hours from this start; the rate falls as the time runs out
        rate: peak learning rate
        warmup: steps of rising rate; at most a tenth of a run that counts in steps or epochs
        hold: share of the run that the rate stays at its peak before it falls
        ema: largest decay of the averaged weights, which are validated and kept; 0 for none
        patience: validations without improvement that end the run; 0 for never
        save_every: steps between checkpoints; a run that counts in steps validates then
        minutes: between checkpoints with validation, in a run that counts in time
        seed: of weights, order, augmentation and dropout
        workers: processes that make batches; 0 for the training's own
        threads: of torch
        device: cpu or cuda
        dtype: of matrix products; auto takes bfloat16 where that is faster
    """

    name: ClassVar[str]  # of the checkpoint
    training: ClassVar[str]  # "module:class" of what `open` makes
    history: ClassVar[str] = "history.jsonl"
    usual: ClassVar[Mapping[str, float]]  # default length and peak rate
    weight_decay: ClassVar[float] = 0.01
    clip: ClassVar[float] = 1.0

    out: Path
    anew: bool = False
    steps: Count | None = None
    epochs: Count | None = None
    hours: Positive | None = None
    rate: Positive | None = None
    warmup: Natural = 400
    hold: Part = 0.0
    ema: Part = 0.9998
    patience: Natural = 0
    save_every: Count = 200
    minutes: Positive = 10.0
    seed: int = 0
    workers: Natural = 1
    threads: Count = 1
    device: str = "cpu"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"

    def open(self, log: Log) -> Training:
        """Build the network and gather the lines.

        Raises:
            UserError: an unknown name, no line that fits, options that exclude each other.
            Unavailable: weights or a data set are not here.
        """
        training: Training = resolve_name(self.training)(self, log)
        return training

    def check(self) -> None:
        """Check the options before anything is opened.

        Raises:
            UserError: no such device here, or more than one length.
        """
        self.length()
        if self.device.startswith("cuda"):
            import torch

            if not torch.cuda.is_available():
                sentence = "there is no CUDA device here; leave --device out to train on the CPU"
                raise UserError(sentence)

    def length(self) -> tuple[str, float]:
        """Unit and length of the run."""
        units = ("steps", "epochs", "hours")
        own = {unit: getattr(self, unit) for unit in units if getattr(self, unit) is not None}
        if len(own) > 1:
            raise UserError(f"give one of {' and '.join(f'--{unit}' for unit in own)}")
        chosen = own or self.usual
        return next((unit, chosen[unit]) for unit in units if unit in chosen)

    def peak(self) -> float:
        """The peak learning rate."""
        return self.usual["rate"] if self.rate is None else self.rate


@dataclass(frozen=True, kw_only=True)
class LineRecipe(Recipe):
    """Train a TrOCR, or a head for one, on lines of data sets.

    Attributes:
        encoder: a TrOCR, a folder or Hub id of one, or a shape (tiny, small, base, large) for
            random weights
        dataset: data sets whose train lines are learned; default: lines, which every machine has
        limit: the first N train lines of each set
        options: NAME.OPTION=VALUE of a data set; may be repeated
        batch: lines of a step
    """

    registries: ClassVar[tuple[Registry, ...]] = (DATASETS,)

    encoder: str
    dataset: tuple[str, ...] = ()
    limit: Count | None = None
    options: Annotated[tuple[str, ...], Parameter(name="-o")] = ()
    batch: Count = 8

    @property
    def sets(self) -> tuple[str, ...]:
        """The data sets by name."""
        return words(self.dataset) or ("lines",)

    @property
    def trained(self) -> tuple[str, ...]:
        """Names that may have options."""
        return self.sets

    @property
    def typed(self) -> Options:
        """The options by name.

        Raises:
            UserError: an unknown option, or an option of something that is not trained here.
        """
        typed = typed_options(parse_options(self.options), self.registries)
        for name in typed:
            if name not in self.trained:
                raise UserError(f"options are set for {name!r}, which is not trained here")
        return typed


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MiniEncoder(Recipe):
    """Train mini's encoder: PP-OCR's small recogniser on handwriting.

    The folded rows of its weights differ in size from 0.03 to 25, so that no one rate fits: each
    row is learned as a multiple of its size at the start. The rate rises, holds, and falls to the
    end of the time; a second start goes on from the weights of the first and does the same again.

    Attributes:
        hours: length of the run in hours from this start; default: 1
        rate: peak share of its size that a row changes by in a step; default: 1.5e-3
        start: weights of this network to start from; default: those of ppocr
        columns: pixel columns of a batch and process
        damaged: share of the lines with a damage of the suite
        frozen: leave the stem and the first three blocks as they are, which saves a fifth of a
            step
        val_lines: validation lines of each set
    """

    name: ClassVar[str] = "mini"
    training: ClassVar[str] = "bench.training.mini:_EncoderTraining"
    usual: ClassVar[Mapping[str, float]] = {"hours": 1.0, "rate": 1.5e-3}
    weight_decay: ClassVar[float] = 0.0
    clip: ClassVar[float] = 4.0

    out: Path = Path("runs/mini")
    start: Path = WEIGHTS / "ppocr.safetensors"
    warmup: Natural = 100
    hold: Part = 0.5
    ema: Part = 0.997
    columns: Count = 6000
    damaged: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.0
    frozen: bool = False
    val_lines: Count = 60


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MiniHead(Recipe):
    """Train mini's AR head on the frozen encoder of OUT/mini.safetensors.

    Attributes:
        steps: length of the run in steps, resumed ones included; default: 20000
        rate: peak learning rate; default: 1.2e-3
        init: safetensors weights whose AR head to start from
        columns: pixel columns of a batch
        reuse: how often an encoded batch is learned from; encoding takes four times as long as
            learning
    """

    name: ClassVar[str] = "ar"
    training: ClassVar[str] = "bench.training.mini_head:_HeadTraining"
    history: ClassVar[str] = "ar.jsonl"
    usual: ClassVar[Mapping[str, float]] = {"steps": 20_000, "rate": 1.2e-3}
    clip: ClassVar[float] = 2.0

    out: Path = Path("runs/mini")
    save_every: Count = 400
    init: Path | None = None
    columns: Count = 9_000
    reuse: Count = 12


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CTCHead(LineRecipe):
    """Train a CTC head for a TrOCR, its encoder frozen or trained along.

    Attributes:
        steps: length of the run in steps, resumed ones included; default: 3000
        rate: peak learning rate of the head; default: 1e-3
        dataset: data sets to train on, or mixture; default: lines, whose train split every machine
            has, and from random weights mixture
        options: NAME.OPTION=VALUE of the head or of a data set; may be repeated
        out: folder of checkpoint, curve and head; default: runs/ENCODER-HEAD
        head: registered name of the head
        features: folder of a frozen encoder's cached states
        unfreeze: train the encoder along; else its states are computed once
        encoder_share: of the rate, for the encoder's last layer; default: 0.1, from random
            weights 1
        layer_decay: of the rate, from each layer to the one below; default: 0.8, from random
            weights 1
        val_lines: validation lines of each set
        decoder: reads the validation lines; the best weights are chosen by its CER
    """

    name: ClassVar[str] = "ctc"
    training: ClassVar[str] = "bench.training.ctc:_HeadTraining"
    usual: ClassVar[Mapping[str, float]] = {"steps": 3000, "rate": 1e-3}
    registries: ClassVar[tuple[Registry, ...]] = (HEADS, DATASETS)

    out: Annotated[Path, Parameter(show_default=False)] = Path()
    patience: Natural = 10
    batch: Count = 32
    head: str = "grid-subcol"
    features: Path = Path("runs/features")
    unfreeze: bool = False
    encoder_share: Share | None = None
    layer_decay: Share | None = None
    val_lines: Count = 100
    decoder: str = "ctc-greedy"

    def __post_init__(self) -> None:
        if self.out == Path():
            out = Path("runs") / f"{Path(self.encoder).name}-{self.head}"
            object.__setattr__(self, "out", out)

    @property
    def sets(self) -> tuple[str, ...]:
        """The data sets by name."""
        endless = not self.dataset and self.encoder in SHAPES
        return (MIXTURE,) if endless else super().sets

    @property
    def trained(self) -> tuple[str, ...]:
        """Names that may have options."""
        return (self.head, *self.sets)

    def check(self) -> None:
        """See `Recipe.check`."""
        super().check()
        for flag in ("encoder_share", "layer_decay"):
            if getattr(self, flag) is not None and not self.unfreeze:
                flag = flag.replace("_", "-")
                raise UserError(f"--{flag} applies to a trained encoder; add --unfreeze")
        if MIXTURE in self.sets and len(self.sets) > 1:
            raise UserError(f"{MIXTURE} cannot be joined with other data sets; give it alone")
        if MIXTURE in self.sets and not self.unfreeze:
            raise UserError(
                f"{MIXTURE} never repeats a line, so its states cannot be cached; add "
                "--unfreeze, or give data sets"
            )
        if world() > 1 and not self.unfreeze:
            raise UserError("several processes train with --unfreeze only; run it without torchrun")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FineTuning(LineRecipe):
    """Fine-tune a TrOCR.

    Attributes:
        encoder: mini for its AR head, a TrOCR, a folder or Hub id of one, or a shape (tiny, small,
            base, large) for random weights
        epochs: length of the run in passes over the lines, each followed by a validation;
            default: 10
        rate: peak learning rate; default: 2e-5, from random weights 5e-4. The authors fine-tuned
            on IAM at 2e-5 in batches of 64 (README of https://github.com/microsoft/unilm, trocr)
        out: folder of checkpoint, curve and model; default: runs/NAME-ar, for mini runs/mini
        freeze_encoder: train the decoder alone
        layer_decay: of the rate, from each of the encoder's layers to the one below; default:
            0.9, from random weights 1
        augment: strength of the augmentation, 0 for none
        sample: train and val lines of each set that are read at a validation
        decoder: reads these lines; the best weights are chosen by its CER on val
    """

    name: ClassVar[str] = "ar"
    training: ClassVar[str] = "bench.training.ar:_FineTuning"
    usual: ClassVar[Mapping[str, float]] = {"epochs": 10, "rate": 2e-5}

    encoder: str = "mini"
    out: Annotated[Path, Parameter(show_default=False)] = Path()
    warmup: Natural = 500
    patience: Natural = 3
    freeze_encoder: bool = False
    layer_decay: Share | None = None
    augment: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 1.0
    sample: Count = 100
    decoder: str = "ar-greedy"

    def __post_init__(self) -> None:
        if self.out == Path():
            name = "mini" if self.encoder == "mini" else f"{Path(self.encoder).name}-ar"
            object.__setattr__(self, "out", Path("runs") / name)

    def peak(self) -> float:
        """See `Recipe.peak`."""
        return 5e-4 if self.rate is None and self.encoder in SHAPES else super().peak()

    def check(self) -> None:
        """See `Recipe.check`."""
        super().check()
        if self.freeze_encoder and self.layer_decay is not None:
            raise UserError(
                "--layer-decay applies to a trained encoder; leave out --freeze-encoder"
            )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CharLM(Recipe):
    """Train the embedded language model over characters.

    Attributes:
        steps: length of the run in steps, resumed ones included; default: 3000
        epochs: length of the run in passes over the text
        rate: peak learning rate; default: 1e-3
        text: UTF-8 text files, a paragraph a line; default: the train documents of the embedded
            corpus
        batch: windows of a step
        width: of the network, a multiple of 8
        layers: of the network
        context: characters that the network sees at once, 16 at least
        dropout: share of units
    """

    name: ClassVar[str] = "lm"
    training: ClassVar[str] = "bench.training.lm:_CharLMTraining"
    usual: ClassVar[Mapping[str, float]] = {"steps": 3000, "rate": 1e-3}
    weight_decay: ClassVar[float] = 0.1

    out: Path = Path("runs/lm")
    warmup: Natural = 200
    patience: Natural = 6
    save_every: Count = 100
    workers: Natural = 0
    text: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = ()
    batch: Count = 32
    width: Count = 256
    layers: Count = 6
    context: Annotated[int, Parameter(validator=Number(gte=16))] = 128
    dropout: Part = 0.2

    @cached_property
    def paragraphs(self) -> Paragraphs:
        """Read the text."""
        from bench.training.lm import read_paragraphs

        return read_paragraphs(self.text)

    def check(self) -> None:
        """See `Recipe.check`."""
        super().check()
        if self.width % 8:
            raise UserError("--width must be a multiple of 8, for 4 heads of an even width each")


def rank() -> int:
    """Number of this process among those that train together (torchrun)."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """The number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))
