"""What a training of a CTC head is made of: reader, lines, task, validation, export."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.core.progress import Report
from bench.training import checkpoint
from bench.training.attention import use_products
from bench.training.ctc.export import save_encoder
from bench.training.ctc.features import Features
from bench.training.ctc.material import MIXTURE, gather, summary
from bench.training.ctc.stream import LinesSupply, MixtureSupply, StatesSupply
from bench.training.ctc.tasks import HeadTask, ReaderTask, rate_groups
from bench.training.ctc.validate import Point, read_lines, read_states
from bench.training.export import without_prefix
from bench.training.history import History
from bench.training.loop import rank, world
from bench.training.material import Material
from bench.training.start import open_start
from bench.training.supply import Supply
from models.alphabet import ALPHABET
from models.heads import HEADS
from models.heads.base import Grid, Head, HeadConfig, Reader
from models.heads.files import HeadNotes, save_head

if TYPE_CHECKING:
    from bench.core.types import Line
    from bench.training.ctc.run import CTCOptions

BEST = "best.pt"


@dataclass(frozen=True, eq=False)
class Known:
    """Validation lines.

    logits: what a reader (or a head, on cached states) makes of them, batch by batch.
    """

    texts: Sequence[str]
    logits: Callable[[nn.Module], Iterator[Tensor]]


class Job:
    """One training, with everything that it needs."""

    def __init__(
        self,
        options: CTCOptions,
        said: Callable[[str], None],
        encoded: Report,
        by_heart: int = 0,
    ) -> None:
        """Open the encoder, build the head, gather the lines.

        Args:
            options: what the command line asks for.
            said: hears a sentence for the user.
            encoded: hears of states that are computed.
            by_heart: learn so many lines as they are and validate on them; 0 trains.

        Raises:
            UserError: see `train_ctc`.
        """
        self.options, self.encoded, self.by_heart = options, encoded, by_heart
        self._witness: Reader | None = None
        self.start = open_start(options.encoder, options.seed, options.device)
        config: HeadConfig = HEADS.create(options.head, options.head_options)
        if by_heart:
            config = config.plain()
        torch.manual_seed(options.seed)
        encoder = self.start.model.encoder.requires_grad_(options.unfreeze)
        if options.unfreeze:
            use_products(encoder)
        head = Head(config, Grid.of(encoder.config, config.image()), len(ALPHABET))
        self.reader = Reader(encoder, head).to(options.device)
        self.pictures = self.start.pictures(config.image())
        torch.manual_seed(options.seed + rank())  # each process drops out units of its own
        self.material = self._material(said)
        self._check()

    @property
    def identity(self) -> dict[str, str]:
        """What a checkpoint belongs to."""
        options = self.options
        return {
            "encoder": f"{self.start.name} {self.start.weights}",
            "head": f"{options.head} {json.dumps(dict(options.head_options), sort_keys=True)}",
            "data set": f"{self.material.name} {self.material.sha256[:16]}",
            "mode": "unfrozen" if options.unfreeze else "frozen",
        }

    def task(self) -> HeadTask | ReaderTask:
        """What is learned."""
        if self.options.unfreeze:
            return ReaderTask(self.reader, self.pictures)
        return HeadTask(self.reader)

    def rate_groups(self, task: HeadTask | ReaderTask) -> list[dict[str, Any]]:
        """Shares of the learning rate by layer; none for a head alone."""
        options = self.options
        if not options.unfreeze:
            return []
        return rate_groups(task.module, options.share, options.layer_decay)

    def supply(self) -> Supply:
        """Where the batches come from."""
        options, lines = self.options, self.material.lines
        ramp = min(1500, options.steps // 4) * world()  # each process has steps of its own
        if self.material.name == MIXTURE:
            return MixtureSupply(
                options.wanted.root, self.pictures, self.reader.head.length, options.batch,
                options.seed, ramp,
            )  # fmt: skip
        if options.unfreeze:
            ramp_or_none = None if self.by_heart else ramp
            return LinesSupply(lines, self.pictures, options.batch, options.seed, ramp_or_none)
        states = self._features(lines, options.views).load(self.encoded)
        texts = [line.text for line in lines]
        return StatesSupply(states, texts, options.batch, options.seed)

    def validation(self) -> dict[str, Known]:
        """The validation lines by data set; a frozen encoder sees them once."""
        known = {}
        for name, lines in self.material.validation.items():
            texts = [line.text for line in lines]
            if self.options.unfreeze:
                logits = partial(read_lines, pictures=self.pictures, lines=lines)
            else:
                states: NDArray[np.float16] = self._features(lines, 1).load(self.encoded)[0]
                logits = partial(read_states, states=states)
            known[name] = Known(texts, logits)
        return known

    def witness(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """A copy of the head (unfrozen: of the whole reader) with these weights, to validate."""
        if self._witness is None:
            self._witness = copy.deepcopy(self.reader)
        self._witness.head.load_state_dict(without_prefix(weights, "head."))
        if not self.options.unfreeze:
            return self._witness.head
        self._witness.encoder.load_state_dict(without_prefix(weights, "encoder."))
        return self._witness

    @property
    def head_path(self) -> Path:
        """Where the finished head is written."""
        out = self.options.out
        folder = out / "model" if self.options.unfreeze else out
        return folder / f"{self.options.head}.safetensors"

    def export(self, history: History[Point]) -> None:
        """Write the best weights so far: the head, and the encoder if it was trained along.

        Raises:
            UserError: there are none, or they cannot be written.
        """
        options, best = self.options, history.best
        if best is None:
            raise UserError("nothing was validated yet, so no weights are written; train longer")
        weights = checkpoint.load(options.out / BEST)["weights"]
        encoder_hash = self.start.weights
        if options.unfreeze:
            encoder = without_prefix(weights, "encoder.")
            data = list(self.material.sets) or [self.material.name]
            encoder_hash = save_encoder(self.head_path.parent, self.start, encoder, data)
        notes = HeadNotes(
            head=options.head,
            options=dataclasses.asdict(self.reader.head.config),
            encoder=self.start.name,
            encoder_hash=encoder_hash,
            unfrozen=options.unfreeze,
            data=self.material.name,
            data_hash=self.material.sha256,
            alphabet=ALPHABET,
            steps=best.step,
            val_cer=best.cer,
            val_data=", ".join(self.material.validation),
            decoder=options.decoder,
            seed=options.seed,
        )
        save_head(self.head_path, without_prefix(weights, "head."), notes)

    def _material(self, said: Callable[[str], None]) -> Material:
        frames = self.reader.head.length
        material = gather(self.options.wanted, frames)
        if material.name == MIXTURE:
            return material
        said(summary(material.unfit, material.count, frames))
        if not self.by_heart:
            return material
        few = material.lines[: self.by_heart]
        same = {"the same lines": few}
        return replace(material, sets=same, validation=same)

    def _check(self) -> None:
        """Refuse what cannot be trained."""
        if world() > 1 and (self.by_heart or not self.options.unfreeze):
            raise UserError("several processes train with --unfreeze only; run it without torchrun")
        if self.options.unfreeze:
            return
        if self.material.name == MIXTURE:
            raise UserError(
                f"{MIXTURE} is drawn anew for ever, so its states cannot be cached; add "
                "--unfreeze, or give data sets"
            )
        if not (self.start.trained or self.by_heart):
            raise UserError(
                f"{self.start.name} has read nothing yet; add --unfreeze to train it from scratch"
            )

    def _features(self, lines: Sequence[Line], views: int) -> Features:
        options = self.options
        return Features(
            options.features, self.reader, self.pictures, lines, self.start.weights, views,
            options.seed,
        )  # fmt: skip
