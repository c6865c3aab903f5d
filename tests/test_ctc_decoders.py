"""Common behaviour of all CTC decoders: bad input, batches, threads, weights."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from bench.core.errors import UserError
from bench.core.types import Decoded, Encoded
from decoders import DECODERS, tuned
from decoders.base import Decoder
from decoders.ctc.base import ctc_scores, join_symbols
from decoders.language.arpa import write_arpa
from decoders.language.ngram import characters_of, estimate, words_of
from tests.ctc_doubles import ALPHABET, encoded, info, logs, random_matrix, written

TEXT = (
    "the cat and the dog", "a cat sat", "the cat", "a cat", "a", "the quick brown fox jumps",
    "over the lazy dog",
)  # fmt: skip
NAMES = (
    "ctc-greedy", "ctc-beam", "ctc-ngram", "ctc-gap", "ctc-lm", "ctc-ngram-word", "ctc-kenlm",
    "ctc-flashlight",
)  # fmt: skip
FITTED = ("ctc-ngram", "ctc-gap", "ctc-ngram-word", "ctc-kenlm", "ctc-flashlight")  # with a model
WEIGHTS = {"alpha": 0.5, "beta": 0.5}
SOUND = random_matrix(0, 6, len(ALPHABET), 4.0)

pytestmark = pytest.mark.usefixtures("untuned")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """An ARPA file of characters and one of words."""
    folder = tmp_path_factory.mktemp("lm")
    for unit, parted in (("char", characters_of), ("word", words_of)):
        write_arpa(estimate(map(parted, TEXT), 3).model, folder / f"{unit}.arpa")
    return {unit: str(folder / f"{unit}.arpa") for unit in ("char", "word")}


def spec_of(name: str, files: dict[str, str], **options: Any) -> Any:
    if name in FITTED:
        words = name in ("ctc-ngram-word", "ctc-kenlm")
        options = {"lm": files["word" if words else "char"], **options}
    if name == "ctc-flashlight":
        pytest.importorskip("flashlight.lib.text")
    if name == "ctc-kenlm":
        options = {"workers": 1, **options}
    return DECODERS.create(name, options)


@pytest.fixture(params=NAMES)
def decoder(request, files) -> Iterator[Decoder]:
    weights = WEIGHTS if request.param in (*FITTED, "ctc-lm") else {}
    opened = spec_of(request.param, files, **weights).open(info())
    yield opened
    opened.close()
    opened.close()  # twice does no harm


def test_nothing_to_read(decoder, request):
    assert decoder.decode(encoded([], ALPHABET)) == []
    matrix = logs(written("the cat", sure=0.99))
    blank = logs([[1.0] + [0.0] * (len(ALPHABET) - 1)] * 9)
    batch = encoded([matrix, matrix, blank, logs(written("a")[:1])], ALPHABET, [0, 14, 9, 1])
    found = decoder.decode(batch)
    assert [line.text for line in found] == ["", "the cat", "", "a"]
    ends = "ctc-lm" in request.node.name  # it pays for the end of an empty line, too
    assert found[0] == Decoded("", 0, found[0].score if ends else 0.0)
    nothing = np.zeros((0, len(ALPHABET)), np.float32)
    assert [x.text for x in decoder.decode(encoded([nothing] * 2, ALPHABET))] == ["", ""]


@pytest.mark.parametrize(
    "break_it",
    [
        lambda m: m[2].fill(np.nan),
        lambda m: m.__setitem__((2, 3), np.nan),
        lambda m: m[2].fill(-np.inf),
        lambda m: m.__setitem__((2, 0), np.inf),
        lambda m: np.exp(m, out=m),
        lambda m: np.subtract(m, 50, out=m),
        lambda m: np.subtract(m, 0.1, out=m),
        lambda m: np.add(m, 0.1, out=m),
        lambda m: m.fill(0),
        lambda m: np.log(1 / (1 + np.exp(-m - 3)), out=m),
    ],
    ids=[
        "NaN column",
        "one NaN",
        "-inf column",
        "+inf",
        "probabilities",
        "logits",
        "a tenth less",
        "a tenth more",
        "zeros",
        "log-sigmoids",
    ],
)
def test_broken_frames_are_named(decoder, break_it):
    broken = SOUND.copy()
    break_it(broken)
    with pytest.raises(UserError, match=r"frame \d of line 1 of a batch .* --dtype float32"):
        decoder.decode(encoded([SOUND, broken], ALPHABET))
    # Behind the end of a line anything may stand.
    assert len(decoder.decode(encoded([SOUND, broken], ALPHABET, frames=[6, 0]))) == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_softmax_of_low_precision_is_taken(decoder, dtype):
    batch = encoded(
        [random_matrix(seed, 40, len(ALPHABET), 0.2 + seed) for seed in range(4)], ALPHABET
    )
    assert batch.log_probs is not None
    rounded = batch.log_probs.to(dtype).log_softmax(-1).float()
    assert len(decoder.decode(dataclasses.replace(batch, log_probs=rounded))) == 4


def test_an_encoding_that_breaks_the_contract(decoder):
    def renamed(alphabet: tuple[str, ...]) -> Encoded:
        good = encoded([SOUND], ALPHABET)
        return Encoded(good.states, good.state_mask, good.log_probs, good.frames, alphabet)

    for bad, sentence in (
        (renamed(ALPHABET[:3]), "CTC outputs do not fit an alphabet of 3"),
        (renamed((*ALPHABET[1:], "")), "begins with the blank"),
        (encoded([SOUND], ALPHABET, frames=[7]), "frame counts"),
        (Encoded(torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool)), "no CTC output"),
    ):
        with pytest.raises(ValueError, match=sentence):
            decoder.decode(bad)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("ctc-kenlm", "ctc-lm")])
def test_lines_padding_and_threads_do_not_see_each_other(files, name):
    lines = [random_matrix(seed, 3 + seed % 30, len(ALPHABET), 3.0) for seed in range(23)]
    options = {**WEIGHTS, "beam": 8} if name in FITTED else {}
    spec, before = spec_of(name, files, **options), torch.get_num_threads()
    order = np.random.default_rng(1).permutation(23)
    read = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            opened = spec.open(info())
            if name not in ("ctc-greedy", "ctc-flashlight"):
                assert opened.extras()["workers"] == threads
            if threads == 1:
                read.append([opened.decode(encoded([lines[i]], ALPHABET))[0] for i in order])
            else:
                read.append(opened.decode(encoded([lines[i] for i in order], ALPHABET)))
            opened.close()
    finally:
        torch.set_num_threads(before)
    assert [(a.text, a.nbest) for a in read[0]] == [(b.text, b.nbest) for b in read[1]]
    assert [a.score for a in read[0]] == pytest.approx([b.score for b in read[1]], abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_that_does_not_fit(files, name):
    spec = spec_of(name, files)
    absent = spec.missing(info((), name="trocr-base"))
    assert absent is not None and "trocr-base has no CTC head" in str(absent)
    assert spec.missing(info()) is None
    if name in ("ctc-ngram-word", "ctc-kenlm"):
        assert "no space" in str(spec.missing(info(("", "a"))))
        with pytest.raises(UserError, match="can write none of the"):
            spec.open(info(("", " ", "x")))


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"beam": 0}, "beam is the number of hypotheses"),
        ({"beam": 10**19}, "beam is the number of hypotheses kept, 1 to 100000, not"),
        ({"alpha": -0.5}, "alpha is a weight, 0 to 50, not -0.5"),
        ({"alpha": 1e300}, "alpha is a weight, 0 to 50"),
        ({"beta": 1e3}, "beta is a bonus, -50 to 50, not 1000"),
        ({"beam": 4, "nbest": 5}, r"nbest lies between 1 and the beam \(4\)"),
        ({"token_min_logp": 0.5}, "token_min_logp is a log-probability"),
        ({"beam_prune_logp": 0.5}, "beam_prune_logp is a log-probability"),
        ({"unk_offset": 1e300}, "unk_offset is a log10 probability, -1000 to 0, not"),
        ({"unk_offset": -1e300}, "unk_offset is a log10 probability, -1000 to 0, not"),
        ({"order": 7}, "order of a language model"),
        ({"order": 4, "lm": "my.arpa"}, "order applies to the embedded model"),
        ({"workers": -1}, "workers is -1; give at least 0"),
        ({"beam_tokens": 0}, "beam_tokens is 0; give at least 1"),
    ],
)
def test_options_that_make_no_sense(name, options, sentence):
    if not options.keys() <= DECODERS.options(name).keys():
        pytest.skip("not an option of it")
    with pytest.raises(UserError, match=sentence):
        DECODERS.create(name, options)


@pytest.mark.parametrize("name", [*DECODERS.names(), "ctc-greedy+lm", "ctc-ngram-word+speller"])
@pytest.mark.parametrize(
    ("alphabet", "sentence"),
    [
        ((*ALPHABET, "ch"), "has the symbol 'ch', which is not one character"),
        ((*ALPHABET, ""), "has the symbol '', which is not one character"),
        ((*ALPHABET, "\u00a0"), "has U\\+00A0, white space that is no plain space"),
        ((*ALPHABET, "a"), "has a twice"),
        (("a", "", "b"), "begins with a and not with the blank"),
    ],
)
def test_every_decoder_refuses_the_same_alphabets(name, alphabet, sentence):
    spec = DECODERS.create(name)
    encoder = info(alphabet, has_ar=True)
    if spec.needs == "states":
        assert spec.missing(encoder) is None
    else:
        assert re.search(f"the alphabet of e {sentence}", str(spec.missing(encoder)))


def test_symbols_of_any_code_point():
    rows = [[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
    opened = DECODERS.create("ctc-greedy").open(info())
    (line,) = opened.decode(encoded([logs(rows)], ("", "ß", "\u0301")))
    assert (line.text, line.tokens) == ("ß\u0301", 2)
    odd = ("", "\ufeff", "\ud800", "\U0001f600", "a")  # a byte order mark, half a pair, two units
    assert join_symbols(np.array([1, 4, 2, 3, 4]), np.array([2, 0, 3]), odd) == [
        "\ufeffa", "", "\ud800\U0001f600a",
    ]  # fmt: skip
    assert join_symbols(np.array([], int), np.array([0, 0]), ("", "a")) == ["", ""]
    assert join_symbols(np.array([], int), np.array([], int), ("", "a")) == []


def entry(**changes: Any) -> tuned.Tuned:
    fields: dict[str, Any] = {
        "decoder": "ctc-kenlm", "encoder": "e", "weights": "0" * 12, "lm": "embedded",
        "lm_sha256": "f" * 64, "values": {"alpha": 0.9, "beta": 2.0, "unk_offset": -5.0},
        "dataset": "lines", "split": "val", "dataset_sha256": "a" * 64, "lines": 300,
        "conditions": ("clean", "blot 3"), "options": {"beam": 64}, "grid": {"alpha": (0.9,)},
        "cer": 0.05, "greedy_cer": 0.08, "cer_map": ({"alpha": 0.9, "cer": 0.05},),
    }  # fmt: skip
    return tuned.Tuned(**{**fields, **changes})


def extras_of(name: str, files: dict[str, str], **options: Any) -> Any:
    opened = spec_of(name, files, **options).open(info())
    extras = opened.extras()
    opened.close()
    return extras


@pytest.mark.parametrize("name", ["ctc-kenlm", "ctc-ngram-word"])
def test_weights_come_from_the_frozen_file_and_a_row_says_what_changed(files, name):
    """Both search alike, so the weights of the one hold for the other."""
    default = "nothing (pyctcdecode's defaults)"
    before = extras_of(name, files)
    assert (before["alpha"], before["tuned_on"]) == (0.5, default)
    lm = before["lm_sha256"]
    tuned.freeze(entry(lm="another"))  # another model is another thing
    assert extras_of(name, files)["tuned_on"] == default
    tuned.freeze(entry(lm=lm, lm_sha256=lm))
    extras = extras_of(name, files)
    assert (extras["alpha"], extras["beta"], extras["unk_offset"]) == (0.9, 2.0, -5.0)
    source = "lines-val@aaaaaaaa read by e@00000000, clean + blot 3"
    assert extras["tuned_on"] == source
    by_hand = extras_of(name, files, alpha=0.25)
    assert (by_hand["alpha"], by_hand["beta"]) == (0.25, 2.0)
    assert by_hand["tuned_on"] == f"set by hand: alpha; the others: {source}"
    tuned.freeze(entry(lm=lm, lm_sha256="1" * 64, weights="1" * 12))
    changed = extras_of(name, files)["tuned_on"]
    assert changed.endswith("; since then changed: encoder weights and language model")


def test_scores_of_texts_that_cannot_be_written():
    (scores,) = ctc_scores(encoded([SOUND], ALPHABET), [["", "the", "§", "a" * 7]])
    assert np.isfinite(scores).tolist() == [True, True, False, False]
