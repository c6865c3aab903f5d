"""The search of our own: the same tokens and scores as transformers' generate, in every case."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.errors import UserError
from bench.core.types import Decoded, Encoded, Runtime
from decoders import DECODERS
from decoders.ar import weights as ar_weights
from decoders.ar.beam import AutoregressiveSpec, best_of
from decoders.ar.hf import GenerateSpec
from decoders.ar.reader import remaining
from decoders.ar.weights import Linear
from models.shipped import MiniSpec
from models.trocr_model import ar_model
from models.trocr_shapes import build
from tests.ctc_doubles import info
from tests.test_ar import head, padded
from tests.tiny_trocr import Kind, lines, tiny_model

WORDS = 9  # few, so that lines end at different steps
# Wide heads read the states themselves for their first steps, narrow ones never do.
WIDE, NARROW = 1, 4
MODELS = {
    (kind, heads, seed): tiny_model(kind, WORDS, seed, decoder_attention_heads=heads, init_std=0.3)
    for kind in get_args(Kind)
    for heads in (WIDE, NARROW)
    for seed in (3, 4)
}


def assert_same(found: list[Decoded], expected: list[Decoded]) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.text, mine.tokens, mine.truncated) == (
            theirs.text,
            theirs.tokens,
            theirs.truncated,
        )
        assert mine.score == pytest.approx(theirs.score, abs=1e-4)
        assert [text for text, _ in mine.nbest] == [text for text, _ in theirs.nbest]
        scores = [score for _, score in theirs.nbest]
        assert [score for _, score in mine.nbest] == pytest.approx(scores, abs=1e-4)


def both(encoded: Encoded, **options: Any) -> tuple[list[Decoded], list[Decoded]]:
    return (
        AutoregressiveSpec(**options).open(info()).decode(encoded),
        GenerateSpec(**options).open(info()).decode(encoded),
    )


@settings(max_examples=25, deadline=None)
@given(
    model=st.sampled_from(sorted(MODELS)),
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    beam=st.integers(1, 6),
    early_stopping=st.sampled_from([True, False, "never"]),
    length_penalty=st.sampled_from([-0.5, 0.0, 0.6, 1.0, 2.0]),
    limit=st.integers(1, 12),
    seed=st.integers(0, 999),
)
def test_same_hypotheses_and_scores_as_generate(
    model: Any,
    lengths: list[int],
    beam: int,
    early_stopping: Any,
    length_penalty: float,
    limit: int,
    seed: int,
) -> None:
    found, expected = both(
        padded(MODELS[model], lengths, seed),
        beam=beam,
        nbest=beam,
        early_stopping=early_stopping if beam > 1 else True,
        length_penalty=length_penalty,
        max_new_tokens=limit,
    )
    assert_same(found, expected)


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize(("heads", "beam"), [(WIDE, 1), (WIDE, 2), (NARROW, 1), (NARROW, 3)])
def test_the_same_far_into_long_lines(kind: Kind, heads: int, beam: int) -> None:
    """Caches grow, the way to read the image changes, lines leave one after the other."""
    batch = padded(MODELS[kind, heads, 3], [7, 20, 3, 11], 5)
    told = replace(head(MODELS[kind, heads, 3]), forced_lengths=torch.tensor([64, 2, 40, 64]))
    found, expected = both(replace(batch, ar=told), beam=beam)
    assert [line.tokens for line in found] == [64, 2, 40, 64]
    assert [line.text for line in found] == [line.text for line in expected]


def test_lines_of_a_batch_end_at_different_steps() -> None:
    """What the tests above stand on."""
    decoder = AutoregressiveSpec(beam=2, max_new_tokens=12).open(info())
    found = [decoder.decode(padded(m, [3, 9, 14, 20, 5, 6], 0)) for m in MODELS.values()]
    assert max(len({line.tokens for line in batch}) for batch in found) >= 3
    assert {line.truncated for batch in found for line in batch} == {True, False}
    assert len({line.text for batch in found for line in batch}) > 12


@pytest.mark.parametrize("beam", [6, 40])
def test_a_beam_that_holds_everything_finds_the_best_of_all(beam: int) -> None:
    """Against the enumeration of every sequence; the beam is wider than the vocabulary."""
    words, limit, eos = 4, 3, 2
    model = tiny_model("base", words, 3)
    batch = padded(model, [5], 3)
    inner = [token for token in range(words) if token != eos]
    sequences = [
        [*start, end]
        for length in range(limit)
        for start in itertools.product(inner, repeat=length)
        for end in (range(words) if length == limit - 1 else [eos])
    ]
    ranked = sorted(((score(model, batch, ids), ids) for ids in sequences), reverse=True)
    if beam == 6:  # wider than the vocabulary, and yet not wide enough for all
        ranked = ranked[:1]
    decoder = AutoregressiveSpec(
        beam=beam, nbest=len(ranked), max_new_tokens=limit, early_stopping="never"
    ).open(info())
    (line,) = decoder.decode(batch)
    found = line.nbest or ((line.text, line.score),)
    assert [text for text, _ in found] == [" ".join(map(str, ids)) for _, ids in ranked]
    assert [s for _, s in found] == pytest.approx([s for s, _ in ranked], abs=1e-5)


def score(model: Any, batch: Encoded, ids: list[int]) -> float:
    """Mean log-probability of a sequence, in one pass of transformers' decoder."""
    with torch.inference_mode():
        logits = model.decoder(
            torch.tensor([[2, *ids[:-1]]]), encoder_hidden_states=batch.states, use_cache=False
        ).logits[0]
    taken = logits.log_softmax(1)[torch.arange(len(ids)), torch.tensor(ids)]
    return float(taken.mean())


