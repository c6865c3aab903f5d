"""Training: samples, batches, the loop, resuming."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.core.errors import UserError
from bench.training import checkpoint
from bench.training.augment import augment
from bench.training.export import export
from bench.training.loop import Loop, LoopConfig
from bench.training.run import TrainOptions, Watcher, train_ar
from bench.training.sources import FILES, Rendered, sources
from bench.training.stream import Batch, StreamConfig, loader
from bench.training.texts import Texts
from datasets.joined import Ink, join
from datasets.root import data_root
from datasets.splits import split_of
from models.mini_net import MARGIN, MiniConfig, MiniNet
from models.shipped import MiniSpec
from models.shipped_encoders import read_head, read_weights

ROOT = data_root()
needs_data = pytest.mark.skipif(
    ROOT is None or not all((ROOT / name).is_file() for name in FILES),
    reason="the real training data is not here (python -m bench data get)",
)


class _ReadOneLine:
    """A task that learns a single line by heart with plain CTC."""

    def __init__(self):
        self.module = MiniNet(MiniConfig(stem=(8, 16, 16, 32), hidden=32, dropout=0.0))

    def loss(self, batch):
        frames = torch.full((len(batch.texts),), (batch.images.shape[3] - MARGIN) // 4)
        _, logits = self.module(batch.images, frames)
        log_probs = logits.float().log_softmax(-1).transpose(0, 1)
        targets = torch.tensor([[5, 9, 9, 12]] * len(batch.texts))
        lengths = torch.full((len(batch.texts),), 4)
        return torch.nn.functional.ctc_loss(log_probs, targets, frames, lengths)


def _batches(_):
    torch.manual_seed(3)
    image = torch.rand(1, 1, 64, 64 + MARGIN)
    while True:
        yield Batch(image, torch.tensor([64]), ("x",))


def _run(tmp_path, steps, name="c.pt", save_every=1000):
    torch.manual_seed(0)
    loop = Loop(_ReadOneLine(), LoopConfig(steps, warmup=5, save_every=save_every), tmp_path / name)
    losses = []
    loop.run(_batches, lambda p: losses.append(p.loss), lambda step, average: None)
    return loop, losses


def test_the_loop_learns_and_averages(tmp_path):
    loop, losses = _run(tmp_path, 60)
    assert losses[-1] < 0.3 * losses[0]
    assert all(torch.isfinite(v).all() for v in loop.average.state.values())


class _Slope:
    """A task of a single weight that only ever grows: from 0.5 on, one rate a step."""

    def __init__(self) -> None:
        self.module = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(self.module.weight, 0.5)

    def loss(self, batch: torch.Tensor) -> torch.Tensor:
        return -self.module(batch).sum()


def _slope(tmp_path: Path, steps: int) -> tuple[Loop[Any], list[float], list[float]]:
    """A loop run to its end, its weights from first to last, and the rates of its steps."""
    config = LoopConfig(steps, save_every=10_000, weight_decay=0.0)
    loop: Loop[Any] = Loop(_Slope(), config, tmp_path / f"{steps}.pt")
    weights, rates = [0.5], []

    def step(progress: Any) -> None:
        weights.append(loop.task.module.get_parameter("weight").item())
        rates.append(float(loop.optimizer.param_groups[0]["lr"]))
        assert 0.5 < loop.average.state["weight"].item() < weights[-1]

    loop.run(lambda _: iter(lambda: torch.ones(1, 1), None), step, lambda *_: None)
    return loop, weights, rates


@pytest.mark.parametrize("steps", [1, 2, 5, 9, 10, 11, 800])
def test_averaged_weights_lie_between_those_that_were_averaged(tmp_path: Path, steps: int) -> None:
    loop, weights, _ = _slope(tmp_path, steps)
    assert len(weights) == steps + 1
    with torch.no_grad():
        loop.average.state["weight"].fill_(0.5)
        loop.task.module.get_parameter("weight").fill_(1.0)
    loop.average.update(loop.task.module, steps)
    assert 0.5 < float(loop.average.state["weight"]) < 1.0


@pytest.mark.parametrize("steps", [1, 2, 15, 400, 800, 8000])
def test_the_rate_rises_joins_the_cosine_and_ends_near_0(tmp_path: Path, steps: int) -> None:
    _, _, rates = _slope(tmp_path, steps)
    assert max(rates) == pytest.approx(1e-3)
    if steps < 20:
        return
    peak = rates.index(max(rates))
    assert 0.5 * min(400, steps / 10) <= peak <= min(400, steps / 10)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(abs(b - a) for a, b in pairwise(rates)) <= 1.01e-3 / min(400, steps / 10)
    assert rates[-1] < 0.02e-3


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path):
    whole, _ = _run(tmp_path, 12, "whole.pt")
    first = Loop(_ReadOneLine(), LoopConfig(12, warmup=5, save_every=6), tmp_path / "cut.pt")
    torch.manual_seed(0)
    fresh = _ReadOneLine().module.state_dict()
    first.task.module.load_state_dict(fresh)
    first.average = checkpoint.Average(first.task.module, first.average.decay)

    class Cut(Exception):  # noqa: N818
        pass

    def stop(step, average):
        raise Cut

    with pytest.raises(Cut):
        first.run(_batches, lambda p: None, stop)
    second = Loop(_ReadOneLine(), LoopConfig(12, warmup=5, save_every=6), tmp_path / "cut.pt")
    assert second.step == 6
    second.run(_batches, lambda p: None, lambda step, average: None)
    ours, theirs = second.task.module.state_dict(), whole.task.module.state_dict()
    assert max(float((ours[k].float() - theirs[k].float()).abs().max()) for k in ours) < 2e-2


def test_a_damaged_checkpoint_is_one_sentence(tmp_path):
    (tmp_path / "c.pt").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="delete it"):
        _run(tmp_path, 2)


def test_batches_keep_to_their_budget_and_say_how_wide_lines_are():
    stream = loader(StreamConfig(root=None, english=False, columns=6000, ramp=1), 5, 0, 0)
    for _ in range(4):
        batch = next(stream)
        count, _, height, width = batch.images.shape
        assert height == 64
        assert count == len(batch.texts) == len(batch.widths)
        assert count == 1 or count * width <= 6000 + count * MARGIN
        assert int(batch.widths.max()) <= width - MARGIN
        for image, line in zip(batch.images, batch.widths.tolist(), strict=True):
            assert float(image[..., line:].abs().sum()) == 0


def test_training_text_is_not_english_unless_asked():
    rng = np.random.default_rng(0)
    vocabulary = {w for line in Texts()._lines for w in line.split()}

    def bigrams(english):
        texts = [Texts(english).draw(rng) for _ in range(200)]
        real = {p for line in Texts()._lines for p in pairwise(line.split())}
        pairs = [p for t in texts for p in pairwise(t.split())]
        return sum(p in real for p in pairs) / len(pairs)

    assert len(vocabulary) > 5000
    assert bigrams(0.0) < 0.15
    assert bigrams(1.0) > 0.95


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_augmentation_keeps_the_form_of_a_line(strength):
    rng = np.random.default_rng(1)
    sample = Rendered(Texts(), writers=3).draw(rng, 40)
    image, text = sample.ink, sample.text
    for _ in range(20):
        out = augment(image, rng, strength)
        assert out.shape[0] == 64 and out.dtype == np.float32
        assert np.isfinite(out).all() and out.min() >= -0.5 and out.max() <= 1.5
        assert 0.3 < out.shape[1] / image.shape[1] < 3 or text == ""


def test_joined_pieces_stand_in_order():
    piece = Ink((np.array([[0, 0], [1, -1]], np.float32),), 1.0)
    strokes, spans = join([(piece, 0.0), (piece, 0.5), (piece, 0.5)], np.random.default_rng(0))
    lefts = [float(s[:, 0].min()) for s in strokes]
    assert lefts == sorted(lefts) and lefts[2] > 2.5
    for left, span in zip(lefts, spans, strict=True):
        assert left < sum(span) / 2 < left + 1


@needs_data
def test_real_sources_never_touch_val_or_test():
    mixture: dict[str, Any] = {name: s for name, _, s in sources(ROOT, english=False)}
    assert set(mixture) == {
        "rendered",
        "joined-characters",
        "joined-words",
        "unipen-lines",
        "hooker",
        "copiste",
    }
    for name in ("joined-characters", "joined-words"):
        assert {split_of(writer) for writer in mixture[name].writers} == {"train"}
    rng = np.random.default_rng(0)
    for name, source in mixture.items():
        sample = source.draw(rng, 30)
        assert sample.ink.shape[0] == 64 and sample.text, name
        assert (sample.centres is not None) == source.placed, name


def test_the_ar_head_goes_on_from_a_weights_file_and_says_when_there_is_none(tmp_path):
    tensors, notes = read_weights(MiniSpec().path)
    net = {k[4:]: v for k, v in tensors.items() if k.startswith("net.")}
    bare = tmp_path / "bare.safetensors"
    export(bare, net, None, dict(notes))
    assert read_head(read_weights(bare)[0], 512, bare) is None
    export(tmp_path / "mini.safetensors", net, None, dict(notes))
    watcher = Watcher(lambda progress: None, lambda step, scores: None)
    with pytest.raises(UserError, match="no AR head"):
        train_ar(TrainOptions(tmp_path, 1, None, init=bare), watcher)

    head = read_head(tensors, 512, MiniSpec().path)
    assert head is not None
    export(tmp_path / "both.safetensors", net, head.state_dict(), dict(notes))
    again = read_head(read_weights(tmp_path / "both.safetensors")[0], 512, tmp_path)
    assert again is not None
    assert all(
        torch.equal(a, b) for a, b in zip(head.parameters(), again.parameters(), strict=True)
    )
