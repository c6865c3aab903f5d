"""Our autoregressive search against transformers' `generate`: the same tokens and scores."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from bench.core.errors import UserError
from bench.core.types import ARModel, Decoded, Encoded
from decoders import DECODERS
from decoders.ar import weights as ar_weights
from decoders.ar.beam import best_of
from decoders.ar.draft import DraftedSpec, TextDraft
from decoders.ar.hf import GenerateSpec
from decoders.ar.score import TreeReader, score_texts, score_tokens
from decoders.ar.specs import AutoregressiveSpec
from decoders.ar.weights import Linear
from tests import two_heads as doubles
from tests.ctc_doubles import info
from tests.tiny_trocr import IMAGE, Kind, tiny_model

EOS, PAD, START = 2, 1, 2
WORDS = 9  # few, so that lines end at different steps
LIMIT = 12
# Wide heads read the states themselves for their first steps, narrow ones never do.
WIDE, NARROW = 1, 4
MODELS = {
    (kind, heads): tiny_model(kind, WORDS, 3, decoder_attention_heads=heads, init_std=0.3)
    for kind in get_args(Kind)
    for heads in (WIDE, NARROW)
}


def head(model: Any, **changes: Any) -> ARModel:
    """The AR head of a model, whose texts are its token ids."""
    linear = getattr(model, "enc_to_dec_proj", None)
    made = ARModel(
        decoder=model.decoder,
        project=linear and (lambda states, mask: (linear(states), mask)),
        detokenize=lambda ids: " ".join(map(str, ids)),
        start_id=START,
        eos_id=EOS,
        pad_id=PAD,
        max_new_tokens=64,
    )
    return replace(made, **changes)


def encoded(model: Any, images: torch.Tensor, **changes: Any) -> Encoded:
    with torch.inference_mode():
        states = model.encoder(images).last_hidden_state
    mask = torch.ones(states.shape[:2], dtype=torch.bool)
    return Encoded(states, mask, ar=head(model, **changes))


def padded(model: Any, lengths: list[int], seed: int, **changes: Any) -> Encoded:
    """Lines of several lengths, as an encoder of variable width gives them; junk behind them."""
    noise = torch.Generator().manual_seed(seed)
    states = torch.randn(len(lengths), max(lengths), 24, generator=noise) * 3
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Encoded(states, mask, ar=head(model, **changes))


def pictures(lines: int) -> torch.Tensor:
    return torch.randn(lines, 3, IMAGE, IMAGE, generator=torch.Generator().manual_seed(3))


def read(batch: Encoded, **options: Any) -> list[Decoded]:
    return AutoregressiveSpec(**options).open(info()).decode(batch)


def assert_same(batch: Encoded, **options: Any) -> list[Decoded]:
    """Read with both searches."""
    found, expected = read(batch, **options), GenerateSpec(**options).open(info()).decode(batch)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.text, mine.tokens, mine.truncated) == (
            theirs.text, theirs.tokens, theirs.truncated,
        )  # fmt: skip
        assert mine.score == pytest.approx(theirs.score, abs=1e-4)
        assert [text for text, _ in mine.nbest] == [text for text, _ in theirs.nbest]
        scores = [score for _, score in theirs.nbest]
        assert [score for _, score in mine.nbest] == pytest.approx(scores, abs=1e-4)
    return found


@pytest.mark.parametrize(
    ("kind", "beam", "changes"),
    [("base", 1, {}), ("small", 5, {}), ("base", 3, {"cross_attention_hidden_size": None})],
    ids=["greedy", "small", "projected"],
)
@pytest.mark.parametrize("spec", [AutoregressiveSpec, GenerateSpec])
def test_same_tokens_as_generate_on_the_whole_model(
    spec: Any, kind: Kind, beam: int, changes: dict[str, Any]
) -> None:
    model, images = tiny_model(kind, 14, 3, **changes), pictures(9)
    options = {"early_stopping": True, "length_penalty": 1.0} if beam > 1 else {}
    expected = model.generate(
        images, num_beams=beam, max_new_tokens=LIMIT, decoder_start_token_id=START,
        eos_token_id=EOS, pad_token_id=PAD, return_dict_in_generate=True, output_scores=True,
        use_cache=True, **options,
    )  # fmt: skip
    ids = [row[1:].tolist() for row in expected.sequences]
    ids = [row[: row.index(EOS) + 1] if EOS in row else row for row in ids]
    decoder = spec(beam=beam, max_new_tokens=LIMIT).open(info())
    found = decoder.decode(encoded(model, images))
    assert [line.text for line in found] == [" ".join(map(str, row)) for row in ids]
    assert [line.tokens for line in found] == [len(row) for row in ids]
    assert [line.truncated for line in found] == [EOS not in row for row in ids]
    if beam > 1:
        scores = expected.sequences_scores.tolist()
        assert [line.score for line in found] == pytest.approx(scores, abs=1e-4)
    odd = {"max_length": 5, "min_length": 4, "use_cache": False, "no_repeat_ngram_size": 1,
           "repetition_penalty": 3.0, "num_beams": 3, "length_penalty": -2.0, "do_sample": True,
           "suppress_tokens": [4, 5, 6]}  # fmt: skip
    for owner in (model, model.decoder):  # a checkpoint's own settings never reach the search
        owner.generation_config.update(**odd)
    assert decoder.decode(encoded(model, images)) == found


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
    model: Any, lengths: list[int], beam: int, early_stopping: Any, length_penalty: float,
    limit: int, seed: int,
) -> None:  # fmt: skip
    assert_same(
        padded(MODELS[model], lengths, seed), beam=beam, nbest=beam, max_new_tokens=limit,
        early_stopping=early_stopping if beam > 1 else True, length_penalty=length_penalty,
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "heads", "beam"), [("base", WIDE, 2), ("small", NARROW, 3)])
def test_the_same_far_into_long_lines(kind: Kind, heads: int, beam: int) -> None:
    """Caches grow, the way to read the image changes, lines leave one after the other."""
    forced = torch.tensor([64, 2, 40, 64])
    batch = padded(MODELS[kind, heads], [7, 20, 3, 11], 5, forced_lengths=forced)
    found = read(batch, beam=beam)
    assert [line.tokens for line in found] == forced.tolist()
    theirs = GenerateSpec(beam=beam).open(info()).decode(batch)
    assert [line.text for line in found] == [line.text for line in theirs]


def test_a_beam_that_holds_everything_finds_the_best_of_all() -> None:
    """Against the enumeration of every sequence; the beam is wider than the vocabulary."""
    words, limit = 4, 3
    model = tiny_model("base", words, 3)
    batch = padded(model, [5], 3)
    inner = [token for token in range(words) if token != EOS]
    sequences = [
        [*start, end]
        for length in range(limit)
        for start in itertools.product(inner, repeat=length)
        for end in (range(words) if length == limit - 1 else [EOS])
    ]
    ranked = sorted(((mean_log_prob(model, batch, ids), ids) for ids in sequences), reverse=True)
    (line,) = read(batch, beam=40, nbest=len(ranked), max_new_tokens=limit, early_stopping="never")
    assert [text for text, _ in line.nbest] == [" ".join(map(str, ids)) for _, ids in ranked]
    assert [s for _, s in line.nbest] == pytest.approx([s for s, _ in ranked], abs=1e-5)


def mean_log_prob(model: Any, batch: Encoded, ids: list[int]) -> float:
    """In one pass of transformers' decoder."""
    with torch.inference_mode():
        logits = model.decoder(
            torch.tensor([[START, *ids[:-1]]]), encoder_hidden_states=batch.states, use_cache=False
        ).logits[0]
    return float(logits.log_softmax(1)[torch.arange(len(ids)), torch.tensor(ids)].mean())


