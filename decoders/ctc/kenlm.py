"""CTC beam search with a word n-gram model, by pyctcdecode and KenLM in worker processes."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.options import check_least
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders import tuned
from decoders.base import NBest, Scores
from decoders.ctc.base import WordFusionSpec, checked_on_host, decoded, worded_scores
from decoders.language.kenlm_files import load_kenlm
from decoders.language.lm import kenlm_lm, word_extras, writable_words

_MOST_WORKERS = 4  # a core; each is a process
_CHUNKS = 4  # pieces of a batch for each worker: long lines even out, copying stays cheap


@dataclass(frozen=True)
class CTCKenLMSpec(WordFusionSpec):
    """Shallow fusion of CTC with a word n-gram: log p_ctc + alpha * log p_lm + beta * words.

    Source: pyctcdecode 0.5.0, https://github.com/kensho-technologies/pyctcdecode; its search is
    used unchanged. Its texts have no white space at the ends and single spaces inside.

    lm: also a KenLM binary.
    workers: processes that share the lines of a batch; 0 for as many as torch has threads.
    """

    # One worker a thread, since a row states its threads and other decoders use as many.
    workers: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 0, "workers")

    def open(self, encoder: EncoderInfo) -> tuned.Tunable:
        """Load the model (the embedded one is built at first use), then fork the workers."""
        return _CTCKenLM(self, encoder)


class _CTCKenLM(tuned.Tunable):
    spec: CTCKenLMSpec

    def __init__(self, spec: CTCKenLMSpec, encoder: EncoderInfo) -> None:
        import torch

        workers = (spec.workers or torch.get_num_threads()) if can_fork() else 1
        if workers > (most := _MOST_WORKERS * (os.cpu_count() or 1)):
            raise UserError(f"workers is {workers}; give at most {most} on this machine")
        self._lm = lm = kenlm_lm(spec.lm)
        self._unwritable = len(lm.words) - len(writable_words(lm, encoder))
        names = ("ctc-kenlm", "ctc-ngram-word")
        super().__init__(spec, tuned.weights(spec, encoder, lm.identity, *names))
        self._decoder = build_decoder(encoder.alphabet, load_kenlm(lm.path), lm.words)
        self._pool = WorkerPool(self._decoder, workers) if workers > 1 else None

    def decode(self, encoded: Encoded) -> list[Decoded]:
        log_probs, frames = checked_on_host(encoded)
        places = np.flatnonzero(frames)
        lines = [log_probs[place, : frames[place]] for place in places]
        read = dict(zip(places.tolist(), self._search(lines), strict=True))
        nbest = (read.get(place, (("", 0.0),)) for place in range(len(frames)))
        return [decoded(one, self.spec.nbest) for one in nbest]

    def score(self, encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[Scores] | None:
        self._decoder.reset_params(*self._weights())
        return worded_scores(encoded, texts, partial(_word_price, self._decoder))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
        # pyctcdecode holds the model in a class variable.
        if self._decoder is not None:
            self._decoder.cleanup()
            self._decoder = None

    def extras(self) -> Mapping[str, Any]:
        return {
            **word_extras(self._lm, self._unwritable),
            **self.values,
            "tuned_on": self.source,
            "workers": self._pool.workers if self._pool is not None else 1,
        }

    def _weights(self) -> tuple[Any, ...]:
        """Arguments of `reset_params`."""
        weights = (self.values[name] for name in ("alpha", "beta", "unk_offset"))
        return (*weights, self.spec.score_boundary)

    def _search(self, lines: Sequence[NDArray[np.float32]]) -> list[NBest]:
        search = WordSearch.of(self.spec, self._weights())
        # A single line cannot be shared.
        if self._pool is not None and len(lines) > 1:
            return self._pool.decode(search, lines)
        return [search.decode(self._decoder, line) for line in lines]


@dataclass(frozen=True)
class WordSearch:
    """A search of pyctcdecode: the parameters of `reset_params`, the options of `decode_beams`."""

    weights: tuple[Any, ...]
    options: Mapping[str, Any]
    nbest: int

    @classmethod
    def of(cls, spec: CTCKenLMSpec, weights: tuple[Any, ...]) -> WordSearch:
        """Set every threshold, since pyctcdecode's functions differ in defaults."""
        thresholds = {n: getattr(spec, n) for n in ("beam_prune_logp", "token_min_logp")}
        options = {
            "beam_width": spec.beam,
            "prune_history": spec.prune_history,
            **{name: -math.inf if value is None else value for name, value in thresholds.items()},
        }
        return cls(weights, options, spec.nbest)

    def decode(self, decoder: Any, log_probs: NDArray[np.float32]) -> NBest:
        """The best texts of a line of (T, V) log-probabilities, T of at least 1."""
        # Set at each call, since a worker has a copy of the decoder.
        decoder.reset_params(*self.weights)
        beams = decoder.decode_beams(log_probs, **self.options)  # `decode` gives no score
        return tuple((text, float(score)) for text, *_, score in beams[: self.nbest])


