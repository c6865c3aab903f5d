"""Correctors: their contract over the registry, and what each does."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.core.errors import Unavailable, UserError
from bench.core.records import dump, load_row
from bench.core.types import Decoded, EncoderInfo, Runtime
from bench.pipeline.cells import corrected
from bench.training.files import export
from decoders import DECODERS
from decoders.ar.score import score_texts
from decoders.correctors import CORRECTORS, options_of
from decoders.correctors.lm import RerankSpec
from decoders.correctors.speller import SpellerSpec
from decoders.ctc.base import ctc_scores
from decoders.ctc.greedy import CTCGreedySpec, best_path
from decoders.language.causal import Tokens, line_lm, read_char_lm
from models.mini_ar import MiniAR
from models.ppocr_net import PPOCRNet
from models.shipped import MiniSpec
from tests.ctc_doubles import info
from tests.fake_hub import serve
from tests.language_models import SENTENCES, small_weights
from tests.misread_lines import measured

ALL = CORRECTORS.names()
IMAGES = [
    np.random.default_rng(i).integers(0, 255, (64, width), dtype=np.uint8)
    for i, width in enumerate((240, 12, 400, 96))
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "mini.safetensors"
    export(path, PPOCRNet().state_dict(), MiniAR(120).state_dict(), {})
    return MiniSpec(weights=str(path)).open(Runtime())


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Options with which each corrector runs here; the chat server gives lines back."""
    from tests.chat_server import MODEL, serving

    folder = rewriter(tmp_path_factory.mktemp("seq2seq"))
    with pytest.MonkeyPatch.context() as patch, serving() as chats:
        patch.setenv("KAIDOKU_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield {
            "lm": {"model": str(small_weights())},
            "llm": {"url": chats.url, "model": MODEL},
            "seq2seq": {"model": str(folder)},
        }


def rewriter(folder: Path) -> Path:
    """A ByT5 of 16 units with random weights."""
    from transformers import ByT5Tokenizer, T5Config, T5ForConditionalGeneration

    torch.manual_seed(3)
    config = T5Config(vocab_size=384, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
                      decoder_start_token_id=0)  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)
    ByT5Tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def opened(encoder, given):
    decoders = {}
    for name in ALL:
        pair = f"ctc-greedy+{name}"
        spec = DECODERS.create(pair, options_of(pair, given))
        assert spec.missing(encoder.info) is None
        decoders[name] = spec.open(encoder.info)
    yield decoders
    for decoder in decoders.values():
        decoder.close()
        decoder.close()  # twice does no harm


@pytest.fixture(scope="module")
def encoded(encoder):
    return encoder.encode(encoder.prepare(IMAGES))


@pytest.mark.parametrize("name", ALL)
def test_a_corrector_gives_one_honest_result_a_line(opened, encoded, name):
    decoder = opened[name]
    read = best_path(encoded)
    results = decoder.decode(encoded)
    assert [line.uncorrected for line in results] == [line.text for line in read]
    assert [line.tokens for line in results] == [line.tokens for line in read]
    for line in results:
        assert isinstance(line.text, str)
        assert not line.nbest or line.nbest[0][0] == line.text
        assert all(a[1] >= b[1] for a, b in pairwise(line.nbest))
        assert line.verdict == "" or line.text == line.uncorrected
    assert results == decoder.decode(encoded)
    search, correction = decoder.stages
    assert (search.kind, correction.kind) == ("decoder", "corrector")
    assert results == correction.run(encoded, search.run(encoded, []))
    assert correction.run(encoded, []) == []


def test_options_are_given_by_the_name_of_any_part():
    given: dict[str, dict[str, Any]] = {
        "ctc-beam": {"beam": 7}, "lm": {"weight": 0.25, "texts": 4},
        "ctc-beam+lm": {"lm_texts": 5}, "speller": {"price": 1.0},
    }  # fmt: skip
    made = DECODERS.create("ctc-beam+lm", options_of("ctc-beam+lm", given))
    values = made.settings()
    assert (values["beam"], values["nbest"], values["lm_weight"], values["lm_texts"]) == (
        7, 1, 0.25, 5,
    )  # fmt: skip
    assert made.corrector == RerankSpec(weight=0.25, texts=5)
    assert made.search.beam == 7 and made.search.nbest == 5  # it is asked for what is ranked
    assert options_of("ctc-beam", given) == {"beam": 7}


