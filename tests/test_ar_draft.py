"""Drafts of the AR head, and texts scored in one pass, against greedy search and transformers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from bench.core.errors import UserError
from bench.core.types import Decoded, Encoded
from decoders.ar.draft import DraftedSpec, TextDraft
from decoders.ar.score import TreeReader, score_texts, score_tokens
from decoders.ar.specs import AutoregressiveSpec
from tests import two_heads as doubles
from tests.ctc_doubles import info
from tests.tiny_trocr import Kind

WORDS = st.text("ab c", max_size=12)


@given(WORDS, st.lists(WORDS, max_size=4))
def test_the_place_in_a_draft_is_the_last_with_the_smallest_edit_distance(
    text: str, parts: list[str]
) -> None:
    draft, read = TextDraft(text), ""
    for part in [*parts, "", "b"]:
        read += part
        distances = [Levenshtein.distance(read, text[:n]) for n in range(len(text) + 1)]
        place = max(n for n, d in enumerate(distances) if d == min(distances))
        assert draft.rest(read) == text[place:]


def same(found: list[Decoded], expected: list[Decoded]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.text, ours.tokens, ours.truncated) == (
            theirs.text, theirs.tokens, theirs.truncated,
        )  # fmt: skip
        assert ours.score == pytest.approx(theirs.score, abs=1e-3)


MODELS = {(kind, seed): doubles.model(kind, seed) for kind in get_args(Kind) for seed in range(3)}


@settings(max_examples=60, deadline=None)
@given(
    which=st.sampled_from(sorted(MODELS)),
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    limit=st.integers(1, 20),
    penalty=st.sampled_from([0.0, 1.0, 2.0]),
    seed=st.integers(0, 999),
)
def test_the_tokens_are_those_of_greedy_search_for_any_draft(
    which: tuple[Kind, int], lengths: list[int], limit: int, penalty: float, seed: int
) -> None:
    batch = doubles.encoded(MODELS[which], lengths, seed)
    options = {"max_new_tokens": limit, "length_penalty": penalty}
    expected = AutoregressiveSpec(beam=1, **options).open(info()).decode(batch)  # type: ignore[arg-type]
    drafted = DraftedSpec(**options).open(info())  # type: ignore[arg-type]
    same(drafted.decode(batch), expected)
    # Drafts that agree for a while, and one that agrees to the end.
    noise = np.random.default_rng(seed)
    texts = [
        "".join(noise.choice(list(doubles.LETTERS)) if noise.random() < 0.3 else x for x in e.text)
        for e in expected
    ]
    texts[0] = expected[0].text
    same(drafted.decode(doubles.saying(batch, texts)), expected)


def spelled() -> tuple[Encoded, list[Decoded]]:
    """Lines of several lengths whose tokens are all letters, and what greedy search reads."""
    batch = doubles.encoded(MODELS["base", 0], [9] * 40, 1)
    found = AutoregressiveSpec(beam=1, max_new_tokens=30).open(info()).decode(batch)
    good = [i for i, line in enumerate(found) if 2 < line.tokens == len(line.text) + 1]
    assert len({found[i].tokens for i in good}) > 2
    return batch_of(batch, *good), [found[i] for i in good]


def batch_of(batch: Encoded, *lines: int) -> Encoded:
    """Some lines of a batch; their CTC output is left out."""
    chosen = list(lines)
    return replace(batch, states=batch.states[chosen], state_mask=batch.state_mask[chosen])


def test_drafts_that_agree_save_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, expected = spelled()
    longest = max(line.tokens for line in expected)
    passes: list[tuple[int, ...]] = []
    read = TreeReader.read

    def counted(self: TreeReader, *parts: torch.Tensor) -> torch.Tensor:
        passes.append(tuple(parts[0].shape))
        return read(self, *parts)

    monkeypatch.setattr(TreeReader, "read", counted)
    texts = [line.text for line in expected]
    found = DraftedSpec(max_new_tokens=30).open(info()).decode(doubles.saying(batch, texts))
    same(found, expected)
    assert len(passes) < longest / 4  # of lines that differ much in length
    passes.clear()
    wrong = ["a" if text[:1] != "a" else "b" for text in texts]
    same(DraftedSpec(max_new_tokens=30).open(info()).decode(doubles.saying(batch, wrong)), expected)
    assert longest / 4 < len(passes) <= longest
    assert passes[-1][0] < passes[0][0] == len(texts)  # lines that are over leave the batch


def test_bad_input() -> None:
    for changes, what in (({"alphabet": ()}, "no CTC head"), ({"has_ar": False}, "no autoreg")):
        absent = DraftedSpec().missing(doubles.info(**changes))
        assert absent is not None and what in absent.reason and absent.remedy
    batch = doubles.encoded(MODELS["base", 0], [4, 6])
    with pytest.raises(UserError, match="max_new_tokens is 0"):
        DraftedSpec(max_new_tokens=0)
    with pytest.raises(UserError, match="no autoregressive head"):
        DraftedSpec().open(info()).decode(replace(batch, ar=None))
    assert batch.ar is not None
    with pytest.raises(UserError, match="spell a draft"):
        DraftedSpec().open(info()).decode(replace(batch, ar=replace(batch.ar, tokenize=None)))
    with pytest.raises(UserError, match="line 1 of a batch are not numbers"):
        DraftedSpec().open(info()).decode(replace(batch, states=batch.states * torch.nan))
    assert batch.log_probs is not None
    with pytest.raises(UserError, match="no log-probability"):
        DraftedSpec().open(info()).decode(replace(batch, log_probs=batch.log_probs * torch.nan))
    none = Encoded(
        batch.states[:0], batch.state_mask[:0], batch.log_probs[:0], torch.zeros(0).long(),
        doubles.ALPHABET, batch.ar,
    )  # fmt: skip
    assert DraftedSpec().open(info()).decode(none) == []
    silent = replace(batch, frames=torch.zeros(2, dtype=torch.long))
    same(
        DraftedSpec().open(info()).decode(silent),
        AutoregressiveSpec(beam=1).open(info()).decode(batch),
    )


def by_transformers(batch: Encoded, line: int, sequence: list[int]) -> float:
    """One sequence of one line, alone, through `TrOCRForCausalLM.forward`."""
    ar: Any = batch.ar
    states = batch.states[line : line + 1, batch.state_mask[line]].to(ar.decoder.dtype)
    with torch.inference_mode():
        logits = ar.decoder(
            torch.tensor([[ar.start_id, *sequence[:-1]]]),
            encoder_hidden_states=states,
            use_cache=False,
        ).logits[0]
    chosen = logits.double().log_softmax(-1)[torch.arange(len(sequence)), torch.tensor(sequence)]
    return float(chosen.sum())


# In float64, so that only logits are rounded: these random weights magnify float32's rounding.
DOUBLES = {kind: doubles.model(kind, 4).double() for kind in get_args(Kind)}


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(get_args(Kind)),
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_scores_are_those_of_transformers(
    kind: Kind, lengths: list[int], seed: int, data: st.DataObject
) -> None:
    batch = doubles.encoded(DOUBLES[kind], lengths, seed)
    tokens = st.integers(2, doubles.WORDS - 1)
    sequences = [
        data.draw(st.lists(st.lists(tokens, min_size=1, max_size=9), max_size=5)) for _ in lengths
    ]
    assert batch.ar is not None
    found = score_tokens(batch.ar, batch, sequences)
    for line, (of_line, asked) in enumerate(zip(found, sequences, strict=True)):
        expected = [by_transformers(batch, line, sequence) for sequence in asked]
        assert of_line.tolist() == pytest.approx(expected, abs=2e-5)


def test_texts_are_spelled_and_ended_and_what_is_too_long_has_no_score() -> None:
    batch = doubles.encoded(DOUBLES["base"], [5, 9], max_new_tokens=4)
    assert batch.ar is not None
    found = score_texts(batch.ar, batch, [["", "abc", "abcd"], ["h"]])
    expected = [by_transformers(batch, 0, [2]), by_transformers(batch, 0, [0, 1, 3, 2]), -np.inf]
    assert found[0].tolist() == pytest.approx(expected, abs=1e-4)
    mean = score_texts(batch.ar, batch, [["", "abc"], []], length_penalty=1.0)
    assert mean[0].tolist() == pytest.approx([expected[0], expected[1] / 4], abs=1e-4)
    with pytest.raises(ValueError, match="no vocabulary"):
        unspelled = doubles.head(DOUBLES["base"], tokenize=None)
        score_texts(unspelled, batch, [["a"], ["b"]])
    with pytest.raises(ValueError, match="longer than 4"):
        score_tokens(batch.ar, batch, [[[5] * 5], []])
    with pytest.raises(ValueError, match="1 lists of sequences for 2 lines"):
        score_tokens(batch.ar, batch, [[[5]]])
