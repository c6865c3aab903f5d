"""The causal language model inside the CTC search, against slower ways to the same texts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from bench.core.errors import UserError
from decoders.ctc.beam import CTCBeamSpec
from decoders.ctc.lm import CTCLMSpec
from decoders.language.causal import (
    SPACE,
    CharConfig,
    PrefixScorer,
    TrainedCharLM,
    char_scores,
    encode,
    new_net,
    read_char_lm,
    save_notes,
    stored,
)
from tests.ctc_doubles import (
    encoded,
    every_labelling,
    info,
    logs,
    matrices,
    plain_prefix_beam,
    random_matrix,
)

ALPHABET = ("", " ", "a", "b", "é")
CONFIG = CharConfig(width=16, layers=2, heads=2, context=16)
WHOLE: dict[str, Any] = {"beam": 400, "beam_prune_logp": None, "token_min_logp": None, "nbest": 400}

pytestmark = pytest.mark.usefixtures("untuned")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A network with random weights, large enough that characters differ in probability."""
    torch.manual_seed(0)
    net = new_net(CONFIG)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    file = tmp_path_factory.mktemp("lm") / "lm.safetensors"
    save_file(stored(net.state_dict()), file, save_notes(CONFIG, {}))
    return file


@pytest.fixture(scope="module")
def lm(path) -> TrainedCharLM:
    return read_char_lm(path)


def read(matrix, lm, alphabet=ALPHABET, **options):
    decoder = CTCLMSpec(lm=str(lm), **options).open(info(alphabet))
    (line,) = decoder.decode(encoded([matrix], alphabet))
    decoder.close()
    return line


@settings(max_examples=40, deadline=None)
@given(matrices(), st.floats(0, 2), st.floats(-1, 2))
def test_a_wide_beam_is_every_labelling_with_its_price(path, lm, matrix, alpha, beta):
    names = ALPHABET[: matrix.shape[1]]
    found = dict(read(matrix, path, names, alpha=alpha, beta=beta, **WHOLE).nbest)
    labels = {"".join(names[s] for s in x): p for x, p in every_labelling(matrix).items()}
    for text, probability in labels.items():
        if probability > 1e-30:
            price = alpha * lm.score([text])[0] + beta * len(text)
            assert found[text] == pytest.approx(math.log(probability) + price, abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(0.2, 3.0))
def test_no_dose_is_the_beam_without_language(path, seed, steps, peaked):
    batch = encoded([random_matrix(seed, n, 5, peaked) for n in (steps, 3)], ALPHABET)
    decoder = CTCLMSpec(lm=str(path), alpha=0.0, beta=0.0, nbest=8).open(info(ALPHABET))
    assert decoder.decode(batch) == CTCBeamSpec(nbest=8).open(info(ALPHABET)).decode(batch)


def slow(matrix, lm, alpha, beta, width):
    """Prefix beam search with a dictionary, every prefix scored by the whole text before it."""

    def price(prefix):
        text = "".join(ALPHABET[s] for s in prefix)
        (scores,) = char_scores(lm.net, lm.config, [text])
        return math.exp(alpha * float(scores[-2]) + beta)

    texts = {}
    for prefix, mass in plain_prefix_beam(matrix, width, price):
        text = "".join(ALPHABET[s] for s in prefix)
        end = float(char_scores(lm.net, lm.config, [text])[0][-1])
        texts[text] = math.log(mass) + alpha * end
    return texts


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 14), st.floats(0.2, 2.0), st.floats(0, 1.5))
def test_a_narrow_beam_is_that_of_a_slow_search(path, lm, seed, steps, peaked, alpha):
    matrix = random_matrix(seed, steps, 5, peaked)
    options = {"beam": 6, "beam_prune_logp": None, "token_min_logp": None, "nbest": 6}
    found = dict(read(matrix, path, alpha=alpha, beta=0.7, **options).nbest)
    expected = slow(matrix, lm, alpha, 0.7, 6)
    assert found.keys() == expected.keys()
    for text, score in expected.items():
        assert found[text] == pytest.approx(score, abs=1e-3)


def test_lines_of_a_batch_do_not_touch_each_other(path):
    alone = [random_matrix(seed, steps, 5) for seed, steps in ((1, 30), (2, 4), (3, 17), (4, 1))]
    decoder = CTCLMSpec(lm=str(path), alpha=0.8, beta=0.5, nbest=4).open(info(ALPHABET))
    together = decoder.decode(encoded(alone, ALPHABET))
    for matrix, line in zip(alone, together, strict=True):
        (single,) = decoder.decode(encoded([matrix], ALPHABET))
        assert single.text == line.text
        assert single.score == pytest.approx(line.score, abs=1e-3)


def test_a_prefix_is_scored_as_a_whole_text(lm):
    """Prefixes of different lengths and lines in one step."""
    scorer = PrefixScorer(lm, torch.device("cpu"))
    read: dict[str, Any] = {}
    for texts in ([""], ["a", "b", "é"], ["ab", "b ", ""], ["aba", "a "]):
        before = np.array([read[text[:-1]][0] if text else -1 for text in texts])
        last = np.array([encode(text)[-1] if text else SPACE for text in texts])
        for text, *result in zip(texts, *scorer.extend(before, last), strict=True):
            read[text] = result
    for text, (_, log_probs) in read.items():
        for following in "ab":
            expected = char_scores(lm.net, lm.config, [text + following])[0][len(text)]
            assert log_probs[encode(following)[0]] == pytest.approx(expected, abs=1e-4)


def test_the_score_of_a_text_is_the_objective_of_the_search(path):
    matrix = random_matrix(5, 5, 5)
    options: dict[str, Any] = {"alpha": 0.7, "beta": 0.4}
    found = read(matrix, path, **options, **WHOLE).nbest
    decoder = CTCLMSpec(lm=str(path), **options).open(info(ALPHABET))
    scores = decoder.score(encoded([matrix], ALPHABET), [[text for text, _ in found]])
    assert scores is not None
    assert scores[0] == pytest.approx([score for _, score in found], abs=1e-3)


def test_a_line_longer_than_the_context_is_read(path):
    matrix = logs([[0.01] * (3 - k % 2) + [0.96] + [0.01] * (k % 2 + 1) for k in range(60)])
    assert read(matrix, path, alpha=0.01, beta=0.0).text == "ba" * 30


def test_refused(tmp_path):
    with pytest.raises(UserError, match="alpha is a weight, 0 to 50, not -1"):
        CTCLMSpec(alpha=-1.0)
    with pytest.raises(UserError, match="are missing"):
        CTCLMSpec(lm=str(tmp_path / "absent.safetensors")).open(info(ALPHABET))