@pytest.mark.parametrize(
    ("option", "why"), [("weight", "weight is a weight, 0"), ("length", "length is a bonus, -50")]
)
def test_weights_that_swallow_every_other_score_are_refused(option, why):
    with pytest.raises(UserError, match=why):
        RerankSpec(**{option: 1e300})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ctc-gredy+lm", "did you mean ctc-greedy"),
        ("ctc-greedy+lmm", "no corrector is called 'lmm'; did you mean"),
        ("ctc-greedy+", "no corrector"),
    ],
)
def test_names_that_mean_nothing_are_refused_with_a_way_out(name, why):
    with pytest.raises(UserError, match=why):
        DECODERS.create(name)


def one(log_probs, frames, alphabet):
    from bench.core.types import Encoded

    states = torch.zeros(len(log_probs), log_probs.shape[1], 1)
    return Encoded(states, states[..., 0] == 0, log_probs, frames, alphabet)


def readings():
    """Two lines over the alphabet of `SENTENCES`, hard to read."""
    alphabet = ("", *sorted(set("".join(SENTENCES))))
    rng = np.random.default_rng(5)
    found: list[Any] = []
    for text in ("the lazy dog", "quick fox"):
        rows = []
        for character in text:
            for symbol in (alphabet.index(character), 0):
                logits = rng.normal(0, 1.0, len(alphabet))
                logits[symbol] += 4.0
                rows.append(logits)
        found.append(np.array(rows))
    longest = max(map(len, found))
    padded = torch.full((2, longest, len(alphabet)), -9.0, dtype=torch.float64)
    padded[..., 0] = 0.0
    for row, rows in zip(padded, found, strict=True):
        row[: len(rows)] = torch.from_numpy(rows)
    frames = torch.tensor([len(rows) for rows in found])
    return one(padded.log_softmax(-1).float(), frames, alphabet)


def test_reranking_is_the_weighted_sum_of_both_scores():
    encoded = readings()
    options = {"lm_model": str(small_weights()), "lm_weight": 0.7, "lm_length": 0.3, "lm_texts": 6}
    decoder = DECODERS.create("ctc-greedy+lm", options).open(info(encoded.alphabet))
    judge = read_char_lm(small_weights())
    for place, line in enumerate(decoder.decode(encoded)):
        texts = [text for text, _ in line.nbest]
        assert line.uncorrected in texts and 6 <= len(texts) <= 7
        own = ctc_scores(encoded, [texts if i == place else [] for i in range(2)])[place]
        wanted = own + 0.7 * np.array(judge.score(texts)) + 0.3 * np.array([len(t) for t in texts])
        assert [score for _, score in line.nbest] == pytest.approx(wanted.tolist(), abs=1e-3)
        assert line.score == line.nbest[0][1] == max(s for _, s in line.nbest)
    before = decoder.decode(encoded)
    decoder.reweight({"lm_weight": 0.7, "lm_length": 0.3})
    assert decoder.decode(encoded) == decoder.decode(encoded)  # and now of what is kept
    assert [x.text for x in decoder.decode(encoded)] == [x.text for x in before]
    decoder.reweight({"lm_weight": 0.0, "lm_length": 0.0})
    for place, line in enumerate(decoder.decode(encoded)):
        texts = [text for text, _ in line.nbest]
        own = ctc_scores(encoded, [texts if i == place else [] for i in range(2)])[place]
        assert list(own) == sorted(own, reverse=True)
    decoder.close()


def test_an_autoregressive_score_counts_as_that_of_the_whole_text(encoder, encoded):
    options = {"lm_model": str(small_weights()), "lm_weight": 0.0, "lm_length": 0.0, "lm_texts": 4}
    decoder = DECODERS.create("ar-beam+lm", {**options, "max_new_tokens": 6}).open(encoder.info)
    ar = encoder.ar
    for place, line in enumerate(decoder.decode(encoded)):
        texts = [text for text, _ in line.nbest]
        asked = [texts if i == place else [] for i in range(len(IMAGES))]
        by_token = decoder.decoder.score(encoded, asked)[place]
        whole = score_texts(ar, encoded, asked, 0.0)[place]
        tokens = np.array([len(ar.tokenize(text)) + 1 for text in texts])
        assert by_token * tokens == pytest.approx(whole, rel=1e-4)
        scores = dict(line.nbest)
        alone = dict(decoder.decoder.decode(encoded)[place].nbest)
        for text, count in zip(texts, tokens, strict=True):
            assert scores[text] == pytest.approx(alone[text] * count, rel=1e-5)
    decoder.close()


