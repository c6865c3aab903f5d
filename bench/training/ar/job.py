"""What a fine-tuning is made of: model, lines, batches, and the lines to read after an epoch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.progress import Report
from bench.core.types import Line
from bench.training.ar.card import model_card
from bench.training.ar.curve import Epoch
from bench.training.ar.labels import Speller
from bench.training.ar.read import Judge
from bench.training.ar.task import TeacherForcing
from bench.training.folder import save_folder
from bench.training.material import Material, Wanted, gather, named
from bench.training.score import ReadScore
from bench.training.start import open_start
from bench.training.supply import LineBatch, Shuffled
from datasets.base import named_in, spread
from models.trocr_model import ar_model, detokenizer

Said = Callable[[str], None]


@dataclass(frozen=True)
class AROptions:
    """What the command line asks for.

    encoder: name, folder, Hub id, or shape for random weights.
    out: folder of checkpoints, curve and the finished model.
    wanted: the data sets.
    batch: lines of a step.
    rate: peak of the learning rate. The authors fine-tuned on IAM at 2e-5 (batches of 64;
        README of https://github.com/microsoft/unilm, folder trocr).
    frozen: whether the encoder stays as it is.
    layer_decay: of the rate from each of the encoder's layers to the one below.
    augment: strength of the lines' new looks, 0 for none.
    patience: epochs without a better val CER after which training stops; 0 for never.
    sample: lines of train and of val, of each set, that are read after every epoch.
    decoder: that reads them; the best weights are chosen by its CER on val.
    save_every: steps between checkpoints within an epoch.
    """

    encoder: str
    out: Path
    wanted: Wanted
    epochs: int = 10
    batch: int = 8
    rate: float = 2e-5
    frozen: bool = False
    layer_decay: float = 0.9
    augment: float = 1.0
    patience: int = 3
    sample: int = 100
    decoder: str = "ar-greedy"
    save_every: int = 200
    seed: int = 0
    workers: int = 1
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Epochs:
    """Lines in whole epochs: the last batch of an epoch has what is left."""

    lines: Shuffled
    size: int
    strength: float

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return -(-len(self.lines.lines) // self.size)

    def batch(self, step: int) -> LineBatch:
        """The lines of a step."""
        epoch, place = divmod(step, self.steps)
        lines = len(self.lines.lines)
        first, end = place * self.size, min((place + 1) * self.size, lines)
        return self.lines.batch(range(epoch * lines + first, epoch * lines + end), self.strength)


@dataclass(frozen=True)
class Reading:
    """How lines of train and of val were read, by data set."""

    train: Mapping[str, ReadScore]
    val: Mapping[str, ReadScore]


class Job:
    """One fine-tuning, with everything that it needs."""

    def __init__(self, options: AROptions, said: Said, report: Report) -> None:
        """Open the model, gather the lines.

        Args:
            options: what the command line asks for.
            said: hears a sentence for the user.
            report: hears of lines that are read.

        Raises:
            UserError: see `fine_tune`.
        """
        self.options, self._report = options, report
        torch.manual_seed(options.seed)
        self.start = open_start(options.encoder, options.seed, options.device)
        self.pictures = self.start.pictures()
        tokenizer = self.start.tokenizer()
        self._detokenize = detokenizer(tokenizer)
        self.speller = Speller(tokenizer, ar_model(self.start.model, self._detokenize))
        self.material = gather(replace(options.wanted, validation=None), self.speller.why_unfit)
        if self.start.checkpoint is None and options.frozen:
            raise UserError(
                f"the encoder of {self.start.name} has seen nothing yet; leave out --freeze-encoder"
            )
        self._train = {name: spread(x, options.sample) for name, x in self.material.sets.items()}
        self._val = {
            name: spread(x, options.sample) for name, x in self.material.validation.items()
        }
        self._witness = copy.deepcopy(self.start.model).eval()
        for sentence in remarks(self.material, self.speller, self.start.trained_on):
            said(sentence)

    @property
    def identity(self) -> dict[str, str]:
        """What a checkpoint belongs to."""
        options = self.options
        return {
            "encoder": f"{self.start.name} {self.start.weights}",
            "data set": f"{self.material.name} {self.material.sha256[:16]}",
            "mode": "frozen encoder" if options.frozen else "encoder and decoder",
            "batch": f"{options.batch} lines, augmentation {options.augment:g}",
            "measure": f"{options.decoder} of {options.sample} lines",
        }

    def task(self) -> TeacherForcing:
        """What is learned."""
        return TeacherForcing(self.start.model, self.pictures, self.speller, self.options.frozen)

    def supply(self) -> Epochs:
        """Where the batches come from."""
        lines = Shuffled(self.material.lines, self.pictures, self.options.seed)
        return Epochs(lines, self.options.batch, self.options.augment)

    def read(self, judge: Judge, weights: Mapping[str, Tensor]) -> Reading:
        """Read the same lines of train and of val as always, with these weights."""
        self._take(weights)
        ar = ar_model(self._witness, self._detokenize)
        total = sum(len(lines) for sets in (self._train, self._val) for lines in sets.values())
        read = 0

        def done(lines: int) -> None:
            nonlocal read
            read += lines
            self._report("reading train and val", read, total)

        def scores(sets: Mapping[str, Sequence[Line]]) -> dict[str, ReadScore]:
            return {
                name: judge.score(self._witness, self.pictures, ar, lines, done)
                for name, lines in sets.items()
                if lines
            }

        return Reading(scores(self._train), scores(self._val))

    def export(self, epochs: Sequence[Epoch]) -> Path:
        """Write the weights that were read last as a checkpoint; returns its folder."""
        options = self.options
        card = model_card(
            self.start, list(self.material.sets), epochs, options.decoder, options.sample
        )
        save_folder(options.out / "model", self._witness, self.start, card, ar_fits=True)
        return options.out / "model"

    def _take(self, weights: Mapping[str, Tensor]) -> None:
        """Put weights into the copy that reads; a frozen encoder is in it already."""
        missing, unexpected = self._witness.load_state_dict(dict(weights), strict=False)
        strange = [name for name in missing if not name.startswith("encoder.")]
        assert not (strange or unexpected or (missing and not self.options.frozen))


def remarks(material: Material, speller: Speller, trained_on: str) -> list[str]:
    """What the user should know of the lines before they are learned, a sentence each."""
    said = []
    known = [name for name in material.sets if named_in(name, trained_on)]
    if known:
        sets = " and ".join(known)
        said.append(
            f"the checkpoint says that it was trained on {sets} already ({trained_on}): its CER "
            f"on train lines of {sets} means little, and so does what it gains there"
        )
    if material.unfit:
        said.append(
            f"{len(material.unfit)} of {material.count} lines cannot be learned and are left out "
            f"({named(material.unfit)})"
        )
    changed = [line for line in material.lines if not speller.exact(line.text)]
    if changed:
        said.append(
            f"{len(changed)} of {material.count} texts come back changed from the tokenizer "
            f"(first {changed[0].id}: {changed[0].text!r}), so their CER cannot be 0"
        )
    return said
