"""Train PP-OCR's small recogniser on handwriting: `python -m bench.training.reader --help`.

The folded rows of its weights differ in size from 0.03 to 25, so that no one rate fits: each row
is learned as a multiple of what it was at the start. The rate rises, holds, and falls to the end
of the time; a later run starts from the weights of this one and does the same again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize
from torch.utils.data import IterableDataset, get_worker_info

from bench.core.errors import UserError
from bench.core.stopwatch import unix_time
from bench.core.types import BLANK, Line
from bench.training.augment import Darkness, augment, pen_image
from bench.training.background import in_background
from bench.training.export import export, without_prefix
from bench.training.hands import roughen
from bench.training.loop import Loop, LoopConfig, Progress, agreed, rank, world
from bench.training.run import join_processes
from bench.training.score import ReadScore, scored
from bench.training.sources import (
    COPISTE,
    HOOKER,
    PEN_LINES,
    JoinedCharacters,
    JoinedWords,
    PenLines,
    Rendered,
    Sample,
    Scans,
    Source,
)
from bench.training.stream import Batch
from bench.training.tasks import ctc_loss, ctc_targets
from bench.training.texts import Texts
from datasets import DATASETS
from datasets.damage import DAMAGES
from datasets.joined import CHARACTERS, WORDS, read_bank
from datasets.root import data_root
from datasets.seeds import stream
from models.alphabet import ALPHABET, encode, frames_needed
from models.images import darkness, to_batch
from models.ppocr_net import STRIDE, PPOCRConfig, PPOCRNet, columns_of, squeeze
from models.shipped_encoders import read_weights

POILUS, CREMMA = "poilus_fr_lines.parquet", "cremma20_fr_lines.parquet"
_POOL = 160  # samples sorted by width together
_LONGEST = 2600  # columns


@dataclass(frozen=True)
class Recipe:
    """What a training run does.

    start: weights to begin with.
    until: when the rate has fallen and the run ends, seconds since the epoch.
    rate: peak share of its size that a row changes by in a step.
    columns: pixel columns of a batch and process.
    damaged: share of the lines that the damage suite has been at.
    frozen: leave the stem and the first three blocks as they are, which saves a fifth of a step.
    """

    out: Path
    root: Path
    start: Path
    until: float
    rate: float = 1.5e-3
    warmup: int = 100
    hold: float = 0.5
    columns: int = 6000
    damaged: float = 0.0
    frozen: bool = False
    seed: int = 0
    minutes: float = 10.0
    lines: int = 60


# Shares of the lines. Half are not English: real ink joined into other text, and French.
SHARES = {
    "unipen-lines": 0.14,
    "joined-words": 0.16,
    "joined-characters": 0.15,
    "hooker": 0.36,
    "copiste": 0.06,
    "poilus": 0.07,
    "cremma20": 0.01,
    "rendered": 0.05,
}
FILES = (PEN_LINES, WORDS, CHARACTERS, HOOKER, COPISTE, POILUS, CREMMA)


def mixture(root: Path) -> dict[str, Source]:
    """The sources by name."""
    texts = Texts(capitals=0.12)
    bank = read_bank(root)
    return {
        # Few hands wrote most of the lines; the four that wrote long sentences count double.
        "unipen-lines": PenLines.read(root / PEN_LINES, ("bba", "bbb", "bbc", "bbd")),
        "joined-words": JoinedWords(bank),
        "joined-characters": JoinedCharacters(bank, texts),
        "hooker": Scans.read(root / HOOKER),
        "copiste": Scans.read(root / COPISTE, fold=True),
        "poilus": Scans.read(root / POILUS, fold=True),
        "cremma20": Scans.read(root / CREMMA, fold=True),
        "rendered": Rendered(texts),
    }


class Lines(IterableDataset[Batch]):
    """Endless batches of lines of about one width, filled up with paper: none is masked."""

    def __init__(self, recipe: Recipe, start: int) -> None:
        super().__init__()
        self.recipe, self.start = recipe, start

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        rng = stream("kaidoku-reader-1", self.recipe.seed, self.start, rank(), info and info.id)
        sources = mixture(self.recipe.root)
        recent: deque[Darkness] = deque(maxlen=8)
        while True:
            picks = rng.choice(list(SHARES), _POOL, p=list(SHARES.values()))
            pool = [self._draw(sources[str(pick)], recent, rng) for pick in picks]
            pool.sort(key=lambda sample: sample.ink.shape[1])
            groups: list[list[Sample]] = [[]]
            for sample in pool:
                if groups[-1] and sample.ink.shape[1] * (len(groups[-1]) + 1) > self.recipe.columns:
                    groups.append([])
                groups[-1].append(sample)
            for index in rng.permutation(len(groups)):
                yield _filled(groups[index], rng)

    def _draw(self, source: Source, recent: deque[Darkness], rng: np.random.Generator) -> Sample:
        """A sample in a new look that CTC can spell."""
        while True:
            sample = source.draw(rng, 70)
            symbols = encode(sample.text)
            if not symbols:
                continue
            other = recent[int(rng.integers(len(recent)))] if recent else None
            recent.append(sample.ink)
            ink = roughen(sample.ink, other, rng)
            if rng.random() < self.recipe.damaged:
                ink = _damage(ink, sample.text, rng)
            ink = squeeze(augment(ink, rng, 0.9)).astype(np.float32)
            if 4 + STRIDE * frames_needed(symbols) <= ink.shape[1] <= _LONGEST:
                return Sample(ink, sample.text)


def _damage(ink: Darkness, text: str, rng: np.random.Generator) -> Darkness:
    """The ink after a damage of the suite, with seeds that no evaluation takes."""
    damage = DAMAGES.create(str(rng.choice(DAMAGES.names())))
    line = Line("train", pen_image(np.clip(ink, 0, 1)), text, "", "train")
    severity, seed = int(rng.integers(1, 6)), int(rng.integers(1 << 32, 1 << 40))
    return darkness(damage.apply(line, "train", severity, seed, line).line.image)


def _filled(samples: Sequence[Sample], rng: np.random.Generator) -> Batch:
    """A batch as wide as its widest line; the others have paper on their left and right."""
    images, widths = to_batch([sample.ink for sample in samples], columns_of)
    for image, width in zip(images, widths.tolist(), strict=True):
        left = int(rng.integers(0, images.shape[3] - width + 1)) // 2
        image.copy_(image.roll(left, 2))
    full = torch.full((len(samples),), images.shape[3])
    return Batch(images, full, tuple(sample.text for sample in samples))


class Size(nn.Module):
    """A weight as a multiple of the size that each of its rows had at the start."""

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


class ReaderTask:
    """CTC on the network, whose rows are learned in shares of their sizes."""

    def __init__(self, net: PPOCRNet, frozen: bool = False) -> None:
        self.net = net
        self.early = nn.ModuleList([net.stem, *net.blocks[:3]]).requires_grad_(not frozen)
        for part in list(net.modules()):
            weight, bias = getattr(part, "weight", None), getattr(part, "bias", None)
            if isinstance(weight, Tensor) and isinstance(bias, Tensor):
                sizes = Size(weight), Size(bias, weight)
                parametrize.register_parametrization(part, "weight", sizes[0])
                parametrize.register_parametrization(part, "bias", sizes[1])
        self.module = nn.ModuleDict({"net": net})

    def groups(self) -> list[dict[str, Any]]:
        """Parameters with their shares of the rate: early layers are slow, the head is quick."""
        net = self.net
        late = [net.skip, net.reduce, net.local, *net.mixers, net.norm]
        parts = ((self.early, 0.3), (net.blocks[3:], 1.0), (late, 1.33), ([net.ctc], 2.0))
        return [
            {"params": [p for part in some for p in part.parameters()], "scale": scale}
            for some, scale in parts
        ]

    def loss(self, batch: Batch) -> Tensor:
        """CTC loss a character."""
        frames = self.net.config.frames(batch.widths)
        keep, targets = ctc_targets(batch.texts, frames)
        # The fused attention of CPUs is four times as slow on heads of 15 units.
        with sdpa_kernel(SDPBackend.MATH), parametrize.cached():
            _, logits = self.net(batch.images)
        return ctc_loss(logits, frames, keep, targets)


class ReaderLoop(Loop[Batch]):
    """A loop whose rate rises, holds, and falls as the time runs out."""

    def __init__(self, task: ReaderTask, recipe: Recipe) -> None:
        config = LoopConfig(10**9, recipe.rate, recipe.warmup, 0.0, clip=4.0, save_every=10**9)
        super().__init__(task, config, recipe.out / "reader.pt", groups=task.groups())
        self.recipe, self.began = recipe, unix_time()
        self.average.decay = 0.997  # the last 330 steps

    def _rate(self) -> float:
        rise = min(1.0, (self.step + 1) / self.recipe.warmup)
        share = (unix_time() - self.began) / (self.recipe.until - self.began)
        fall = min(1.0, max(0.0, (share - self.recipe.hold) / (1 - self.recipe.hold)))
        return self.recipe.rate * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall)))


def train(recipe: Recipe) -> None:
    """Train until the time is over; weights and curve are written every few minutes."""
    torch.manual_seed(recipe.seed + rank())
    net = PPOCRNet(PPOCRConfig(dropout=0.1))
    tensors, before = read_weights(recipe.start)
    net.load_state_dict(without_prefix(tensors, "net."))
    loop = ReaderLoop(ReaderTask(net, recipe.frozen), recipe)
    keeper = Keeper(recipe, loop, int(before.get("views", 0))) if rank() == 0 else None
    seen, saved = 0, unix_time()

    def report(progress: Progress) -> None:
        nonlocal saved
        if progress.step % 10:
            return
        over, due = unix_time() >= recipe.until, unix_time() - saved > 60 * recipe.minutes
        print(f"{progress} {seen} lines", flush=True)
        loop.stopped = agreed(over)
        if keeper and (loop.stopped or due):
            saved = unix_time()
            keeper.keep(seen * world(), progress)

    def batches(step: int) -> Iterator[Batch]:
        nonlocal seen
        for batch in in_background(Lines(recipe, step), 1, 6):
            seen += len(batch.texts)
            yield batch

    if keeper and not keeper.curve.exists():
        keeper.keep(0, Progress(0, math.nan, 0.0))
    loop.run(batches, report, lambda *_: None)


class Keeper:
    """Writes checkpoint, weights and curve."""

    def __init__(self, recipe: Recipe, loop: ReaderLoop, views: int) -> None:
        """Take note of the views so far; those of a run that was cut off are in its curve."""
        self.loop, self.out, self.curve = loop, recipe.out, recipe.out / "curve.jsonl"
        if self.curve.exists():
            views = json.loads(self.curve.read_text().splitlines()[-1])["views"]
        self.views, self.began = views, unix_time()
        self.judge = PPOCRNet()
        self.sets = validation(recipe.lines)
        digest = hashlib.sha256(b"".join((recipe.root / name).read_bytes() for name in FILES))
        self.notes = {
            "architecture": "kaidoku-ppocr-1",
            "trained_on": f"PP-OCRv6 small rec; {', '.join(FILES)} (train splits); rendered lines",
            "data_sha256": digest.hexdigest(),
            "damaged": str(recipe.damaged),
        }

    def keep(self, seen: int, progress: Progress) -> None:
        """Write all three."""
        self.loop.save()
        self.judge.load_state_dict(plain(self.loop.average.state))
        views = self.views + seen
        notes = {**self.notes, "views": str(views)}
        export(self.out / "reader.safetensors", self.judge.state_dict(), None, notes)
        point = {
            "step": progress.step,
            "views": views,
            "minutes": round((unix_time() - self.began) / 60, 1),
            "rate": progress.rate,
            **{name: round(s.cer, 4) for name, s in ctc_scores(self.judge, self.sets).items()},
        }
        with self.curve.open("a") as curve:
            curve.write(json.dumps(point) + "\n")
        print(point, flush=True)


def plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's own weights from those of a task."""
    out = {}
    for name, value in without_prefix(state, "net.").items():
        if name.endswith(".original"):
            module, _, part = name.removesuffix(".original").rpartition(".parametrizations.")
            scale = state[f"net.{module}.parametrizations.{part}.0.scale"]
            out[f"{module}.{part}"] = value * scale
    return out


