"""Recipe of a CTC head from random weights on the states of a frozen encoder, made once."""

# Without postponed annotations: see `fit`.

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.core.bounds import Count, Natural, Part
from bench.training.batches import Batch, Pools, in_background
from bench.training.files import Point, write_weights
from bench.training.fit import Training
from bench.training.losses import ctc_loss
from bench.training.mini import POOL, filled, mixed_draws
from bench.training.recipes import Log, Recipe
from bench.training.validate import LineReader, cers, encoded
from datasets.seeds import stream
from models.alphabet import ALPHABET
from models.ppocr_net import PPOCRNet


@torch.inference_mode()
def training_states(net: PPOCRNet, root: Path | None, count: int, columns: int) -> list[Batch]:
    """Encode the first batches that mini's recipe draws, undamaged; `widths` become frames.

    Without a data root lines are rendered; a batch has so many pixel `columns`.
    """
    pools = Pools(
        ("kaidoku-frozen-head-1",), 0, POOL, columns, partial(mixed_draws, root, 0.0), filled
    )
    made = []
    for batch in islice(in_background(pools, 0), count):
        assert batch.widths is not None
        states, _ = net(batch.inputs, batch.widths)
        made.append(Batch(states.half().clone(), batch.texts, net.config.frames(batch.widths)))
    return made


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenHead(Recipe):
    """Train a linear CTC head; the seed is that of its weights and of the order of the batches.

    Attributes:
        learned: batches of states with their frames as `widths`
        validated: the same of val lines
    """

    name: ClassVar[str] = "head"
    usual: ClassVar[Mapping[str, float]] = {"steps": 1500, "rate": 3e-3}
    weight_decay: ClassVar[float] = 0.0

    warmup: Natural = 50
    ema: Part = 0.99
    save_every: Count = 500
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    learned: Sequence[Batch] = ()
    validated: Sequence[Batch] = ()

    def open(self, log: Log) -> Training:
        """See `Recipe.open`."""
        return _HeadTraining(self)


class _HeadTraining(Training):
    keeps_last = True

    def __init__(self, recipe: FrozenHead) -> None:
        self.recipe = recipe
        super().__init__(recipe, nn.Linear(recipe.learned[0].inputs.shape[2], len(ALPHABET)))
        self.reader = LineReader("ctc-greedy")

    @property
    def weights(self) -> Path:
        return self.recipe.out / "head.safetensors"

    def batches(self, step: int) -> Iterator[Batch]:
        rng = stream("kaidoku-frozen-head-order-1", self.recipe.seed, step)
        while True:
            yield self.recipe.learned[int(rng.integers(len(self.recipe.learned)))]

    def loss(self, batch: Batch) -> Tensor:
        assert batch.widths is not None
        return ctc_loss(self.module(batch.inputs.float()), batch.widths, batch.texts)

    @torch.inference_mode()
    def validate(self, module: Any) -> Mapping[str, float]:
        texts = [text for batch in self.recipe.validated for text in batch.texts]
        read = [
            encoded(module(batch.inputs.float()), batch.widths)
            for batch in self.recipe.validated
            if batch.widths is not None
        ]
        return cers({"val": self.reader.score(read, texts)})

    def export(self, module: Any, points: Sequence[Point]) -> None:
        write_weights(self.weights, module.state_dict(), {"seed": str(self.recipe.seed)})

    def close(self) -> None:
        self.reader.close()
