"""Training of CTC heads: material, streams, cached states, the loop, export, the command line."""

import dataclasses
import shutil
from collections import namedtuple
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.cli import trainings
from bench.core.errors import UserError
from bench.core.metrics import score_line
from bench.core.registry import Entry
from bench.core.types import Runtime
from bench.training.augment import ramped
from bench.training.batches import Batch, Lines, Steps, in_background, place
from bench.training.ctc import CTCHead, HeadLearner, nearest_symbols
from bench.training.features import Features
from bench.training.files import load_checkpoint
from bench.training.fit import fit
from bench.training.losses import why_unfit
from bench.training.material import gather
from bench.training.mixture import Mixture, States
from bench.training.trocr import open_start, rate_groups, use_products
from datasets import DATASETS
from decoders import DECODERS
from models import ENCODERS
from models.alphabet import ALPHABET
from models.heads import HEADS
from models.heads.base import Grid, Head, Reader
from models.heads.files import read_notes
from models.images import Pictures
from models.trocr_shapes import build
from tests.ctc_doubles import info
from tests.marks import Marks
from tests.tiny_trocr import save_checkpoint, tiny_model
from tests.trainings import Killed, Listening

HEAD = {"per_column": 4, "width": 24, "hidden": 24, "layers": 1, "dropout": 0.1}
OPTIONS = tuple(f"grid-subcol.{name}={value}" for name, value in HEAD.items())


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


def reader_of(kind: Any = "base") -> tuple[Reader, Pictures]:
    torch.manual_seed(0)
    encoder = tiny_model(kind, 100).encoder
    head = Head(HEADS.create("grid-subcol", HEAD), Grid.of(encoder.config), 96)
    return Reader(encoder, head), Pictures((32, 32), 2, 1 / 255, (0.5,) * 3, (0.5,) * 3)


# ---- material and streams ----


def test_lines_that_do_not_fit_are_named_and_left_out(folder, tmp_path):
    log = Listening()
    training: Any = recipe(folder, tmp_path, dataset=("odd-marks",), val_lines=5).open(log)
    material = training.material
    assert len(material.lines) == 38 and len(material.validation["odd-marks"]) == 5
    assert log.said == [
        "2 of 40 lines cannot be spelled and are left out (train-0: 'é' is not in the alphabet; "
        "train-1: it needs 18 frames and the head has 16)"
    ]


def test_two_sets_are_joined_and_their_hash_is_of_both(folder, tmp_path):
    one, two = recipe(folder, tmp_path), recipe(folder, tmp_path, dataset=("marks,odd-marks",))
    few, both = (gather(made, lambda text: why_unfit(text, 16)) for made in (one, two))
    assert len(both.lines) == len(few.lines) + 38
    assert both.sha256 != few.sha256 and set(both.validation) == {"marks", "odd-marks"}
    with pytest.raises(UserError, match="no line of marks"):
        gather(one, lambda text: "no")


