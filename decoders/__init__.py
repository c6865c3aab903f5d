"""Decoders: `Encoded` to text. One entry here registers a decoder everywhere."""

from collections.abc import Mapping
from typing import Any

from bench.core.registry import Entry, Options, Registry
from decoders.correctors import CORRECTORS, PLUS, entry_of, own_options, split_name


class _Decoders(Registry):
    """Decoders, and any of them with a corrector behind it (`ctc-greedy+lm`)."""

    def targets(self, name: str) -> tuple[Any, ...]:
        """The decoder, and the corrector behind it."""
        if PLUS not in name:
            return super().targets(name)
        first, corrector = split_name(name)
        return self.target(first), CORRECTORS.target(corrector)

    def options(self, name: str) -> Options:
        """Options of decoder and corrector; the corrector's with its name before them."""
        if PLUS not in name:
            return super().options(name)
        first, corrector = split_name(name)
        own = CORRECTORS.options(corrector).items()
        return {**super().options(first), **{f"{corrector}_{n}": option for n, option in own}}

    def create(self, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """Create a spec; with a corrector behind a decoder one of two stages."""
        if PLUS not in name:
            return super().create(name, options)
        first, corrector = split_name(name)
        own, behind = own_options(name, options or {})
        parts = super().create(first, own), CORRECTORS.create(corrector, behind)
        return self.target(name)(name, *parts)


def _corrected(name: str) -> Entry | None:
    """A decoder with a corrector behind it."""
    return entry_of(name, DECODERS)


DECODERS = _Decoders(
    "decoder",
    {
        "ar-beam": Entry("decoders.ar.specs:AutoregressiveSpec", "the encoder's own AR head, beam"),
        "ar-greedy": Entry(
            "decoders.ar.specs:AutoregressiveSpec",
            "the encoder's own AR head, greedy",
            {"beam": 1},
        ),
        "ar-hf": Entry(
            "decoders.ar.hf:GenerateSpec",
            "the same search by transformers' generate, to compare",
            sample=0,
        ),
        "ar-draft": Entry(
            "decoders.ar.draft:DraftedSpec",
            "ar-greedy's tokens, drafted by the best CTC path",
            sample=0,
        ),
        "ctc-greedy": Entry("decoders.ctc.greedy:CTCGreedySpec", "best CTC path, no language"),
        "ctc-beam": Entry("decoders.ctc.beam:CTCBeamSpec", "CTC prefix beam, no language"),
        "ctc-kenlm": Entry(
            "decoders.ctc.kenlm:CTCKenLMSpec",
            "CTC beam with a word n-gram (pyctcdecode + KenLM)",
            requires=("pyctcdecode", "kenlm"),
        ),
        "ctc-ngram-word": Entry(
            "decoders.ctc.ngram_word:CTCNGramWordSpec",
            "ctc-kenlm's search and model, compiled",
            sample=0,
        ),
        "ctc-ngram": Entry("decoders.ctc.ngram:CTCNGramSpec", "CTC prefix beam, character n-gram"),
        "ctc-gap": Entry("decoders.ctc.gap:CTCGapSpec", "ctc-ngram that fills gaps in the ink"),
        "ctc-lm": Entry(
            "decoders.ctc.lm:CTCLMSpec",
            "CTC prefix beam, causal language model of characters",
            sample=0,
        ),
        "ctc-flashlight": Entry(
            "decoders.ctc.flashlight:CTCFlashlightSpec",
            "a peer: flashlight-text with KenLM",
            requires=("flashlight-text",),
            sample=0,
        ),
        "ctc-rescore": Entry(
            "decoders.ctc.rescore:CTCRescoreSpec",
            "n best texts of a CTC beam, put in order by the AR head",
        ),
    },
    others=_corrected,
    also="any of them with a corrector behind it (ctc-greedy+lm)",
)
