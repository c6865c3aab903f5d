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
from bench.core.errors import UserError
from bench.core.metrics import score_line
from bench.core.registry import Entry
from bench.core.types import Runtime
from bench.report.epochs import outcome
from bench.training.ar import FineTuning, Speller, turned_at
from bench.training.batches import Batch, Lines, epoch_steps
from bench.training.files import Point, load_checkpoint
from bench.training.fit import Result, fit
from bench.training.losses import IGNORED
from bench.training.trocr import open_start
from datasets import DATASETS
from datasets.base import spread
from decoders import DECODERS
from models import ENCODERS
from models.trocr_model import ar_model, detokenizer
from tests.ctc_doubles import info
from tests.few_marks import TEXTS, FewMarks
from tests.marks import Marks
from tests.tiny_trocr import Kind, save_checkpoint, tiny_model
from tests.trainings import Killed, Listening


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
    monkeypatch.setitem(DATASETS.entries, "few", Entry("tests.few_marks:FewMarks", "few bars"))


def recipe(folder: Path | str, out: Path, **changes: Any) -> FineTuning:
    made = FineTuning(
        encoder=str(folder), out=out, dataset=("few",), limit=16, epochs=2, batch=8, rate=3e-3,
        layer_decay=1.0, augment=0.0, patience=0, sample=4, workers=0,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def speller(folder: Path | str) -> Speller:
    start = open_start(str(folder), 0, "cpu")
    tokenizer = start.tokenizer()
    return Speller(tokenizer, ar_model(start.model, detokenizer(tokenizer)))


# ---- labels ----


@pytest.mark.parametrize("kind", ["base", "small", "tiny"])
def test_labels_are_tokens_and_eos_and_the_start_is_eos(folders, kind):
    spell = speller(folders.get(kind, kind))
    texts = ["the room .", "fox"]
    given, labels = spell.targets(texts)
    assert given.shape == labels.shape and given.shape[1] % 8 == 0
    for text, fed, answer in zip(texts, given.tolist(), labels.tolist(), strict=True):
        tokens = spell.tokens(text)
        assert spell.ar.detokenize(tokens) == text and 0 not in tokens  # no <s> before it
        after = len(fed) - len(tokens) - 1
        assert fed == [2, *tokens, *[1] * after]  # </s> starts, <pad> fills
        assert answer == [*tokens, 2, *[IGNORED] * after]  # </s> ends and is learned


def test_the_tokenizers_own_start_token_is_left_out(folders):
    spell = speller(folders["base"])
    assert spell.tokenizer("fox")["input_ids"][0] == 0
    assert spell.tokens("fox")[0] != 0


def test_what_cannot_be_taught_is_told_why(folders):
    base, small = speller(folders["base"]), speller(folders["small"])
    assert base.why_unfit("fox") == small.why_unfit("fox") == ""
    assert base.why_unfit("  ") == "it has no text"
    assert small.why_unfit("f\u4e2dx") == "the tokenizer cannot write '\u4e2d'"
    assert base.why_unfit("a</s>b") == "it contains </s>"
    text = "xq" * 40
    needed = len(base.tokens(text)) + 1
    assert base.why_unfit(text) == f"it needs {needed} tokens and the decoder has 64"
    with pytest.raises(ValueError, match="leave it out"):
        base.targets([text])
    longest = "xq" * 31 + "x"
    assert len(base.tokens(longest)) == 63 and base.why_unfit(longest) == ""
    given, labels = base.targets([longest])
    assert given.shape == (1, 64) and labels[0, -1] == 2


def test_a_text_that_the_tokenizer_changes_is_known(folders):
    assert speller(folders["base"]).exact("a \ufb01x") and speller(folders["small"]).exact("a fox")
    assert not speller(folders["small"]).exact("\uff26ox")  # full width: sentencepiece's NFKC


def test_the_loss_is_that_of_the_next_token_given_the_text_so_far(folders, tmp_path):
    training: Any = recipe(folders["base"], tmp_path).open(Listening())
    model, pictures = training.start.model.eval(), training.pictures
    squeezed = pictures.squeeze([line.image for line in FewMarks().load("train", 3).lines])
    loss = training.loss(Batch(squeezed, TEXTS[:3]))
    losses = []
    for picture, text in zip(squeezed, TEXTS[:3], strict=True):  # alone and unpadded
        tokens = training.speller.tokens(text)
        states = model.encoder(pictures.pixels(picture[None])).last_hidden_state
        before = torch.tensor([[2, *tokens]])
        out = model.decoder(input_ids=before, encoder_hidden_states=states, use_cache=False)
        log_probs = functional.log_softmax(out.logits[0], -1)
        for place, token in enumerate([*tokens, 2]):
            losses.append(-0.9 * log_probs[place, token] - 0.1 * log_probs[place].mean())
    torch.testing.assert_close(loss, torch.stack(losses).mean(), rtol=1e-4, atol=0)
    assert [group["scale"] for group in training.groups()] == [1.0] * 5
    slower: Any = recipe(folders["base"], tmp_path, layer_decay=0.5).open(Listening())
    assert [group["scale"] for group in slower.groups()] == [0.25, 0.5, 1.0, 1.0, 1.0]
    counted = [id(p) for group in slower.groups() for p in group["params"]]
    assert sorted(counted) == sorted({id(p) for p in slower.start.model.parameters()})


# ---- epochs ----


def test_an_epoch_has_every_line_once(folders):
    lines = Marks().load("train", 10).lines
    pictures = open_start(str(folders["base"]), 0, "cpu").pictures()
    supply = Lines(lines, pictures, 4, 3, 0.0)
    batches = [supply.batch(step) for step in range(2 * epoch_steps(10, 4))]
    assert [len(batch.texts) for batch in batches] == [4, 4, 2] * 2
    epochs = [[t for b in batches[i : i + 3] for t in b.texts] for i in (0, 3)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(line.text for line in lines)
    assert epochs[0] != epochs[1]
    looks = Lines(lines, pictures, 4, 3)
    assert looks.batch(0).texts == batches[0].texts
    assert not torch.equal(looks.batch(0).inputs, batches[0].inputs)
    assert not torch.equal(looks.batch(0).inputs[0], looks.batch(3).inputs[0])


def test_a_sample_is_spread_over_all_lines():
    lines = Marks().load("train", 10).lines
    assert [line.id for line in spread(lines, 3)] == ["train-0", "train-3", "train-6"]
    assert spread(lines, 99) == list(lines)


def curve(*cers: tuple[float, float]) -> list[Point]:
    return [
        Point(10 * i, 0.5 if i else None, {"cer": val, "train_cer": train}, i)
        for i, (train, val) in enumerate(cers)
    ]


def test_over_fitting_is_seen_as_it_happens(folders, tmp_path):
    """The numbers of the one who asked for it: 4.33 before, then 0.0001 against 7.89."""
    training: Any = recipe(folders["base"], tmp_path).open(Listening())
    turned = curve((0.03, 0.0433), (0.01, 0.05), (0.000001, 0.0789))
    assert turned_at(turned) == turned[0]
    assert training.remark(turned) == (
        "over-fitting: the CER of train lines has fallen to 0.00 %, and that of val lines has "
        "risen from 4.33 % before training to 7.89 %"
    )
    assert "Nothing is gained" in outcome(turned, turned[1], "ar-greedy")
    later = curve((0.5, 0.5), (0.04, 0.05), (0.01, 0.08))
    assert "from 5.00 % after step 10 to 8.00 %" in training.remark(later)
    assert outcome(later, later[1], "ar-greedy") == (
        "val CER 5.00 % (ar-greedy) after epoch 1, 50.00 % before training; no better in 1 "
        "validation since"
    )


@pytest.mark.parametrize(
    "points",
    [
        curve((0.5, 0.5)),
        curve((0.5, 0.5), (0.01, 0.4)),  # val still falls
        curve((0.5, 0.5), (0.2, 0.2), (0.19, 0.3)),  # train is not far below
        curve((0.5, 0.5), (0.02, 0.2), (0.03, 0.3)),  # both rise
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
        patch.setitem(DATASETS.entries, "few", Entry("tests.few_marks:FewMarks", "few bars"))
        out = tmp_path_factory.mktemp("by-heart") / "out"
        return fit(
            recipe(folders["base"], out, limit=8, epochs=None, steps=40, save_every=10, rate=1e-2)
        )


def cer_of(encoder: Any, lines: Any) -> float:
    encoded = encoder.encode(encoder.prepare([one.image for one in lines]))
    texts = [decoded.text for decoded in DECODERS.create("ar-greedy").open(info()).decode(encoded)]
    scores = [score_line(one.text, text) for one, text in zip(lines, texts, strict=True)]
    return sum(s.edits for s in scores) / sum(s.characters for s in scores)


def test_a_few_lines_are_learned_by_heart(learned):
    points = learned.points
    assert [(p.epoch, p.step) for p in points] == [(None, step) for step in range(0, 41, 10)]
    assert points[0].loss is None and points[0]["train_cer"] > 1  # before training
    assert points[-1]["train_cer"] == 0 and points[-1].loss is not None
    assert points[-1]["cer"] > 0.3  # val has other texts


def test_the_best_epoch_is_saved_and_reads_as_it_did(learned):
    assert learned.best == min(learned.points[1:], key=lambda point: point["cer"])
    encoder = ENCODERS.create(str(learned.weights)).open(Runtime())
    assert encoder.info.has_ar and encoder.info.trained_on == "few (train)"
    assert cer_of(encoder, FewMarks().load("train", 8).lines[::2]) == learned.best["train_cer"]
    assert cer_of(encoder, spread(FewMarks().load("val").lines, 4)) == learned.best["cer"]


def test_the_folder_is_like_the_hubs(learned, folders):
    names = {path.name for path in learned.weights.iterdir()}
    assert names == {path.name for path in folders["base"].iterdir()}
    said = json.loads((learned.weights / "generation_config.json").read_text())
    assert said["decoder_start_token_id"] == said["eos_token_id"] == 2
    assert said["max_new_tokens"] == 64 and said.get("use_cache", True)
    theirs = VisionEncoderDecoderModel.from_pretrained(learned.weights)
    ours = ENCODERS.create(str(learned.weights)).open(Runtime()).module()
    state = theirs.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())
    card = (learned.weights / "README.md").read_text()
    assert f"| {learned.best.step} | " in card and "| 0 | " in card


def test_a_killed_training_ends_where_an_unbroken_one_does(folders, tmp_path):
    """Bit for bit: dropout, batches, looks and averages are those of the step."""
    made = recipe(folders["small"], tmp_path / "whole", augment=1.0, save_every=1, limit=20)
    whole = fit(made)
    asked = dataclasses.replace(made, out=tmp_path / "cut")
    with pytest.raises(Killed):
        fit(asked, Listening(kill=5))
    cut = fit(asked)
    assert [p.values for p in cut.points] == [p.values for p in whole.points]
    weights = [(t.weights / "model.safetensors").read_bytes() for t in (cut, whole)]
    assert weights[0] == weights[1]
    for change in ({"freeze_encoder": True, "layer_decay": None}, {"batch": 4}, {"limit": 9}):
        with pytest.raises(UserError, match="choose another --out"):
            fit(dataclasses.replace(made, **change))


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
    assert encoder.ar.detokenize([*speller("tiny").tokens("fox"), 2]) == "fox"
    with pytest.raises(UserError, match="leave out --freeze-encoder"):
        fit(dataclasses.replace(asked, freeze_encoder=True, layer_decay=None, out=tmp_path / "x"))


def test_a_decoder_that_did_not_fit_its_encoder_fits_again(folders, tmp_path):
    start = open_start(str(folders["base"]), 0, "cpu")
    start.save(tmp_path / "ctc", start.model, "# after CTC\n", [], ar_fits=False)
    assert not ENCODERS.create(str(tmp_path / "ctc")).open(Runtime()).info.has_ar
    result = fit(recipe(tmp_path / "ctc", tmp_path / "out", epochs=1))
    assert ENCODERS.create(str(result.weights)).open(Runtime()).info.has_ar


def test_the_user_learns_what_the_lines_are(folders, tmp_path, monkeypatch):
    long = Entry("tests.few_marks:FewMarks", "bars", {"texts": ("ab", "ab" * 40, "c")})
    monkeypatch.setitem(DATASETS.entries, "few-long", long)
    (tmp_path / "known").mkdir()
    for path in folders["base"].iterdir():
        (tmp_path / "known" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "known" / "README.md").write_text("---\ndatasets:\n- Few (train)\n---\n")
    log = Listening()
    recipe(tmp_path / "known", tmp_path / "out", dataset=("few-long",), limit=6).open(log)
    assert log.said == [
        "the checkpoint states few-long as its training data (Few (train)): its CER on "
        "train lines of few-long means little, and so does any gain there",
        "2 of 6 lines cannot be learned and are left out (train-1: it needs 81 tokens and the "
        "decoder has 64; train-4: it needs 81 tokens and the decoder has 64)",
    ]


# ---- the command line ----


def test_a_training_by_command_line_and_its_check(call, folders, tmp_path):
    out = tmp_path / "out"
    words = ("--encoder", str(folders["base"]), "--dataset", "few", "--epochs", "2", "--workers")
    code, printed, err = call(
        "train", "ar", *words, "0", "--limit", "16", "--sample", "4", "--out", str(out),
        "--allow-leak",  # few letters: the images of its test repeat
    )  # fmt: skip
    assert code == 0 and printed.startswith(f"model: {out / 'model'}\nval CER ")
    lines = [row for row in err.splitlines() if row.startswith("epoch ")]
    assert [row[:7] for row in lines] == ["epoch 0", "epoch 1", "epoch 2"]
    assert all("train CER" in row and "(ar-greedy)" in row for row in lines)
    assert [json.loads(row)["epoch"] for row in (out / "history.jsonl").open()] == [0, 1, 2]
    assert (out / "curves.png").read_bytes()[1:4] == b"PNG"
    assert "kept: epoch" in (out / "curves.svg").read_text()
    code, printed, _ = call(
        "check", "overfit", "--system", f"{out / 'model'}:ar-greedy", "--dataset", "few",
        "--limit", "8", "--device", "cpu", "--json",
    )  # fmt: skip
    found = json.loads(printed)
    assert found["trained_on"] == "few (train)" and set(found["splits"]) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--encoder", "tniy"), "did you mean tiny"),
        (("--dataset", "marks"), "--dataset applies only to TrOCR encoders; choose one"),
        (("--freeze-encoder",), "--freeze-encoder applies only to TrOCR encoders"),
        (("-o", "marks.size=3"), "-o applies only to TrOCR encoders"),
        (("--encoder", "FOLDER", "--steps", "9", "--epochs", "9"), "give one of --steps and"),
        (("--encoder", "FOLDER", "--columns", "9"), "--columns is of mini alone"),
        (("--encoder", "FOLDER", "--dataset", "markz"), "did you mean marks"),
        (("--encoder", "FOLDER", "--dataset", "marks", "-o", "few.size=3"), "not trained here"),
        (("--encoder", "FOLDER", "--layer-decay", "1.2"), "<= 1"),
        (("--encoder", "FOLDER", "--augment", "-1"), ">= 0"),
        (("--encoder", "FOLDER", "--freeze-encoder", "--layer-decay", "0.5"), "leave out --freeze"),
        (("--encoder", "FOLDER", "--decoder", "ctc-greedy"), "choose ar-greedy"),
        (("--encoder", "FOLDER", "--epoch", "3"), "did you mean --epochs"),
        (("--encoder", "./nowhere"), "there is no folder ./nowhere"),
    ],
)
def test_mistakes_are_one_sentence(call, folders, tmp_path, words, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(trainings, "guard_training", lambda *_: None)
    chosen = [str(folders["base"]) if word == "FOLDER" else word for word in words]
    code, out, err = call("train", "ar", *chosen)
    assert (code, out) == (2, "") and said in err
    assert err.count("error: ") == 1 and "Traceback" not in err


def test_without_an_encoder_the_head_of_mini_is_trained(call, tmp_path, monkeypatch):
    seen: list[Any] = []

    def train(made: Any, log: Any) -> Result:
        seen.append(made)
        return Result((), None, Path("w"))

    monkeypatch.setattr(trainings, "fit", train)
    monkeypatch.setattr(trainings, "guard_training", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    assert call("train", "ar")[:2] == (0, "weights: w\n")
    words = ("--steps", "5", "--rate", "1e-4", "--out", "there", "--seed", "3", "--save-every", "2")
    assert call("train", "ar", *words, "--init", "a.safetensors", "--columns", "99")[0] == 0
    plain, chosen = seen
    assert (plain.out, plain.length(), plain.peak()) == (
        Path("runs/mini"),
        ("steps", 20_000),
        1.2e-3,
    )
    assert (plain.columns, plain.save_every, plain.init) == (12_500, 400, None)
    assert (chosen.out, chosen.steps, chosen.rate) == (Path("there"), 5, 1e-4)
    assert (chosen.seed, chosen.save_every, chosen.columns) == (3, 2, 99)
    assert chosen.init == Path("a.safetensors")
