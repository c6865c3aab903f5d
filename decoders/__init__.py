"""Decoders: `Encoded` to text. One line here enrols a decoder everywhere."""

from bench.core.registry import Entry, Registry
from decoders.correctors import entry_of


def _corrected(name: str) -> Entry | None:
    """A decoder with a corrector behind it."""
    return entry_of(name, DECODERS)


DECODERS = Registry(
    "decoder",
    {
        "ar-beam": Entry(
            "decoders.ar.decoder:AutoregressiveDecoder", "the encoder's own AR head, beam"
        ),
        "ar-greedy": Entry(
            "decoders.ar.decoder:AutoregressiveDecoder",
            "the encoder's own AR head, greedy",
            {"beam": 1},
        ),
        "ar-hf": Entry(
            "decoders.ar.hf:GenerateDecoder",
            "the same search by transformers' generate, to compare",
            sample=0,
        ),
        "ar-draft": Entry(
            "decoders.ar.draft:DraftedDecoder", "ar-greedy's tokens, drafted by the best CTC path"
        ),
        "ctc-greedy": Entry("decoders.ctc.greedy:CTCGreedy", "best CTC path, no language"),
        "ctc-beam": Entry("decoders.ctc.beam:CTCBeam", "CTC prefix beam, no language"),
        "ctc-kenlm": Entry(
            "decoders.ctc.kenlm:CTCKenLM",
            "CTC beam with a word n-gram (pyctcdecode + KenLM)",
            requires=("pyctcdecode", "kenlm"),
        ),
        "ctc-ngram-word": Entry(
            "decoders.ctc.ngram_word:CTCNGramWord", "ctc-kenlm's search and model, compiled"
        ),
        "ctc-ngram": Entry("decoders.ctc.ngram:CTCNGram", "CTC prefix beam, character n-gram"),
        "ctc-flashlight": Entry(
            "decoders.ctc.flashlight:CTCFlashlight",
            "a peer: flashlight-text with KenLM",
            sample=0,
        ),
        "ctc-rescore": Entry(
            "decoders.ctc.rescore:CTCRescore", "n best texts of a CTC beam, judged by the AR head"
        ),
    },
    others=_corrected,
    also="any of them with a corrector behind it (ctc-greedy+lm)",
)