def test_alternatives_have_to_come_from_somewhere():
    blind = EncoderInfo("trocr", "w", {}, (), True)
    absent = DECODERS.create("ar-greedy+lm").missing(blind)
    assert isinstance(absent, Unavailable) and "ar-beam" in absent.remedy
    assert DECODERS.create("ar-beam+lm").missing(blind) is None


@pytest.fixture(scope="module")
def speller(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text("The quick brown fox. The brown bear; the crown of the king.\n" * 3)
    made = SpellerSpec(unknown=30.0, text=str(path)).open(info(), CTCGreedySpec().open(info()))
    made.reweight({"unknown": 30.0})
    return made


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("the quikc broun fox", "the quick brown fox"),
        ("The Quikc", "The Quikc"),  # a name may be anything
        ("Quikc brown", "Quick brown"),
        ("THE KIGN, (broun)!", "THE KING, (brown)!"),
        ("a b0ar of kign2 fux", "a b0ar of kign2 fux"),
        ("", ""),
    ],
)
def test_the_speller_mends_non_words_and_keeps_the_rest(speller, line, text):
    assert speller._spelled(line) == text


def test_the_speller_says_what_is_wrong(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        SpellerSpec(text=str(tmp_path / "nowhere")).open(info(), CTCGreedySpec().open(info()))
    (tmp_path / "empty.txt").write_text("1 2 3\n")
    with pytest.raises(UserError, match="no words"):
        SpellerSpec(text=str(tmp_path / "empty.txt")).open(info(), CTCGreedySpec().open(info()))
    wrongs: list[dict[str, Any]] = [{"distance": 0}, {"distance": 9}, {"shortest": 0}]
    for wrong in wrongs:
        with pytest.raises(UserError):
            SpellerSpec(**wrong)


def test_any_model_of_transformers_can_judge(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    vocabulary = {"<s>": 0, "</s>": 1, **{c: i for i, c in enumerate("abcdef ", 2)}}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2, n_positions=32,
                        bos_token_id=0, eos_token_id=1)  # fmt: skip
    net = GPT2LMHeadModel(config).eval()
    tokenizer.save_pretrained(tmp_path)
    net.save_pretrained(tmp_path)
    lm = line_lm(str(tmp_path))
    texts = ["abba", "f", "a deaf cab", ""]
    with torch.inference_mode():
        for text, score in zip(texts, lm.score(texts, "cpu"), strict=True):
            ids = torch.tensor([[0, *(vocabulary[c] for c in text)]])
            mean = 0.0 if len(text) == 0 else float(net(input_ids=ids, labels=ids).loss)
            assert score == pytest.approx(-mean * len(text), abs=1e-4)
    assert len(lm.sha256) == 64 and tmp_path.name in lm.trained_on
    assert isinstance(Tokens(net, tokenizer).score(["ab"], "cpu")[0], float)


def test_a_rewritten_line_is_bounded_and_checked(tmp_path, monkeypatch):
    folder = rewriter(tmp_path / "model")
    spec = DECODERS.create("ctc-greedy+seq2seq", {"seq2seq_model": str(folder)}).corrector
    corrector: Any = spec.open(info(), CTCGreedySpec().open(info()))
    lines = ["a red hen", "ten men ran"]
    for text, whole in corrector._written(lines, torch.device("cpu")):
        assert whole or len(text.encode()) <= 12 * 3 // 2 + 16
    encoded = readings()
    read = [Decoded("a red hem", 9), Decoded("", 0)]
    for answer, whole, text, verdict in (
        ("a red hen", True, "a red hen", ""),
        ("a red hen", False, "a red hem", "refused: cut off"),
        ("blue", True, "a red hem", "refused: too far from the line"),
    ):
        monkeypatch.setattr(corrector, "_written", lambda *_, a=answer, w=whole: [(a, w)])
        first, empty = corrector.correct(encoded, read)
        assert (first.text, first.verdict, empty.text) == (text, verdict, "")
    assert corrector.extras()["lm_sha256"] and "model" in corrector.extras()["lm_trained_on"]


def test_a_rewriter_comes_from_the_hub_by_its_id(tmp_path, monkeypatch):
    """As `google/byt5-small` would."""
    folder, name = rewriter(tmp_path / "model"), "google/byt5-small"
    spec = DECODERS.create("ctc-greedy+seq2seq", {"seq2seq_model": name}).corrector
    here = DECODERS.create("ctc-greedy+seq2seq", {"seq2seq_model": str(folder)}).corrector
    search = CTCGreedySpec().open(info())
    with serve(tmp_path / "hub", monkeypatch) as hub:
        with pytest.raises(UserError, match=name):
            spec.open(info(), search)
        hub.push(name, folder)
        corrector: Any = spec.open(info(), search)
        lines, device = ["a red hen", "ten men ran"], torch.device("cpu")
        local: Any = here.open(info(), search)
        assert corrector._written(lines, device) == local._written(lines, device)
        assert corrector.extras()["lm"] == name
        assert corrector.extras()["lm_sha256"] == local.extras()["lm_sha256"] != ""


def test_a_rewriter_without_safetensors_is_refused(tmp_path):
    folder = rewriter(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    for model, why in ((folder, "with safetensors weights"), (tmp_path / "no", "no folder of")):
        spec = DECODERS.create("ctc-greedy+seq2seq", {"seq2seq_model": str(model)})
        with pytest.raises(UserError, match=why):
            spec.open(info())
    absent = DECODERS.create("ctc-greedy+seq2seq").missing(info())
    assert "seq2seq.model" in absent.remedy


def test_models_that_are_none_are_told(tmp_path):
    with pytest.raises(UserError, match="no folder of a language model"):
        line_lm(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="train lm"):
        line_lm(str(tmp_path / "nowhere.safetensors"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError):
        line_lm(str(tmp_path))


def test_the_row_has_a_stage_of_its_own_for_the_corrector(tmp_path):
    plain, _ = measured(tmp_path / "a", "ctc-greedy")
    row, _ = measured(tmp_path / "a", "ctc-greedy+speller")
    assert plain.timing.correct_s is None and plain.correction is None
    timing = row.timing
    assert timing.correct_s.median > 0
    stages = timing.encode_s + timing.decode_s.median + timing.correct_s.median
    assert timing.lines_per_s.median == pytest.approx(5 / stages, rel=1e-6)
    assert sum(seconds for _, seconds in timing.batches) == pytest.approx(stages, rel=1e-6)
    assert row.correction["cer_before"] == plain.cer
    assert row.key != plain.key and "d:ctc-greedy+speller[" in row.signature
    assert load_row(dump(row), "") == row


def result(reference, before, after, verdict=""):
    from bench.core.types import Line
    from bench.pipeline.cells import line_result

    line = Line("a", np.zeros((2, 2), np.uint8), reference, "w", "test")
    return line_result(line, Decoded(after, 3, uncorrected=before, verdict=verdict))


def test_a_row_counts_better_same_and_worse_lines():
    lines = [
        result("one two", "onc two", "one two"),
        result("one two", "onc two", "onc  two"),  # the same but for a space too many
        result("one two", "onc two", "oxx two"),
        result("one two", "one two", "one two"),
        result("one two", "onc two", "onc two", "refused: length"),
        result("one two", "onc two", "onx two"),  # another error in its place
    ]
    summary: Any = corrected(lines, True)
    assert (summary["improved"], summary["same"], summary["worse"]) == (1, 4, 1)
    assert summary["changed"] == 3 and summary["refused"] == {"length": 1}
    assert summary["edits_before"] == 5
    assert summary["cer_before"] == pytest.approx(5 / 42)
    assert summary["wer_before"] == pytest.approx(5 / 12)
    untrained: Any = corrected(lines, False)
    assert untrained["cer_before"] is None
    assert corrected([], True) is None
    plain = [result("a", None, "b")]
    assert corrected(plain, True) is None
