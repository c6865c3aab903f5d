"""The loop of all trainings, their sources, and the recipes of mini."""

import dataclasses
import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyarrow import Table, parquet
from torch import nn

from bench.core.errors import UserError
from bench.core.registry import Entry
from bench.core.types import Runtime
from bench.training import files, mini
from bench.training import fit as loop
from bench.training.augment import augment
from bench.training.files import History, Point, load_checkpoint
from bench.training.fit import averaged, fit
from bench.training.mini import MiniEncoder, MiniHead
from bench.training.reader import SHARES
from bench.training.sources import FILES, MINI, PenLines, Rendered, Scans, Texts, sources
from datasets import DATASETS
from datasets.joined import Ink, join
from datasets.root import data_root
from datasets.splits import split_of
from models.mini_net import MARGIN
from models.shipped import MiniSpec
from models.shipped_encoders import read_head, read_weights
from tests.trainings import Killed, Listening, Slope

ROOT = data_root()


# ---- the loop ----


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 800])
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


@pytest.mark.parametrize("steps", [1, 2, 15, 400, 800])
def test_the_rate_rises_joins_the_cosine_and_ends_near_0(tmp_path: Path, steps: int) -> None:
    log = Listening()
    fit(Slope(out=tmp_path, steps=steps, save_every=1000), log)
    rates = log.curves["rate"]
    assert len(rates) == steps and max(rates) == pytest.approx(1e-3)
    if steps < 20:
        return
    peak = rates.index(max(rates))
    assert 0.5 * min(400, steps / 10) <= peak <= min(400, steps / 10)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(abs(b - a) for a, b in pairwise(rates)) <= 1.01e-3 / min(400, steps / 10)
    assert rates[-1] < 0.02e-3


@pytest.mark.parametrize("how", [{"hours": 1.0}, {"until": 3600.0}])
def test_a_run_by_the_clock_rises_holds_and_falls(tmp_path, monkeypatch, how):
    clock = iter(range(0, 100_000, 10))
    monkeypatch.setattr(loop, "unix_time", lambda: float(next(clock)))
    log = Listening()
    recipe = Slope(out=tmp_path, warmup=4, hold=0.5, minutes=15.0, keeps_last=True, **how)
    result = fit(recipe, log)
    rates = log.curves["rate"]
    assert rates[:4] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3])
    middle = len(rates) // 2
    assert rates[4 : middle - 2] == pytest.approx([1e-3] * (middle - 6))
    assert rates[middle + 1 :] == sorted(rates[middle + 1 :], reverse=True) and rates[-1] < 3e-5
    assert 3 <= len(result.points) <= 5 and result.points[-1].step == len(rates)
    assert result.weights.read_text().startswith(f"{len(rates)} ")  # the last ones


@pytest.mark.parametrize("when", ["in an epoch", "before validation", "before the note"])
@pytest.mark.parametrize("unit", ["steps", "epochs"])
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
    errors = dict(enumerate([0.9, 0.9, 0.9, 0.9, 0.1, 0.1]))
    recipe = Slope(out=tmp_path, steps=40, save_every=1, rate=1e-12, patience=2)
    result = fit(recipe)  # the weight hardly moves: no validation is better than the first
    assert [point.step for point in result.points] == [1, 2, 3]
    assert result.best == result.points[0] and result.weights.read_text().startswith("1 ")
    assert fit(recipe).points == result.points  # it has ended, and stays so
    other = dataclasses.replace(recipe, anew=True, errors=errors, patience=0, steps=2)
    assert len(fit(other).points) == 2


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


def test_a_curve_forgets_what_came_after_the_checkpoint(tmp_path):
    history = History(tmp_path / "h.jsonl")
    for step, cer in ((1, 0.9), (2, 0.5), (3, 0.5)):
        history.add(Point(step, None, {"cer": cer, "blank": 0.5}))
    assert history.waited == 1 and history.best == history.points[1]
    assert History(tmp_path / "h.jsonl", step=2).points == history.points[:2]


# ---- lines ----


def test_batches_keep_to_their_budget_and_say_how_wide_lines_are(tmp_path, monkeypatch):
    monkeypatch.setattr(mini, "VALIDATION", ())
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    recipe = MiniEncoder(out=tmp_path, columns=6000, workers=0, steps=2)
    stream = iter(recipe.open(Listening()).batches(5))
    for _ in range(4):
        batch = next(stream)
        count, _, height, width = batch.inputs.shape
        assert height == 64
        assert count == len(batch.texts) == len(batch.widths)
        assert count == 1 or count * width <= 6000 + count * MARGIN
        assert int(batch.widths.max()) <= width - MARGIN
        for image, line in zip(batch.inputs, batch.widths.tolist(), strict=True):
            assert float(image[..., line:].abs().sum()) == 0


