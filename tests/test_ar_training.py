"""Fine-tuning of a TrOCR: labels, epochs, resuming, the folder, the command line."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import VisionEncoderDecoderModel

from bench.cli import trainings
from bench.cli.trainings import outcome
from bench.core.errors import UserError
from bench.core.registry import Entry
from bench.core.types import Runtime
from bench.training.ar import TokenTargets, turned_at
from bench.training.batches import Batch
from bench.training.files import Point, load_checkpoint
from bench.training.fit import Result, fit
from bench.training.losses import IGNORED
from bench.training.recipes import FineTuning
from bench.training.trocr import open_start
from datasets import DATASETS
from datasets.base import spread
from models import ENCODERS
from models.trocr_model import ar_model, detokenizer
from tests.marks import TEXTS, FewMarks
from tests.tiny_trocr import Kind, save_checkpoint, tiny_model
from tests.trainings import Listening, cer_of


def save(folder: Path, kind: Kind) -> Path:
    """A checkpoint of weights that learn quickly."""
    save_checkpoint(folder, kind)
    vocabulary = json.loads((folder / "config.json").read_text())["decoder"]["vocab_size"]
    tiny_model(kind, vocabulary, init_std=0.1).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    made = tmp_path_factory.mktemp("trocr")
    return {kind: save(made / f"tiny-{kind}", kind) for kind in ("base", "small")}


@pytest.fixture(autouse=True)
def marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sets of marks, registered."""
    monkeypatch.setitem(DATASETS.entries, "marks", Entry("tests.marks:Marks", "bars"))
    monkeypatch.setitem(DATASETS.entries, "few", Entry("tests.marks:FewMarks", "few bars"))