def build_decoder(alphabet: Sequence[str], model: Any, words: Sequence[str]) -> Any:
    """Make a pyctcdecode decoder over an unchanged alphabet, blank first.

    `build_ctcdecoder` would guess from the symbols whether they are word pieces and which one is
    the space. Without the words of the `kenlm.Model` every partial word would count as unknown.
    """
    from pyctcdecode.alphabet import Alphabet
    from pyctcdecode.decoder import BeamSearchDecoderCTC
    from pyctcdecode.language_model import LanguageModel

    # It warns of small vocabularies; the row has their number.
    logging.getLogger("pyctcdecode").setLevel(logging.ERROR)
    return BeamSearchDecoderCTC(Alphabet(list(alphabet), False), LanguageModel(model, words))


def _word_price(decoder: Any, text: str) -> float:
    """The language model's part of the score of a text, with the current parameters."""
    model, words = decoder._language_model, text.split()
    state, total = model.get_start_state(), 0.0
    for place, word in enumerate(words, 1):
        price, state = model.score(state, word, is_last_word=place == len(words))
        total += float(price)
    return total


class WorkerPool:
    """Worker processes forked from this one, with its decoder."""

    def __init__(self, decoder: Any, workers: int) -> None:
        """Fork the workers now. The decoder has to be complete: later changes are not seen.

        The models of pyctcdecode's decoders live in a class variable, which only a fork carries
        over.
        """
        self.workers, self._decoder, self._closed = workers, decoder, False
        self._changing = threading.Lock()  # a pool's shutdown may run in one thread only
        self._fork()

    def _fork(self) -> None:
        before = set(multiprocessing.active_children())
        self._pool = ProcessPoolExecutor(
            self.workers, multiprocessing.get_context("fork"), _begin_worker, (self._decoder,)
        )
        with warnings.catch_warnings():
            # Python 3.12 warns of threads that hold locks across a fork; the workers use neither
            # torch nor anything else that takes locks in other threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            list(self._pool.map(abs, range(self.workers)))
        self._processes = set(multiprocessing.active_children()) - before

    def decode(self, search: WordSearch, lines: Sequence[NDArray[np.float32]]) -> list[NBest]:
        """The best texts of each line.

        Raises:
            UserError: a worker was killed; others take its place for the next call.
        """
        chunk = math.ceil(len(lines) / (self.workers * _CHUNKS)) or 1
        try:
            return list(self._pool.map(partial(_decode_in_worker, search), lines, chunksize=chunk))
        except BrokenProcessPool as error:
            with self._changing:
                if not self._closed:
                    self._end()
                    self._fork()
            raise UserError(
                "a worker process of the decoder was killed, perhaps for lack of memory; "
                "try -o ctc-kenlm.workers=1"
            ) from error

    def close(self) -> None:
        """End the workers, also in the middle of a line: after Ctrl-C its text is not needed."""
        with self._changing:
            self._closed = True
            self._end()

    def _end(self) -> None:
        for process in self._processes:
            process.kill()
        self._pool.shutdown(cancel_futures=True)


def can_fork() -> bool:
    """Whether the system can fork, which workers need."""
    return "fork" in multiprocessing.get_all_start_methods()


_decoder: Any = None  # of a worker process


def _begin_worker(decoder: Any) -> None:
    global _decoder
    _decoder = decoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the pool
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End a worker whose parent was killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _decode_in_worker(search: WordSearch, log_probs: NDArray[np.float32]) -> NBest:
    return search.decode(_decoder, log_probs)
