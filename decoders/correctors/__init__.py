"""Correctors: a stage behind any decoder, named `decoder+corrector`. One line here enrols one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.core.registry import Entry, Registry

PLUS = "+"
GATE = "gated"

CORRECTORS = Registry(
    "corrector",
    {
        "lm": Entry(
            "decoders.correctors.lm:Rerank",
            "the n best texts put in order by a causal language model",
        ),
        "llm": Entry(
            "decoders.correctors.llm:Instructed",
            "an instruction model behind a chat endpoint (--llm-url, --llm-model)",
            requires=("httpx2", "tenacity"),
        ),
        "speller": Entry(
            "decoders.correctors.speller:Speller",
            "non-words to words of the train text (SymSpell and a bigram)",
            requires=("symspellpy",),
        ),
        GATE: Entry(
            "decoders.correctors.gated:Gated",
            "another one where the decoder is unsure alone: gated-lm, gated-llm, gated-speller",
        ),
    },
)


def canonical(name: str) -> str:
    """A name as rows have it: `ctc-greedy+gated(llm)`, which shells choke on, with a hyphen."""
    return name.replace(f"{GATE}(", f"{GATE}-").replace(")", "")


def split_name(name: str) -> tuple[str, tuple[str, ...]]:
    """Decoder and layers of the corrector: `a+gated-llm` is "a" and ("gated", "llm")."""
    first, _, corrector = name.partition(PLUS)
    gate, _, inner = corrector.partition("-")
    return first, (gate, inner) if gate == GATE and inner else (corrector,) if corrector else ()


def parts_of(name: str) -> tuple[str, ...]:
    """The names whose options a decoder of this name has, its own included."""
    first, layers = split_name(name)
    return tuple(dict.fromkeys((name, first, *layers)))


def options_of(name: str, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The options of a decoder, those of its corrector and of the decoder before it included.

    Args:
        name: of the decoder, with or without a corrector.
        options: values by the name that they were given for.
    """
    first, layers = split_name(name)
    found = dict(options.get(first, {}))
    for layer in layers:
        found |= {f"{layer}_{option}": v for option, v in options.get(layer, {}).items()}
    return {**found, **options.get(name, {})}


def entry_of(name: str, decoders: Registry) -> Entry | None:
    """The entry of `decoder+corrector`; None where a name is not of this form.

    Raises:
        UserError: there is no such decoder or corrector, or a gate without a corrector behind it.
    """
    first, layers = split_name(name)
    if PLUS not in name:
        return None
    behind = decoders.entry(first)
    chosen = [CORRECTORS.entry(layer) for layer in layers or ("",)]
    return Entry(
        f"decoders.correctors.stage:{name}",
        f"{behind.summary}; then {chosen[-1].summary}",
        behind.options,
        (*behind.requires, *(package for entry in chosen for package in entry.requires)),
    )
