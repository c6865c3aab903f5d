"""Token trees, and the AR head as a judge, against transformers' own forward pass."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.types import Encoded
from decoders.ar.score import TokenTree, score_texts, score_tokens
from tests import judge_doubles as doubles
from tests.tiny_trocr import Kind

SEQUENCES = st.lists(st.lists(st.integers(3, 6), min_size=1, max_size=6), max_size=8)


@given(SEQUENCES)
def test_a_tree_holds_its_sequences_and_every_beginning_once(sequences: list[list[int]]) -> None:
    tree = TokenTree.of(2, sequences)
    spelled = []
    for end in tree.ends:
        path, node = [], int(end)
        while node:
            path.append(int(tree.tokens[node]))
            assert tree.depths[node] == tree.depths[tree.parents[node]] + 1
            assert tree.parents[node] < node
            node = int(tree.parents[node])
        spelled.append(path[::-1])
    assert spelled == sequences
    beginnings = {tuple(s[:n]) for s in sequences for n in range(len(s) + 1)} | {()}
    assert len(tree.tokens) == len(beginnings)
    assert len(tree.inner) == len({s[:-1] for s in beginnings if s})
    sums = tree.totals(tree.tokens.astype(float))
    assert sums.tolist() == [sum(sequence) for sequence in sequences]
    sees = tree.ancestors()
    assert (sees.sum(1) == tree.depths[tree.inner] + 1).all()


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
MODELS = {kind: doubles.model(kind, 4).double() for kind in get_args(Kind)}


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
    batch = doubles.encoded(MODELS[kind], lengths, seed)
    tokens = st.integers(2, doubles.WORDS - 1)
    sequences = [
        data.draw(st.lists(st.lists(tokens, min_size=1, max_size=9), max_size=5)) for _ in lengths
    ]
    assert batch.ar is not None
    found = score_tokens(batch.ar, batch, sequences)
    for line, (of_line, asked) in enumerate(zip(found, sequences, strict=True)):
        expected = [by_transformers(batch, line, sequence) for sequence in asked]
        assert of_line.tolist() == pytest.approx(expected, abs=2e-5)


def test_a_projection_of_the_states_is_used() -> None:
    batch = doubles.encoded(MODELS["base"], [5, 9], project=lambda states: states * 0.5)
    halved = doubles.encoded(MODELS["base"], [5, 9])
    assert batch.ar is not None
    (found, _) = score_tokens(batch.ar, batch, [[[5, 6, 2]], []])
    expected = by_transformers(
        Encoded(halved.states * 0.5, halved.state_mask, ar=halved.ar), 0, [5, 6, 2]
    )
    assert found.tolist() == pytest.approx([expected], abs=1e-4)


def test_texts_are_spelled_and_ended_and_what_is_too_long_has_no_score() -> None:
    batch = doubles.encoded(MODELS["base"], [5, 9], max_new_tokens=4)
    assert batch.ar is not None
    found = score_texts(batch.ar, batch, [["", "abc", "abcd"], ["h"]])
    expected = [by_transformers(batch, 0, [2]), by_transformers(batch, 0, [0, 1, 3, 2]), -np.inf]
    assert found[0].tolist() == pytest.approx(expected, abs=1e-4)
    mean = score_texts(batch.ar, batch, [["", "abc"], []], length_penalty=1.0)
    assert mean[0].tolist() == pytest.approx([expected[0], expected[1] / 4], abs=1e-4)
    with pytest.raises(ValueError, match="no vocabulary"):
        unspelled = doubles.head(MODELS["base"], tokenize=None)
        score_texts(unspelled, batch, [["a"], ["b"]])
    with pytest.raises(ValueError, match="longer than 4"):
        score_tokens(batch.ar, batch, [[[5] * 5], []])
    with pytest.raises(ValueError, match="1 lists of sequences for 2 lines"):
        score_tokens(batch.ar, batch, [[[5]]])
