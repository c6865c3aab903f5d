"""pyctcdecode + KenLM: scores by hand, the case without language, workers that always end."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from bench import ROOT
from bench.core.errors import UserError
from bench.core.metrics import normalise
from decoders.ctc.beam import CTCBeamSpec
from tests.ctc_doubles import (
    ALPHABET,
    encoded,
    every_labelling,
    info,
    logs,
    matrices,
    random_matrix,
    written,
)

pytest.importorskip("pyctcdecode")
pytest.importorskip("kenlm")

from pyctcdecode.decoder import BeamSearchDecoderCTC

from decoders.ctc.kenlm import CTCKenLMSpec, WorkerPool, can_fork

ARPA = """
\\data\\
ngram 1=7
ngram 2=4

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.3
-1.2\t</s>
-0.8\tthe\t-0.3
-1.5\tcat\t-0.3
-1.0\tcot\t-0.3
-1.4\ta\t-0.1

\\2-grams:
-0.2\tthe cat
-2.0\tthe cot
-0.5\tcat </s>
-0.1\t<s> the

\\end\\
"""

needs_fork = pytest.mark.skipif(not can_fork(), reason="this system has no fork")


@pytest.fixture
def arpa(tmp_path):
    path = tmp_path / "small.arpa"
    path.write_text(ARPA.lstrip("\n"))
    return str(path)


pytestmark = pytest.mark.usefixtures("untuned")


@pytest.fixture
def opened(arpa):
    """Opens decoders and closes them after the test."""
    made = []

    def make(alphabet=ALPHABET, **options):
        decoder = CTCKenLMSpec(**{"lm": arpa, "workers": 1, **options}).open(info(alphabet))
        made.append(decoder)
        return decoder

    yield make
    for decoder in made:
        decoder.close()


def ambiguous(first: str = "o", second: str = "a") -> NDArray[np.float32]:
    """ "the cot", where `second` is nearly as likely as `first`."""
    rows = written("the cot", sure=0.99)
    place = 2 * "the cot".index("o")
    rows[place] = [0.1 / (len(ALPHABET) - 2)] * len(ALPHABET)
    rows[place][ALPHABET.index(first)] = 0.5
    rows[place][ALPHABET.index(second)] = 0.4
    return logs(rows)


def test_the_model_turns_a_close_call_and_the_score_is_the_sum(opened):
    matrix = ambiguous()
    batch = encoded([matrix], ALPHABET)
    assert CTCBeamSpec().open(info()).decode(batch)[0].text == "the cot"
    decoder = opened(
        alpha=1.0, beta=0.5, unk_offset=-3.0, beam_prune_logp=None, token_min_logp=None, nbest=2
    )
    (line,) = decoder.decode(batch)
    assert line.text == "the cat"
    assert line.tokens == len("the cat")
    assert [text for text, _ in line.nbest] == ["the cat", "the cot"]
    ctc = dict(CTCBeamSpec(32, None, 32).open(info()).decode(batch)[0].nbest)
    for text, log10 in (("the cat", -0.8 - 0.2), ("the cot", -0.8 - 2.0)):
        expected = ctc[text] + 1.0 * math.log(10) * log10 + 2 * 0.5
        assert dict(line.nbest)[text] == pytest.approx(expected, abs=0.01)
    assert line.score == line.nbest[0][1]


def test_boundaries_are_scored_only_when_asked_for(opened):
    batch = encoded([ambiguous()], ALPHABET)
    weights = {"alpha": 1.0, "beta": 0.0, "unk_offset": 0.0}
    without = opened(**weights).decode(batch)[0].score
    within = opened(**weights, score_boundary=True).decode(batch)[0].score
    # <s> the, the cat, cat </s> in the place of the, the cat.
    assert within - without == pytest.approx(math.log(10) * (-0.1 - 0.5 + 0.8), abs=1e-6)


def test_an_unknown_word_costs_the_offset(opened):
    matrix = logs(written("a dog", sure=0.999))
    scores = [
        opened(alpha=0.5, beta=0.0, unk_offset=offset, beam_prune_logp=None).decode(
            encoded([matrix], ALPHABET)
        )[0]
        for offset in (0.0, -4.0)
    ]
    assert {line.text for line in scores} == {"a dog"}
    difference = scores[1].score - scores[0].score
    assert difference == pytest.approx(0.5 * math.log(10) * -4.0, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(matrices(max_steps=4))
def test_without_weights_it_is_the_beam_without_language(tmp_path_factory, matrix):
    path = tmp_path_factory.getbasetemp() / "no_language.arpa"
    path.write_text(ARPA.lstrip("\n"))
    names = ("", " ", "a", "b")
    batch = np.full((len(matrix), len(names)), -np.inf, np.float32)
    batch[:, : matrix.shape[1]] = matrix
    decoder = CTCKenLMSpec(
        500, None, 500, None, 0.0, 0.0, unk_offset=0.0, prune_history=False, lm=str(path), workers=1
    ).open(info(names))
    (line,) = decoder.decode(encoded([batch], names))
    decoder.close()
    truth: dict[str, float] = {}  # pyctcdecode takes texts that differ in spaces alone for one
    for label, probability in every_labelling(matrix).items():
        text = normalise("".join(names[symbol] for symbol in label))
        truth[text] = truth.get(text, 0.0) + probability
    assert truth[line.text] == pytest.approx(max(truth.values()), rel=1e-3)
    for text, score in line.nbest:
        if score > -25:  # below that pyctcdecode clips
            assert score == pytest.approx(math.log(truth[text]), abs=1e-3)


def test_characters_that_the_model_does_not_know(opened):
    alphabet = (*ALPHABET, "§", "_", "|", "▁")
    text = "the §_|▁ cat"
    decoder = opened(alphabet)
    batch = encoded([logs(written(text, alphabet, 0.999))], alphabet)
    assert decoder.decode(batch)[0].text == text


def test_words_that_the_encoder_cannot_write(opened):
    decoder = opened(("", " ", *"acot"))
    assert decoder.extras()["lm_words"] == 4
    assert decoder.extras()["lm_words_foreign"] == 1  # the
    with pytest.raises(UserError, match="can write none of the 4 words"):
        opened(("", " ", "x"))
    absent = CTCKenLMSpec().missing(info(("", "a")))
    assert absent is not None and "no space" in str(absent)
    assert "no CTC head" in str(CTCKenLMSpec().missing(info(())))


def test_a_model_that_cannot_be_read(tmp_path):
    broken = tmp_path / "broken.arpa"
    broken.write_text("\\data\\\nngram 1=3\n")
    for path in (broken, tmp_path / "absent.arpa"):
        with pytest.raises(UserError, match=path.name):
            CTCKenLMSpec(lm=str(path)).open(info())
    assert BeamSearchDecoderCTC.model_container == {}


# Weights


# Workers


@needs_fork
def test_workers_read_what_one_process_reads(opened):
    lines = [random_matrix(seed, 5 + seed, len(ALPHABET), 0.8) for seed in range(9)]
    batch = encoded([*lines, lines[0]], ALPHABET, frames=[*map(len, lines), 0])
    one, two = opened(beam=8, nbest=2), opened(beam=8, nbest=2, workers=2)
    assert (one.extras()["workers"], two.extras()["workers"]) == (1, 2)
    assert two.decode(batch) == one.decode(batch)
    for decoder in (one, two):  # new weights reach the workers, which were forked before
        decoder.reweight({"alpha": 3.0, "beta": -1.0})
    assert two.decode(batch) == one.decode(batch)
    order = [4, 2, 9, 0]
    permuted = encoded([lines[i % 9] for i in order], ALPHABET, frames=[9, 7, 0, 5])
    assert two.decode(permuted) == [one.decode(batch)[i] for i in order]


@needs_fork
def test_close_ends_the_workers_and_frees_the_model(opened):
    before = set(psutil.Process().children())
    decoder = opened(workers=2)
    children = set(psutil.Process().children()) - before
    assert len(children) == 2  # forked by open, not in measured time
    assert len(BeamSearchDecoderCTC.model_container) == 1
    decoder.close()
    decoder.close()
    psutil.wait_procs(children, timeout=5)
    assert not any(child.is_running() for child in children)
    assert BeamSearchDecoderCTC.model_container == {}


@needs_fork
def test_close_does_not_wait_for_a_line_that_takes_minutes(opened):
    decoder = opened(beam=500, beam_prune_logp=None, token_min_logp=None, workers=2)
    flat = np.full((900, len(ALPHABET)), -math.log(len(ALPHABET)), np.float32)
    failures: list[BaseException] = []

    def read():
        try:
            decoder.decode(encoded([flat] * 4, ALPHABET))
        except UserError as error:
            failures.append(error)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(1.0)
    assert reading.is_alive()
    decoder.close()
    reading.join(20.0)
    assert not reading.is_alive()
    assert len(failures) == 1


@needs_fork
def test_a_killed_worker_is_an_error_and_no_hang(opened):
    before = set(psutil.Process().children())
    decoder = opened(workers=2)
    batch = encoded([ambiguous()] * 4, ALPHABET)
    decoder.decode(batch)
    for child in set(psutil.Process().children()) - before:
        child.kill()
    with pytest.raises(UserError, match="workers=1"):
        decoder.decode(batch)


@needs_fork
def test_workers_do_not_outlive_a_killed_parent():
    program = (
        "import sys, psutil\n"
        "from decoders.ctc.kenlm import WorkerPool\n"
        "pool = WorkerPool(None, 2)\n"
        "print(*(child.pid for child in psutil.Process().children()), flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_the_pool_is_made_after_the_model(opened, monkeypatch):
    seen = []
    made = WorkerPool.__init__

    def watch(self, decoder, workers):
        seen.append(dict(BeamSearchDecoderCTC.model_container))
        made(self, decoder, workers)

    monkeypatch.setattr(WorkerPool, "__init__", watch)
    opened(workers=2)
    assert len(seen[0]) == 1