def recipe(folder: Path | str, out: Path, **changes: Any) -> FineTuning:
    made = FineTuning(
        encoder=str(folder), out=out, dataset=("few",), limit=16, epochs=2, batch=8, rate=3e-3,
        layer_decay=1.0, augment=0.0, patience=0, sample=4, workers=0,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def targets_of(folder: Path | str) -> TokenTargets:
    start = open_start(str(folder), 0, "cpu")
    tokenizer = start.tokenizer()
    return TokenTargets(tokenizer, ar_model(start.model, detokenizer(tokenizer)))


# ---- labels ----


@pytest.mark.parametrize("kind", ["base", "small"])
def test_labels_are_tokens_and_eos_and_the_start_is_eos(folders, kind):
    spell = targets_of(folders[kind])
    texts = ["the room .", "fox"]
    given, labels = spell.targets(texts)
    assert given.shape == labels.shape and given.shape[1] % 8 == 0
    for text, fed, answer in zip(texts, given.tolist(), labels.tolist(), strict=True):
        tokens = spell.tokens(text)
        assert spell.ar.detokenize(tokens) == text and 0 not in tokens  # no <s> before it
        after = len(fed) - len(tokens) - 1
        assert fed == [2, *tokens, *[1] * after]  # </s> starts, <pad> fills
        assert answer == [*tokens, 2, *[IGNORED] * after]  # </s> ends and is learned


def test_what_cannot_be_taught_is_told_why(folders):
    base, small = targets_of(folders["base"]), targets_of(folders["small"])
    assert base.why_unfit("fox") == small.why_unfit("fox") == ""
    assert base.why_unfit("  ") == "it has no text"
    assert small.why_unfit("f\u4e2dx") == "the tokenizer cannot write '\u4e2d'"
    assert base.why_unfit("a</s>b") == "it contains </s>"
    text = "xq" * 40
    needed = len(base.tokens(text)) + 1
    assert base.why_unfit(text) == f"it needs {needed} tokens and the decoder has 64"
    with pytest.raises(ValueError, match="leave it out"):
        base.targets([text])


def test_a_text_that_the_tokenizer_changes_is_known(folders):
    base, small = targets_of(folders["base"]), targets_of(folders["small"])
    assert base.exact("a \ufb01x") and small.exact("a fox")
    assert not small.exact("\uff26ox")  # full width: sentencepiece's NFKC


def test_the_loss_is_that_of_the_next_token_given_the_text_so_far(folders, tmp_path):
    training: Any = recipe(folders["base"], tmp_path).open(Listening())
    model, pictures = training.start.model.eval(), training.pictures
    squeezed = pictures.squeeze([line.image for line in FewMarks().load("train", 3).lines])
    loss = training.loss(Batch(squeezed, TEXTS[:3]))
    losses = []
    for picture, text in zip(squeezed, TEXTS[:3], strict=True):  # alone and unpadded
        tokens = training.targets.tokens(text)
        states = model.encoder(pictures.pixels(picture[None])).last_hidden_state
        before = torch.tensor([[2, *tokens]])
        out = model.decoder(input_ids=before, encoder_hidden_states=states, use_cache=False)
        log_probs = functional.log_softmax(out.logits[0], -1)
        for place, token in enumerate([*tokens, 2]):
            losses.append(-0.9 * log_probs[place, token] - 0.1 * log_probs[place].mean())
    torch.testing.assert_close(loss, torch.stack(losses).mean(), rtol=1e-4, atol=0)
    slower: Any = recipe(folders["base"], tmp_path, layer_decay=0.5).open(Listening())
    assert [group["scale"] for group in slower.groups()] == [0.25, 0.5, 1.0, 1.0, 1.0]
    counted = [id(p) for group in slower.groups() for p in group["params"]]
    assert sorted(counted) == sorted({id(p) for p in slower.start.model.parameters()})


# ---- epochs ----


def curve(*cers: tuple[float, float]) -> list[Point]:
    return [
        Point(10 * i, 0.5 if i else None, {"cer": val, "train_cer": train}, i)
        for i, (train, val) in enumerate(cers)
    ]


def test_over_fitting_is_seen_as_it_happens(folders, tmp_path):
    training: Any = recipe(folders["base"], tmp_path).open(Listening())
    turned = curve((0.03, 0.0433), (0.01, 0.05), (0.000001, 0.0789))
    assert turned_at(turned) == turned[0]
    assert "from 4.33 % before training to 7.89 %" in training.remark(turned)
    assert "Nothing is gained" in outcome(turned, turned[1], "ar-greedy")
    later = curve((0.5, 0.5), (0.04, 0.05), (0.01, 0.08))
    assert "from 5.00 % after step 10 to 8.00 %" in training.remark(later)
    assert "no better in 1 validation since" in outcome(later, later[1], "ar-greedy")


@pytest.mark.parametrize(
    "points",
    [
        curve((0.5, 0.5), (0.01, 0.4)),  # val still falls
        curve((0.5, 0.5), (0.2, 0.2), (0.19, 0.3)),  # train is not far below
        curve((0.5, 0.5), (0.02, 0.2), (0.01, 0.205)),  # as good as before
    ],
)
def test_other_curves_are_no_over_fitting(points):
    assert turned_at(points) is None


# ---- training ----


@pytest.fixture(scope="module")
def learned(folders, tmp_path_factory) -> Result:
    """A model that has learned a few lines by heart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS.entries, "few", Entry("tests.marks:FewMarks", "few bars"))
        out = tmp_path_factory.mktemp("by-heart") / "out"
        return fit(
            recipe(folders["base"], out, limit=8, epochs=None, steps=40, save_every=20, rate=1e-2)
        )


def test_a_few_lines_are_learned_by_heart_and_the_best_weights_read_as_they_did(learned):
    points, best = learned.points, learned.best
    assert [(p.epoch, p.step) for p in points] == [(None, step) for step in (0, 20, 40)]
    assert points[0].loss is None and points[0]["train_cer"] > 1  # before training
    assert points[-1]["train_cer"] == 0 and points[-1].loss is not None
    assert points[-1]["cer"] > 0.3  # val has other texts
    assert best == min(points[1:], key=lambda point: point["cer"])
    encoder = ENCODERS.create(str(learned.weights)).open(Runtime())
    assert encoder.info.has_ar and encoder.info.trained_on == "few (train)"
    sets = {
        "train_cer": FewMarks().load("train", 8).lines[::2],
        "cer": FewMarks().load("val").lines,
    }
    for name, lines in sets.items():
        assert cer_of(encoder, "ar-greedy", spread(lines, 4)) == best[name]


def test_the_folder_is_like_the_hubs(learned, folders):
    names = {path.name for path in learned.weights.iterdir()}
    assert names == {path.name for path in folders["base"].iterdir()}
    stated = json.loads((learned.weights / "generation_config.json").read_text())
    assert stated["decoder_start_token_id"] == stated["eos_token_id"] == 2
    assert stated["max_new_tokens"] == 64 and stated.get("use_cache", True)
    theirs = VisionEncoderDecoderModel.from_pretrained(learned.weights)
    ours = ENCODERS.create(str(learned.weights)).open(Runtime()).module()
    state = theirs.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())
    assert f"| {learned.best.step} | " in (learned.weights / "README.md").read_text()


def test_a_frozen_encoder_stays_as_it_is(folders, tmp_path):
    start = open_start(str(folders["base"]), 0, "cpu").model.state_dict()
    result = fit(recipe(folders["base"], tmp_path, freeze_encoder=True, layer_decay=None, epochs=1))
    after = ENCODERS.create(str(result.weights)).open(Runtime()).module().state_dict()
    changed = {name for name in start if not torch.equal(start[name], after[name])}
    assert changed and all(name.startswith("decoder.") for name in changed)
    kept = load_checkpoint(tmp_path / "ar.pt")["weights"]
    assert all(name.startswith("decoder.") for name in kept)


def test_a_shape_learns_from_random_weights_and_brings_its_tokenizer(tmp_path):
    asked = recipe("tiny", tmp_path, steps=1, epochs=None, sample=1, limit=2, batch=2, rate=None)
    assert asked.peak() == 5e-4
    result = fit(asked)
    assert [point.step for point in result.points] == [0, 1]
    encoder = ENCODERS.create(str(result.weights)).open(Runtime())
    assert encoder.info.trained_on == "few (train)" and encoder.info.has_ar
    assert encoder.ar.detokenize([*targets_of("tiny").tokens("fox"), 2]) == "fox"
    with pytest.raises(UserError, match="leave out --freeze-encoder"):
        fit(dataclasses.replace(asked, freeze_encoder=True, layer_decay=None, out=tmp_path / "x"))


def test_the_user_learns_what_the_lines_are(folders, tmp_path, monkeypatch):
    long = Entry("tests.marks:FewMarks", "bars", {"texts": ("ab", "ab" * 40, "c")})
    monkeypatch.setitem(DATASETS.entries, "few-long", long)
    (tmp_path / "known").mkdir()
    for path in folders["base"].iterdir():
        (tmp_path / "known" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "known" / "README.md").write_text("---\ndatasets:\n- Few (train)\n---\n")
    log = Listening()
    recipe(tmp_path / "known", tmp_path / "out", dataset=("few-long",), limit=6).open(log)
    stated, unfit = log.said
    assert "few-long as its training data (Few (train))" in stated
    assert unfit.startswith("2 of 6 lines cannot be learned") and "train-1: it needs 81" in unfit


# ---- the command line ----


def test_a_training_by_command_line(call, folders, tmp_path):
    out = tmp_path / "out"
    words = ("--encoder", str(folders["base"]), "--dataset", "few", "--epochs", "2", "--workers")
    code, printed, err = call(
        "train", "ar", *words, "0", "--limit", "8", "--sample", "2", "--out", str(out),
        "--allow-leak",  # few letters: the images of its test repeat
    )  # fmt: skip
    assert code == 0 and printed.startswith(f"model: {out / 'model'}\nval CER ")
    lines = [row for row in err.splitlines() if row.startswith("epoch ")]
    assert [row[:7] for row in lines] == ["epoch 0", "epoch 1", "epoch 2"]
    assert all("train CER" in row and "(ar-greedy)" in row for row in lines)
    assert [json.loads(row)["epoch"] for row in (out / "history.jsonl").open()] == [0, 1, 2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--encoder", "tniy"), "did you mean tiny"),
        (("--dataset", "marks"), "--dataset applies only to TrOCR encoders; choose one"),
        (("--encoder", "FOLDER", "--steps", "9", "--epochs", "9"), "give one of --steps and"),
        (("--encoder", "FOLDER", "--freeze-encoder", "--layer-decay", "0.5"), "leave out --freeze"),
        (("--encoder", "FOLDER", "--decoder", "ctc-greedy"), "choose ar-greedy"),
        (("--encoder", "FOLDER", "--epoch", "3"), "did you mean --epochs"),
        (("--encoder", "./nowhere"), "there is no folder ./nowhere"),
    ],
)
def test_mistakes_are_one_sentence(refused, folders, tmp_path, words, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(trainings, "guard_training", lambda *_: None)
    chosen = [str(folders["base"]) if word == "FOLDER" else word for word in words]
    assert said in refused("train", "ar", *chosen)


def test_without_an_encoder_the_head_of_mini_is_trained(call, tmp_path, monkeypatch):
    seen: list[Any] = []

    def train(made: Any, log: Any) -> Result:
        seen.append(made)
        return Result((), None, Path("w"))

    monkeypatch.setattr("bench.training.fit.fit", train)
    monkeypatch.setattr(trainings, "guard_training", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    use = "use it: python -m bench run --encoder mini -o mini.weights=w\n"
    assert call("train", "ar")[:2] == (0, f"weights: w\n{use}")
    assert call("train", "ar", "--steps", "5", "--columns", "99", "--init", "a.st")[0] == 0
    plain, chosen = seen
    assert (plain.out, plain.length(), plain.columns) == (
        Path("runs/mini"),
        ("steps", 20_000),
        9_000,
    )
    assert (chosen.steps, chosen.columns, chosen.init) == (5, 99, Path("a.st"))
