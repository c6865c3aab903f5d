"""The options and the input of every CTC decoder, its texts, and the score of any text.

torch is imported where it computes, so that planning a run does without.
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import Unavailable, UserError
from bench.core.types import BLANK, Decoded, Encoded, EncoderInfo, Needs
from decoders.base import DecoderSpec, Scores

if TYPE_CHECKING:
    import torch

# Of the sum of a frame's probabilities, for rounding: half the width of bfloat16's steps puts a
# log-softmax over 18,000 symbols off by 0.02 at most.
TOLERANCE = 0.07

_MOST_BEAM = 100_000  # hypotheses, for which some searches allocate memory at once
_LEAST_OFFSET = -1000  # a float32 number, also times the largest weight
_MOST_WEIGHT = 50  # e ** 50 and its inverse are float32 numbers, also times a probability


@dataclass(frozen=True)
class CTCSpec(DecoderSpec, ABC):
    """A decoder that reads CTC log-probabilities."""

    needs: ClassVar[Needs] = "log_probs"


@dataclass(frozen=True)
class BeamSpec(CTCSpec, ABC):
    """A beam search over CTC log-probabilities.

    beam: hypotheses kept after each frame.
    token_min_logp: a symbol with a lower log-probability opens no new hypothesis in that frame,
        unless it is the frame's likeliest; none: every symbol may.
    nbest: texts of each line; 1 for the best one alone.
    beam_prune_logp: hypotheses worse than the best by more than this are dropped; none: kept.
    """

    beam: int = 32
    token_min_logp: float | None = -5.0
    nbest: int = 1
    beam_prune_logp: float | None = -10.0

    def __post_init__(self) -> None:
        check_beam(self.beam, self.nbest)
        check_threshold("token_min_logp", self.token_min_logp)
        check_threshold("beam_prune_logp", self.beam_prune_logp)

    @property
    def prune(self) -> float:
        """Share of the best hypothesis' mass below which others are dropped."""
        return 0.0 if self.beam_prune_logp is None else math.exp(self.beam_prune_logp)

    @property
    def token_logp(self) -> float:
        """`token_min_logp` as a number: the smallest in float32 that is not below it."""
        if self.token_min_logp is None:
            return -math.inf
        rounded = np.float32(self.token_min_logp)
        return float(
            np.nextafter(rounded, np.float32(np.inf)) if rounded < self.token_min_logp else rounded
        )


@dataclass(frozen=True)
class FusionSpec(BeamSpec, ABC):
    """A beam search with an n-gram model.

    alpha: weight of the language model (natural logarithms).
    beta: bonus of each character, or of each word with a model of words.
    score_boundary: treat the line as a sentence, with the model's marks at both ends.
    lm: an ARPA file; "" for the model of the embedded corpus.
    """

    alpha: float | None = None
    beta: float | None = None
    score_boundary: bool = False  # lines break anywhere in a sentence
    lm: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weights(self.alpha, self.beta)


@dataclass(frozen=True)
class WordFusionSpec(FusionSpec, ABC):
    """The search of pyctcdecode: hypotheses are texts of words.

    unk_offset: added to the log10 probability of a word that the model does not know (and so
        weighed by alpha), and to the score of a partial word that begins none (not weighed). As for
        alpha and beta, none is the value tuned for the encoder with ctc-ngram-word or ctc-kenlm,
        which search alike (`decoders/tuned.json`).
    prune_history: keep only the best of hypotheses that later frames cannot tell apart.
    """

    tunes: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "alpha": (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9),
        "beta": (-1.0, 0.0, 1.0, 2.0, 3.0),
        "unk_offset": (-2.0, -5.0, -10.0, -15.0, -20.0),
    }
    untuned: ClassVar[Mapping[str, float]] = {"alpha": 0.5, "beta": 1.5, "unk_offset": -10.0}
    untuned_source: ClassVar[str] = "nothing (pyctcdecode's defaults)"

    # On synthetic posteriors of damaged lines a beam of 50 to 64 read as well as pyctcdecode's 100,
    # in two thirds of the time, and one of 16 worse.
    beam: int = 64
    unk_offset: float | None = None
    prune_history: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unk_offset is not None and not _LEAST_OFFSET <= self.unk_offset <= 0:
            raise UserError(
                f"unk_offset is a log10 probability, {_LEAST_OFFSET} to 0, not {self.unk_offset:g}"
            )

    def missing(self, encoder: EncoderInfo) -> Unavailable | None:
        """Refuse an alphabet without a space, which has no words."""
        return super().missing(encoder) or missing_space(encoder)