def validation(lines: int) -> dict[str, Sequence[Line]]:
    """Val lines, spread over each set."""
    sets: dict[str, Sequence[Line]] = {}
    for name in ("unipen-all", "hooker"):  # val of `unipen` is a single hand
        every = DATASETS.create(name).load("val").lines
        sets[name] = [every[i * len(every) // lines] for i in range(min(lines, len(every)))]
    return sets


@torch.inference_mode()
def ctc_scores(net: PPOCRNet, sets: Mapping[str, Sequence[Line]]) -> dict[str, ReadScore]:
    """Best-path CER of each set, line by line."""
    net.eval()

    def read(line: Line) -> str:
        images, widths = to_batch([darkness(squeeze(line.image))], columns_of)
        best = net(images, widths)[1][0, : int(net.config.frames(widths))].argmax(-1)
        return "".join(ALPHABET[s] for s in torch.unique_consecutive(best).tolist() if s != BLANK)

    return {
        name: scored([(line.text, read(line)) for line in lines]) for name, lines in sets.items()
    }


def main() -> None:
    """Train as the command line asks; RANK and WORLD_SIZE as torchrun sets them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of weights and curve")
    parser.add_argument("--start", type=Path, required=True, help="weights to start from")
    parser.add_argument("--hours", type=float, default=1.0, help="until the rate has fallen")
    parser.add_argument("--until", type=float, help="the same as seconds since the epoch")
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--damaged", type=float, default=0.0, help="share of damaged lines")
    parser.add_argument("--frozen", action="store_true", help="leave the early layers as they are")
    parser.add_argument("--columns", type=int, default=Recipe.columns, help="of a batch")
    parser.add_argument("--minutes", type=float, default=10.0, help="between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    root = data_root()
    if root is None:
        raise UserError("the training takes a data root; see python -m bench data")
    torch.set_num_threads(args.threads)
    join_processes()
    train(
        Recipe(
            args.out, root, args.start, args.until or unix_time() + 3600 * args.hours,
            args.rate, columns=args.columns, damaged=args.damaged, frozen=args.frozen,
            seed=args.seed, minutes=args.minutes,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
