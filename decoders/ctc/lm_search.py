"""The search of `ctc-lm`, in turns with its network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.types import BLANK, Decoded, Encoded, EncoderInfo
from decoders import tuned
from decoders.base import Scores
from decoders.ctc.base import check_frames, ctc_scores, frame_sums, on_host
from decoders.ctc.beam import Hypotheses
from decoders.ctc.beam_kit import NONE
from decoders.ctc.lm_beam import Line, advance, begin, finish
from decoders.ctc.ngram import LEAST_FACTOR
from decoders.language.causal import PARAGRAPH, SPACE, PrefixScorer, encode, line_lm

if TYPE_CHECKING:
    from decoders.ctc.lm import CTCLMSpec


class LMSearch(tuned.Tunable):
    """The open search: the compiled one of each line, and the network for all lines together."""

    spec: CTCLMSpec

    def __init__(self, spec: CTCLMSpec, encoder: EncoderInfo) -> None:
        self._lm = lm = line_lm(spec.lm)
        if lm.chars is None:
            raise UserError(
                f"{spec.lm} is a model of sub-words, which ctc-lm cannot search with; give a file "
                "of python -m bench train lm, or use ctc-beam+lm"
            )
        super().__init__(spec, tuned.weights(spec, encoder, (lm.name, lm.sha256), "ctc-lm"))
        self._chars = lm.chars
        self._columns = np.array([encode(s)[0] if s else 0 for s in encoder.alphabet])
        symbols = len(encoder.alphabet)
        even = np.full((1, 1, symbols), -math.log(symbols), np.float32)
        self._search(even, np.ones(1, np.int64), PrefixScorer(lm.chars, torch.device("cpu")))

    def decode(self, encoded: Encoded) -> list[Decoded]:
        """Decode; the score is log-probability + language model + bonus."""
        log_probs, frames = on_host(encoded)
        scorer = PrefixScorer(self._chars, encoded.states.device)
        return self._search(log_probs, frames, scorer).decoded(encoded.alphabet)

    def score(self, encoded: Encoded, texts: Sequence[Sequence[str]]) -> list[Scores] | None:
        """See `Decoder.score`."""
        device = str(encoded.states.device)
        return [
            ctc
            + self.values["alpha"] * np.array(self._lm.score(line, device) if line else [])
            + self.values["beta"] * np.array([len(text) for text in line])
            for ctc, line in zip(ctc_scores(encoded, texts), texts, strict=True)
        ]

    def extras(self) -> Mapping[str, Any]:
        """The model, its weights and their origin."""
        lm = self._lm
        return {
            "lm": lm.name,
            "lm_sha256": lm.sha256,
            "lm_trained_on": lm.trained_on,
            **self.values,
            "tuned_on": self.source,
        }

    def _search(
        self, log_probs: NDArray[np.float32], frames: NDArray[np.int64], scorer: PrefixScorer
    ) -> Hypotheses:
        """Search all lines side by side, so that the model reads a prefix of each at once."""
        spec, (count, steps, _) = self.spec, log_probs.shape
        results = Hypotheses(
            np.empty((count, spec.nbest, steps), np.int32),
            np.empty((count, spec.nbest), np.int64),
            np.empty((count, spec.nbest), np.float64),
        )
        limits, largest = (spec.beam, spec.token_logp), math.exp(self.values["beta"])
        begun = [
            begin(row, own, largest, *limits) for row, own in zip(log_probs, frames, strict=True)
        ]
        lines = [line for line in begun if line is not None]
        if len(lines) < count:
            check_frames(frame_sums(log_probs), frames)
        wanted = np.empty((count, spec.beam), np.int32)
        running = list(range(count))
        while running:
            missing = [
                advance(log_probs[k], frames[k], lines[k], *limits, spec.prune, wanted[k])
                for k in running
            ]
            asked = [(k, wanted[k, :n]) for k, n in zip(running, missing, strict=True) if n]
            running = [k for k, _ in asked]
            if asked:
                self._answer([(lines[k], nodes) for k, nodes in asked], scorer)
        for k, line in enumerate(lines):
            finish(line, *(part[k] for part in results))
        return results

    def _answer(
        self, asked: Sequence[tuple[Line, NDArray[np.int32]]], scorer: PrefixScorer
    ) -> None:
        """Give each of these prefixes its row of factors."""
        parents = [line.trie.parent[nodes] for line, nodes in asked]
        before = [
            np.where(parent == NONE, NONE, line.number[parent])
            for parent, (line, _) in zip(parents, asked, strict=True)
        ]
        added = [self._columns[line.trie.last[nodes]] for line, nodes in asked]
        beginning = np.concatenate(parents) == NONE
        characters = np.where(beginning, SPACE, np.concatenate(added))
        numbers, log_probs = scorer.extend(np.concatenate(before), characters)
        alpha, beta = self.values["alpha"], self.values["beta"]
        factors = np.maximum(np.exp(alpha * log_probs[:, self._columns]), LEAST_FACTOR)
        factors *= math.exp(beta)
        factors[:, BLANK] = 0  # the blank opens no prefix
        ends = np.exp(alpha * np.logaddexp(log_probs[:, SPACE], log_probs[:, PARAGRAPH]))
        done = 0
        for line, nodes in asked:
            rows = slice(done, done := done + len(nodes))
            line.number[nodes] = numbers[rows]
            line.language.steps["factor"][nodes] = factors[rows]
            line.language.final[nodes] = np.maximum(ends[rows], LEAST_FACTOR)
