"""Correctors, the stage after any decoder (`decoder+corrector`). One entry here registers one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.core.registry import Entry, Registry

PLUS = "+"

CORRECTORS = Registry(
    "corrector",
    {
        "lm": Entry(
            "decoders.correctors.lm:RerankSpec",
            "the n best texts put in order by a causal language model",
        ),
        "llm": Entry(
            "decoders.correctors.llm:InstructedSpec",
            "an instruction model behind a chat endpoint (--llm-url, --llm-model)",
            requires=("httpx2", "tenacity"),
        ),
        "seq2seq": Entry(
            "decoders.correctors.seq2seq:Seq2SeqSpec",
            "a fine-tuned model of transformers that rewrites each line (ByT5, T5)",
        ),
        "speller": Entry(
            "decoders.correctors.speller:SpellerSpec",
            "non-words to words of the train text (SymSpell and a bigram)",
            requires=("symspellpy",),
        ),
    },
)


def split_name(name: str) -> tuple[str, str]:
    """Decoder and corrector, "" without one: `a+lm` is "a" and "lm"."""
    first, _, corrector = name.partition(PLUS)
    return first, corrector


def parts_of(name: str) -> tuple[str, ...]:
    """The names whose options a decoder of this name has, its own included."""
    return tuple(dict.fromkeys(filter(None, (name, *split_name(name)))))


def options_of(name: str, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The options of a decoder, including those of its corrector and of the decoder before it."""
    first, corrector = split_name(name)
    own = {f"{corrector}_{option}": v for option, v in options.get(corrector, {}).items()}
    return {**options.get(first, {}), **own, **options.get(name, {})}


def own_options(name: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the options of `decoder+corrector` into those of decoder and corrector."""
    prefix = f"{split_name(name)[1]}_"
    own = {option: v for option, v in values.items() if not option.startswith(prefix)}
    return own, {o.removeprefix(prefix): v for o, v in values.items() if o not in own}


def entry_of(name: str, decoders: Registry) -> Entry | None:
    """The entry of `decoder+corrector`; None where a name is not of this form.

    Raises:
        UserError: there is no such decoder or corrector.
    """
    if PLUS not in name:
        return None
    first, corrector = split_name(name)
    behind, chosen = decoders.entry(first), CORRECTORS.entry(corrector)
    return Entry(
        "decoders.correctors.base:CorrectedSpec",
        f"{behind.summary}; then {chosen.summary}",
        behind.options,
        (*behind.requires, *chosen.requires),
    )