@settings(max_examples=15, deadline=None)
@given(
    model=st.sampled_from(sorted(MODELS)),
    lengths=st.lists(st.integers(1, 30), min_size=2, max_size=4),
    beam=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
)
def test_a_line_reads_the_same_alone_and_in_a_batch(
    model: Any, lengths: list[int], beam: int, seed: int
) -> None:
    batch = padded(MODELS[model], lengths, seed)
    for index, (length, line) in enumerate(
        zip(lengths, read(batch, beam=beam, max_new_tokens=LIMIT), strict=True)
    ):
        states = batch.states[index : index + 1, :length]
        one = Encoded(states, torch.ones(1, length, dtype=torch.bool), ar=batch.ar)
        (alone,) = read(one, beam=beam, max_new_tokens=LIMIT)
        assert (alone.text, alone.tokens, alone.truncated) == (
            line.text, line.tokens, line.truncated,
        )  # fmt: skip
        assert alone.score == pytest.approx(line.score, abs=1e-4)


@pytest.mark.parametrize("beam", [1, 5])
def test_untrained_weights_emit_as_many_tokens_as_each_line_has_to(beam: int) -> None:
    lengths = [17, 1, 2, 9, 17, 3]
    batch = encoded(MODELS["base", WIDE], pictures(6), forced_lengths=torch.tensor(lengths))
    for line, length in zip(read(batch, beam=beam, nbest=beam), lengths, strict=True):
        ids = line.text.split()
        assert line.tokens == len(ids) == length and ids.index(str(EOS)) == length - 1
        assert not line.truncated and line.score is not None and -99 < line.score <= 0
        if length == 1 and beam > 1:  # hypotheses that a line does not have are left out
            assert line.nbest == ((line.text, line.score),)


