"""Recipe of a TrOCR that is fine-tuned, with two curves that show over-fitting as it begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.core.metrics import normalise
from bench.core.types import ARModel, Line, Runtime
from bench.training.batches import Batch, LineBatches, StepStream, epoch_steps, in_background
from bench.training.files import Point
from bench.training.fit import Training
from bench.training.losses import shifted, token_loss
from bench.training.material import Material, gather
from bench.training.recipes import FineTuning, Log, world
from bench.training.trocr import open_start, rate_groups
from bench.training.validate import BATCH, LineReader, Score, aspect, cers
from datasets.base import named_in, spread
from models.trocr_model import TrOCREncoder, ar_model, detokenizer
from models.trocr_shapes import SHAPES

_FAR = 2.0  # val CER / train CER; the bound of `python -m bench check overfit`
_RISEN = 1.05  # val CER / best val CER; less may be chance


@dataclass(frozen=True, eq=False)
class TokenTargets:
    """Converts texts to tokens as the authors' code does: tokens, then EOS, and no <s> before.

    The tokenizer by itself puts <s> before a text. With it, and </s> as the start token, a decoder
    learns to begin each line twice (https://github.com/microsoft/unilm/issues/1067); with <s> as
    the start token, training and decoding differ.

    tokenizer: of transformers.
    ar: the decoder, which knows start, end, padding and how many tokens it can emit.
    """

    tokenizer: Any
    ar: ARModel

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, EOS not included."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def why_unfit(self, text: str) -> str:
        """The reason that a text cannot be learned; "" when it can."""
        tokens = self.tokens(text)
        if not text.strip() or not tokens:
            return "it has no text"
        if special := sorted(set(tokens) & set(self.tokenizer.all_special_ids)):
            names = " ".join(self.tokenizer.convert_ids_to_tokens(special))
            unknown = "".join(sorted({x for x in text if self._unknown(x)}))
            return f"the tokenizer cannot write {unknown!r}" if unknown else f"it contains {names}"
        needed = len(tokens) + 1
        if needed > self.ar.max_new_tokens:
            return f"it needs {needed} tokens and the decoder has {self.ar.max_new_tokens}"
        return ""

    def exact(self, text: str) -> bool:
        """Whether a text survives tokenisation unchanged."""
        return normalise(self.ar.detokenize(self.tokens(text))) == normalise(text)

    def targets(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Input and labels of the decoder; see `shifted`."""
        return shifted([self.tokens(text) for text in texts], self.ar)

    def _unknown(self, character: str) -> bool:
        unknown = self.tokenizer.unk_token_id
        return unknown is not None and unknown in self.tokens(character)


class _FineTuning(Training):
    """The decoder with teacher forcing, and the encoder before it.

    Moving averages of the weights are validated and kept: a training stopped early seldom reaches
    the low rates at its end, and averaging replaces them.
    """

    from_start = True

    def __init__(self, recipe: FineTuning, log: Log) -> None:
        self.recipe, self.log = recipe, log
        self.reader = LineReader(recipe.decoder, "states")
        self.start = open_start(recipe.encoder, recipe.seed, recipe.device)
        if self.start.checkpoint is None and recipe.freeze_encoder:
            raise UserError(
                f"the encoder of {self.start.name} has random weights; leave out --freeze-encoder"
            )
        model, tokenizer = self.start.model, self.start.tokenizer()
        self.pictures, self.detokenize = self.start.pictures, detokenizer(tokenizer)
        self.targets = TokenTargets(tokenizer, ar_model(model, self.detokenize))
        self.material = gather(recipe, self.targets.why_unfit)
        self.samples = {
            split: {name: spread(lines, recipe.sample) for name, lines in sets.items() if lines}
            for split, sets in (
                ("cer", self.material.validation),
                ("train_cer", self.material.sets),
            )
        }
        for sentence in remarks(self.material, self.targets, self.start.trained_on):
            log.say(sentence)
        lines = self.material.lines
        self.source = LineBatches(lines, self.pictures, recipe.batch, recipe.seed, recipe.augment)
        model.encoder.requires_grad_(not recipe.freeze_encoder)
        epoch = -(-epoch_steps(len(lines), recipe.batch) // world())
        super().__init__(recipe, Learner(model, recipe.freeze_encoder), epoch)

    @property
    def identity(self) -> Mapping[str, str]:
        recipe = self.recipe
        return {
            "encoder": f"{self.start.name} {self.start.weights}",
            "data set": f"{self.material.name} {self.material.sha256[:16]}",
            "mode": "frozen encoder" if recipe.freeze_encoder else "encoder and decoder",
            "batch": f"{recipe.batch} lines, augmentation {recipe.augment:g}",
            "measure": f"{recipe.decoder} of {recipe.sample} lines",
        }

    @property
    def weights(self) -> Path:
        return self.recipe.out / "model"

    def groups(self) -> list[dict[str, Any]]:
        usual = 1.0 if self.recipe.encoder in SHAPES else 0.9
        return rate_groups(self.module, 1.0, self.recipe.layer_decay or usual)

    def batches(self, step: int) -> Iterator[Batch]:
        return in_background(StepStream(self.source, step), self.recipe.workers)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy a token, EOS included."""
        tokens, labels = self.targets.targets(batch.texts)
        pixels, model = self.pictures.pixels(batch.inputs), self.start.model
        with torch.set_grad_enabled(not self.recipe.freeze_encoder):
            states = model.encoder(pixels).last_hidden_state
        return token_loss(self.module(states, tokens.to(pixels.device)), labels)

    def validate(self, module: Any) -> Mapping[str, float]:
        """Read the same lines of train and of val each time; CER of val first."""
        values: dict[str, float] = {}
        for split, sets in self.samples.items():
            values |= cers(self._read(module, sets), split)
        return values

    def describe(self, values: Mapping[str, float]) -> str:
        return f"{super().describe(values)} ({self.recipe.decoder})"

    def remark(self, points: Sequence[Point]) -> str:
        since, last = turned_at(points), points[-1]
        if since is None:
            return ""
        then = f"after step {since.step}" if since.step else "before training"
        return (
            f"over-fitting: the CER of train lines has fallen to {100 * last['train_cer']:.2f} %, "
            f"and that of val lines has risen from {100 * since['cer']:.2f} % {then} to "
            f"{100 * last['cer']:.2f} %"
        )

    def export(self, module: Any, points: Sequence[Point]) -> None:
        data = list(self.material.sets)
        model = self.start.with_parts(**dict(module.named_children()))
        self.start.save(self.weights, model, self._card(data, points), data, ar_fits=True)

    def close(self) -> None:
        self.reader.close()

    def _read(self, module: Any, sets: Mapping[str, Sequence[Line]]) -> dict[str, Score]:
        model = self.start.with_parts(**dict(module.named_children()))
        ar, runtime = ar_model(model, self.detokenize), Runtime(device=str(model.device))
        encoder = TrOCREncoder(model, self.pictures, ar, self.reader.info, runtime)
        scores = {}
        for name, lines in sets.items():
            # Like lengths together: a batch takes as many steps as its longest line.
            ordered = sorted(lines, key=aspect)
            parts = [ordered[at : at + BATCH] for at in range(0, len(ordered), BATCH)]
            batches = (encoder.encode(encoder.prepare([x.image for x in part])) for part in parts)
            scores[name] = self.reader.score(batches, [line.text for line in ordered])
        return scores

    def _card(self, data: Sequence[str], points: Sequence[Point]) -> str:
        """The text of the model card: the data, and the CER of each validation."""
        rows = [
            f"| {p.step if p.epoch is None else p.epoch} | {100 * p['train_cer']:.2f} "
            f"| {100 * p['cer']:.2f} |"
            for p in points
        ]
        unit = "step" if points[-1].epoch is None else "epoch"
        return "\n".join(
            [
                f"# {self.start.name}, fine-tuned on {', '.join(data)}",
                "",
                f"CER % (micro) with {self.recipe.decoder} of at most {self.recipe.sample} lines a "
                f"set, evenly spread over each split. The first {unit} is before training, the "
                "last one is that of these weights.",
                "",
                f"| {unit} | train | val |", "|---|---|---|", *rows, "",
            ]
        )  # fmt: skip


class Learner(nn.Module):
    """The parts of a `VisionEncoderDecoderModel` that learn, under their names there."""

    def __init__(self, model: Any, frozen: bool) -> None:
        super().__init__()
        self.decoder = model.decoder
        if hasattr(model, "enc_to_dec_proj"):
            self.enc_to_dec_proj = model.enc_to_dec_proj
        if not frozen:
            self.encoder = model.encoder

    def forward(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Shape: (B, S, D) states and (B, L) tokens, padded on the right, to (B, L, vocabulary)."""
        if hasattr(self, "enc_to_dec_proj"):
            states = self.enc_to_dec_proj(states)
        out = self.decoder(input_ids=tokens, encoder_hidden_states=states, use_cache=False)
        logits: Tensor = out.logits
        return logits


def turned_at(points: Sequence[Point]) -> Point | None:
    """The best validation, since which a model over-fits; None if it does not.

    It does when the train CER is below that of the best validation and far below the val CER, and
    the val CER is above its best.
    """
    best, last = min(points, key=lambda point: point["cer"]), points[-1]
    closer = last["train_cer"] < best["train_cer"]
    far = _FAR * last["train_cer"] < last["cer"]
    return best if closer and far and last["cer"] > _RISEN * best["cer"] else None


def remarks(material: Material, targets: TokenTargets, trained_on: str) -> list[str]:
    """List remarks on the lines for the user, a sentence each."""
    sentences = []
    known = [name for name in material.sets if named_in(name, trained_on)]
    if known:
        sets = " and ".join(known)
        sentences.append(
            f"the checkpoint states {sets} as its training data ({trained_on}): its CER "
            f"on train lines of {sets} means little, and so does any gain there"
        )
    if material.unfit:
        sentences.append(
            f"{len(material.unfit)} of {material.count} lines cannot be learned and are left out "
            f"({material.left_out})"
        )
    changed = [line for line in material.lines if not targets.exact(line.text)]
    if changed:
        sentences.append(
            f"{len(changed)} of {material.count} texts come back changed from the tokenizer "
            f"(first {changed[0].id}: {changed[0].text!r}), so their CER cannot be 0"
        )
    return sentences
