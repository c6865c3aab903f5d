"""The loop of all trainings, their sources, and the recipes of mini and of PP-OCR's network."""

import dataclasses
import gzip
import json
import math
from functools import partial
from itertools import groupby, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import Table, parquet
from torch import nn

from bench.core.errors import UserError
from bench.core.registry import Entry
from bench.core.tensors import read_tensors
from bench.core.types import Runtime
from bench.pipeline.leaks.weights import RECORD
from bench.training import files, mini, mini_head
from bench.training import fit as loop
from bench.training.align import align
from bench.training.augment import augment, augment_image, roughen
from bench.training.batches import Batch, Pools
from bench.training.files import History, Point, export, load_checkpoint
from bench.training.fit import averaged, fit
from bench.training.frozen_head import FrozenHead
from bench.training.mini import damage, filled, plain
from bench.training.recipes import MiniEncoder, MiniHead
from bench.training.sources import (
    FILES,
    MINI,
    MINI_HEAD,
    PEN_LINES,
    SCANS,
    PenLines,
    Rendered,
    Sample,
    Scans,
    Texts,
    _drawn,
    sources,
)
from datasets import DATASETS
from datasets.joined import CHARACTERS, WORDS, read_inks
from datasets.root import data_root
from datasets.splits import hand_of, may_learn, split_of
from models.alphabet import ALPHABET
from models.ppocr_net import PPOCRConfig, PPOCRNet
from models.shipped import MiniSpec, PPOCRSpec
from models.shipped_encoders import read_head
from tests.trainings import Killed, Listening, Slope

ROOT = data_root()
JOINED = ("joined-words", "joined-characters")


# ---- the loop ----


@pytest.mark.parametrize("steps", [1, 11, 800])
def test_averaged_weights_lie_between_those_that_were_averaged(steps: int) -> None:
    module: Any = nn.BatchNorm1d(1)  # with a buffer of whole numbers
    average: Any = averaged(module, 0.9998, steps)
    for step in range(1, steps + 1):
        with torch.no_grad():
            module.weight += 1
            module.num_batches_tracked += 1
        average.update_parameters(module)
        assert 1 < float(average.module.weight) < step + 1
    assert int(average.module.num_batches_tracked) == steps
    last: Any = averaged(module, 0.0, steps)
    module.weight.data.fill_(3.0)
    last.update_parameters(module)
    assert float(last.module.weight) == 3.0  # 0 averages nothing


@pytest.mark.parametrize("steps", [1, 300])
def test_the_rate_rises_joins_the_cosine_and_ends_near_0(tmp_path: Path, steps: int) -> None:
    log = Listening()
    fit(Slope(out=tmp_path, steps=steps, save_every=1000), log)
    rates = log.curves["rate"]
    assert len(rates) == steps and max(rates) == pytest.approx(1e-3)
    if steps == 1:
        return
    peak = rates.index(max(rates))
    assert 0.5 * min(400, steps / 10) <= peak <= min(400, steps / 10)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(abs(b - a) for a, b in pairwise(rates)) <= 1.01e-3 / min(400, steps / 10)
    assert rates[-1] < 0.02e-3


def test_a_run_by_the_clock_rises_holds_and_falls(tmp_path, monkeypatch):
    clock = iter(range(0, 100_000, 10))
    monkeypatch.setattr(loop, "steady_s", lambda: float(next(clock)))
    log = Listening()
    recipe = Slope(out=tmp_path, warmup=4, hold=0.5, minutes=15.0, keeps_last=True, hours=1.0)
    result = fit(recipe, log)
    rates = log.curves["rate"]
    assert rates[:4] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3])
    middle = len(rates) // 2
    assert rates[4 : middle - 2] == pytest.approx([1e-3] * (middle - 6))
    assert rates[middle + 1 :] == sorted(rates[middle + 1 :], reverse=True) and rates[-1] < 3e-5
    assert 3 <= len(result.points) <= 5 and result.points[-1].step == len(rates)
    assert result.weights.read_text().startswith(f"{len(rates)} ")  # the last ones