def test_the_smallest_limit_ends_a_line() -> None:
    def ends(batch: Encoded, **options: Any) -> list[tuple[int, bool]]:
        return [(line.tokens, line.truncated) for line in read(batch, **options)]

    model = tiny_model("base", 14, 1)
    forced = encoded(model, pictures(2), forced_lengths=torch.tensor([9, 3]))
    assert ends(forced, beam=3, max_new_tokens=8) == [(8, True), (3, False)]
    last = encoded(model, pictures(2), forced_lengths=torch.tensor([64, 64]))
    assert ends(last, beam=2) == [(64, False)] * 2  # the last position of the decoder
    for own, option in ((7, 200), (64, 7)):
        batch = encoded(model, pictures(8), max_new_tokens=own)
        assert max(ends(batch, max_new_tokens=option)) == (7, True)


def test_weights_that_change_are_laid_out_anew() -> None:
    model = tiny_model("base", WORDS, 1)
    batch = padded(model, [6, 9], 2)
    first = read(batch, beam=2, max_new_tokens=8)
    assert ar_weights.weights_of(model.decoder) is ar_weights.weights_of(model.decoder)
    with torch.no_grad():  # as an optimiser does it
        for parameter in model.decoder.parameters():
            parameter.mul_(-1.5)
    found = assert_same(batch, beam=2, max_new_tokens=8)
    assert [line.text for line in found] != [line.text for line in first]
    model.decoder.load_state_dict(tiny_model("base", WORDS, 7).decoder.state_dict())
    assert_same(batch, beam=2, max_new_tokens=8)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_rounded_head_reads_as_a_head_of_that_precision(kind: Kind) -> None:
    model = tiny_model(kind, WORDS, 3, init_std=0.3)
    batch, options = padded(model, [6, 9], 2), {"beam": 3, "max_new_tokens": 8}
    fine, rounded = read(batch, **options), read(batch, head="bfloat16", **options)
    assert batch.ar is not None
    low = replace(batch.ar, decoder=copy.deepcopy(model.decoder).to(torch.bfloat16))
    assert rounded == read(replace(batch, ar=low), **options)
    assert [line.score for line in rounded] != [line.score for line in fine]
    assert read(batch, **options) == fine


@pytest.mark.parametrize("packed", [True, False])
def test_packed_weights_find_the_same(packed: bool, monkeypatch: Any) -> None:
    if packed and not ar_weights._can_pack(torch.float32):
        pytest.skip("this build of torch has no packed linear layers")
    monkeypatch.setattr(ar_weights, "_where_faster", lambda weight: (packed,) * 4)
    model = tiny_model("small", WORDS, 9)
    assert_same(padded(model, [6, 9, 2], 2), beam=3, max_new_tokens=8)