def test_mini_reads_as_with_generate() -> None:
    encoder = MiniSpec().open(Runtime())
    encoded = encoder.encode(encoder.prepare([image for image in lines(6) if image.size < 30_000]))
    for beam in (1, 3):
        found, expected = both(encoded, beam=beam, nbest=beam, max_new_tokens=30)
        assert_same(found, expected)


def test_trocr_small_reads_as_with_generate() -> None:
    model = build("small", 0)
    states = torch.randn(2, 30, 384, generator=torch.Generator().manual_seed(0))
    ar = ar_model(model, lambda ids: " ".join(map(str, ids)))
    batch = Encoded(states, torch.ones(2, 30, dtype=torch.bool), ar=ar)
    for beam in (1, 3):
        assert_same(*both(batch, beam=beam, nbest=beam, max_new_tokens=4))


def test_states_and_weights_are_left_as_they_are() -> None:
    model = MODELS["small", WIDE, 4]
    batch = padded(model, [4, 9, 6], 1)
    before = batch.states.clone(), {k: v.clone() for k, v in model.decoder.state_dict().items()}
    AutoregressiveSpec(beam=2, max_new_tokens=9).open(info()).decode(batch)
    assert torch.equal(batch.states, before[0])
    assert all(torch.equal(v, before[1][k]) for k, v in model.decoder.state_dict().items())


def test_weights_that_change_are_laid_out_anew() -> None:
    model = tiny_model("base", WORDS, 1)
    batch = padded(model, [6, 9], 2)
    decoder = AutoregressiveSpec(beam=2, max_new_tokens=8).open(info())
    first = decoder.decode(batch)
    laid_out = ar_weights.weights_of(model.decoder)
    assert ar_weights.weights_of(model.decoder) is laid_out
    with torch.no_grad():  # as an optimiser does it
        for parameter in model.decoder.parameters():
            parameter.mul_(-1.5)
    found, expected = both(batch, beam=2, max_new_tokens=8)
    assert_same(found, expected)
    assert [line.text for line in found] != [line.text for line in first]
    model.decoder.load_state_dict(tiny_model("base", WORDS, 7).decoder.state_dict())
    assert_same(*both(batch, beam=2, max_new_tokens=8))


@pytest.mark.parametrize("way", ["packed", "plain"])
@pytest.mark.parametrize("beam", [1, 3])
def test_packed_weights_find_the_same(way: str, beam: int, monkeypatch: Any) -> None:
    wins = (way == "packed",) * 4
    if way == "packed" and not ar_weights._can_pack(torch.float32):
        pytest.skip("this build of torch has no packed linear layers")
    monkeypatch.setattr(ar_weights, "_where_faster", lambda weight: wins)
    model = tiny_model("small", WORDS, 9)
    assert_same(*both(padded(model, [6, 9, 2], 2), beam=beam, max_new_tokens=8))


def test_packed_products_are_of_single_precision(monkeypatch: Any) -> None:
    if not ar_weights._can_pack(torch.float32):
        pytest.skip("this build of torch has no packed linear layers")
    monkeypatch.setattr(ar_weights, "_where_faster", lambda weight: (True,) * 4)
    noise = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(300, 1000, generator=noise), torch.randn(300, generator=noise)
    for rows in (1, 40, 200):
        x = torch.randn(rows, 1000, generator=noise)
        exact = x.double() @ weight.double().T + bias
        error = (Linear(weight, bias)(x) - exact).norm() / exact.norm()
        assert error < 1e-6, "bfloat16 would be at 1e-3"


def test_without_the_internal_operators_torchs_own_layer_is_used(monkeypatch: Any) -> None:
    def gone(weight: torch.Tensor) -> torch.Tensor:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute ...")

    monkeypatch.setattr(ar_weights, "_packed", gone)
    ar_weights._can_pack.cache_clear()
    layer = Linear(torch.eye(4))
    ar_weights._can_pack.cache_clear()
    assert torch.equal(layer(torch.ones(2, 4)), torch.ones(2, 4))


@settings(max_examples=60, deadline=None)
@given(columns=st.integers(1, 3000), count=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_best_of_long_rows(columns: int, count: int, seed: int) -> None:
    rows = torch.randn(3, columns, generator=torch.Generator().manual_seed(seed))
    count = min(count, columns)
    values, indices = best_of(rows, count)
    assert torch.equal(values, rows.topk(count).values)
    assert torch.equal(indices, rows.topk(count).indices)


@given(st.lists(st.booleans(), max_size=12))
def test_lines_that_go_on_move_up_and_no_more_than_need_be(over: list[bool]) -> None:
    places = remaining(over)
    assert sorted(places) == [i for i, done in enumerate(over) if not done]
    moved = [place for place, source in enumerate(places) if place != source]
    assert all(over[place] for place in moved)


@pytest.mark.parametrize("name", ["ar-beam", "ar-greedy"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_states_that_are_no_numbers(name: str, value: float) -> None:
    batch = padded(MODELS["base", NARROW, 3], [4, 6], 0)
    batch.states[1, 2] = value
    with pytest.raises(UserError, match="line 2 of a batch are not numbers"):
        DECODERS.create(name).open(info()).decode(batch)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close_to_single(dtype: torch.dtype) -> None:
    """Scores of the same tokens: precision may change the tokens, but not what they are worth."""
    model = tiny_model("base", WORDS, 4)
    batch = padded(model, [5, 9], 0)
    single = AutoregressiveSpec(beam=3, max_new_tokens=4).open(info()).decode(batch)
    model.to(dtype)
    half = AutoregressiveSpec(beam=3, max_new_tokens=4).open(info()).decode(batch)
    for one, other in zip(single, half, strict=True):
        assert other.score == pytest.approx(one.score, abs=0.2)