@pytest.mark.parametrize(
    ("unit", "when"),
    [("epochs", "in an epoch"), ("steps", "before validation"), ("epochs", "before the note")],
)
def test_a_killed_training_ends_where_an_unbroken_one_does(tmp_path, monkeypatch, unit, when):
    """Bit for bit: dropout, batches and averages are those of the step."""
    length: dict[str, Any] = (
        {"steps": 12, "save_every": 4} if unit == "steps" else {"epochs": 3, "save_every": 3}
    )
    recipe = Slope(out=tmp_path / "cut", epoch=4, from_start=True, **length)
    whole = fit(dataclasses.replace(recipe, out=tmp_path / "whole"))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        add, save = History.add, files.save_checkpoint

        def kill_add(self: History, point: Point) -> None:
            if point.step == 8:
                raise Killed
            add(self, point)

        def kill_save(path: Path, state: Any) -> None:
            save(path, state)
            if state["step"] == 8:
                raise Killed

        if when == "before the note":
            patch.setattr(History, "add", kill_add)
        elif when == "before validation":
            patch.setattr(loop, "save_checkpoint", kill_save)
        fit(recipe, Listening(kill=7 if when == "in an epoch" else 0))
    cut = fit(recipe)
    assert [(p.step, p.values) for p in cut.points] == [(p.step, p.values) for p in whole.points]
    assert [point.step for point in cut.points] == [0, 4, 8, 12]
    assert [p.epoch for p in cut.points] == ([None] * 4 if unit == "steps" else [0, 1, 2, 3])
    ours, theirs = (load_checkpoint(tmp_path / name / "slope.pt") for name in ("cut", "whole"))
    for key in ("weights", "average"):
        assert all(torch.equal(ours[key][name], theirs[key][name]) for name in theirs[key])
    assert cut.weights.read_text() == whole.weights.read_text()


def test_the_best_weights_are_kept_and_patience_ends_the_run(tmp_path):
    recipe = Slope(out=tmp_path, steps=40, save_every=1, rate=1e-12, patience=2)
    result = fit(recipe)  # the weight hardly moves: no validation is better than the first
    assert [point.step for point in result.points] == [1, 2, 3]
    assert result.best == result.points[0] and result.weights.read_text().startswith("1 ")
    assert fit(recipe).points == result.points  # it has ended, and stays so


def test_lengths_and_folders_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(UserError, match="give one of --steps and --hours"):
        fit(Slope(out=tmp_path, steps=3, hours=1.0))
    with pytest.raises(UserError, match="have no epochs; give --steps"):
        fit(Slope(out=tmp_path, epochs=3))
    fit(Slope(out=tmp_path, steps=1))
    with pytest.raises(UserError, match=r"another seed .* choose another --out"):
        fit(Slope(out=tmp_path, steps=1, seed=1))
    (tmp_path / "slope.pt").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="delete it"):
        fit(Slope(out=tmp_path, steps=2))
    fit(Slope(out=tmp_path, steps=1, seed=1, anew=True))
    (tmp_path / "history.jsonl").write_text("{broken")
    with pytest.raises(UserError, match="damaged"):
        fit(Slope(out=tmp_path, steps=2, seed=1))


def test_a_folder_that_another_training_writes_is_refused(tmp_path):
    class Second(Listening):
        def report(self, doing: str, done: float, total: float) -> None:
            with pytest.raises(UserError, match=r"another training \(process \d+\) is writing"):
                fit(Slope(out=tmp_path, steps=2))

    assert fit(Slope(out=tmp_path, steps=1), Second()).points
    assert fit(Slope(out=tmp_path, steps=2)).points


# ---- lines ----


def test_batches_keep_to_their_budget_and_say_how_wide_lines_are():
    stream = iter(Pools(("x",), 5, 32, 6000, partial(mini_head._draws, None), mini_head._collate))
    for _ in range(4):
        batch = next(stream)
        count, _, height, width = batch.inputs.shape
        assert height == 48 and batch.widths is not None
        assert count == len(batch.texts) == len(batch.widths)
        assert count == 1 or count * int(batch.widths.max()) <= 6000
        assert int(batch.widths.max()) <= width < int(batch.widths.max()) + 16
        for image, line in zip(batch.inputs, batch.widths.tolist(), strict=True):
            assert float(image[..., line:].abs().sum()) == 0


def test_a_batch_without_aligned_lines_has_a_finite_attention_loss():
    attentions = [torch.full((1, 2, 4, 3), 1 / 3)] * 3
    aims = torch.zeros(1, 4, 3, dtype=torch.bool)
    assert float(mini_head._attention_loss(attentions, aims)) == 0
    aims[0, -1, -1] = True  # the end of the longest line, behind which nothing is written
    assert math.isclose(
        float(mini_head._attention_loss(attentions, aims)), math.log(3), rel_tol=1e-5
    )