def test_without_the_internal_operators_torchs_own_layer_is_used(monkeypatch: Any) -> None:
    def gone(weight: torch.Tensor) -> torch.Tensor:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute ...")

    monkeypatch.setattr(ar_weights, "_packed", gone)
    ar_weights._can_pack.cache_clear()
    layer = Linear(torch.eye(4))
    ar_weights._can_pack.cache_clear()
    assert torch.equal(layer(torch.ones(2, 4)), torch.ones(2, 4))


@settings(max_examples=40, deadline=None)
@given(columns=st.integers(1, 3000), count=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_best_of_long_rows(columns: int, count: int, seed: int) -> None:
    rows = torch.randn(3, columns, generator=torch.Generator().manual_seed(seed))
    count = min(count, columns)
    values, indices = best_of(rows, count)
    assert torch.equal(values, rows.topk(count).values)
    assert torch.equal(indices, rows.topk(count).indices)


def test_half_precision_is_close_to_single() -> None:
    """Scores of the same tokens: precision may change the tokens, but not what they are worth."""
    model = tiny_model("base", WORDS, 4)
    batch = padded(model, [5, 9], 0)
    single = read(batch, beam=3, max_new_tokens=4)
    model.to(torch.bfloat16)
    for one, other in zip(single, read(batch, beam=3, max_new_tokens=4), strict=True):
        assert other.score == pytest.approx(one.score, abs=0.2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"beam": 0}, "beam is 0"),
        ({"beam": 10**12}, "hypotheses kept, 1 to 10000"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"beam": 2, "nbest": 3}, "a beam of 2 does not hold 3"),
        ({"length_penalty": 1e300}, "length_penalty is an exponent, -50 to 50"),
        ({"beam": 1, "early_stopping": False}, "no meaning without a beam"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        AutoregressiveSpec(**options)
    if "length_penalty" in options:
        with pytest.raises(UserError, match=sentence):
            DraftedSpec(**options)


def test_states_that_are_no_numbers_and_an_encoder_without_the_head() -> None:
    batch = padded(MODELS["base", NARROW], [4, 6], 0)
    assert read(replace(batch, states=batch.states[:0], state_mask=batch.state_mask[:0])) == []
    batch.states[1, 2] = torch.nan
    for name in ("ar-beam", "ar-greedy"):
        with pytest.raises(UserError, match="line 2 of a batch are not numbers"):
            DECODERS.create(name).open(info()).decode(batch)
    absent = AutoregressiveSpec().missing(info())
    assert absent is not None and "no autoregressive head" in absent.reason and absent.remedy
    assert AutoregressiveSpec().missing(info((), has_ar=True)) is None
    with pytest.raises(UserError, match="no autoregressive head"):
        read(replace(batch, ar=None))


# Drafts of the AR head, and texts scored in one pass, against greedy search and transformers


TYPED = st.text("ab c", max_size=12)


@given(TYPED, st.lists(TYPED, max_size=4))
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


TWO_HEADED = {
    (kind, seed): doubles.model(kind, seed) for kind in get_args(Kind) for seed in range(3)
}


@settings(max_examples=60, deadline=None)
@given(
    which=st.sampled_from(sorted(TWO_HEADED)),
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    limit=st.integers(1, 20),
    penalty=st.sampled_from([0.0, 1.0, 2.0]),
    seed=st.integers(0, 999),
)
def test_the_tokens_are_those_of_greedy_search_for_any_draft(
    which: tuple[Kind, int], lengths: list[int], limit: int, penalty: float, seed: int
) -> None:
    batch = doubles.encoded(TWO_HEADED[which], lengths, seed)
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
    batch = doubles.encoded(TWO_HEADED["base", 0], [9] * 40, 1)
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
    batch = doubles.encoded(TWO_HEADED["base", 0], [4, 6])
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
