"""Training PP-OCR's recogniser: rows in shares of their sizes, rough hands, sources."""

from typing import Any

import numpy as np
import pytest
import torch

from bench.training.hands import roughen
from bench.training.reader import SHARES, ReaderTask, _damage, _filled, mixture, plain
from bench.training.sources import Rendered, Sample, _drawn
from bench.training.stream import Batch
from bench.training.texts import Texts
from datasets.root import data_root
from datasets.splits import split_of
from models.ppocr_net import PPOCRConfig, PPOCRNet

ROOT = data_root()


def _network():
    torch.manual_seed(0)
    net = PPOCRNet(PPOCRConfig()).eval()
    with torch.no_grad():
        net.state_dict()["blocks.4.up.weight"][3] *= 100  # as folded norms leave it
    return net


def test_rows_learn_in_shares_of_their_sizes_and_the_network_stays_the_same():
    net, images = _network(), torch.rand(1, 1, 48, 64)
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        before = net(images)[1]
        task = ReaderTask(net)
        assert torch.allclose(net(images)[1], before, atol=1e-4)
    back = plain(task.module.state_dict())
    assert back.keys() == weights.keys()
    assert all(torch.allclose(back[name], weights[name], rtol=1e-5) for name in weights)
    task.loss(Batch(images, torch.tensor([64]), ("abc",))).backward()
    torch.optim.Adam(task.groups(), 1e-3).step()
    after = plain(task.module.state_dict())["blocks.4.up.weight"]
    moved = (after - weights["blocks.4.up.weight"]).flatten(1).abs().amax(1)
    assert 30 < float(moved[3] / moved[4]) < 300


def test_frozen_layers_stay():
    task = ReaderTask(_network(), frozen=True)
    start = plain({k: v.clone() for k, v in task.module.state_dict().items()})
    task.loss(Batch(torch.rand(1, 1, 48, 64), torch.tensor([64]), ("abc",))).backward()
    torch.optim.Adam(task.groups(), 1e-3).step()
    changed = {
        name.split(".weight")[0].split(".bias")[0]
        for name, value in plain(task.module.state_dict()).items()
        if not torch.equal(value, start[name])
    }
    assert "blocks.3.space" in changed and "ctc" in changed
    assert not {n for n in changed if n.startswith(("stem", "blocks.0", "blocks.1.", "blocks.2"))}


def test_rough_hands_keep_the_height_and_another_line_may_show():
    rng = np.random.default_rng(0)
    line, blank = Rendered(Texts(), writers=3).draw(rng, 40).ink, np.zeros((64, 300), np.float32)
    shown, widths = 0, []
    for _ in range(200):
        out = roughen(line, None, rng)
        assert out.shape[0] == 64 and out.dtype == np.float32 and np.isfinite(out).all()
        widths.append(out.shape[1] / line.shape[1])
        stray = roughen(blank, line, rng)
        shown += bool(stray.any())
        assert not stray[20:44].any() or stray.shape[1] != 300  # at the edges only
    assert 20 < shown < 60
    assert min(widths) < 1 < max(widths) and min(widths) > 0.4 and max(widths) < 2


def test_a_batch_is_filled_with_paper_around_lines_that_are_all_there():
    rng = np.random.default_rng(0)
    inks = [np.full((48, width), 1, np.float32) for width in (40, 90, 64)]
    batch = _filled([Sample(ink, "a") for ink in inks], rng)
    assert batch.images.shape == (3, 1, 48, 96) and batch.widths.tolist() == [96] * 3
    assert batch.images.sum((1, 2, 3)).tolist() == [48 * 40, 48 * 90, 48 * 64]


def test_damage_changes_a_line_and_keeps_its_size():
    rng = np.random.default_rng(0)
    line = Rendered(Texts(), writers=3).draw(rng, 40)
    damaged = [_damage(line.ink, line.text, rng) for _ in range(30)]
    assert all(ink.shape[0] == 64 and np.isfinite(ink).all() for ink in damaged)
    assert (
        sum(np.abs(ink - line.ink).mean() > 0.02 for ink in damaged if ink.shape == line.ink.shape)
        > 15
    )


def test_shares_are_of_all_lines():
    assert sum(SHARES.values()) == pytest.approx(1)
    english = SHARES["unipen-lines"] + SHARES["hooker"]
    assert english < 0.5


@pytest.mark.skipif(ROOT is None, reason="no data root")
def test_sources_touch_no_val_or_test_writer():
    assert ROOT is not None
    sources: dict[str, Any] = dict(mixture(ROOT))
    assert sources.keys() == SHARES.keys()
    for name in ("joined-characters", "joined-words"):
        assert {split_of(writer) for writer in sources[name].writers} == {"train"}
    assert len(sources["poilus"].lines) == 979 and len(sources["cremma20"].lines) == 175
    assert len(sources["hooker"].lines) == 4855 and len(sources["copiste"].lines) == 4171


def test_strokes_without_height_make_no_line():
    """A dash alone, scaled to the height of a line, would be millions of pixels wide."""
    flat = np.array([[0, 5], [300, 5]], np.float32)
    sample = _drawn([flat, flat + np.array([900, 0], np.float32)], "--", np.random.default_rng(0))
    assert sample.text == "" and sample.ink.shape[1] < 1000