def test_training_text_is_not_english_unless_asked():
    rng = np.random.default_rng(0)
    real = {p for line in Texts()._lines for p in pairwise(line.split())}

    def bigrams(english):
        texts = [Texts(english).draw(rng) for _ in range(200)]
        pairs = [p for t in texts for p in pairwise(t.split())]
        return sum(p in real for p in pairs) / len(pairs)

    assert bigrams(0.0) < 0.15
    assert bigrams(1.0) > 0.95


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_augmentation_keeps_the_form_of_a_line(strength):
    rng = np.random.default_rng(1)
    image = Rendered(Texts(), writers=3).draw(rng, 40).ink
    for _ in range(20):
        out = augment(image, rng, strength)
        assert out.shape[0] == 64 and out.dtype == np.float32
        assert np.isfinite(out).all() and out.min() >= -0.5 and out.max() <= 1.5
        assert 0.3 < out.shape[1] / image.shape[1] < 3


def test_joined_pieces_stand_in_order():
    piece = Ink((np.array([[0, 0], [1, -1]], np.float32),), 1.0)
    strokes, spans = join([(piece, 0.0), (piece, 0.5), (piece, 0.5)], np.random.default_rng(0))
    lefts = [float(s[:, 0].min()) for s in strokes]
    assert lefts == sorted(lefts) and lefts[2] > 2.5
    assert all(left < sum(span) / 2 < left + 1 for left, span in zip(lefts, spans, strict=True))


def test_val_and_test_lines_are_not_read(tmp_path):
    writers = [f"bba/{i}" for i in range(40)]
    with gzip.open(tmp_path / "pens.gz", "wt") as file:
        for writer in writers:
            row = {"writer": writer, "strokes": [[0, 0, 1, 1]], "text": split_of(writer)}
            file.write(json.dumps(row) + "\n")
    lines = PenLines.read(tmp_path / "pens.gz", ("bba",)).lines
    assert lines and {text for _, text in lines} == {"train"}
    assert len(lines) == 2 * sum(split_of(writer) == "train" for writer in writers)
    rows = [{"image": {"bytes": b"x"}, "text": "é", "split": s} for s in ("train", "val", "test")]
    parquet.write_table(Table.from_pylist(rows), tmp_path / "scans.parquet")
    assert Scans.read(tmp_path / "scans.parquet", fold=True).lines == [(b"x", "e")]


@pytest.mark.slow  # reads all there is
@pytest.mark.skipif(
    ROOT is None or not all((ROOT / name).is_file() for name in FILES),
    reason="the real training data is not here (python -m bench data get)",
)
def test_real_sources_never_touch_val_or_test():
    assert ROOT is not None
    found = [source for _, source in sources(ROOT, SHARES, Texts())]
    drawn: dict[str, Any] = dict(zip(SHARES, found, strict=True))
    assert sum(SHARES.values()) == pytest.approx(1)
    assert SHARES["unipen-lines"] + SHARES["hooker"] <= 0.5  # English as it stands
    for name in ("joined-characters", "joined-words"):
        assert {split_of(writer) for writer in drawn[name].writers} == {"train"}
    counts = {"poilus": 979, "cremma20": 175, "hooker": 4855, "copiste": 4171}
    assert {name: len(drawn[name].lines) for name in counts} == counts
    rng = np.random.default_rng(0)
    for name, source in drawn.items():
        sample = source.draw(rng, 30)
        assert sample.ink.shape[0] == 64 and sample.text, name
        assert (sample.centres is not None) == source.placed, name


def test_without_data_lines_are_rendered():
    ((share, source),) = sources(None, MINI, Texts())
    assert share == 0.14 and isinstance(source, Rendered)


# ---- mini ----


def test_mini_is_trained_in_two_parts_and_opens(tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS.entries, "marks", Entry("tests.marks:Marks", "bars", {"size": 3}))
    monkeypatch.setattr(mini, "VALIDATION", ("marks",))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nowhere"))
    small: dict[str, Any] = {"out": tmp_path, "steps": 2, "columns": 2000, "workers": 0}
    with pytest.raises(UserError, match="train encoder first"):
        fit(MiniHead(**small))
    log = Listening()
    weights = fit(MiniEncoder(**small), log).weights
    assert not MiniSpec(weights=str(weights)).open(Runtime()).info.has_ar
    with pytest.raises(UserError, match="no AR head"):
        fit(MiniHead(**small, init=weights))
    fit(MiniHead(**small), log)
    opened = MiniSpec(weights=str(weights)).open(Runtime())
    assert opened.info.has_ar and opened.info.trained_on == "rendered lines (train splits)"
    notes = read_weights(weights)[1]
    assert (notes["encoder_steps"], notes["ar_steps"]) == ("2", "2")
    assert (tmp_path / "encoder.jsonl").is_file() and (tmp_path / "ar.jsonl").is_file()
    assert sum("step 2  loss" in text for text in log.said) == 2


def test_a_head_goes_on_from_a_weights_file(tmp_path, monkeypatch):
    monkeypatch.setattr(mini, "VALIDATION", ())
    (tmp_path / "mini.safetensors").write_bytes(MiniSpec().path.read_bytes())
    head = read_head(read_weights(MiniSpec().path)[0], 512, MiniSpec().path)
    training: Any = MiniHead(out=tmp_path, init=MiniSpec().path).open(Listening())
    assert head is not None and training.encoder_steps > 1000
    same = zip(head.parameters(), training.module.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
