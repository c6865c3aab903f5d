"""Recipe of the AR head of `mini`: a decoder on the states of the frozen encoder."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bench.core.errors import UserError
from bench.core.tensors import read_tensors
from bench.training.align import align
from bench.training.augment import augment
from bench.training.batches import Batch, Pools, in_background
from bench.training.files import Point, export, without_prefix
from bench.training.fit import Training
from bench.training.losses import shifted, token_loss, why_unfit
from bench.training.mini import encode_lines
from bench.training.recipes import Log, MiniHead
from bench.training.sources import MINI_HEAD, VALIDATION, Sample, Texts, pick, sources
from bench.training.validate import BATCH, LineReader, aspect, cers
from datasets import DATASETS
from datasets.root import data_root
from datasets.seeds import stream
from models.alphabet import encode
from models.images import to_batch
from models.mini_ar import MiniAR, tokenize
from models.ppocr_net import PPOCRNet, squeeze
from models.shipped_encoders import ar_model, read_head

_POOL = 96  # samples sorted by width together: little padding, and still mixed batches
_LONGEST = (70, 200)  # characters of composed lines, one or the other
_WIDEST = 3000  # columns
_RECENT = 200  # encoded batches that are kept


@dataclass(frozen=True, eq=False)
class _Aligned(Batch):
    """Encoded lines (`inputs` are states), and the frames of their tokens.

    mask: (B, S), True within a line.
    tokens, labels: (B, L) input and target of the decoder.
    windows: (B, L, S), True where a label is written.
    """

    mask: Tensor = field(kw_only=True)
    tokens: Tensor = field(kw_only=True)
    labels: Tensor = field(kw_only=True)
    windows: Tensor = field(kw_only=True)


class _HeadTraining(Training):
    """The AR head with teacher forcing; the encoder stays as it is.

    Cross-attention is guided: the CTC head of the frozen encoder aligns each training text with its
    frames; the attention of the upper layers is drawn to the frames of the character that comes
    next, and that of the first to those of the last one, where the line is gone on from (guided
    attention, after Tachibana et al., arXiv 1710.08969, but with a real alignment).
    Without guidance the head learned language and not its place in the line.
    """

    keeps_last = True

    def __init__(self, recipe: MiniHead, log: Log) -> None:
        self.recipe, self.log, self.net = recipe, log, PPOCRNet()
        if not self.weights.is_file():
            raise UserError(f"{self.weights} is missing; run python -m bench train mini first")
        tensors, self.notes = read_tensors(self.weights)
        self.net.load_state_dict(without_prefix(tensors, "net."))
        width = self.net.config.width
        head: MiniAR | None = MiniAR(width)
        if recipe.init:
            head = read_head(read_tensors(recipe.init)[0], width, recipe.init)
        if head is None:
            raise UserError(f"{recipe.init} has no AR head to start from; leave --init out")
        self.head, self.ar = head, ar_model(head)
        head.project.ctc.load_state_dict(self.net.ctc.state_dict())
        self.net.to(recipe.device).requires_grad_(False).eval()
        super().__init__(recipe, head)
        self.reader = LineReader("ar-greedy", "states")
        self.sets = {
            name: sorted(DATASETS.create(name).load("val", 25).lines, key=aspect)
            for name in VALIDATION
        }

    @property
    def weights(self) -> Path:
        return self.recipe.out / "mini.safetensors"

    def batches(self, step: int) -> Iterator[Batch]:
        """Encoded batches, each followed by earlier ones in random order."""
        recipe = self.recipe
        draws = partial(_draws, data_root())
        words = ("kaidoku-mini-head-3", recipe.seed)
        pools = Pools(words, step, _POOL, recipe.columns, draws, _collate)
        recent: deque[_Aligned] = deque(maxlen=_RECENT)
        rng = stream(*words, "order", step)
        for batch in in_background(pools, recipe.workers):
            recent.append(self._aligned(batch))
            yield recent[-1]
            for _ in range(recipe.reuse - 1):
                yield recent[int(rng.integers(len(recent)))]

    @torch.no_grad()
    def _aligned(self, batch: Batch) -> _Aligned:
        """Encode a batch and find the frames of each token."""
        assert batch.widths is not None
        frames = self.net.config.frames(batch.widths)
        states, ctc = self.net(batch.inputs.to(self.recipe.device), batch.widths)
        log_probs = ctc.float().log_softmax(-1).cpu().numpy()
        most = self.ar.max_new_tokens - 1
        tokens, labels = shifted([tokenize(text)[:most] for text in batch.texts], self.ar)
        windows = torch.zeros(*tokens.shape, states.shape[1], dtype=torch.bool)
        for window, text, rows, length in zip(
            windows, batch.texts, log_probs, frames.tolist(), strict=True
        ):
            for place, (start, end) in enumerate(_spans(text, rows[:length])[:most]):
                window[place, start : end + 1] = True
        mask = torch.arange(states.shape[1])[None] < frames[:, None]
        return _Aligned(
            states.half().cpu(),
            batch.texts,
            batch.widths,
            mask=mask,
            tokens=tokens,
            labels=labels,
            windows=windows,
        )

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy a token plus half the attention loss."""
        assert isinstance(batch, _Aligned)
        device, states = batch.inputs.device, batch.inputs.float()
        mask, windows = batch.mask.to(device), batch.windows.to(device)
        begins = _disturbed(self.head.project.begins(states, mask), mask)
        memory, known = self.head.project.pooled(states, mask, begins)
        logits, attentions = self.head(memory, known, batch.tokens.to(device))
        at = begins.cumsum(1)[:, None].expand_as(windows)
        aims = windows.new_zeros(*windows.shape[:2], memory.shape[1], dtype=torch.float)
        aims = aims.scatter_add_(2, at, windows.float()) > 0
        last = begins.sum(1)[:, None, None] + 1 == torch.arange(memory.shape[1], device=device)
        labels = batch.labels.to(device)
        aims |= last & (labels == self.ar.eos_id)[..., None]
        return token_loss(logits, labels) + 0.5 * _attention_loss(attentions, aims)

    def validate(self, module: Any) -> Mapping[str, float]:
        scores = {}
        for name, lines in self.sets.items():
            batches = encode_lines(self.net, lines, BATCH, module)
            scores[name] = self.reader.score(batches, [line.text for line in lines])
            self.log.say(f"{name}: {scores[name]}")
        return cers(scores)

    def export(self, module: Any, points: Sequence[Point]) -> None:
        notes = {**self.notes, "ar_steps": str(points[-1].step)}
        export(self.weights, self.net.state_dict(), module.state_dict(), notes)

    def close(self) -> None:
        self.reader.close()