def test_training_text_is_not_english_unless_asked():
    rng = np.random.default_rng(0)
    real = {p for line in Texts()._lines for p in pairwise(line.split())}

    def bigrams(english):
        texts = [Texts(english).draw(rng) for _ in range(60)]
        pairs = [p for t in texts for p in pairwise(t.split())]
        return sum(p in real for p in pairs) / len(pairs)

    assert bigrams(0.0) < 0.15
    assert bigrams(1.0) > 0.95


def test_augmentation_keeps_the_form_of_a_line():
    rng = np.random.default_rng(1)
    ink = Rendered(Texts(), writers=3).draw(rng, 40).ink
    for _ in range(20):
        for out in (augment(ink, rng, 1.0), roughen(ink, ink, rng)):
            assert out.shape[0] == 64 and out.dtype == np.float32
            assert np.isfinite(out).all() and out.min() >= -0.5 and out.max() <= 1.5
            assert 0.3 < out.shape[1] / ink.shape[1] < 3
    for size in ((300, 700), (1, 1), (3, 2000)):
        page = np.full(size, 230, np.uint8)
        varied = augment_image(page, rng, 1.0)
        assert varied.dtype == np.uint8 and varied.shape[0] == min(size[0], 128)


def test_strokes_without_height_make_no_line():
    """A dash alone, scaled to the height of a line, would be millions of pixels wide."""
    flat = np.array([[0, 5], [300, 5]], np.float32)
    sample = _drawn([flat, flat + np.array([900, 0], np.float32)], "--", np.random.default_rng(0))
    assert sample.text == "" and sample.ink.shape[1] < 1000


def test_val_and_test_lines_are_not_read(tmp_path):
    writers = [f"bba/{i}" for i in range(40)]
    with gzip.open(tmp_path / "pens.gz", "wt") as file:
        for writer in writers:
            row = {"writer": writer, "strokes": [[0, 0, 1, 1]], "text": split_of(writer)}
            file.write(json.dumps(row) + "\n")
    lines = PenLines.read(tmp_path / "pens.gz", ("bba",)).lines
    assert lines and {text for _, text, _ in lines} == {"train"}
    assert len(lines) == 2 * sum(split_of(writer) == "train" for writer in writers)
    rows = [
        {"image": {"bytes": b"x"}, "text": "é", "writer": f"of {split}", "split": split}
        for split in ("train", "val", "test")
    ]
    parquet.write_table(Table.from_pylist(rows), tmp_path / "scans.parquet")
    assert Scans.read(tmp_path / "scans.parquet", fold=True).lines == [(b"x", "e", "of train")]


def test_a_hand_of_test_is_not_learned_under_another_name(tmp_path):
    with gzip.open(tmp_path / "words.gz", "wt") as file:
        for writer in ("apd/Chris_Hess", "apd/Todd_Sachs"):  # of train, apb/Chris_Hess of test
            assert split_of(writer) == "train"
            file.write(json.dumps({"w": writer, "t": "in", "s": [[0, 0, 9, 20]]}) + "\n")
    assert read_inks(tmp_path / "words.gz", "train").keys() == {"apd/Todd_Sachs"}
    assert not may_learn("apd/Chris_Hess") and may_learn("apd/Todd_Sachs")


@pytest.mark.slow  # reads all there is
@pytest.mark.skipif(
    ROOT is None or not all((ROOT / name).is_file() for name in FILES),
    reason="the real training data is not here (python -m bench data get)",
)
def test_real_sources_never_touch_val_or_test():
    assert ROOT is not None
    shares = {**MINI, **MINI_HEAD}
    found = [source for _, source in sources(ROOT, shares, Texts())]
    drawn: dict[str, Any] = dict(zip(shares, found, strict=True))
    bank = drawn["joined-words"].bank
    learned = {
        WORDS: {*bank.word_writers},
        CHARACTERS: {*bank.character_writers},
        PEN_LINES: {writer for _, _, writer in drawn["unipen-lines"].lines},
        **{file: {one for *_, one in drawn[name].lines} for name, file in SCANS.items()},
    }
    assert {*drawn} == {"rendered", "unipen-long", *JOINED, "unipen-lines", *SCANS}
    assert {writer for *_, writer in drawn["unipen-long"].lines} <= learned[PEN_LINES]
    record = json.loads(RECORD.read_text(encoding="utf-8"))  # of the shipped weights
    assert learned.keys() == record.keys()
    for file, blocks in learned.items():
        assert blocks <= {*record[file]}, f"{RECORD} lacks {blocks - {*record[file]}} of {file}"
    hands = {hand_of(block) for blocks in learned.values() for block in blocks}
    for name, split in product(("ink", "unipen-all", "hooker-all"), ("val", "test")):
        assert hands.isdisjoint(
            hand_of(line.block) for line in DATASETS.create(name).load(split).lines
        )
    assert sum(MINI.values()) == pytest.approx(1)
    assert MINI["unipen-lines"] + MINI["hooker"] <= 0.5  # English as it stands
    counts = {"poilus": 979, "cremma20": 175, "hooker": 4855, "copiste": 4171}
    assert {name: len(drawn[name].lines) for name in counts} == counts
    rng = np.random.default_rng(0)
    for name, source in drawn.items():
        sample = source.draw(rng, 30)
        assert sample.ink.shape[0] == 64 and sample.text, name
        assert (sample.centres is not None) == source.placed, name


