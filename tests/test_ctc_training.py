"""Training of CTC heads: material, streams, cached states, the loop, export, the command line."""

import dataclasses
import multiprocessing
import shutil
import time
from collections import namedtuple
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.cli import trainings
from bench.core.errors import UserError
from bench.core.locks import locked
from bench.core.progress import silent
from bench.core.registry import Entry
from bench.core.types import Runtime
from bench.training.batches import Batch, LineBatches, StepStream, draws, in_background
from bench.training.ctc import nearest_symbols
from bench.training.features import Features
from bench.training.files import load_checkpoint
from bench.training.fit import fit
from bench.training.mixture import Mixture
from bench.training.recipes import CTCHead
from bench.training.trocr import open_start, use_products
from datasets import DATASETS
from models import ENCODERS
from models.alphabet import ALPHABET
from models.heads import HEADS
from models.heads.base import Grid, Head, HeadedViT
from models.heads.files import read_head
from models.images import Pictures
from tests.marks import Marks
from tests.tiny_trocr import save_checkpoint, tiny_model
from tests.trainings import Killed, Listening, cer_of

HEAD = {"per_column": 4, "width": 24, "hidden": 24, "layers": 1, "dropout": 0.1}
OPTIONS = tuple(f"grid-subcol.{name}={value}" for name, value in HEAD.items())
HEAD_WORDS = [word for option in OPTIONS for word in ("-o", option)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("trocr") / "tiny-base"
    save_checkpoint(made, "base")
    return made


@pytest.fixture(autouse=True)
def marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The set of marks, registered."""
    monkeypatch.setitem(DATASETS.entries, "marks", Entry("tests.marks:Marks", "bars"))
    odd = Entry("tests.marks:Marks", "bars", {"odd": True})
    monkeypatch.setitem(DATASETS.entries, "odd-marks", odd)


def recipe(folder: Path | str, tmp_path: Path, **changes: Any) -> CTCHead:
    made = CTCHead(
        encoder=str(folder), out=tmp_path / "out", dataset=("marks",), val_lines=10,
        features=tmp_path / "features", options=OPTIONS, steps=8, batch=8, rate=5e-3,
        save_every=4, workers=0,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def reader_of() -> tuple[HeadedViT, Pictures]:
    torch.manual_seed(0)
    encoder = tiny_model("base", 100).encoder
    head = Head(HEADS.create("grid-subcol", HEAD), Grid.of(encoder.config), 96)
    return HeadedViT(encoder, head), Pictures((32, 32), 2, 1 / 255, (0.5,) * 3, (0.5,) * 3)


# ---- material and streams ----


def test_lines_that_do_not_fit_are_named_and_left_out(folder, tmp_path):
    log = Listening()
    training: Any = recipe(folder, tmp_path, dataset=("odd-marks",), val_lines=5).open(log)
    material = training.material
    assert len(material.lines) == 38 and len(material.validation["odd-marks"]) == 5
    assert log.said == [
        "2 of 40 lines do not fit and are left out (train-0: 'é' is not in the alphabet; "
        "train-1: it needs 18 frames and the head has 16)"
    ]


def test_every_line_comes_once_an_epoch_in_another_order():
    drawn = [draws(step, 7, 3, seed=0) for step in range(9)]
    assert [len(some) for some in drawn] == [3, 3, 1] * 3
    assert [draw for some in drawn for draw, _ in some] == list(range(21))
    epochs = [[place for some in drawn[at : at + 3] for _, place in some] for at in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_batch_of_a_step_is_the_same_whoever_draws_it():
    _, pictures = reader_of()
    supply = LineBatches(Marks().load("train").lines, pictures, 4, seed=1, ramp=3)
    shared = list(islice(in_background(StepStream(supply, 2), 2), 4))
    for step, theirs in enumerate(shared, start=2):
        ours = supply.batch(step)
        assert torch.equal(ours.inputs, theirs.inputs) and ours.texts == theirs.texts
    plain = LineBatches(supply.lines, pictures, 4, seed=1, strength=0.0).batch(0)
    assert not torch.equal(plain.inputs, supply.batch(0).inputs)
    assert plain.texts == supply.batch(0).texts


def test_the_mixture_leaves_out_what_cannot_be_spelled():
    _, pictures = reader_of()
    batch, again = (Mixture(None, pictures, 5, 3, seed=0, ramp=1000).batch(1) for _ in range(2))
    assert len(batch.texts) == 3 and max(map(len, batch.texts)) <= 5
    assert torch.equal(again.inputs, batch.inputs)


def test_the_mixture_knows_where_its_letters_stand():
    """At the middle of nearly every letter is ink; at that of nearly every space is none."""
    _, pictures = reader_of()
    wide = dataclasses.replace(pictures, size=(64, 1024))
    batch = Mixture(None, wide, frames=192, size=12, seed=3, ramp=4000).batch(400)
    letters: list[bool] = []
    spaces: list[bool] = []
    for picture, text, centres in zip(batch.inputs, batch.texts, batch.centres, strict=True):
        assert centres is not None and len(centres) == len(text)
        grey = picture.numpy().astype(int)
        inked = (np.median(grey) - grey > 0.4 * (np.median(grey) - grey.min())).any(0)
        quarter = max(1, round(0.25 * 1024 * float(np.ptp(centres)) / len(text)))
        for char, centre in zip(text, centres, strict=True):
            column = round(float(centre) * 1023)
            here = bool(inked[max(0, column - quarter) : column + quarter + 1].any())
            (spaces if char == " " else letters).append(here)
    assert np.mean(letters) > 0.95 and np.mean(spaces) < 0.3


def test_each_frame_stands_on_its_nearest_letter():
    centres = np.array([0.125, 0.375], np.float32)
    batch = Batch(torch.zeros(2, 1, 1), ("ab", "c"), centres=(centres, None))
    a, b = (ALPHABET.index(char) for char in "ab")
    # 0.25 apart: what lies farther than that behind the last letter is paper.
    assert nearest_symbols(batch, [0], 8).tolist() == [[a, a, b, b, b, 0, 0, 0]]
    assert nearest_symbols(batch, [], 8).shape == (0, 8)


def test_plain_products_attend_as_the_fused_kernel_does():
    start = open_start("tiny", 0, "cpu")
    pixels = torch.rand(1, 3, 384, 384)
    fused = start.model.encoder(pixels).last_hidden_state
    use_products(start.model.encoder)
    plain = start.model.encoder(pixels).last_hidden_state
    assert plain.grad_fn is not None
    torch.testing.assert_close(plain, fused, atol=1e-5, rtol=1e-4)


# ---- cached states ----


def features(folder: Path, **changes: Any) -> Features:
    reader, pictures = reader_of()
    lines = Marks().load("train", 11).lines
    made = Features(folder, reader, pictures, lines, "abc", batch=4)
    return dataclasses.replace(made, **changes)


def test_cached_states_are_those_that_the_encoder_gives(tmp_path, monkeypatch):
    made = features(tmp_path)
    cached = made.load(silent)
    assert cached.shape == made.shape == (11, 17, 24)
    assert made.path.stat().st_size == pytest.approx(made.bytes, abs=200)
    images = [line.image for line in made.lines]
    with torch.inference_mode():
        pixels = made.pictures.pixels(made.pictures.squeeze(images))
        states = made.reader.eval().states(pixels).half().numpy()
    np.testing.assert_allclose(cached, states, atol=4e-3)
    monkeypatch.setattr(Features, "states", None)  # not asked again
    assert np.array_equal(made.load(silent), cached)


def test_computing_states_goes_on_where_it_was_cut_off(tmp_path):
    whole = features(tmp_path / "whole").load(silent)

    def cut(doing: str, done: float, total: float) -> None:
        if done >= 8:
            raise Killed

    made = features(tmp_path / "cut")
    with pytest.raises(Killed):
        made.load(cut)
    assert not made.path.exists()
    counts: list[float] = []
    again = features(tmp_path / "cut").load(lambda _, done, total: counts.append(done))
    assert counts == [11]  # 8 were there
    assert np.array_equal(again, whole)
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {
        made.path.name, f"{made.path.name}.sha256", made.path.with_suffix(".lock").name,
    }  # fmt: skip
    made.path.write_bytes(made.path.read_bytes()[:-3])  # damaged states are computed again
    assert np.array_equal(features(tmp_path / "cut").load(silent), whole)
    assert dataclasses.replace(made, encoder_hash="other").path != made.path


def test_a_training_waits_for_another_that_encodes_the_same_lines(tmp_path, monkeypatch):
    def states(self: Features, lines: Any) -> Any:  # no torch in a fork
        return np.full((len(lines), *self.shape[1:]), len(lines[0].text))

    monkeypatch.setattr(Features, "states", states)
    made, forks, log = features(tmp_path), multiprocessing.get_context("fork"), tmp_path / "log"
    begin = forks.Event()

    def note(doing: str, done: float, total: float) -> None:
        with log.open("a") as file:
            file.write(f"{doing}\n")

    def load() -> None:
        begin.wait()
        made.load(note)

    other = forks.Process(target=load)
    other.start()  # before the lock, which it would take for its own
    with locked(made.path.with_suffix(".lock")):
        begin.set()
        while not log.exists():
            time.sleep(0.01)
        made._compute(silent)
    other.join()
    assert other.exitcode == 0
    assert set(log.read_text().splitlines()) == {
        "waiting for another training to encode them", "checking states",
    }  # fmt: skip


def test_a_full_disk_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1, 1, 1000))
    with pytest.raises(UserError, match=r"11 lines take .* GiB and .* free; make room"):
        features(tmp_path).load(silent)


# ---- training ----


def test_a_killed_training_ends_where_an_unbroken_one_does(folder, tmp_path):
    """Bit for bit: dropout, batches, looks and averages are those of the step."""
    whole = recipe(folder, tmp_path / "whole", unfreeze=True)
    cut = recipe(folder, tmp_path / "cut", unfreeze=True)
    result = fit(whole)
    with pytest.raises(Killed):
        fit(cut, Listening(kill=6))
    assert [p.values for p in fit(cut).points] == [p.values for p in result.points]
    ours, theirs = (load_checkpoint(one.out / "ctc.pt") for one in (cut, whole))
    for key in ("weights", "average"):
        assert all(torch.equal(ours[key][name], theirs[key][name]) for name in theirs[key])
    with pytest.raises(UserError, match="another mode"):
        fit(dataclasses.replace(whole, unfreeze=False))
    with pytest.raises(UserError, match="another head"):
        fit(dataclasses.replace(whole, options=OPTIONS[:-1]))


@pytest.mark.parametrize("unfreeze", [False, True])
def test_a_training_writes_a_head_that_reads_as_well_as_it_says(folder, tmp_path, unfreeze):
    made = recipe(folder, tmp_path, steps=2, rate=1e-3, unfreeze=unfreeze)  # no blanks alone yet
    result = fit(made)
    assert result.best is not None and result.best["blank"] < 1
    notes = read_head(result.weights)[1]
    assert notes.val_cer == result.best["cer"] and notes.unfrozen == unfreeze
    assert (notes.decoder, notes.val_data, notes.steps) == ("ctc-greedy", "marks", result.best.step)
    base = made.out / "model" if unfreeze else folder
    assert result.weights.parent == (base if unfreeze else made.out)
    encoder = ENCODERS.create(str(base), {"head": str(result.weights)}).open(Runtime())
    # Cached states were float16.
    assert cer_of(encoder, "ctc-greedy", Marks().load("val", 10).lines) == pytest.approx(
        result.best["cer"], abs=0.0 if unfreeze else 0.3
    )
    assert encoder.info.has_ar != unfreeze
    if not unfreeze:
        return
    assert "marks (train)" in encoder.info.trained_on
    assert not ENCODERS.create(str(base)).open(Runtime()).info.has_ar  # it never saw these states
    with pytest.raises(UserError, match="was trained on the weights"):
        ENCODERS.create(str(folder), {"head": str(result.weights)}).open(Runtime())


# ---- the command line ----


def test_a_training_by_command_line(call, folder, tmp_path):
    out = tmp_path / "out"
    words = ["train", "ctc", "--encoder", str(folder), "--dataset", "marks", "--out", str(out)]
    words += ["--features", str(tmp_path / "f"), "--steps", "4", "--save-every", "2", *HEAD_WORDS]
    code, _, err = call(*words)
    assert code == 2 and "marks test would be no test" in err  # few letters: the images repeat
    words.append("--allow-leak")
    code, printed, err = call(*words, "--workers", "0", "--val-lines", "5")
    assert code == 0 and f"head: {out / 'grid-subcol.safetensors'}" in printed
    assert "(ctc-greedy) at step" in printed and "step 4  loss" in err and "CER" in err
    assert (out / "grid-subcol.md").is_file() and list((tmp_path / "f").glob("*.npy"))
    assert list(out.glob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--encoder", "mini"), "no TrOCR"),
        (("--encoder", "tiny", "--head", "grid-subcool"), "did you mean grid-subcol"),
        (("--encoder", "tiny", "--dataset", "marks"), "add --unfreeze to train it from scratch"),
        (("--encoder", "FOLDER", "--dataset", "mixture"), "cannot be cached; add --unfreeze"),
        (("--encoder", "FOLDER", "--layer-decay", "0.8"), "--unfreeze"),
        (("--encoder", "FOLDER", "-o", "wide.height=64"), "not trained here"),
        (("--encoder", "FOLDER", "--decoder", "ar-beam"), "reads no CTC output"),
        (("--encoder", "FOLDER", "--dataset", "markz"), "did you mean marks"),
        (("--encoder", "FOLDER", "--device", "cuda"), "no CUDA device"),
    ],
)
def test_mistakes_are_one_sentence(refused, folder, tmp_path, words, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(trainings, "guard_training", lambda *_: None)
    chosen = [str(folder) if word == "FOLDER" else word for word in words]
    if "--dataset" not in words:
        chosen += ["--dataset", "marks"]
    assert said in refused("train", "ctc", *chosen)
