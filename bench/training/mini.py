"""Recipes of the encoder `mini` (2025): its network with CTC, then its AR head with English."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from cyclopts import Parameter
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.core.types import Encoded, Line
from bench.training.align import align
from bench.training.augment import augment
from bench.training.batches import Batch, Pools, in_background
from bench.training.files import Point, export, without_prefix
from bench.training.fit import Count, Log, Recipe, Training
from bench.training.losses import ctc_loss, shifted, token_loss, why_unfit
from bench.training.sources import FILES, MINI, MINI_HEAD, Sample, Texts, pick, sources
from bench.training.validate import BATCH, LineReader, aspect, cers, encoded
from datasets import DATASETS
from datasets.root import data_root
from models.alphabet import encode
from models.images import darkness, to_batch, to_height
from models.mini_ar import MiniAR, load_tokenizer
from models.mini_net import MiniNet, frames_of, padded_width
from models.shipped_encoders import ar_model, read_head, read_weights

VALIDATION = ("lines", "unipen-all", "hooker")
_POOL = 96  # samples sorted by width together: little padding, and still mixed batches
_LONGEST = 70  # characters
_WIDEST = 3200  # columns
_SLACK = 2  # frames beside a token that count as its own


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MiniEncoder(Recipe):
    """Train mini's encoder with its CTC head.

    Attributes:
        steps: length of the run in steps, resumed ones included; default: 20000
        rate: peak learning rate; default: 1.2e-3
        init: safetensors weights to start from
        columns: pixel columns of a batch
    """

    name: ClassVar[str] = "encoder"
    history: ClassVar[str] = "encoder.jsonl"
    usual: ClassVar[Mapping[str, float]] = {"steps": 20_000, "rate": 1.2e-3}
    clip: ClassVar[float] = 2.0

    out: Path = Path("runs/mini")
    save_every: Count = 400
    init: Path | None = None
    columns: Count = 12_500

    def open(self, log: Log) -> Training:
        """See `Recipe.open`."""
        return _EncoderTraining(self, log)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MiniHead(MiniEncoder):
    """Train mini's AR head on the frozen encoder of OUT/mini.safetensors.

    Attributes:
        init: safetensors weights whose AR head to start from
    """

    name: ClassVar[str] = "ar"
    history: ClassVar[str] = "ar.jsonl"

    def open(self, log: Log) -> Training:
        """See `Recipe.open`."""
        return _HeadTraining(self, log)


class _MiniTraining(Training):
    """Common parts: the mixture of lines, the validation sets and the weights file."""

    keeps_last = True

    def __init__(
        self, recipe: MiniEncoder, log: Log, net: MiniNet, module: nn.Module, english: bool
    ) -> None:
        super().__init__(recipe, module)
        self.recipe, self.log, self.net, self.english = recipe, log, net, english
        self.root = data_root()
        self.reader = LineReader(*(("ar-greedy", "states") if english else ("ctc-greedy",)))
        self.sets: dict[str, Sequence[Line]] = {}
        for name in VALIDATION:
            if (dataset := DATASETS.create(name)).missing() is None:
                lines = dataset.load("val", 25 if english else 100).lines
                self.sets[name] = sorted(lines, key=aspect)

    @property
    def weights(self) -> Path:
        return self.recipe.out / "mini.safetensors"

    def batches(self, step: int) -> Iterator[Batch]:
        recipe = self.recipe
        words = ("kaidoku-train-1", recipe.seed)
        draws = partial(_draws, self.root, self.english, min(1500, (self.steps or 3000) // 2))
        pools = Pools(words, step, _POOL, recipe.columns, draws, _collate, padded_width)
        return in_background(pools, recipe.workers)

    def close(self) -> None:
        self.reader.close()

    def _read(self, net: MiniNet, head: MiniAR | None = None) -> Mapping[str, float]:
        """Measure the CER of each set, and log an example."""
        scores = {}
        for name, lines in self.sets.items():
            batches = _encode(net, lines, head)
            scores[name] = self.reader.score(batches, [line.text for line in lines])
            self.log.say(f"{name}: {scores[name]}")
        return cers(scores)

    def _notes(self, **steps: int) -> dict[str, str]:
        here = [name for name in FILES if self.root and (self.root / name).is_file()]
        return {
            "architecture": "kaidoku-mini-1",
            "trained_on": ", ".join(["rendered lines", *here]) + " (train splits)",
            "data_sha256": data_hash(self.root),
            **{name: str(count) for name, count in steps.items()},
            "seed": str(self.recipe.seed),
        }


class _EncoderTraining(_MiniTraining):
    """The encoder with CTC, and a second CTC on the stem's columns that speeds up learning.

    The shortcut follows Retsinas et al., "Best Practices for a Handwritten Text Recognition
    System" (arXiv 2404.11339); it is dropped after training.
    """

    def __init__(self, recipe: MiniEncoder, log: Log) -> None:
        net = MiniNet()
        if recipe.init:
            net.load_state_dict(without_prefix(read_weights(recipe.init)[0], "net."))
        self.shortcut = nn.Linear(net.config.stem[-1], net.config.alphabet)
        module = nn.ModuleDict({"net": net, "shortcut": self.shortcut})
        super().__init__(recipe, log, net, module, english=False)

    def loss(self, batch: Batch) -> Tensor:
        """CTC of the head and a fifth of the shortcut's, both a character."""
        assert batch.widths is not None
        frames = frames_of(batch.widths)
        columns = self.net.columns(batch.inputs)
        states = self.net.states(columns, frames.to(columns.device))
        main = ctc_loss(self.net.ctc(self.net.drop(states)), frames, batch.texts)
        return main + 0.2 * ctc_loss(self.shortcut(columns), frames, batch.texts)

    def validate(self, module: Any) -> Mapping[str, float]:
        return self._read(module["net"])

    def export(self, module: Any, points: Sequence[Point]) -> None:
        notes = self._notes(encoder_steps=points[-1].step, ar_steps=0)
        export(self.weights, module["net"].state_dict(), None, notes)


