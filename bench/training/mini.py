"""Recipe of the encoder `mini`: PP-OCR's small recogniser, fine-tuned on handwriting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize

from bench.core.errors import UserError
from bench.core.stopwatch import steady_s
from bench.core.tensors import read_tensors
from bench.core.types import Encoded, Line
from bench.training.augment import Darkness, augment, pen_image, roughen
from bench.training.batches import Batch, Pools, in_background
from bench.training.files import Point, export, without_prefix
from bench.training.fit import Training
from bench.training.losses import ctc_loss
from bench.training.recipes import Log, MiniEncoder, world
from bench.training.sources import FILES, MINI, VALIDATION, Sample, Texts, data_hash, pick, sources
from bench.training.validate import LineReader, cers, encoded
from datasets import DATASETS
from datasets.base import spread
from datasets.damage import DAMAGES
from datasets.damage.base import SUITE
from datasets.root import data_root
from models.alphabet import encode, frames_needed
from models.images import darkness, to_batch
from models.mini_ar import MiniAR
from models.ppocr_net import STRIDE, PPOCRConfig, PPOCRNet, squeeze
from models.shipped_encoders import ar_model

POOL = 160  # samples sorted by width together
_LONGEST = 2600  # columns


class _EncoderTraining(Training):
    """CTC on augmented lines."""

    from_start = True
    keeps_last = True

    def __init__(self, recipe: MiniEncoder, log: Log) -> None:
        """Start from weights, or go on with those of the run."""
        root = data_root()
        missing = [name for name in FILES if root is None or not (root / name).is_file()]
        if root is None or missing:
            raise UserError(
                f"the data root has no {missing[0]}; get it with python -m bench data get"
            )
        self.recipe, self.root, self.began = recipe, root, steady_s()
        self.net = PPOCRNet(PPOCRConfig(dropout=0.1))
        tensors, notes = read_tensors(recipe.start)
        self.net.load_state_dict(without_prefix(tensors, "net."))
        if (
            not recipe.anew
            and (recipe.out / f"{recipe.name}.pt").exists()
            and self.weights.exists()
        ):
            notes = read_tensors(self.weights)[1]
        self.views = int(notes.get("views", 0))
        early_layers(self.net).requires_grad_(not recipe.frozen)
        by_share(self.net)
        super().__init__(recipe, nn.ModuleDict({"net": self.net}))
        self.reader = LineReader("ctc-greedy")
        self.sets = {
            name: spread(DATASETS.create(name).load("val").lines, recipe.val_lines)
            for name in VALIDATION
        }

    @property
    def weights(self) -> Path:
        return self.recipe.out / "mini.safetensors"

    def groups(self) -> list[dict[str, Any]]:
        return groups(self.net)

    def batches(self, step: int) -> Iterator[Batch]:
        draws = partial(mixed_draws, self.root, self.recipe.damaged)
        words = ("kaidoku-mini-2", self.recipe.seed)
        pools = Pools(words, step, POOL, self.recipe.columns, draws, filled)
        return in_background(pools, self.recipe.workers)

    def loss(self, batch: Batch) -> Tensor:
        """CTC loss a character."""
        assert batch.widths is not None
        self.views += len(batch.texts) * world()
        # The fused attention of CPUs is four times as slow on heads of 15 units.
        with sdpa_kernel(SDPBackend.MATH), parametrize.cached():
            _, logits = self.net(batch.inputs)
        return ctc_loss(logits, self.net.config.frames(batch.widths), batch.texts)

    def validate(self, module: Any) -> Mapping[str, float]:
        read = {
            name: self.reader.score(
                encode_lines(module["net"], lines), [line.text for line in lines]
            )
            for name, lines in self.sets.items()
        }
        minutes = round((steady_s() - self.began) / 60, 1)
        return {**cers(read), "views": self.views, "minutes": minutes}

    def describe(self, values: Mapping[str, float]) -> str:
        shares = {name: value for name, value in values.items() if name.startswith("cer")}
        return f"{super().describe(shares)}  {self.views} lines"

    def export(self, module: Any, points: Sequence[Point]) -> None:
        damaged = self.recipe.damaged
        seen = f"PP-OCRv6 small rec; {', '.join(FILES)} (train splits); rendered lines"
        if damaged:
            seen += f"; {damaged:.0%} of the lines damaged by {SUITE}, other seeds"
        notes = {
            "architecture": "kaidoku-ppocr-1",
            "trained_on": seen,
            "data_sha256": data_hash(self.root),
            "damaged": str(damaged),
            "views": str(self.views),
        }
        export(self.weights, plain(module.state_dict()), None, notes)

    def close(self) -> None:
        self.reader.close()


def mixed_draws(
    root: Path | None, damaged: float, rng: np.random.Generator
) -> Callable[[int], Sample]:
    """Draw one augmented sample a call that CTC can spell."""
    # Few hands wrote most of UNIPEN's lines; the four that wrote long sentences count double.
    mixture = sources(root, MINI, Texts(capitals=0.12), ("bba", "bbb", "bbc", "bbd"))
    recent: deque[Darkness] = deque(maxlen=8)

    def draw(_: int) -> Sample:
        source = pick(mixture, rng)
        while True:
            sample = source.draw(rng, 70)
            symbols = encode(sample.text)
            if not symbols:
                continue
            other = recent[int(rng.integers(len(recent)))] if recent else None
            recent.append(sample.ink)
            ink = roughen(sample.ink, other, rng)
            if rng.random() < damaged:
                ink = damage(ink, sample.text, rng)
            ink = squeeze(augment(ink, rng, 0.9)).astype(np.float32)
            if 4 + STRIDE * frames_needed(symbols) <= ink.shape[1] <= _LONGEST:
                return Sample(ink, sample.text)

    return draw


def damage(ink: Darkness, text: str, rng: np.random.Generator) -> Darkness:
    """Damage the ink by the suite, with seeds that no evaluation uses."""
    chosen = DAMAGES.create(str(rng.choice(DAMAGES.names())))
    line = Line("train", pen_image(np.clip(ink, 0, 1)), text, "", "train")
    severity, seed = int(rng.integers(1, 6)), int(rng.integers(1 << 32, 1 << 40))
    return darkness(chosen.apply(line, "train", severity, seed, line).line.image)


def filled(samples: Sequence[Sample], rng: np.random.Generator) -> Batch:
    """A batch as wide as its widest line; the others have paper on their left and right."""
    images, widths = to_batch([sample.ink for sample in samples])
    for image, width in zip(images, widths.tolist(), strict=True):
        left = int(rng.integers(0, images.shape[3] - width + 1)) // 2
        image.copy_(image.roll(left, 2))
    full = torch.full((len(samples),), images.shape[3])
    return Batch(images, tuple(sample.text for sample in samples), full)


class Size(nn.Module):
    """A weight as a multiple of the initial size of each of its rows."""

    scale: Tensor

    def __init__(self, weight: Tensor, bias_of: Tensor | None = None) -> None:
        """Measure a weight, or a bias by the rows of the weight that it stands beside."""
        super().__init__()
        rows = (weight if bias_of is None else bias_of).detach()
        if rows.dim() > 1:
            size = rows.flatten(1).square().mean(1).sqrt()
            if bias_of is not None:
                size = size / size.square().mean().sqrt() * weight.detach().square().mean().sqrt()
            size = size.view(-1, *(1 for _ in weight.shape[1:]))
        else:
            size = weight.detach().square().mean().sqrt().expand_as(weight).clone()
        self.register_buffer("scale", size.clamp_min(1e-4))

    def forward(self, share: Tensor) -> Tensor:
        """The weight."""
        return share * self.scale

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The share that gives a weight."""
        return weight / self.scale


