"""Training PP-OCR's recogniser: rows in shares of their sizes, rough hands, sources."""

from typing import Any

import numpy as np
import pytest
import torch

from bench.core.registry import Entry
from bench.core.tensors import read_tensors
from bench.core.types import Runtime
from bench.training import fit as loop
from bench.training import mini
from bench.training.batches import Batch
from bench.training.files import export, load_checkpoint
from bench.training.fit import fit
from bench.training.frozen_head import FrozenHead
from bench.training.mini import damage, filled, plain
from bench.training.recipes import MiniEncoder
from bench.training.sources import Rendered, Sample, Texts
from datasets import DATASETS
from models.alphabet import ALPHABET
from models.ppocr_net import PPOCRConfig, PPOCRNet
from models.shipped import PPOCRSpec
from tests.trainings import Listening


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens the recipe on weights of its network, on rendered lines and sets of marks alone."""
    monkeypatch.setitem(DATASETS.entries, "marks", Entry("tests.marks:Marks", "bars"))
    monkeypatch.setattr(mini, "VALIDATION", ("marks",))
    monkeypatch.setattr(mini, "FILES", ())
    monkeypatch.setattr(mini, "POOL", 8)
    monkeypatch.setattr(mini, "MINI", {"rendered": 1.0})
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    export(tmp_path / "start.safetensors", _network().state_dict(), None, {"views": "7"})

    def recipe(**more: Any) -> MiniEncoder:
        start, small = (
            tmp_path / "start.safetensors",
            {"columns": 600, "val_lines": 2, "workers": 0},
        )
        return MiniEncoder(out=tmp_path / "out", start=start, **{**small, **more})

    return recipe


def _network():
    torch.manual_seed(0)
    net = PPOCRNet(PPOCRConfig()).eval()
    with torch.no_grad():
        net.state_dict()["blocks.4.up.weight"][3] *= 100  # as folded norms leave it
    return net


def test_rows_learn_in_shares_of_their_sizes_and_the_network_stays_the_same(opened):
    net, images = _network(), torch.rand(1, 1, 48, 64)
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    training = opened().open(Listening())
    training.net.eval()
    with torch.no_grad():
        assert torch.allclose(training.net(images)[1], net(images)[1], atol=3e-2)  # float16
    back = plain(training.module.state_dict())
    assert back.keys() == weights.keys()
    assert all(torch.allclose(back[name], weights[name], rtol=2e-3, atol=1e-4) for name in weights)
    training.loss(Batch(images, ("abc",), torch.tensor([64]))).backward()
    torch.optim.Adam(training.groups(), 1e-3).step()
    after = plain(training.module.state_dict())["blocks.4.up.weight"]
    moved = (after - back["blocks.4.up.weight"]).flatten(1).abs().amax(1)
    assert 30 < float(moved[3] / moved[4]) < 300


def test_a_run_by_the_clock_writes_weights_that_open_and_goes_on(opened, tmp_path, monkeypatch):
    clock = iter(range(0, 10**6, 10))
    monkeypatch.setattr(loop, "steady_s", lambda: float(next(clock)))
    log = Listening()
    result = fit(opened(hours=0.01, frozen=True, damaged=0.5), log)
    steps, views = result.points[-1].step, int(result.points[-1]["views"])
    assert result.points[0].step == 0 and steps >= 3 and views > 7
    net = PPOCRSpec(weights=str(result.weights)).open(Runtime()).module()["net"]
    notes = read_tensors(result.weights)[1]
    assert notes["architecture"] == "kaidoku-ppocr-1" and notes["views"] == str(views)
    start = read_tensors(tmp_path / "start.safetensors")[0]
    moved = {
        n for n, value in net.state_dict().items() if not torch.equal(value, start[f"net.{n}"])
    }
    early = ("stem", "blocks.0", "blocks.1.", "blocks.2")
    assert any(name.startswith("ctc") for name in moved)
    # Shares times sizes are weights but for rounding.
    for name in (name for name in moved if name.startswith(early)):
        assert torch.allclose(net.state_dict()[name], start[f"net.{name}"], rtol=2e-3), name
    again = fit(opened(hours=0.01, frozen=True))
    assert again.points[-1].step > steps and again.points[-1]["views"] > views
    assert load_checkpoint(tmp_path / "out" / "mini.pt")["step"] == again.points[-1].step


def test_a_batch_is_filled_with_paper_around_lines_that_are_all_there():
    rng = np.random.default_rng(0)
    inks = [np.full((48, width), 1, np.float32) for width in (40, 90, 64)]
    batch = filled([Sample(ink, "a") for ink in inks], rng)
    assert batch.inputs.shape == (3, 1, 48, 96)
    assert batch.widths is not None and batch.widths.tolist() == [96] * 3
    assert batch.inputs.sum((1, 2, 3)).tolist() == [48 * 40, 48 * 90, 48 * 64]


def test_damage_changes_a_line_and_keeps_its_size():
    rng = np.random.default_rng(0)
    line = Rendered(Texts(), writers=3).draw(rng, 40)
    damaged = [damage(line.ink, line.text, rng) for _ in range(30)]
    assert all(ink.shape[0] == 64 and np.isfinite(ink).all() for ink in damaged)
    assert (
        sum(np.abs(ink - line.ink).mean() > 0.02 for ink in damaged if ink.shape == line.ink.shape)
        > 15
    )


def test_a_head_on_frozen_states_learns_and_its_seed_is_its_own(tmp_path):
    symbols = torch.tensor([[ALPHABET.index(symbol) for symbol in ("a", "", "b", "", "c")]])
    states = torch.nn.functional.one_hot(symbols, 96).half()
    batch = Batch(4 * states, ("abc",), torch.tensor([5]))

    def trained(seed: int, folder: str) -> Any:
        recipe = FrozenHead(
            out=tmp_path / folder, seed=seed, steps=150, rate=0.05, learned=[batch],
            validated=[batch],
        )  # fmt: skip
        result = fit(recipe)
        assert result.points[-1]["cer"] == 0
        return read_tensors(result.weights)[0]["weight"]

    first = trained(1, "a")
    assert torch.equal(first, trained(1, "b")) and not torch.equal(first, trained(2, "c"))