class _HeadTraining(_MiniTraining):
    """The AR head with teacher forcing; the encoder stays as it is.

    Cross-attention is guided: the CTC head of the frozen encoder aligns each training text with its
    frames, and the attention of the two upper layers is drawn to the frames of the token that comes
    next (guided attention, after Tachibana et al., arXiv 1710.08969, but with a real alignment).
    Without guidance the head learned language and not its place in the line.
    """

    def __init__(self, recipe: MiniEncoder, log: Log) -> None:
        weights, net = recipe.out / "mini.safetensors", MiniNet()
        if not weights.is_file():
            raise UserError(f"{weights} is missing; run python -m bench train encoder first")
        tensors, notes = read_weights(weights)
        net.load_state_dict(without_prefix(tensors, "net."))
        head: MiniAR | None = MiniAR(net.config.width)
        if recipe.init:
            head = read_head(read_weights(recipe.init)[0], net.config.width, recipe.init)
        if head is None:
            raise UserError(f"{recipe.init} has no AR head to start from; leave --init out")
        self.head, self.encoder_steps = head, int(notes.get("encoder_steps", 0))
        self.tokenizer, self.ar = load_tokenizer(), ar_model(head)
        net.to(recipe.device).requires_grad_(False).eval()
        super().__init__(recipe, log, net, head, english=True)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy a token plus half the attention loss."""
        assert batch.widths is not None
        frames, device = frames_of(batch.widths), batch.inputs.device
        with torch.no_grad():
            states, ctc = self.net(batch.inputs, frames.to(device))
            log_probs = ctc.float().log_softmax(-1).cpu().numpy()
        mask = torch.arange(states.shape[1])[None] < frames[:, None]
        most = self.ar.max_new_tokens - 1
        encodings = [self.tokenizer.encode(text) for text in batch.texts]
        tokens, labels = shifted([encoding.ids[:most] for encoding in encodings], self.ar)
        windows = torch.zeros(*tokens.shape, states.shape[1])
        for window, encoding, text, rows, length in zip(
            windows, encodings, batch.texts, log_probs, frames.tolist(), strict=True
        ):
            spans = _spans(text, rows[:length])
            for place, (first, last) in enumerate(encoding.offsets[:most] if spans else ()):
                start, end = spans[first][0], spans[max(first, last - 1)][1]
                window[place, max(0, start - _SLACK) : end + 1 + _SLACK] = 1
        logits, attentions = self.head(states, mask.to(device), tokens.to(device))
        guided = _attention_loss(attentions[-2:], windows.to(device))
        return token_loss(logits, labels) + 0.5 * guided

    def validate(self, module: Any) -> Mapping[str, float]:
        return self._read(self.net, module)

    def export(self, module: Any, points: Sequence[Point]) -> None:
        notes = self._notes(encoder_steps=self.encoder_steps, ar_steps=points[-1].step)
        export(self.weights, self.net.state_dict(), module.state_dict(), notes)


def data_hash(root: Path | None) -> str:
    """SHA-256 over the training files, in a fixed order; of nothing without a data root."""
    digest = hashlib.sha256()
    for path in (root / name for name in FILES) if root else ():
        if path.is_file():
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _draws(
    root: Path | None, english: bool, ramp: int, rng: np.random.Generator
) -> Callable[[int], Sample]:
    """Draw one augmented sample a call; texts and augmentation grow over `ramp` steps."""
    texts = Texts(english=0.9 if english else 0.0)
    mixture = sources(root, MINI_HEAD if english else MINI, texts)

    def draw(step: int) -> Sample:
        progress = min(1.0, step / max(1, ramp))
        # Short lines first: an untrained encoder learns nothing from long ones, and an AR head
        # learns to go along a line on short ones.
        usable = [(w, s) for w, s in mixture if progress >= 0.5 or s.bounded]
        source = pick(usable, rng)
        while True:  # over-wide samples are drawn again
            sample = source.draw(rng, max(6, round(_LONGEST * progress)))
            ink = augment(sample.ink, rng, 0.3 + 0.7 * progress)
            if sample.text and ink.shape[1] <= _WIDEST:
                return Sample(ink, sample.text)

    return draw


def _collate(samples: Sequence[Sample], _: np.random.Generator) -> Batch:
    inputs, widths = to_batch([sample.ink for sample in samples])
    return Batch(inputs, tuple(sample.text for sample in samples), widths)


@torch.inference_mode()
def _encode(net: MiniNet, lines: Sequence[Line], head: MiniAR | None) -> Iterator[Encoded]:
    """Encode batches of lines for decoders."""
    device = next(net.parameters()).device
    for start in range(0, len(lines), BATCH):
        inks = [darkness(to_height(line.image)) for line in lines[start : start + BATCH]]
        images, widths = to_batch(inks)
        frames = frames_of(widths).to(device)
        states, logits = net(images.to(device), frames)
        yield replace(encoded(logits, frames, states), ar=ar_model(head) if head else None)


def _spans(text: str, log_probs: NDArray[np.float32]) -> list[tuple[int, int]]:
    """First and last frame of each character; empty when the text cannot be aligned."""
    if why_unfit(text, len(log_probs)):
        return []
    spans = align(log_probs, np.array(encode(text)))
    return [] if spans.min() < 0 else [(int(a), int(b)) for a, b in spans]


def _attention_loss(attentions: Sequence[Tensor], windows: Tensor) -> Tensor:
    """Mean -log of the attention inside the windows; attentions are (B, heads, L, S) each."""
    known = windows.any(-1)
    losses = []
    for attention in attentions:
        inside = (attention.float().mean(1) * windows).sum(-1)
        losses.append(-inside[known].clamp_min(1e-4).log().mean())
    return torch.stack(losses).mean() if known.any() else windows.sum()
