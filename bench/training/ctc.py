"""Recipe of a CTC head on a TrOCR-shaped encoder, frozen or trained along."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bench.core.errors import UserError
from bench.core.types import BLANK, Encoded, Line
from bench.training.batches import Batch, LineBatches, StepStream, epoch_steps, in_background
from bench.training.features import Features
from bench.training.files import Point
from bench.training.fit import Training
from bench.training.losses import ctc_loss, why_unfit
from bench.training.material import Material, gather, load
from bench.training.mixture import Mixture, StateBatches
from bench.training.recipes import MIXTURE, CTCHead, Log, world
from bench.training.sources import VALIDATION, data_hash
from bench.training.trocr import open_start, rate_groups, use_products
from bench.training.validate import BATCH, LineReader, cers, encoded
from datasets import DATASETS
from datasets.root import data_root
from models.alphabet import ALPHABET, encode
from models.heads import HEADS
from models.heads.base import Grid, Head, HeadConfig, HeadedViT
from models.heads.files import HeadNotes, save_head
from models.trocr_shapes import SHAPES

_SHORTCUT = 0.2  # weight of the second CTC, as for `mini`
_PLACED = 0.5  # weight of the frames' characters
_COLLAPSE = 3  # validations of blanks alone before a warning


class _HeadTraining(Training):
    """A head on the cached states of a frozen encoder, or on an encoder trained with it."""

    def __init__(self, recipe: CTCHead, log: Log) -> None:
        self.recipe, self.log = recipe, log
        self.line_reader = LineReader(recipe.decoder)
        HEADS.entry(recipe.head)  # refuses an unknown name early
        self.head_options = dict(recipe.typed.get(recipe.head, {}))
        self.start = open_start(recipe.encoder, recipe.seed, recipe.device)
        config: HeadConfig = HEADS.create(recipe.head, self.head_options)
        torch.manual_seed(recipe.seed)
        encoder = self.start.model.encoder.requires_grad_(recipe.unfreeze)
        if recipe.unfreeze:
            use_products(encoder)
        head = Head(config, Grid.of(encoder.config, config.image()), len(ALPHABET))
        self.reader = HeadedViT(encoder, head).to(recipe.device)
        self.pictures = replace(self.start.pictures, size=head.geometry.image)
        torch.manual_seed(recipe.seed)
        self.material = self._gather()
        lines = len(self.material.lines)
        epoch = -(-epoch_steps(lines, recipe.batch) // world()) if lines else None
        super().__init__(recipe, HeadLearner(self.reader, recipe.unfreeze), epoch)
        texts = {name: [x.text for x in some] for name, some in self.material.validation.items()}
        self.texts = texts
        self.source = self._source()
        self.states = (
            {}
            if recipe.unfreeze
            else {name: self._features(some) for name, some in self.material.validation.items()}
        )

    @property
    def identity(self) -> Mapping[str, str]:
        recipe = self.recipe
        return {
            "encoder": f"{self.start.name} {self.start.weights}",
            "head": f"{recipe.head} {json.dumps(self.head_options, sort_keys=True)}",
            "data set": f"{self.material.name} {self.material.sha256[:16]}",
            "mode": "unfrozen" if recipe.unfreeze else "frozen",
        }

    @property
    def weights(self) -> Path:
        folder = self.recipe.out / "model" if self.recipe.unfreeze else self.recipe.out
        return folder / f"{self.recipe.head}.safetensors"

    def groups(self) -> list[dict[str, Any]]:
        usual = (1.0, 1.0) if self.recipe.encoder in SHAPES else (0.1, 0.8)
        share, decay = self.recipe.encoder_share, self.recipe.layer_decay
        return rate_groups(self.module, share or usual[0], decay or usual[1])

    def batches(self, step: int) -> Iterator[Batch]:
        return in_background(StepStream(self.source, step), self.recipe.workers)

    def loss(self, batch: Batch) -> Tensor:
        states = batch.inputs.float()
        if self.recipe.unfreeze:
            states = self.reader.states(self.pictures.pixels(batch.inputs))
        loss: Tensor = self.module(states, batch)
        return loss

    def validate(self, module: Any) -> Mapping[str, float]:
        self.blank = self.frames = 0
        scores = {}
        for name, texts in self.texts.items():
            scores[name] = self.line_reader.score(self._encode(module, name), texts)
            self.log.say(f"{name}: {scores[name]}")
        return {**cers(scores), "blank": self.blank / max(1, self.frames)}

    def remark(self, points: Sequence[Point]) -> str:
        last = points[-_COLLAPSE:]
        if len(last) < _COLLAPSE or any(p["blank"] < 1 for p in last):
            return ""
        return (
            f"step {last[-1].step}: for {_COLLAPSE} validations every frame was a blank; every CTC "
            "head begins so, but if it lasts, lower --rate"
        )

    def export(self, module: Any, points: Sequence[Point]) -> None:
        """Write the head, and the encoder if it was trained along."""
        recipe, best = self.recipe, points[-1]
        encoder_hash = self.start.weights
        if recipe.unfreeze:
            model = self.start.with_parts(encoder=module.encoder)
            text = f"# {self.start.name}, trained on with a CTC head\n"
            data = list(self.material.sets) or [self.material.name]
            encoder_hash = self.start.save(self.weights.parent, model, text, data, ar_fits=False)
        notes = HeadNotes(
            head=recipe.head,
            options=dataclasses.asdict(self.reader.head.config),
            encoder=self.start.name,
            encoder_hash=encoder_hash,
            unfrozen=recipe.unfreeze,
            data=self.material.name,
            data_hash=self.material.sha256,
            alphabet=ALPHABET,
            steps=best.step,
            val_cer=best["cer"],
            val_data=", ".join(self.material.validation),
            decoder=recipe.decoder,
            seed=recipe.seed,
        )
        save_head(self.weights, module.head.state_dict(), notes)

    def close(self) -> None:
        self.line_reader.close()

    def _gather(self) -> Material:
        """Load the lines of the data sets, or of the mixture's validation sets alone.

        Lines that do not fit are reported, since the loss ignores them silently (`zero_infinity`).
        """
        recipe, frames = self.recipe, self.reader.head.length
        if MIXTURE in recipe.sets:
            here = [name for name in VALIDATION if DATASETS.create(name).missing() is None]
            val = {name: load(name, "val", recipe.val_lines, recipe.typed).lines for name in here}
            return Material({}, (), val, MIXTURE, data_hash(data_root()))
        material = gather(recipe, partial(why_unfit, frames=frames), recipe.val_lines)
        self.log.say(
            f"{len(material.unfit)} of {material.count} lines do not fit and are left out "
            f"({material.left_out})"
            if material.unfit
            else f"all {material.count} lines can be spelled in {frames} frames"
        )
        if not recipe.unfreeze and self.start.checkpoint is None:
            raise UserError(
                f"{self.start.name} has random weights; add --unfreeze to train it from scratch"
            )
        return material

    def _source(self) -> LineBatches | Mixture | StateBatches:
        recipe, lines = self.recipe, self.material.lines
        ramp = min(1500, (self.steps or 6000) // 4) * world()  # each process has steps of its own
        if not lines:
            return Mixture(
                data_root(), self.pictures, self.reader.head.length, recipe.batch, recipe.seed, ramp
            )
        if recipe.unfreeze:
            return LineBatches(lines, self.pictures, recipe.batch, recipe.seed, ramp=ramp)
        texts = [line.text for line in lines]
        return StateBatches(self._features(lines), texts, recipe.batch, recipe.seed)

    def _features(self, lines: Sequence[Line]) -> NDArray[np.float16]:
        folder, encoder = self.recipe.features, self.start.weights
        features = Features(folder, self.reader, self.pictures, lines, encoder)
        return features.load(self.log.report)

    @torch.inference_mode()
    def _encode(self, module: Any, name: str) -> Iterator[Encoded]:
        """Encode the validation lines of a set for decoders, and count blanks."""
        device, lines = torch.device(self.recipe.device), self.material.validation[name]
        for start in range(0, len(lines), BATCH):
            if self.recipe.unfreeze:
                images = [line.image for line in lines[start : start + BATCH]]
                pixels = self.pictures.pixels(self.pictures.squeeze(images).to(device))
                logits = HeadedViT(module.encoder, module.head)(pixels)
            else:
                states = torch.from_numpy(self.states[name][start : start + BATCH].copy())
                logits = module.head(states.to(device).float())
            batch = encoded(logits.float().cpu(), torch.full((len(logits),), logits.shape[1]))
            self.blank += int((logits.argmax(-1) == BLANK).sum())
            self.frames += logits.shape[0] * logits.shape[1]
            yield batch


class HeadLearner(nn.Module):
    """A head, perhaps its encoder, and shortcuts that are dropped after training.

    The shortcuts read the frames that enter the head's sequence model. `shortcut` is a second CTC:
    through it gradients reach the encoder sooner (Retsinas et al., arXiv 2404.11339). `placed`
    classifies each frame's nearest character, on lines where the source knows where they stand: CTC
    alone emits nothing but blanks for thousands of steps on a transformer with random weights. (CTC
    models that start from a framewise alignment are as old as Sak et al. 2015,
    https://arxiv.org/abs/1507.06947.)
    """

    def __init__(self, reader: HeadedViT, unfreeze: bool) -> None:
        super().__init__()
        self.head = reader.head
        self.shortcut, self.placed = _shortcut(reader.head), _shortcut(reader.head)
        if unfreeze:
            self.encoder = reader.encoder

    def forward(self, states: Tensor, batch: Batch) -> Tensor:
        """CTC loss a character of the head on (B, S, D) states, plus the shortcuts'."""
        length = torch.full((len(states),), self.head.length)
        frames = states
        for name, stage in self.head.named_children():
            if name == "sequence":
                frames = states
            states = stage(states)
        loss = ctc_loss(states, length, batch.texts)
        if self.shortcut is None or self.placed is None:
            return loss
        loss = loss + _SHORTCUT * ctc_loss(self.shortcut(frames), length, batch.texts)
        known = [at for at, centres in enumerate(batch.centres) if centres is not None]
        nearest = nearest_symbols(batch, known, self.head.length).flatten().to(frames.device)
        logits = self.placed(frames[known]).float().flatten(0, 1)
        # A sum, which is 0 over no line: every process must have a gradient for every weight.
        missed = functional.cross_entropy(logits, nearest, reduction="sum") / max(1, len(nearest))
        return loss + _PLACED * missed


def nearest_symbols(batch: Batch, lines: Sequence[int], frames: int) -> Tensor:
    """Assign a symbol to each frame: (len(lines), frames).

    It is that of the nearest centre, or the blank where no centre is within the width of a
    character of the line.
    """
    middle = (np.arange(frames) + 0.5) / frames
    symbols = np.full((len(lines), frames), BLANK)
    for row, line in zip(symbols, lines, strict=True):
        centres, own = batch.centres[line], encode(batch.texts[line])
        if centres is None or not own:
            continue
        distance = np.abs(middle[:, None] - centres)
        reach = np.ptp(centres) / max(1, len(centres) - 1) or 1 / frames
        near = distance.min(1) <= reach
        row[near] = np.array(own)[distance.argmin(1)][near]
    return torch.from_numpy(symbols)


def _shortcut(head: Head) -> nn.Linear | None:
    """Map frames to symbols; None for a head without a sequence model."""
    stages: dict[str, Any] = dict(head.named_children())
    if "sequence" not in stages:
        return None
    return nn.Linear(stages["sequence"].lstm.input_size, stages["symbols"].out_features)
