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
    CTCSpec,
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
from decoders.language.lm import read_word_lm, word_lm, writable_words

_NAME = "ctc-kenlm"
# The same search under the same weights: those of the other, which is quicker to tune, hold too.
_TUNED_AS = (_NAME, "ctc-ngram-word")
# pyctcdecode's own defaults, for encoders that nobody has tuned for.
_UNTUNED = {"alpha": 0.5, "beta": 1.5, "unk_offset": -10.0}


@dataclass(frozen=True)
class CTCKenLMSpec(CTCSpec):
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

    def open(self, encoder: EncoderInfo) -> tuned.Tunable:
        """Load the language model (the embedded one is built at first use), then fork the workers.

        Raises:
            UserError: the model cannot be read, or shares no word with the encoder's alphabet.
        """
        return CTCKenLM(self, encoder)


class CTCKenLM(tuned.Tunable):
    """pyctcdecode's search, in this process or in workers."""

    spec: CTCKenLMSpec

    def __init__(self, spec: CTCKenLMSpec, encoder: EncoderInfo) -> None:
        self._lm = lm = read_word_lm(Path(spec.lm)) if spec.lm else word_lm()
        # Weights are tuned for the embedded model, whatever its text, or for one very file.
        self._name = lm.sha256 if spec.lm else EMBEDDED
        # Words of the model that the encoder's alphabet cannot write.
        self._foreign = len(lm.unigrams) - len(writable_words(lm.unigrams, lm.path, encoder))
        untuned = (_UNTUNED, "nothing (pyctcdecode's defaults)")
        names = (self._name, lm.sha256)
        super().__init__(spec, tuned.weights(spec, _TUNED_AS, encoder, names, untuned))
        self._decoder = build_decoder(encoder.alphabet, load_kenlm(lm.path), lm.unigrams)
        workers = (spec.workers or torch.get_num_threads()) if can_fork() else 1
        self._pool = WorkerPool(self._decoder, workers) if workers > 1 else None

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
        weights = (self.values[name] for name in ("alpha", "beta", "unk_offset"))
        self._decoder.reset_params(*weights, self.spec.score_boundary)
        return worded_scores(encoded, texts, partial(word_price, self._decoder))

    def close(self) -> None:
        """End the workers and let go of the model, which pyctcdecode holds in a class variable."""
        if self._pool is not None:
            self._pool.close()
        if self._decoder is not None:
            self._decoder.cleanup()
            self._decoder = None

    def extras(self) -> Mapping[str, Any]:
        """The model, the weights in force and where they were tuned, the workers in use."""
        return {
            "lm": self._name,
            "lm_sha256": self._lm.sha256,
            "lm_order": self._lm.order,
            "lm_trained_on": self._lm.trained_on,
            "lm_words": len(self._lm.unigrams),
            "lm_words_foreign": self._foreign,
            **self.values,
            "tuned_on": self.source,
            "workers": self._pool.workers if self._pool else 1,
        }

    def _search(self, lines: Sequence[NDArray[np.float32]]) -> list[Ranked]:
        spec = self.spec
        search = WordSearch(
            alpha=self.values["alpha"],
            beta=self.values["beta"],
            unk_score_offset=self.values["unk_offset"],
            score_boundary=spec.score_boundary,
            beam_width=spec.beam,
            beam_prune_logp=_off(spec.beam_prune_logp),
            token_min_logp=_off(spec.token_min_logp),
            prune_history=spec.prune_history,
            nbest=spec.nbest,
        )
        # A single line has nobody to share with.
        if self._pool is not None and len(lines) > 1:
            return self._pool.decode(search, lines)
        return [decode_line(self._decoder, search, line) for line in lines]

    def _decoded(self, ranked: Ranked) -> Decoded:
        text, score = ranked[0]
        return Decoded(text, len(text), score, tuple(ranked) if self.spec.nbest > 1 else ())


def _off(threshold: float | None) -> float:
    return -math.inf if threshold is None else threshold
