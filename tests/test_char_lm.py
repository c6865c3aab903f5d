"""The character language model: what it scores, and how it is trained."""

import math

import numpy as np
import pytest
import torch

from bench.core.errors import UserError
from bench.training.lm import Paragraphs, Windows, baseline, held_out, joined
from decoders.language import causal as char_lm
from decoders.language.arpa import write_arpa
from decoders.language.causal import (
    PARAGRAPH,
    SPACE,
    SYMBOLS,
    WEIGHTS,
    bits,
    char_scores,
    encode,
    new_net,
    paragraph_scores,
    read_char_lm,
)
from decoders.language.kenlm_files import load_kenlm
from decoders.language.ngram import characters_of, estimate
from tests.language_models import SENTENCES, SMALL, TEXT, small_weights


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(3)
    return new_net(SMALL).eval()


def by_hand(net, tokens):
    """Log-probabilities of all tokens but the first, one forward pass for each."""
    found = []
    for end in range(1, len(tokens)):
        begin = max(0, end - SMALL.context)
        with torch.inference_mode():
            logits = net(input_ids=torch.tensor([tokens[begin:end]])).logits[0, -1]
        found.append(logits.double().log_softmax(-1))
    return torch.stack(found)


def test_a_line_is_read_behind_a_space_and_a_paragraph_behind_its_mark(net):
    for scores, around in ((char_scores, SPACE), (paragraph_scores, PARAGRAPH)):
        tokens = [around, *encode("a fox"), around]
        table = by_hand(net, tokens)
        expected = [float(table[i, token]) for i, token in enumerate(tokens[1:])]
        if around == SPACE:  # a line ends where a word does: at a space, or at a paragraph's end
            expected[-1] = float(torch.logaddexp(table[-1, SPACE], table[-1, PARAGRAPH]))
        assert scores(net, SMALL, ["a fox"])[0] == pytest.approx(expected, abs=1e-5)


def test_a_text_longer_than_the_window_keeps_half_a_window_of_context(net):
    text = " ".join(SENTENCES)
    found = char_scores(net, SMALL, [text])[0]
    tokens = [SPACE, *encode(text), SPACE]
    assert len(found) == len(text) + 1
    # The first window has all there is, and of later ones every place 16 characters at least.
    assert found[: SMALL.context] == pytest.approx(
        [float(row[t]) for row, t in zip(by_hand(net, tokens[: SMALL.context + 1]),
                                         tokens[1:], strict=False)], abs=1e-5
    )  # fmt: skip
    for place in (40, 77, len(text) - 1):
        least = tokens[max(0, place + 1 - SMALL.context) : place + 1]
        with torch.inference_mode():
            spread = [
                float(net(input_ids=torch.tensor([least[cut:]])).logits[0, -1].double()
                      .log_softmax(-1)[tokens[place + 1]])
                for cut in range(len(least) - SMALL.context // 2 + 1)
            ]  # fmt: skip
        assert min(abs(found[place] - one) for one in spread) < 1e-5


def test_scores_do_not_depend_on_what_else_is_scored(net, monkeypatch):
    texts = ["a", *SENTENCES, "", "the fox " * 20, "caf\u00e9 \U0001f600"]
    alone = [char_scores(net, SMALL, [text])[0] for text in texts]
    for windows in (char_lm._WINDOWS, 2):  # more texts than a batch holds
        monkeypatch.setattr(char_lm, "_WINDOWS", windows)
        backwards = char_scores(net, SMALL, texts[::-1])[::-1]
        assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(backwards, alone, strict=True))


def test_next_characters_are_a_distribution(net):
    total = sum(
        math.exp(char_scores(net, SMALL, [symbol])[0][0]) for symbol in SYMBOLS if symbol != "\0"
    )
    unknown = math.exp(char_scores(net, SMALL, ["\u00e9"])[0][0])
    assert total + unknown == pytest.approx(1, abs=1e-4)


def test_training_learns_the_text_and_notes_what_it_did():
    lm = read_char_lm(small_weights())
    assert lm.config == SMALL
    assert lm.notes["trained_on"] == "three sentences"
    known, odd = lm.score(["the quick brown fox", "the qvick br0wn fux"])
    assert known > odd + 5
    assert float(lm.notes["bits_val"]) < 2 < math.log2(len(SYMBOLS))