def test_every_line_comes_once_an_epoch_in_another_order():
    epochs = [[place(draw, 7, seed=0) for draw in range(7 * e, 7 * e + 7)] for e in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_batch_of_a_step_is_the_same_whoever_draws_it():
    _, pictures = reader_of()
    supply = Lines(Marks().load("train").lines, pictures, 4, seed=1, ramp=3)
    alone = list(islice(in_background(Steps(supply, 2), 0), 4))
    shared = list(islice(in_background(Steps(supply, 2), 2), 4))
    for step, (ours, theirs) in enumerate(zip(alone, shared, strict=True), start=2):
        assert torch.equal(ours.inputs, theirs.inputs) and ours.texts == theirs.texts
        assert torch.equal(supply.batch(step).inputs, ours.inputs)
    plain = Lines(supply.lines, pictures, 4, seed=1, strength=0.0).batch(0)
    assert not torch.equal(plain.inputs, supply.batch(0).inputs)
    assert plain.texts == supply.batch(0).texts


def test_the_mixture_leaves_out_what_cannot_be_spelled():
    _, pictures = reader_of()
    supply = Mixture(None, pictures, frames=5, size=8, seed=0, ramp=1000)
    drawn = [supply.batch(step) for step in range(3)]
    assert all(len(batch.texts) == 8 and max(map(len, batch.texts)) <= 5 for batch in drawn)
    again = Mixture(None, pictures, frames=5, size=8, seed=0, ramp=1000).batch(1)
    assert torch.equal(again.inputs, drawn[1].inputs)


@pytest.mark.parametrize("ramp", [1, 4000], ids=["full lines", "short lines on much paper"])
def test_the_mixture_knows_where_its_letters_stand(ramp):
    """At the middle of nearly every letter is ink; at that of nearly every space is none."""
    _, pictures = reader_of()
    wide = dataclasses.replace(pictures, size=(64, 1024))
    batch = Mixture(None, wide, frames=192, size=12, seed=3, ramp=ramp).batch(400)
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


def test_frames_learn_their_letters_where_these_are_known():
    reader, _ = reader_of()
    learner = HeadLearner(reader, unfreeze=False)
    assert learner.placed is not None
    geometry = reader.head.geometry
    states = torch.randn(2, geometry.rows * geometry.columns + 1, geometry.width)
    centres = np.array([0.2, 0.6], np.float32)
    for known in ((centres, None), ()):
        learner.zero_grad()
        learner(states, Batch(states, ("ab", "c"), centres=known)).backward()
        told = learner.placed.weight.grad
        # Never None: several processes average the gradients of the same weights.
        assert told is not None and bool(told.any()) == bool(known)


def test_plain_products_attend_as_the_fused_kernel_does():
    start = open_start("tiny", 0, "cpu")
    pixels = torch.rand(1, 3, 384, 384)
    fused = start.model.encoder(pixels).last_hidden_state
    use_products(start.model.encoder)
    plain = start.model.encoder(pixels).last_hidden_state
    assert plain.grad_fn is not None
    torch.testing.assert_close(plain, fused, atol=1e-5, rtol=1e-4)


def test_augmentation_grows_from_a_third():
    assert [ramped(step, 10) for step in (0, 5, 10, 99)] == pytest.approx([1 / 3, 2 / 3, 1, 1])


# ---- cached states ----


def features(folder: Path, views: int = 1, kind: str = "base", **changes: Any) -> Features:
    reader, pictures = reader_of(kind)
    lines = Marks().load("train", 11).lines
    made = Features(folder, reader, pictures, lines, "abc", views, batch=4)
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize("kind", ["base", "small"])
def test_cached_states_are_those_that_the_encoder_gives(tmp_path, kind, monkeypatch):
    made = features(tmp_path, views=2, kind=kind)
    reports: list[tuple[str, float, float]] = []
    cached = made.load(lambda *of: reports.append(of))
    assert cached.shape == made.shape == (2, 11, 18 if kind == "small" else 17, 24)
    assert made.path.stat().st_size == pytest.approx(made.bytes, abs=200)
    assert reports[-1] == ("encoding lines", 22, 22)
    images = [line.image for line in made.lines]
    with torch.inference_mode():
        pixels = made.pictures.pixels(made.pictures.squeeze(images))
        states = made.reader.eval().states(pixels).half().numpy()
    np.testing.assert_allclose(cached[0], states, atol=4e-3)
    assert np.abs(cached[1].astype(float) - cached[0]).mean() > 0.01  # another look
    monkeypatch.setattr(Features, "states", None)  # not asked again
    assert np.array_equal(made.load(lambda *of: None), cached)


def test_the_name_of_the_cache_is_what_it_holds(tmp_path):
    made = features(tmp_path)
    others = (
        {"encoder_hash": "xyz"},
        {"lines": made.lines[:5]},
        {"views": 2},
        {"pictures": dataclasses.replace(made.pictures, resample=3)},
    )
    paths = {dataclasses.replace(made, **change).path for change in others}
    assert len(paths) == 4 and made.path not in paths
    assert features(tmp_path, batch=7).path == made.path


def test_computing_states_goes_on_where_it_was_cut_off(tmp_path):
    whole = features(tmp_path / "whole").load(lambda *of: None)

    class Cut(Exception):  # noqa: N818
        pass

    def cut(doing: str, done: float, total: float) -> None:
        if done >= 8:
            raise Cut

    made = features(tmp_path / "cut")
    with pytest.raises(Cut):
        made.load(cut)
    assert not made.path.exists()
    counts: list[float] = []
    again = features(tmp_path / "cut").load(lambda _, done, total: counts.append(done))
    assert counts == [11]  # 8 were there
    assert np.array_equal(again, whole)
    left = sorted(path.name for path in (tmp_path / "cut").iterdir())
    assert left == [made.path.name, f"{made.path.name}.sha256"]


def test_cached_states_that_were_changed_are_computed_again(tmp_path):
    whole = np.array(features(tmp_path).load(lambda *of: None))
    path = features(tmp_path).path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    for changed in (bytes(content), bytes(content[:-3]), b""):
        path.write_bytes(changed)
        assert np.array_equal(features(tmp_path).load(lambda *of: None), whole)


def test_a_full_disk_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1, 1, 1000))
    with pytest.raises(UserError, match=r"11 lines take .* GiB and .* free; make room"):
        features(tmp_path).load(lambda *of: None)


def test_views_take_turns():
    states = np.arange(2 * 3, dtype=np.float16).reshape(2, 3, 1, 1)
    supply = States(states, ["a", "b", "c"], 3, seed=0)
    first, second = supply.batch(0), supply.batch(1)
    assert sorted(first.inputs.flatten().tolist()) == [0, 1, 2]
    assert sorted(second.inputs.flatten().tolist()) == [3, 4, 5]
    assert [("a", "b", "c")[int(x) % 3] for x in first.inputs.flatten()] == list(first.texts)


# ---- training ----


def test_layers_learn_slower_the_lower_they_are():
    learner = HeadLearner(reader_of()[0], unfreeze=True)
    groups = rate_groups(learner, share=0.1, decay=0.5)
    assert [g["scale"] for g in groups] == pytest.approx([0.025, 0.05, 0.1, 0.1, 1.0])
    counted = [p for g in groups for p in g["params"]]
    without_pooler = {id(p) for n, p in learner.named_parameters() if ".pooler." not in n}
    assert len(counted) == len({id(p) for p in counted})
    assert {id(p) for p in counted} == without_pooler


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


