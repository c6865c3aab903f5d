"""Autoregressive search of our own: the tokens of transformers' `generate`, many times as fast.

What `generate` spends its time on is not computed here: keys and values of the image once a line
and not once a hypothesis, no cache copied when hypotheses change places, one hypothesis at the
first step, no softmax over the vocabulary before the best tokens are known, lines that are over
leave the batch, and weights packed for products with few rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.types import ARModel, Encoded, EncoderInfo
from decoders.ar.base import ARDecoder, ARSpec
from decoders.ar.beam import Beams, Rules
from decoders.ar.cross import additive_mask
from decoders.ar.memory import remaining
from decoders.ar.step import Stepper
from decoders.ar.weights import weights_of


@dataclass(frozen=True)
class AutoregressiveSpec(ARSpec):
    """Greedy or beam search on the weights of any TrOCR decoder, in their precision."""

    def open(self, encoder: EncoderInfo) -> ARDecoder:
        """Nothing has to be made: the head comes with each encoding."""
        return AutoregressiveDecoder(self)


class AutoregressiveDecoder(ARDecoder):
    """The search on packed weights."""

    def _search(self, ar: ARModel, encoded: Encoded) -> tuple[list[list[int]], list[float]]:
        states = encoded.states.to(ar.decoder.dtype)
        if ar.project is not None:
            states = ar.project(states)
        mask = additive_mask(encoded.state_mask, states.dtype)
        spec = self.spec
        rules = Rules(
            spec.beam, spec.length_penalty, spec.early_stopping, self._limit(ar), ar.eos_id
        )
        beams = Beams(rules, len(states), ar.start_id, states.device)
        stepper = Stepper(weights_of(ar.decoder), states, mask, spec.beam, rules.limit)
        forced = None if ar.forced_lengths is None else ar.forced_lengths.to(states.device)
        for step in range(rules.limit):
            over = beams.advance(stepper.logits(beams.tokens, step), forced)
            done = over.tolist()
            if any(done):
                places = remaining(done)
                beams.keep(places, over)
                if not places:
                    break
                stepper.keep(places)
                forced = None if forced is None else forced[places]
            stepper.follow(beams.parents)
        return beams.best(spec.nbest)