def by_share(net: PPOCRNet) -> None:
    """Make a network learn each row in shares of its initial size."""
    for part in list(net.modules()):
        weight, bias = getattr(part, "weight", None), getattr(part, "bias", None)
        if isinstance(weight, Tensor) and isinstance(bias, Tensor):
            sizes = Size(weight), Size(bias, weight)
            parametrize.register_parametrization(part, "weight", sizes[0])
            parametrize.register_parametrization(part, "bias", sizes[1])


def early_layers(net: PPOCRNet) -> nn.ModuleList:
    """The stem and the first three blocks."""
    return nn.ModuleList([net.stem, *net.blocks[:3]])


def groups(net: PPOCRNet) -> list[dict[str, Any]]:
    """Parameters with their shares of the rate: low for early layers, high for the head."""
    late = [net.skip, net.reduce, net.local, *net.mixers, net.norm]
    parts = ((early_layers(net), 0.3), (net.blocks[3:], 1.0), (late, 1.33), ([net.ctc], 2.0))
    return [
        {"params": [p for part in some for p in part.parameters()], "scale": scale}
        for some, scale in parts
    ]


def plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert weights learned in shares back to the network's own."""
    out = {}
    for name, value in without_prefix(state, "net.").items():
        if name.endswith(".original"):
            module, _, part = name.removesuffix(".original").rpartition(".parametrizations.")
            scale = state[f"net.{module}.parametrizations.{part}.0.scale"]
            out[f"{module}.{part}"] = value * scale
    return out


@torch.inference_mode()
def encode_lines(
    net: PPOCRNet, lines: Sequence[Line], size: int = 1, head: MiniAR | None = None
) -> Iterator[Encoded]:
    """Encode `size` lines at a time for decoders, those of an AR head included if there is one."""
    device = next(net.parameters()).device
    for start in range(0, len(lines), size):
        inks = [darkness(squeeze(line.image)) for line in lines[start : start + size]]
        images, widths = to_batch(inks)
        states, logits = net(images.to(device), widths)
        frames = net.config.frames(widths).to(device)
        yield replace(encoded(logits, frames, states), ar=ar_model(head) if head else None)