def test_without_data_lines_are_rendered():
    ((share, source),) = sources(None, MINI, Texts())
    assert share == 0.05 and isinstance(source, Rendered)


# ---- mini's AR head ----


@pytest.fixture
def head(tmp_path, monkeypatch):
    """Recipes of the head on random weights of the encoder, with rendered lines and bars."""
    monkeypatch.setitem(DATASETS.entries, "marks", Entry("tests.marks:Marks", "bars", {"size": 3}))
    monkeypatch.setattr(mini_head, "VALIDATION", ("marks",))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nowhere"))
    notes = {"trained_on": "bars", "views": "3"}
    files.export(tmp_path / "mini.safetensors", PPOCRNet().state_dict(), None, notes)
    small = {"out": tmp_path, "steps": 2, "columns": 2000, "workers": 0}
    return lambda **more: MiniHead(**{**small, **more})


def test_a_head_is_trained_beside_its_encoder_and_goes_on(tmp_path, head):
    with pytest.raises(UserError, match="train mini first"):
        fit(head(out=tmp_path / "empty"))
    with pytest.raises(UserError, match="no AR head"):
        fit(head(init=tmp_path / "mini.safetensors"))
    before, log = read_tensors(tmp_path / "mini.safetensors")[0], Listening()
    weights = fit(head(), log).weights
    opened = MiniSpec(weights=str(weights)).open(Runtime())
    assert opened.info.has_ar and opened.info.trained_on == "bars"
    tensors, notes = read_tensors(weights)
    assert (notes["views"], notes["ar_steps"]) == ("3", "2")
    assert all(torch.equal(tensors[name], before[name]) for name in before)
    assert sum("step 2  loss" in text for text in log.said) == 1
    again: Any = head(init=weights).open(Listening())
    stored = read_head(tensors, 120, weights)
    assert stored is not None
    same = zip(stored.parameters(), again.module.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)


# Forced alignment against every path


def _best_path(log_probs, symbols):
    steps, size = log_probs.shape
    best, path = -np.inf, None
    for candidate in product(range(size), repeat=steps):
        read = [symbol for symbol, _ in groupby(candidate) if symbol]
        if read == list(symbols):
            score = sum(log_probs[t, s] for t, s in enumerate(candidate))
            if score > best:
                best, path = score, candidate
    return best, path


@given(st.integers(0, 10_000), st.integers(1, 6), st.lists(st.integers(1, 2), max_size=3))
@settings(max_examples=60, deadline=None)
def test_the_likeliest_path_that_spells_the_text(seed, steps, symbols):
    rng = np.random.default_rng(seed)
    log_probs = np.log(rng.dirichlet(np.ones(3), steps)).astype(np.float32)
    spans = align(log_probs, np.array(symbols, np.int64))
    _, path = _best_path(log_probs, symbols)
    if path is None:
        assert len(symbols) and (spans == -1).all()
        return
    expected, start = [], 0
    for symbol, frames in groupby(path):
        length = len(list(frames))
        if symbol:
            expected.append((start, start + length - 1))
        start += length
    assert [tuple(span) for span in spans.tolist()] == expected


def test_equal_neighbours_need_a_blank_between():
    log_probs = np.log(np.full((2, 2), 0.5, np.float32))
    assert (align(log_probs, np.array([1, 1])) == -1).all()
    assert align(log_probs, np.array([], np.int64)).shape == (0, 2)


# Training PP-OCR's recogniser: rows in shares of their sizes, rough hands, sources


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
