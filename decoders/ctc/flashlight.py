"""A peer: flashlight-text's CTC beam search with KenLM, with a lexicon or without."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import Unavailable, UserError
from bench.core.types import BLANK, Decoded, Encoded, EncoderInfo
from decoders import tuned
from decoders.ctc.base import (
    CTCDecoder,
    check_beam,
    check_threshold,
    checked_on_host,
    missing_space,
)
from decoders.language.arpa import SPACE
from decoders.language.arpa_lm import ArpaLM, arpa_lm
from decoders.language.lm import writable_words
from decoders.language.ngram import MAX_ORDER
from decoders.language.units import Unit, missing_symbols

_NAME = "ctc-flashlight"
_UNTUNED = {"alpha": 0.5, "beta": 0.0}
_ORDERS: Mapping[Unit, int] = {
    "char": MAX_ORDER,
    "word": 3,
}  # those of ctc-ngram and ctc-ngram-word
_ANY = 1e9  # no threshold
_IMPOSSIBLE = -1e4  # a log-probability; flashlight adds them up and wants no infinities
_UNENDED = -30.0  # what it costs to drop a line's last word because it is no word of the lexicon


@dataclass(frozen=True)
class CTCFlashlight(CTCDecoder, tuned.Tunable["_Open"]):
    """Shallow fusion of CTC with KenLM by flashlight-text 0.0.7, the decoder behind torchaudio's.

    Source: https://github.com/flashlight/text; J. Kahn et al. 2022, "Flashlight: enabling
    innovation in tools for machine learning" (ICML). Its settings are the nearest to ctc-ngram's:
    the same models, the same beam and beam threshold, scores of one text added up (`log_add`), and
    as many symbols a frame as can be above ctc-ngram's threshold on any but a flat frame. It always
    takes a line for a sentence, with the model's marks at both ends. Spaces at the ends of texts,
    which it likes to put there for that, are left out.

    alpha: weight of the language model (natural logarithms).
    beta: bonus of each word with a lexicon, of each space without.
        These two: none is the value tuned for the encoder, see `decoders/tuned.json`.
    lexicon: only words of a word model, which it then reads; else any text, and a character model.
    beam: hypotheses kept after each frame.
    beam_prune_logp: hypotheses worse than the best by more than this are dropped; none: kept.
    beam_tokens: likeliest symbols of each frame that are tried.
    lm: an ARPA file, of words with a lexicon and of characters without; "" for the embedded one.
    nbest: texts given for each line; with 1 the best one alone.
    """

    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "alpha": (0.2, 0.35, 0.5, 0.7, 0.9, 1.2),
        "beta": (-1.0, 0.0, 1.0, 2.0, 3.0),
    }

    alpha: float | None = None
    beta: float | None = None
    lexicon: bool = False
    beam: int = 32
    beam_prune_logp: float | None = -10.0
    beam_tokens: int = 16
    lm: str = ""
    nbest: int = 1

    def __post_init__(self) -> None:
        check_beam(self.beam, self.nbest)
        check_threshold("beam_prune_logp", self.beam_prune_logp)
        if self.beam_tokens < 1:
            raise UserError(f"beam_tokens is at least 1, not {self.beam_tokens}")

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """It needs its package, and a space, which parts words."""
        if not _installed():
            return Unavailable(
                "ctc-flashlight needs the package flashlight-text", "pip install flashlight-text"
            )
        return missing_space(encoder) or super().missing(encoder)

    def open(self, encoder: EncoderInfo) -> None:
        """Load the model (the embedded one is built at first use).

        Raises:
            UserError: the model cannot be read, or shares no word with the encoder's alphabet.
        """
        unit: Unit = "word" if self.lexicon else "char"
        lm = arpa_lm(self.lm, unit, _ORDERS[unit])
        words = writable_words(lm.words, lm.path, encoder) if self.lexicon else ()
        name = lm.name if self.lm else f"{lm.name} {unit}"
        untuned = (_UNTUNED, "nothing (a guess)")
        weights = tuned.weights(self, (_NAME,), encoder, (name, lm.sha256), untuned)
        if not self.lexicon:
            missing_symbols(lm.model.vocabulary, encoder.alphabet, str(lm.path))
        written = words or tuple(lm.space if s == " " else s for s in encoder.alphabet)
        model = _load(lm.path, written)
        trie = _trie(words, encoder.alphabet) if self.lexicon else None
        symbols, space = len(encoder.alphabet), encoder.alphabet.index(" ")
        state = _Open(*weights, lm, name, words, symbols, space, model, trie)
        self._keep(state)
        self.reweight({})

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """The score is that of the search: log-probability + language model + bonus.

        Raises:
            UserError: the log-probabilities are broken (NaN, not normalised).
        """
        log_probs, frames = checked_on_host(encoded)
        lines = zip(log_probs, frames.tolist(), strict=True)
        return [self._line(line[:count], encoded.alphabet) for line, count in lines]

    def close(self) -> None:
        """Let go of the model."""
        self._keep(None)

    def extras(self) -> Mapping[str, Any]:
        """The model, the weights in force and where they were tuned."""
        state = self._opened()
        return {
            "lm": state.name,
            "lm_sha256": state.lm.sha256,
            "lm_order": state.lm.model.order,
            "lm_trained_on": state.lm.trained_on,
            "lexicon_words": len(state.words),
            **state.values,
            "tuned_on": state.source,
            "workers": 1,
        }

    def reweight(self, values: Mapping[str, float]) -> None:
        """Decode with these weights from now on; the model stays."""
        super().reweight(values)
        state = self._opened()
        state.search = self._search(state)

    def _search(self, state: _Open) -> Any:
        from flashlight.lib.text import decoder as flashlight

        threshold = _ANY if self.beam_prune_logp is None else -self.beam_prune_logp
        tokens = min(self.beam_tokens, state.symbols)
        weight = state.values["alpha"] * math.log(10)  # KenLM tells log10
        beta = state.values["beta"]
        limits, ctc = (self.beam, tokens, threshold, weight), flashlight.CriterionType.CTC
        if state.trie is None:
            options = flashlight.LexiconFreeDecoderOptions(*limits, beta, True, ctc)
            return flashlight.LexiconFreeDecoder(options, state.model, state.space, BLANK, [])
        options = flashlight.LexiconDecoderOptions(*limits, beta, -math.inf, 0.0, True, ctc)
        return flashlight.LexiconDecoder(
            options, state.trie, state.model, state.space, BLANK, -1, [], False
        )

    def _line(self, log_probs: NDArray[np.float32], alphabet: Sequence[str]) -> Decoded:
        state = self._opened()
        emissions = np.maximum(log_probs, np.float32(_IMPOSSIBLE))
        if state.trie is not None:  # a word ends with a space, the line's last one too
            end = np.full((1, len(alphabet)), _UNENDED, np.float32)
            end[0, state.space] = 0.0
            emissions = np.concatenate((emissions, end))
        if not len(log_probs):
            return Decoded("", 0, 0.0)
        emissions = np.ascontiguousarray(emissions)
        ranked: dict[str, float] = {}
        for result in state.search.decode(emissions.ctypes.data, *emissions.shape):
            if len(ranked) < self.nbest:
                ranked.setdefault(_text(result, state, alphabet), result.score)
        nbest = tuple(ranked.items()) or (("", -math.inf),)
        return Decoded(nbest[0][0], len(nbest[0][0]), nbest[0][1], nbest if self.nbest > 1 else ())


@dataclass
class _Open(tuned.Weighted):
    """What `open` makes.

    name: what weights are tuned for; words: of the lexicon, () without one.
    """

    lm: ArpaLM
    name: str
    words: tuple[str, ...]
    symbols: int
    space: int
    model: Any
    trie: Any
    search: Any = None


def _installed() -> bool:
    try:
        return importlib.util.find_spec("flashlight.lib.text") is not None
    except ModuleNotFoundError:
        return False


def _load(path: Path, written: Sequence[str]) -> Any:
    """KenLM as flashlight holds it; the numbers of symbols or words are their places.

    Raises:
        UserError: KenLM refuses the file.
    """
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    entries = Dictionary()
    for place, entry in enumerate(written):
        entries.add_entry(entry or "<blank>", place)
    try:
        with _quiet():
            return KenLM(str(path), entries)
    except RuntimeError as error:
        raise UserError(
            f"KenLM, which ctc-flashlight needs, cannot read {path}; a space in it is written "
            f"{SPACE} or <space>, never as a blank"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """KenLM draws a progress bar of its own on stderr, past Python."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _trie(words: Sequence[str], alphabet: Sequence[str]) -> Any:
    """The lexicon; a word's price before it ends is the best that the words ahead have."""
    from flashlight.lib.text.decoder import SmearingMode, Trie

    place = {symbol: index for index, symbol in enumerate(alphabet)}
    trie = Trie(len(alphabet), place[" "])
    for index, word in enumerate(words):
        trie.insert([*(place[character] for character in word), place[" "]], index, 0.0)
    trie.smear(SmearingMode.MAX)
    return trie


def _text(result: Any, state: _Open, alphabet: Sequence[str]) -> str:
    if state.trie is not None:
        return " ".join(state.words[word] for word in result.words if word >= 0)
    path = itertools.groupby(token for token in result.tokens if token >= 0)
    return "".join(alphabet[token] for token, _ in path).strip()
