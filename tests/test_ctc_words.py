"""Word models: pyctcdecode in workers that always end, and our search, which reads alike."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench import ROOT
from bench.core.errors import UserError
from bench.core.metrics import normalise
from decoders.ctc.beam import CTCBeamSpec
from decoders.ctc.ngram_word import CTCNGramWordSpec
from decoders.language.arpa import write_arpa
from decoders.language.ngram import estimate, words_of
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

from decoders.ctc.kenlm import CTCKenLMSpec, can_fork

TEXT = (
    "the cat and the dog", "a cat sat", "the dog sat on a cat", "on and on the cot",
    "a dog and a cot", "the cat sat on the cot",
)  # fmt: skip
SMALL = ("", " ", "a", "c", "o", "t")
# pyctcdecode normalises in float32 what is normalised already.
CLOSE = 1e-4

pytestmark = pytest.mark.usefixtures("untuned")
needs_fork = pytest.mark.skipif(not can_fork(), reason="this system has no fork")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An ARPA file of each order."""
    folder = tmp_path_factory.mktemp("words")
    for order in (2, 3, 4):
        write_arpa(estimate(map(words_of, TEXT), order).model, folder / f"{order}.arpa")
    return {order: str(folder / f"{order}.arpa") for order in (2, 3, 4)}


@pytest.fixture
def opened(files):
    """Opens ctc-kenlm and closes it after the test."""
    made = []

    def make(**options):
        made.append(CTCKenLMSpec(**{"lm": files[2], "workers": 1, **options}).open(info()))
        return made[-1]

    yield make
    for decoder in made:
        decoder.close()


def both(matrices: list[NDArray[np.float32]], alphabet=ALPHABET, **options):
    """The lines of pyctcdecode and of ours from the same matrices with the same options."""
    batch = encoded(matrices, alphabet)
    read = []
    for spec in (CTCKenLMSpec(**options, workers=1), CTCNGramWordSpec(**options)):
        decoder = spec.open(info(alphabet))
        read.append(decoder.decode(batch))
        decoder.close()
    return read


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 40), st.floats(0.3, 3.0),
    st.fixed_dictionaries({
        "alpha": st.floats(0.0, 2.0), "beta": st.floats(-1.0, 3.0),
        "unk_offset": st.floats(-12.0, 0.0), "beam": st.sampled_from([3, 20, 100]),
        "beam_prune_logp": st.sampled_from([None, -4.0, -10.0]),
        "token_min_logp": st.sampled_from([-3.0, -5.0]), "prune_history": st.booleans(),
        "score_boundary": st.booleans(),
    }),
    st.sampled_from([2, 3, 4]),
)  # fmt: skip
def test_random_matrices_are_read_as_pyctcdecode_reads_them(
    files, seed, steps, peaked, options, order
):
    matrix = random_matrix(seed, steps, len(SMALL), peaked)
    (theirs,), (ours,) = both([matrix], SMALL, lm=files[order], nbest=3, **options)
    assert ours.score == pytest.approx(theirs.score, abs=CLOSE)
    tied = any(abs(score - theirs.score) < CLOSE for _, score in theirs.nbest[1:])
    assert tied or (ours.text, ours.tokens) == (theirs.text, theirs.tokens)


@pytest.mark.parametrize("prune_history", [True, False])
def test_spaces_and_unknown_words(files, prune_history):
    def noisy(text: str, seed: int) -> NDArray[np.float32]:
        """A matrix of a text in which every symbol has a rival now and then."""
        rows = np.array(written(text, sure=0.9))
        rng = np.random.default_rng(seed)
        for row in rows[rng.random(len(rows)) < 0.4]:
            row[rng.integers(len(row))] += rng.random()
        return logs(rows / rows.sum(1, keepdims=True))

    texts = [" the  cat ", "  ", "a zebra sat", "thecatandthedog", "t h e", "on", "cat  ", "a"]
    theirs, ours = both(
        [noisy(text, seed) for seed, text in enumerate(texts * 3)], lm=files[3], alpha=0.6,
        beta=1.0, unk_offset=-4.0, prune_history=prune_history, nbest=2,
    )  # fmt: skip
    for one, other in zip(theirs, ours, strict=True):
        assert other.text == one.text
        assert other.score == pytest.approx(one.score, abs=CLOSE)


def close_call() -> NDArray[np.float32]:
    """ "the cot", where "the cat" is nearly as likely."""
    rows = written("the cot", sure=0.99)
    place = 2 * "the cot".index("o")
    rows[place] = [0.1 / (len(ALPHABET) - 2)] * len(ALPHABET)
    rows[place][ALPHABET.index("o")], rows[place][ALPHABET.index("a")] = 0.5, 0.4
    return logs(rows)


def test_the_model_turns_a_close_call_and_the_score_is_the_sum(opened, tmp_path):
    import kenlm

    lm = tmp_path / "cats.arpa"
    write_arpa(estimate([["the", "cat"]] * 4 + [["the", "cot"]], 2).model, lm)
    batch = encoded([close_call()], ALPHABET)
    whole: dict[str, Any] = {"beam_prune_logp": None, "token_min_logp": None}
    ctc = dict(CTCBeamSpec(nbest=32, **whole).open(info()).decode(batch)[0].nbest)
    assert next(iter(ctc)) == "the cot"
    weights = {"alpha": 1.0, "beta": 0.5, "unk_offset": -3.0}
    # Its thresholds let nothing end in a space, which would count as an unknown word more.
    (line,) = opened(lm=str(lm), nbest=2, **weights).decode(batch)
    assert [text for text, _ in line.nbest] == ["the cat", "the cot"]
    assert (line.text, line.tokens, line.score) == ("the cat", 7, line.nbest[0][1])
    for text, score in line.nbest:
        log10 = kenlm.Model(str(lm)).score(text, bos=False, eos=False)
        assert score == pytest.approx(ctc[text] + math.log(10) * log10 + 2 * 0.5, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(matrices(max_steps=4))
def test_without_weights_it_is_the_beam_without_language(files, matrix):
    names = ("", " ", "a", "c")
    batch = np.full((len(matrix), len(names)), -np.inf, np.float32)
    batch[:, : matrix.shape[1]] = matrix
    decoder = CTCKenLMSpec(
        500, None, 500, None, 0.0, 0.0, unk_offset=0.0, prune_history=False, lm=files[2], workers=1
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


@needs_fork
def test_more_workers_than_a_machine_can_use_are_refused(opened):
    with pytest.raises(UserError, match="workers is 100000; give at most"):
        opened(workers=100_000)


def test_close_ends_the_workers_and_frees_the_model(opened):
    before = set(psutil.Process().children())
    decoder = opened(workers=2)
    children = set(psutil.Process().children()) - before
    assert len(children) == 2  # forked by open, not in measured time
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
    assert not reading.is_alive() and len(failures) == 1


@needs_fork
def test_a_killed_worker_is_an_error_and_no_hang(opened):
    before = set(psutil.Process().children())
    decoder = opened(workers=2)
    batch = encoded([close_call()] * 4, ALPHABET)
    read = decoder.decode(batch)
    for child in set(psutil.Process().children()) - before:
        child.kill()
    with pytest.raises(UserError, match="workers=1"):
        decoder.decode(batch)
    assert decoder.decode(batch) == read  # by others, for the next cell


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
