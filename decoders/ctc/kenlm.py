"""CTC beam search with a word n-gram model: pyctcdecode and KenLM."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from bench.core.errors import Unavailable, UserError
from bench.core.types import Decoded, Encoded, EncoderInfo
from decoders import tuned
from decoders.ctc.base import (
    CTCDecoder,
    check_beam,
    check_threshold,
    checked_on_host,
    missing_space,
)
from decoders.ctc.kenlm_pool import (
    Ranked,
    WordSearch,
    WorkerPool,
    build_decoder,
    can_fork,
    decode_line,
    word_price,
)
from decoders.ctc.score import worded_scores
from decoders.language.arpa_lm import EMBEDDED
from decoders.language.kenlm_files import load_kenlm
from decoders.language.lm import WordLM, read_word_lm, word_lm, writable_words

_NAME = "ctc-kenlm"
# The same search under the same weights: those of the other, which is quicker to tune, hold too.
_TUNED_AS = (_NAME, "ctc-ngram-word")
# pyctcdecode's own defaults, for encoders that nobody has tuned for.
_UNTUNED = {"alpha": 0.5, "beta": 1.5, "unk_offset": -10.0}


@dataclass(frozen=True)
class CTCKenLM(CTCDecoder, tuned.Tunable["_Open"]):
    """Shallow fusion of CTC with a word n-gram: log p_ctc + alpha * log p_lm + beta * words.

    Source: pyctcdecode 0.5.0, https://github.com/kensho-technologies/pyctcdecode; its search is
    taken as it is. Its texts have no white space at the ends and single spaces inside.

    alpha: weight of the language model (natural logarithms).
    beta: bonus of each word.
    unk_offset: added to the log10 probability of a word that the model does not know (and so
        weighed by alpha), and to the score of a partial word that begins none (not weighed).
        These three: none is the value tuned for the encoder, with this decoder or with
        ctc-ngram-word, see `decoders/tuned.json`.
    beam: hypotheses kept after each frame.
    beam_prune_logp: hypotheses worse than the best by more than this are dropped; none: kept.
    token_min_logp: symbols below this log-probability are skipped in a frame, unless likeliest;
        none: never.
    prune_history: of hypotheses that no later word can tell apart keep the best alone.
    score_boundary: take the line for a sentence, with the model's marks at both ends.
    lm: an ARPA file or KenLM binary; "" for the model of the embedded corpus.
    workers: processes that share the lines of a batch; 0 for as many as torch has threads.
    nbest: texts given for each line; with 1 the best one alone.
    """

    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "alpha": (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9),
        "beta": (-1.0, 0.0, 1.0, 2.0, 3.0),
        "unk_offset": (-2.0, -5.0, -10.0, -15.0, -20.0),
    }

    alpha: float | None = None
    beta: float | None = None
    unk_offset: float | None = None
    # On synthetic posteriors of damaged lines a beam of 50 to 64 read as well as pyctcdecode's 100,
    # in two thirds of the time, and one of 16 worse. One worker a thread: a row says how many
    # threads it had, and the other decoders keep to them as well.
    beam: int = 64
    beam_prune_logp: float | None = -10.0
    token_min_logp: float | None = -5.0
    prune_history: bool = True
    score_boundary: bool = False  # lines break anywhere in a sentence
    lm: str = ""
    workers: int = 0
    nbest: int = 1

    def __post_init__(self) -> None:
        check_beam(self.beam, self.nbest)
        check_threshold("token_min_logp", self.token_min_logp)
        check_threshold("beam_prune_logp", self.beam_prune_logp)
        if self.workers < 0:
            raise UserError(f"workers is 0 (one a thread) or more, not {self.workers}")

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """Without a space there are no words."""
        return missing_space(encoder) or super().missing(encoder)

    def open(self, encoder: EncoderInfo) -> None:
        """Load the language model (the embedded one is built at first use), then fork the workers.

        Raises:
            UserError: the model cannot be read, or shares no word with the encoder's alphabet.
        """
        lm = read_word_lm(Path(self.lm)) if self.lm else word_lm()
        writable = writable_words(lm.unigrams, lm.path, encoder)
        decoder = build_decoder(encoder.alphabet, load_kenlm(lm.path), lm.unigrams)
        workers = (self.workers or torch.get_num_threads()) if can_fork() else 1
        pool = WorkerPool(decoder, workers) if workers > 1 else None
        untuned = (_UNTUNED, "nothing (pyctcdecode's defaults)")
        name = (self._lm_name(lm), lm.sha256)
        weights = tuned.weights(self, _TUNED_AS, encoder, name, untuned)
        state = _Open(*weights, lm, len(lm.unigrams) - len(writable), decoder, pool)
        self._keep(state)

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """The score is that of the search: log-probability + language model + bonus of words.

        Raises:
            UserError: the log-probabilities are broken, or a worker died.
        """
        log_probs, frames = checked_on_host(encoded)
        places = np.flatnonzero(frames)
        lines = [log_probs[place, : frames[place]] for place in places]
        found = dict(zip(places.tolist(), self._search(lines), strict=True))
        return [self._decoded(found.get(place, [("", 0.0)])) for place in range(len(frames))]

    def score(
        self, encoded: Encoded, texts: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]] | None:
        """The log-probability of each text, all its paths summed, and what its words add to it."""
        state, values = self._opened(), self._opened().values
        state.decoder.reset_params(
            values["alpha"], values["beta"], values["unk_offset"], self.score_boundary
        )
        return worded_scores(encoded, texts, partial(word_price, state.decoder))

    def close(self) -> None:
        """End the workers and let go of the model, which pyctcdecode holds in a class variable."""
        if self._open is not None:
            if self._open.pool is not None:
                self._open.pool.close()
            self._open.decoder.cleanup()
            self._keep(None)

    def extras(self) -> Mapping[str, Any]:
        """The model, the weights in force and where they were tuned, the workers in use."""
        state = self._opened()
        return {
            "lm": self._lm_name(state.lm),
            "lm_sha256": state.lm.sha256,
            "lm_order": state.lm.order,
            "lm_trained_on": state.lm.trained_on,
            "lm_words": len(state.lm.unigrams),
            "lm_words_foreign": state.foreign,  # hold a character that the encoder cannot write
            **state.values,
            "tuned_on": state.source,
            "workers": state.pool.workers if state.pool else 1,
        }

    def _lm_name(self, lm: WordLM) -> str:
        """What weights are tuned for: the embedded model, whatever its text, or one very file."""
        return lm.sha256 if self.lm else EMBEDDED

    def _search(self, lines: Sequence[NDArray[np.float32]]) -> list[Ranked]:
        state = self._opened()
        search = WordSearch(
            alpha=state.values["alpha"],
            beta=state.values["beta"],
            unk_score_offset=state.values["unk_offset"],
            score_boundary=self.score_boundary,
            beam_width=self.beam,
            beam_prune_logp=_off(self.beam_prune_logp),
            token_min_logp=_off(self.token_min_logp),
            prune_history=self.prune_history,
            nbest=self.nbest,
        )
        # A single line has nobody to share with.
        if state.pool is not None and len(lines) > 1:
            return state.pool.decode(search, lines)
        return [decode_line(state.decoder, search, line) for line in lines]

    def _decoded(self, ranked: Ranked) -> Decoded:
        text, score = ranked[0]
        return Decoded(text, len(text), score, tuple(ranked) if self.nbest > 1 else ())


@dataclass
class _Open(tuned.Weighted):
    """What `open` makes.

    foreign: words of the model that the encoder's alphabet cannot write.
    decoder: pyctcdecode's, in this process.
    """

    lm: WordLM
    foreign: int
    decoder: Any
    pool: WorkerPool | None


def _off(threshold: float | None) -> float:
    return -math.inf if threshold is None else threshold