def _draws(root: Path | None, rng: np.random.Generator) -> Callable[[int], Sample]:
    """Draw one augmented sample a call."""
    mixture = sources(root, MINI_HEAD, Texts(english=0.8, capitals=0.1))

    def draw(_: int) -> Sample:
        while True:  # over-wide samples are drawn again
            longest = _LONGEST[int(rng.integers(len(_LONGEST)))]
            sample = pick(mixture, rng).draw(rng, longest)
            ink = squeeze(augment(sample.ink, rng, 0.9))
            if sample.text and ink.shape[1] <= _WIDEST:
                return Sample(ink, sample.text)

    return draw


def _collate(samples: Sequence[Sample], _: np.random.Generator) -> Batch:
    inputs, widths = to_batch([sample.ink for sample in samples])
    return Batch(inputs, tuple(sample.text for sample in samples), widths)


def _spans(text: str, log_probs: NDArray[np.float32]) -> list[tuple[int, int]]:
    """First and last frame of each character; empty when the text cannot be aligned."""
    if why_unfit(text, len(log_probs)):
        return []
    spans = align(log_probs, np.array(encode(text)))
    return [] if spans.min() < 0 else [(int(a), int(b)) for a, b in spans]


def _disturbed(begins: Tensor, mask: Tensor) -> Tensor:
    """Leave out some beginnings of characters and add others, as CTC does on harder lines.

    It reads the lines that it was trained on too well.
    """
    rate = 0.08 * torch.rand(len(begins), 1, device=begins.device) ** 2
    lost = torch.rand(begins.shape, device=begins.device) < rate
    added = torch.rand(begins.shape, device=begins.device) < rate / 8
    return begins & ~lost | added & mask


def _attention_loss(attentions: Sequence[Tensor], windows: Tensor) -> Tensor:
    """Mean -log of the attention inside the windows; attentions are (B, heads, L, S) each."""
    last = functional.pad(windows[:, :-1], (0, 0, 1, 0))
    losses = []
    for attention, aim in zip(attentions, (last, *[windows] * (len(attentions) - 1)), strict=True):
        if (known := aim.any(-1)).any():
            inside = (attention.float().mean(1) * aim).sum(-1)
            losses.append(-inside[known].clamp_min(1e-4).log().mean())
    return torch.stack(losses).mean() if losses else windows.sum() * 0.0