def cer_of(encoder: Any, count: int) -> float:
    lines = Marks().load("val", count).lines
    encoded = encoder.encode(encoder.prepare([line.image for line in lines]))
    texts = [d.text for d in DECODERS.create("ctc-greedy").open(info()).decode(encoded)]
    scores = [score_line(line.text, text) for line, text in zip(lines, texts, strict=True)]
    return sum(s.edits for s in scores) / sum(s.characters for s in scores)


@pytest.mark.parametrize("unfreeze", [False, True])
def test_a_training_writes_a_head_that_reads_as_well_as_it_says(folder, tmp_path, unfreeze):
    made = recipe(folder, tmp_path, steps=2, rate=1e-3, unfreeze=unfreeze)  # no blanks alone yet
    result = fit(made)
    assert result.best is not None and result.best["blank"] < 1
    notes = read_notes(result.weights)
    assert notes.val_cer == result.best["cer"] and notes.unfrozen == unfreeze
    assert (notes.decoder, notes.val_data, notes.steps) == ("ctc-greedy", "marks", result.best.step)
    base = made.out / "model" if unfreeze else folder
    assert result.weights.parent == (base if unfreeze else made.out)
    encoder = ENCODERS.create(str(base), {"head": str(result.weights)}).open(Runtime())
    # Cached states were float16.
    assert cer_of(encoder, 10) == pytest.approx(result.best["cer"], abs=0.0 if unfreeze else 0.3)
    assert encoder.info.has_ar != unfreeze
    if not unfreeze:
        return
    assert "marks (train)" in encoder.info.trained_on
    assert not ENCODERS.create(str(base)).open(Runtime()).info.has_ar  # it never saw these states
    with pytest.raises(UserError, match="was trained on the weights"):
        ENCODERS.create(str(folder), {"head": str(result.weights)}).open(Runtime())


def test_random_weights_become_a_folder_with_a_tokenizer(tmp_path):
    """The shape "tiny": saved before it has learned anything, and opened again."""
    start = open_start("tiny", 3, "cpu")
    first = build("tiny", 3).encoder.state_dict()
    ours = start.model.encoder.state_dict()
    assert start.checkpoint is None and all(torch.equal(ours[k], first[k]) for k in ours)
    start.save(tmp_path / "model", start.model, "", ["nothing"], ar_fits=False)
    encoder = ENCODERS.create(str(tmp_path / "model")).open(Runtime())
    back = encoder.module().encoder.state_dict()
    assert all(torch.equal(back[k], ours[k]) for k in ours)
    assert encoder.info.trained_on == "nothing (train)" and not encoder.info.has_ar


# ---- the command line ----


def small_head() -> list[str]:
    return [word for option in OPTIONS for word in ("-o", option)]


def test_the_self_test_learns_a_line_by_heart(call, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("train", "ctc", "--encoder", str(folder), "--dataset", "marks", "--sanity")
    how = ("--rate", "3e-2", "--workers", "0", "--limit", "1", "--batch", "4", *small_head())
    code, out, err = call(*words, *how, "--steps", "100")
    assert code == 0 and out.startswith("sanity: CER 0.00 % after ") and "passed" in out
    assert "all 1 lines can be spelled in 16 frames" in err
    code, out, _ = call(*words, *how, "--steps", "2")
    assert code == 1 and "not passed" in out
    assert list(tmp_path.iterdir()) == []  # nothing is kept


def test_a_training_by_command_line(call, folder, tmp_path):
    out = tmp_path / "out"
    words = ["train", "ctc", "--encoder", str(folder), "--dataset", "marks", "--out", str(out)]
    words += ["--features", str(tmp_path / "f"), "--steps", "4", "--save-every", "2", *small_head()]
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
        (("--encoder", "FOLDER", "--dataset", "mixture,marks", "--unfreeze"), "give it alone"),
        (("--encoder", "FOLDER", "--layer-decay", "0.8"), "--unfreeze"),
        (("--encoder", "FOLDER", "--unfreeze", "--views", "2"), "--views applies to a frozen"),
        (("--encoder", "FOLDER", "-o", "query.count=3"), "not trained here"),
        (("--encoder", "FOLDER", "--decoder", "ar-beam"), "reads no CTC output"),
        (("--encoder", "FOLDER", "--device", "cuda"), "no CUDA device"),
        ((), "--encoder"),
    ],
)
def test_mistakes_are_one_sentence(call, folder, tmp_path, words, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(trainings, "guard_training", lambda *_: None)
    chosen = [str(folder) if word == "FOLDER" else word for word in words]
    if "--dataset" not in words:
        chosen += ["--dataset", "marks"]
    code, out, err = call("train", "ctc", *chosen)
    assert (code, out) == (2, "") and said in err
    assert err.count("error: ") == 1 and "Traceback" not in err
