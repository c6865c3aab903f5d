"""pyctcdecode's beam search in this process or in workers that are forked from it."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyctcdecode.alphabet import Alphabet
from pyctcdecode.decoder import BeamSearchDecoderCTC
from pyctcdecode.language_model import LanguageModel

from bench.core.errors import UserError

Ranked = list[tuple[str, float]]  # texts with scores, best first

_CHUNKS = 4  # pieces of a batch for each worker: long lines even out, copying stays cheap


@dataclass(frozen=True)
class WordSearch:
    """The settings of one search; pyctcdecode's names and meanings."""

    alpha: float
    beta: float
    unk_score_offset: float
    score_boundary: bool
    beam_width: int
    beam_prune_logp: float
    token_min_logp: float
    prune_history: bool
    nbest: int


def build_decoder(alphabet: Sequence[str], model: Any, words: Sequence[str]) -> Any:
    """A pyctcdecode decoder over an alphabet that is taken as it is.

    `build_ctcdecoder` would guess from the symbols whether they are word pieces and which one is
    the space; here that is known.

    Args:
        alphabet: V symbols, "" (the blank) first.
        model: a `kenlm.Model`.
        words: the model's vocabulary, without which every partial word counts as unknown.
    """
    # It warns of small vocabularies; the row says how many words there are.
    logging.getLogger("pyctcdecode").setLevel(logging.ERROR)
    return BeamSearchDecoderCTC(Alphabet(list(alphabet), False), LanguageModel(model, words))


def decode_line(decoder: Any, search: WordSearch, log_probs: NDArray[np.float32]) -> Ranked:
    """The best texts of a line of (T, V) log-probabilities, T of at least 1."""
    # Here and not once for all, since a worker has a copy of the decoder.
    decoder.reset_params(search.alpha, search.beta, search.unk_score_offset, search.score_boundary)
    # Not `decode`, which gives no score; and the two differ in pruning unless it is said.
    beams = decoder.decode_beams(
        log_probs,
        beam_width=search.beam_width,
        beam_prune_logp=search.beam_prune_logp,
        token_min_logp=search.token_min_logp,
        prune_history=search.prune_history,
    )
    return [(text, float(score)) for text, *_, score in beams[: search.nbest]]


def word_price(decoder: Any, text: str) -> float:
    """What the language model adds to the score of a text, by the parameters in force."""
    model, words = decoder._language_model, text.split()
    state, total = model.get_start_state(), 0.0
    for place, word in enumerate(words, 1):
        price, state = model.score(state, word, is_last_word=place == len(words))
        total += float(price)
    return total


class WorkerPool:
    """Worker processes that share a decoder with this process by being forked from it."""

    def __init__(self, decoder: Any, workers: int) -> None:
        """Fork the workers now. The decoder has to be complete: what is changed later is not seen.

        Args:
            decoder: of `build_decoder`; the models of pyctcdecode's decoders live in a class
                variable, which only a fork carries over.
            workers: at least 1.
        """
        self.workers = workers
        before = set(multiprocessing.active_children())
        self._pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("fork"), _begin_worker, (decoder,)
        )
        with warnings.catch_warnings():
            # Python 3.12 warns of threads that hold locks across a fork; the workers use neither
            # torch nor anything else that takes locks in other threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            list(self._pool.map(abs, range(workers)))
        self._processes = set(multiprocessing.active_children()) - before

    def decode(self, search: WordSearch, lines: Sequence[NDArray[np.float32]]) -> list[Ranked]:
        """The best texts of each line.

        Raises:
            UserError: a worker died.
        """
        chunk = math.ceil(len(lines) / (self.workers * _CHUNKS)) or 1
        try:
            return list(self._pool.map(partial(_decode_in_worker, search), lines, chunksize=chunk))
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process of the decoder was killed, perhaps for want of memory; "
                "try -o ctc-kenlm.workers=1"
            ) from error

    def close(self) -> None:
        """End the workers, also in the middle of a line: after Ctrl-C nobody wants its text."""
        for process in self._processes:
            process.kill()
        self._pool.shutdown(cancel_futures=True)


def can_fork() -> bool:
    """Whether this system has fork, without which there are no workers."""
    return "fork" in multiprocessing.get_all_start_methods()


_decoder: Any = None  # of a worker process


def _begin_worker(decoder: Any) -> None:
    global _decoder
    _decoder = decoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the pool
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker waits for work for ever, also when its parent was killed: end it then."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _decode_in_worker(search: WordSearch, log_probs: NDArray[np.float32]) -> Ranked:
    return decode_line(_decoder, search, log_probs)
