"""The cloze test: a language model alone guesses hidden characters of the true text.

The model reads the true text with the hidden characters left blank, their number known, as
Ithaca does for inscriptions (Assael et al., Nature 2022). Its accuracy is a ceiling for readers
with the same language model that see no ink of hidden characters, since they must also read the
other characters and infer the number of blanks. (Readers may exceed it where a little ink of a
"hidden" character is left.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.core.jit import compiled, compiled_part
from bench.core.types import BLANK
from decoders.ctc.ngram import DenseLM, dense_lm
from decoders.language.lm import ngram_lm

STATES = 512  # kept after each character; fewer contexts than that are summed exactly
_HIDDEN = -1
_LEAST = 1e-30  # least probability, so that impossible texts can be blanked too


@dataclass(frozen=True, eq=False)
class Cloze:
    """A character n-gram model that fills in blanks, each by its likeliest character.

    prob: (L, V) probability of each symbol in each state; following: (L, V) int32, the next
        state; start: the state at the beginning of a line, after a space.
    states: number of states kept after each character (see `STATES`).
    """

    prob: NDArray[np.float64]
    following: NDArray[np.int32]
    start: int
    column: Mapping[str, int]
    states: int = STATES

    @classmethod
    def of(cls, dense: DenseLM, alphabet: Sequence[str], states: int = STATES) -> Cloze:
        """Build from the tables of a model over a CTC alphabet, blank first."""
        prob = np.maximum(np.exp(dense.log_prob.astype(np.float64)), _LEAST)
        prob[:, BLANK] = 0.0
        column = {symbol: place for place, symbol in enumerate(alphabet) if place != BLANK}
        return cls(prob, dense.following, dense.between, column, states)

    def right(self, text: str, hidden: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark the hidden characters of a text that are guessed right: (N,) bool.

        The guess at each place is the symbol of the highest posterior probability, all fillings
        of the other blanks summed (forward-backward over the states of the model).
        """
        true = np.array([self.column.get(character, _HIDDEN) for character in text], np.int64)
        shown = np.where(hidden, _HIDDEN, true)
        guess = _guesses(self.prob, self.following, self.start, shown, self.states)
        right: NDArray[np.bool_] = hidden & (true != _HIDDEN) & (guess == true)
        return right


def cloze_of(lm: str, order: int, alphabet: Sequence[str]) -> Cloze:
    """Load the model of `ctc-ngram`: a file, or for "" the embedded one of an order.

    Raises:
        UserError: the model cannot be read or does not fit the alphabet.
    """
    model = ngram_lm(lm, "char", order)
    return Cloze.of(dense_lm(model.model, alphabet, str(model.path)), alphabet)


@compiled
def _guesses(
    prob: NDArray[np.float64],
    following: NDArray[np.int32],
    start: int,
    shown: NDArray[np.int64],
    most: int,
) -> NDArray[np.int64]:
    """(N,) the likeliest symbol at each blank of `shown` (a symbol, or `_HIDDEN`)."""
    size, symbols = shown.size, prob.shape[1]
    state = np.zeros((size + 1, most), np.int64)
    ahead = np.zeros((size + 1, most))  # forward mass of each state, the highest of a layer 1
    count = np.zeros(size + 1, np.int64)
    state[0, 0], ahead[0, 0], count[0] = start, 1.0, 1
    mass = np.zeros(len(prob))
    touched = np.empty(most * symbols, np.int64)
    for i in range(size):
        reached = _step(prob, following, shown[i], state[i], ahead[i], count[i], mass, touched)
        count[i + 1] = _keep(mass, touched, reached, state[i + 1], ahead[i + 1])
    guess = np.full(size, _HIDDEN, np.int64)
    behind = np.ones(most)  # backward mass of the states of layer i + 1
    before = np.empty(most)
    posterior = np.empty(symbols)
    for i in range(size - 1, -1, -1):
        for k in range(count[i + 1]):
            mass[state[i + 1, k]] = behind[k]
        posterior[:] = 0.0
        for k in range(count[i]):
            here, total = state[i, k], 0.0
            low, high = (1, symbols) if shown[i] == _HIDDEN else (shown[i], shown[i] + 1)
            for v in range(low, high):
                part = prob[here, v] * mass[following[here, v]]
                posterior[v] += ahead[i, k] * part
                total += part
            before[k] = total
        for k in range(count[i + 1]):
            mass[state[i + 1, k]] = 0.0
        highest = before[: count[i]].max()
        behind[: count[i]] = before[: count[i]] / (highest if highest > 0 else 1.0)
        if shown[i] == _HIDDEN:
            guess[i] = posterior.argmax()
    return guess


@compiled_part
def _step(
    prob: NDArray[np.float64],
    following: NDArray[np.int32],
    symbol: int,
    state: NDArray[np.int64],
    ahead: NDArray[np.float64],
    count: int,
    mass: NDArray[np.float64],
    touched: NDArray[np.int64],
) -> int:
    """Add the mass of a layer to its next states; returns how many were reached."""
    reached = 0
    low, high = (1, prob.shape[1]) if symbol == _HIDDEN else (symbol, symbol + 1)
    for k in range(count):
        for v in range(low, high):
            there, part = following[state[k], v], ahead[k] * prob[state[k], v]
            if part > 0.0:
                if mass[there] == 0.0:
                    touched[reached] = there
                    reached += 1
                mass[there] += part
    return reached


@compiled
def _keep(
    mass: NDArray[np.float64],
    touched: NDArray[np.int64],
    reached: int,
    state: NDArray[np.int64],
    ahead: NDArray[np.float64],
) -> int:
    """Keep the states of most mass as the next layer and reset the rest; returns how many."""
    most, kept, least = state.size, 0, 0.0
    masses = mass[touched[:reached]]
    if reached > most:
        least = np.partition(masses, reached - most)[reached - most]
    highest = masses.max()
    for k in range(reached):
        if masses[k] >= least and kept < most:
            state[kept], ahead[kept] = touched[k], masses[k] / highest
            kept += 1
        mass[touched[k]] = 0.0
    return kept