def test_windows_begin_with_a_word_and_noise_is_in_the_inputs_alone():
    text = joined(SENTENCES)
    clean, noisy = (Windows(text, 32, 64, 5, noise).batch(0) for noise in (0.0, 0.25))
    assert torch.equal(clean, Windows(text, 32, 64, 5, 0.0).batch(0))
    whole = "".join(SYMBOLS[i] for i in text)
    for inputs, targets in zip(*clean, strict=True):
        read = "".join(SYMBOLS[i] for i in inputs)
        assert read[0] in " \n" and read in whole
        assert torch.equal(inputs[1:], targets[:-1])
    assert torch.equal(clean[1], noisy[1])
    assert 0.2 < (clean[0] != noisy[0]).double().mean() < 0.3


def test_the_baseline_is_that_of_kenlm(tmp_path):
    write_arpa(estimate(map(characters_of, TEXT.train), 6).model, tmp_path / "x.arpa")
    model = load_kenlm(tmp_path / "x.arpa")
    val = [characters_of(paragraph) for paragraph in TEXT.val]
    log10 = sum(model.score(" ".join(one)) for one in val) / sum(len(one) + 1 for one in val)
    assert baseline(TEXT) == pytest.approx(-log10 / math.log10(2), abs=1e-6)


def test_a_tenth_of_own_text_is_held_out():
    found = held_out([f"p{i}" for i in range(25)], "mine.txt")
    assert found.val == ("p9", "p19")
    assert sorted((*found.train, *found.val)) == sorted(f"p{i}" for i in range(25))
    with pytest.raises(UserError, match=r"mine\.txt has 9 paragraphs"):
        held_out(["p"] * 9, "mine.txt")
    with pytest.raises(UserError, match="too little text"):
        Windows(joined(["a"]), 128, 2, 0).batch(0)


def test_weights_that_are_none_are_told(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(UserError, match="no readable safetensors file"):
        read_char_lm(tmp_path / "nowhere.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(small_weights().read_bytes()[:999])
    with pytest.raises(UserError, match="no readable safetensors file"):
        read_char_lm(tmp_path / "broken.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="no language model of this program"):
        read_char_lm(tmp_path / "other.safetensors")
    notes = {"architecture": char_lm.ARCHITECTURE, "config": '{"width": 64}'}
    save_file({"a": torch.zeros(1)}, tmp_path / "odd.safetensors", metadata=notes)
    with pytest.raises(UserError, match="do not fit"):
        read_char_lm(tmp_path / "odd.safetensors")


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="the weights of the language model are not here")
def test_the_shipped_model_beats_the_n_gram_as_its_card_says():
    from datasets.corpus import documents
    from decoders.language.lm import train_text

    lm = read_char_lm(WEIGHTS)
    assert sum(p.numel() for p in lm.net.parameters()) <= 6_000_000
    assert WEIGHTS.stat().st_size <= 12 * 2**20
    val = tuple(p for document in documents("val") for p in document.paragraphs)
    scores = paragraph_scores(lm.net, lm.config, val)
    own, ngram = bits(scores), baseline(Paragraphs(train_text(), val, "val"))
    assert own < ngram - 0.03
    card = WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")
    characters = sum(map(len, scores))
    assert f"{characters:,} | {own:.3f} ({2**own:.2f}) | {ngram:.3f} ({2**ngram:.2f})" in card


@pytest.fixture(autouse=True)
def one_set(monkeypatch):
    """Look for leaks in one set: reading those of the main job takes a while."""
    monkeypatch.setattr("bench.pipeline.plan.MAIN_SETS", ("ink",))


def test_the_command_trains_on_own_text_and_tells_the_baseline(tmp_path, call):
    text = tmp_path / "mine.txt"
    text.write_text("\n".join(f"{sentence} {i}" for i in range(7) for sentence in SENTENCES))
    out = tmp_path / "out"
    small = "--width 32 --layers 1 --context 32 --batch 4 --save-every 2 --steps 4"
    words = ("train", "lm", "--text", str(text), "--out", str(out), *small.split())
    code, shown, said = call(*words)
    assert code == 0 and str(out / "lm.safetensors") in shown and "n-gram model of order 6" in shown
    assert "step 2 " in said and "step 4 " in said
    lm = read_char_lm(out / "lm.safetensors")
    assert lm.notes["trained_on"] == "mine.txt" and lm.config.width == 32
    code, shown, said = call(*words)
    assert code == 0 and "step 4 " not in said  # it was over


def test_text_that_holds_test_lines_is_refused(tmp_path, call):
    from datasets.levels import line_texts

    text = tmp_path / "leaking.txt"
    text.write_text("\n".join(line_texts("test", "english")[:200]))
    code, _, said = call("train", "lm", "--text", str(text), "--out", str(tmp_path / "out"))
    assert code == 2 and "--allow-leak" in said and not (tmp_path / "out").exists()