def missing_space(encoder: EncoderInfo) -> Unavailable | None:
    """The reason for a CTC head to write no words; None without a reason or a head."""
    if encoder.alphabet and " " not in encoder.alphabet:
        return Unavailable(f"the alphabet of {encoder.name} has no space, so it writes no words")
    return None


def check_beam(beam: int, nbest: int) -> None:
    """Raise a `UserError` for impossible widths."""
    if not 1 <= beam <= _MOST_BEAM:
        raise UserError(f"beam is the number of hypotheses kept, 1 to {_MOST_BEAM}, not {beam}")
    if not 1 <= nbest <= beam:
        raise UserError(f"nbest lies between 1 and the beam ({beam}), not {nbest}")


def check_weights(
    alpha: float | None, beta: float | None, names: tuple[str, str] = ("alpha", "beta")
) -> None:
    """Raise a `UserError` for weights of a language model that search for no likely text."""
    weight, bonus = names
    if alpha is not None and not 0 <= alpha <= _MOST_WEIGHT:
        raise UserError(f"{weight} is a weight, 0 to {_MOST_WEIGHT}, not {alpha:g}")
    if beta is not None and not -_MOST_WEIGHT <= beta <= _MOST_WEIGHT:
        raise UserError(f"{bonus} is a bonus, -{_MOST_WEIGHT} to {_MOST_WEIGHT}, not {beta:g}")


def check_threshold(option: str, value: float | None) -> None:
    """Raise a `UserError` for a threshold above 0."""
    if value is not None and value > 0:
        raise UserError(f"{option} is a log-probability, 0 or less, or none, not {value}")


def ctc_output(encoded: Encoded) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Log-probabilities (B, T, V) on their device, and frame counts (B,) on the host.

    Raises:
        ValueError: the encoding breaks its contract (no CTC output, shapes that do not agree).
    """
    log_probs, frames = encoded.log_probs, encoded.frames
    if log_probs is None or frames is None:
        raise ValueError("the encoding holds no CTC output")
    lines, steps, symbols = log_probs.shape
    counts = frames.cpu().numpy().astype(np.int64)
    if symbols != len(encoded.alphabet) or encoded.alphabet[0] != "":
        raise ValueError(
            f"{symbols} CTC outputs do not fit an alphabet of {len(encoded.alphabet)} symbols "
            "that begins with the blank"
        )
    if counts.shape != (lines,) or ((counts < 0) | (counts > steps)).any():
        raise ValueError(f"the frame counts do not fit {lines} lines of at most {steps} frames")
    return log_probs.detach(), counts


def on_host(encoded: Encoded) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The log-probabilities (B, T, V) and frame counts (B,), in C order; not checked."""
    log_probs, frames = ctc_output(encoded)
    return np.ascontiguousarray(log_probs.cpu().numpy(), dtype=np.float32), frames


def checked_on_host(encoded: Encoded) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Check and copy the input of searches that do not check it themselves."""
    from decoders.ctc.beam_kit import all_sound

    log_probs, frames = on_host(encoded)
    if not all_sound(log_probs, frames):
        check_frames(frame_sums(log_probs), frames)
    return log_probs, frames


def frame_sums(log_probs: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Sum the probabilities of each frame: (B, T, V) to (B, T)."""
    with np.errstate(over="ignore", invalid="ignore"):  # padding may hold anything
        sums: NDArray[np.float32] = np.exp(log_probs, dtype=np.float32).sum(axis=2)
    return sums


def check_frames(sums: NDArray[np.float32], frames: NDArray[np.int64]) -> None:
    """Check that the sums (B, T) of the probabilities of valid frames are 1.

    Log-sigmoids, logits, probabilities, NaN and a frame of -inf do not sum to that. Of each line
    the first `frames`, (B,), are valid.

    Raises:
        UserError: naming the first bad frame.
    """
    sound = np.abs(sums - 1) <= TOLERANCE
    broken = np.argwhere(inside_frames(frames, sums.shape[1]) & ~sound)
    if broken.size:
        line, frame = broken[0]
        raise UserError(
            f"the CTC output is no log-probability at frame {frame} of line {line} of a batch "
            f"(its probabilities sum to {sums[line, frame]:.4g}, not to 1); end the encoder with a "
            "log-softmax, or, if it has one, try --dtype float32 or other weights"
        )


def inside_frames(frames: NDArray[np.int64], steps: int) -> NDArray[np.bool_]:
    """(B, T) bool: True where a frame belongs to the line and not to padding."""
    inside: NDArray[np.bool_] = np.arange(steps) < frames[:, None]
    return inside


def decoded(nbest: Sequence[tuple[str, float]], most: int) -> Decoded:
    """A line with its texts, best first; only the best where `most` is 1."""
    text, score = nbest[0]
    return Decoded(text, len(text), score, tuple(nbest[:most]) if most > 1 else ())


def join_symbols(
    symbols: NDArray[Any], counts: NDArray[np.int64], alphabet: Sequence[str]
) -> list[str]:
    """Split concatenated indices into an alphabet of single characters into texts.

    `counts` are the (N,) symbols of each text. One join for all texts and a slice each is several
    times faster than a join each.
    """
    ends = np.cumsum(counts)
    starts = ends - counts
    text = np.array(alphabet, "<U1")[symbols].tobytes().decode("utf-32-le", "surrogatepass")
    return [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def ctc_scores(encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[Scores]:
    """Natural-log probabilities (K,) of the texts of each line, in float64.

    All paths are summed by the forward algorithm (Graves et al. 2006, "Connectionist temporal
    classification", section 4.1). Minus infinity where a text
    has a character outside of the alphabet, or more than the line has frames for.
    """
    import torch
    from torch.nn.functional import ctc_loss

    log_probs, frames = ctc_output(encoded)
    index = {symbol: place for place, symbol in enumerate(encoded.alphabet) if place != BLANK}
    scores = [np.full(len(line), -np.inf) for line in texts]
    labels = [
        (line, k, [index[character] for character in text])
        for line, of_line in enumerate(texts)
        for k, text in enumerate(of_line)
        if frames[line] and set(text) <= index.keys()
    ]
    if labels:
        lines = torch.tensor([line for line, *_ in labels])
        losses = ctc_loss(
            log_probs.cpu().double()[lines].transpose(0, 1),
            torch.tensor([symbol for *_, symbols in labels for symbol in symbols]),
            torch.from_numpy(frames)[lines],
            torch.tensor([len(symbols) for *_, symbols in labels]),
            blank=BLANK,
            reduction="none",
        )
        for (line, k, _), loss in zip(labels, losses.tolist(), strict=True):
            scores[line][k] = -loss
    return scores


def worded_scores(
    encoded: Encoded, texts: Sequence[Sequence[str]], price: Callable[[str], float]
) -> list[Scores]:
    """Score texts by the objective of pyctcdecode's search, shaped as `ctc_scores`.

    The paths may have a space at either end, since such a search drops it from the text; `price`
    is the score of a text's words.
    """
    ends = [(before, behind) for before in ("", " ") for behind in ("", " ")]
    spaced = [[f"{a}{text}{b}" for text in line for a, b in ends] for line in texts]
    return [
        np.logaddexp.reduce(paths.reshape(len(line), len(ends)), axis=1)
        + [price(text) for text in line]
        for paths, line in zip(ctc_scores(encoded, spaced), texts, strict=True)
    ]
