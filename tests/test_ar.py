"""AutoregressiveSpec against transformers' own VisionEncoderDecoderModel.generate."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.errors import UserError
from bench.core.types import ARModel, Encoded, EncoderInfo
from decoders import DECODERS
from decoders.ar.beam import AutoregressiveSpec
from tests.ctc_doubles import info
from tests.tiny_trocr import IMAGE, Kind, tiny_model

EOS, PAD, START = 2, 1, 2
WORDS = 14  # so few that some lines end by themselves
LIMIT = 12


def head(model: Any, **changes: Any) -> ARModel:
    """The AR head of a model, whose texts are its token ids."""
    return ARModel(
        **{
            "decoder": model.decoder,
            "project": getattr(model, "enc_to_dec_proj", None),
            "detokenize": lambda ids: " ".join(map(str, ids)),
            "start_id": START,
            "eos_id": EOS,
            "pad_id": PAD,
            "max_new_tokens": 64,
            **changes,
        }
    )


def encoded(model: Any, images: torch.Tensor, **changes: Any) -> Encoded:
    with torch.inference_mode():
        states = model.encoder(images).last_hidden_state
    mask = torch.ones(states.shape[:2], dtype=torch.bool)
    return Encoded(states, mask, ar=head(model, **changes))


def pictures(lines: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(lines, 3, IMAGE, IMAGE, generator=torch.Generator().manual_seed(seed))


def reference(model: Any, images: torch.Tensor, beam: int, **options: Any) -> Any:
    """transformers' generate on the whole model, not on its decoder: the oracle."""
    if beam > 1:
        options = {"early_stopping": True, "length_penalty": 1.0, **options}
    return model.generate(
        images,
        num_beams=beam,
        max_new_tokens=LIMIT,
        decoder_start_token_id=START,
        eos_token_id=EOS,
        pad_token_id=PAD,
        return_dict_in_generate=True,
        output_scores=True,
        **options,
    )


def tokens_of(row: torch.Tensor) -> list[int]:
    """A row of generate's output as the speed table counts it."""
    ids: list[int] = row[1:].tolist()
    return ids[: ids.index(EOS) + 1] if EOS in ids else ids


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("beam", [1, 2, 5])
@pytest.mark.parametrize(("lines", "seed"), [(1, 0), (9, 3)])
def test_same_tokens_as_the_whole_model(kind: Kind, beam: int, lines: int, seed: int) -> None:
    model, images = tiny_model(kind, WORDS, seed), pictures(lines, seed)
    expected = reference(model, images, beam, use_cache=True)
    found = (
        AutoregressiveSpec(beam=beam, max_new_tokens=LIMIT)
        .open(info())
        .decode(encoded(model, images))
    )
    wanted = [tokens_of(row) for row in expected.sequences]
    assert [d.text for d in found] == [" ".join(map(str, ids)) for ids in wanted]
    assert [d.tokens for d in found] == [len(ids) for ids in wanted]
    assert [d.truncated for d in found] == [EOS not in ids for ids in wanted]
    if beam > 1:
        scores = expected.sequences_scores.tolist()
        assert [d.score for d in found] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("decoder", ["ar-greedy", "ar-beam", "ar-hf"])
def test_a_checkpoints_own_settings_of_generation_never_reach_the_search(decoder: str) -> None:
    model, images = tiny_model("base", WORDS, 1), pictures(7, 1)
    asked = DECODERS.create(decoder, {"max_new_tokens": LIMIT}).open(info())
    plain = asked.decode(encoded(model, images))
    odd = {"max_length": 5, "min_length": 4, "use_cache": False, "no_repeat_ngram_size": 1,
           "repetition_penalty": 3.0, "num_beams": 3, "length_penalty": -2.0, "do_sample": True,
           "suppress_tokens": [4, 5, 6]}  # fmt: skip
    for owner in (model, model.decoder):
        owner.generation_config.update(**odd)
    assert asked.decode(encoded(model, images)) == plain


@pytest.mark.parametrize(
    "options",
    [{"length_penalty": 0.0}, {"length_penalty": 2.0}, {"early_stopping": False}],
    ids=str,
)
def test_options_mean_what_they_mean_in_transformers(options: dict[str, Any]) -> None:
    model, images = tiny_model("base", WORDS, 8), pictures(8, 8)
    expected = reference(model, images, 4, **options)
    decoder = AutoregressiveSpec(beam=4, max_new_tokens=LIMIT, **options).open(info())
    found = decoder.decode(encoded(model, images))
    wanted = [" ".join(map(str, tokens_of(row))) for row in expected.sequences]
    assert [d.text for d in found] == wanted
    default = (
        AutoregressiveSpec(beam=4, max_new_tokens=LIMIT).open(info()).decode(encoded(model, images))
    )
    assert [(d.text, d.score) for d in default] != [(d.text, d.score) for d in found]


def test_states_narrower_than_the_decoder_are_projected() -> None:
    model = tiny_model("base", WORDS, 5, cross_attention_hidden_size=None)
    images = pictures(5, 5)
    expected = reference(model, images, 3)
    found = (
        AutoregressiveSpec(beam=3, max_new_tokens=LIMIT).open(info()).decode(encoded(model, images))
    )
    wanted = [" ".join(map(str, tokens_of(row))) for row in expected.sequences]
    assert [d.text for d in found] == wanted


@pytest.mark.parametrize("kind", get_args(Kind))
def test_greedy_takes_the_likeliest_token_given_all_before(kind: Kind) -> None:
    """An independent search: no cache, no generate, one line at a time."""
    model = tiny_model(kind, WORDS, 3)
    batch = encoded(model, pictures(6, 3))
    greedy = DECODERS.create("ar-greedy", {"max_new_tokens": LIMIT})
    assert greedy == AutoregressiveSpec(beam=1, max_new_tokens=LIMIT)
    for index, line in enumerate(greedy.open(info()).decode(batch)):
        ids, score = [START], 0.0
        while len(ids) <= LIMIT and (len(ids) == 1 or ids[-1] != EOS):
            with torch.inference_mode():
                logits = model.decoder(
                    torch.tensor([ids]),
                    encoder_hidden_states=batch.states[index : index + 1],
                    use_cache=False,
                ).logits[0, -1]
            value, token = logits.log_softmax(0).max(0)
            ids, score = [*ids, int(token)], score + float(value)
        assert PAD not in ids  # positions behind a padding token depend on the cache
        assert line.text == " ".join(map(str, ids[1:]))
        assert line.score == pytest.approx(score / (len(ids) - 1), abs=1e-4)


def padded(model: Any, lengths: list[int], seed: int) -> Encoded:
    """Lines of several lengths, as an encoder of variable width gives them; junk behind them."""
    noise = torch.Generator().manual_seed(seed)
    states = torch.randn(len(lengths), max(lengths), 24, generator=noise) * 3
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Encoded(states, mask, ar=head(model))


MODELS = {kind: tiny_model(kind, WORDS, 4) for kind in get_args(Kind)}


@settings(max_examples=15, deadline=None)
@given(
    kind=st.sampled_from(get_args(Kind)),
    lengths=st.lists(st.integers(1, 30), min_size=2, max_size=4),
    beam=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
)
def test_a_line_reads_the_same_alone_and_in_a_batch(
    kind: Kind, lengths: list[int], beam: int, seed: int
) -> None:
    decoder = AutoregressiveSpec(beam=beam, max_new_tokens=LIMIT).open(info())
    batch = padded(MODELS[kind], lengths, seed)
    together = decoder.decode(batch)
    assert len(together) == len(lengths)
    for index, length in enumerate(lengths):
        states = batch.states[index : index + 1, :length]
        alone = Encoded(states, torch.ones(1, length, dtype=torch.bool), ar=batch.ar)
        (line,) = decoder.decode(alone)
        assert line.text == together[index].text
        assert line.score == pytest.approx(together[index].score, abs=1e-4)
        assert (line.tokens, line.truncated) == (together[index].tokens, together[index].truncated)


def test_padding_would_change_the_text_if_it_were_read() -> None:
    batch = padded(MODELS["base"], [3, 30, 5], 0)
    unmasked = Encoded(batch.states, torch.ones_like(batch.state_mask), ar=batch.ar)
    decoder = AutoregressiveSpec(max_new_tokens=LIMIT).open(info())
    masked, read = decoder.decode(batch), decoder.decode(unmasked)
    assert masked[0].text != read[0].text
    assert masked[1].text == read[1].text


LENGTHS = [17, 1, 2, 9, 17, 3]


@pytest.mark.parametrize("beam", [1, 5, 10])
@pytest.mark.parametrize("kind", get_args(Kind))
def test_untrained_weights_emit_what_each_line_is_told(kind: Kind, beam: int) -> None:
    lengths = torch.tensor(LENGTHS)
    batch = encoded(tiny_model(kind, WORDS, 0), pictures(len(LENGTHS)), forced_lengths=lengths)
    for line, length in zip(
        AutoregressiveSpec(beam=beam).open(info()).decode(batch), LENGTHS, strict=True
    ):
        ids = line.text.split()
        assert line.tokens == len(ids) == length
        assert ids.index(str(EOS)) == length - 1
        assert not line.truncated
        assert line.score is not None and -99 < line.score <= 0


@pytest.mark.parametrize("beam", [1, 4])
def test_but_for_its_end_a_forced_line_is_searched_like_any_other(beam: int) -> None:
    """Against transformers' own way to force one length on all lines of a batch."""
    model, images = tiny_model("base", WORDS, 2), pictures(5, 2)
    expected = reference(
        model, images, beam, min_new_tokens=LIMIT - 1, forced_eos_token_id=EOS, use_cache=True
    )
    wanted = [" ".join(map(str, tokens_of(row))) for row in expected.sequences]
    batch = encoded(model, images, forced_lengths=torch.full((5,), LIMIT))
    assert [d.text for d in AutoregressiveSpec(beam=beam).open(info()).decode(batch)] == wanted


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_smallest_limit_ends_a_line(kind: Kind) -> None:
    def read(batch: Encoded, **options: Any) -> list[tuple[int, bool]]:
        found = AutoregressiveSpec(**options).open(info()).decode(batch)
        return [(line.tokens, line.truncated) for line in found]

    model = tiny_model(kind, WORDS, 1)
    for beam in (1, 3):
        forced = encoded(model, pictures(2), forced_lengths=torch.tensor([9, 3]))
        assert read(forced, beam=beam, max_new_tokens=8) == [(8, True), (3, False)]
    last = encoded(model, pictures(2), forced_lengths=torch.tensor([64, 64]))
    assert read(last, beam=2) == [(64, False)] * 2  # the last position of the decoder
    for own, option in ((7, 200), (64, 7)):
        lengths = read(encoded(model, pictures(8, 1), max_new_tokens=own), max_new_tokens=option)
        assert max(lengths) == (7, True)
        assert all(tokens == 7 for tokens, truncated in lengths if truncated)


def test_n_best_are_those_of_transformers() -> None:
    model, images = tiny_model("base", WORDS, 2), pictures(6, 2)
    expected = reference(model, images, 4, num_return_sequences=4)
    batch = encoded(model, images)
    found = AutoregressiveSpec(beam=4, nbest=4, max_new_tokens=LIMIT).open(info()).decode(batch)
    wanted = [" ".join(map(str, tokens_of(row))) for row in expected.sequences]
    assert [text for d in found for text, _ in d.nbest] == wanted
    for line in found:
        scores = [score for _, score in line.nbest]
        assert scores == sorted(scores, reverse=True)
        assert (line.text, line.score) == line.nbest[0]
        assert len({text for text, _ in line.nbest}) == 4
    one = AutoregressiveSpec(beam=4, max_new_tokens=LIMIT).open(info()).decode(batch)
    assert [(d.text, d.score) for d in one] == [(d.text, d.score) for d in found]
    assert all(d.nbest == () for d in one)


def test_hypotheses_that_a_line_does_not_have_are_left_out() -> None:
    """A line that may only be one token long has at most one finished hypothesis: EOS."""
    one = torch.ones(4, dtype=torch.long)
    batch = encoded(tiny_model("base", WORDS, 0), pictures(4), forced_lengths=one)
    for line in AutoregressiveSpec(beam=5, nbest=5).open(info()).decode(batch):
        assert line.nbest == ((line.text, line.score),)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"beam": 0}, "beam is 0"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"nbest": 0}, "nbest is 0"),
        ({"beam": 2, "nbest": 3}, "a beam of 2 does not hold 3"),
        ({"beam": 1, "early_stopping": False}, "no meaning without a beam"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        AutoregressiveSpec(**options)


def test_an_encoder_without_the_head() -> None:
    blind = EncoderInfo("reader", "abc", {}, ("", "a"), has_ar=False)
    missing = AutoregressiveSpec().missing(blind)
    assert missing is not None and "no autoregressive head" in missing.reason and missing.remedy
    assert AutoregressiveSpec().missing(EncoderInfo("x", "abc", {}, (), has_ar=True)) is None
    batch = padded(MODELS["base"], [4], 0)
    none = Encoded(batch.states[:0], batch.state_mask[:0], ar=batch.ar)
    assert AutoregressiveSpec().open(info()).decode(none) == []
    with pytest.raises(UserError, match="no autoregressive head"):
        AutoregressiveSpec().open(blind).decode(
            Encoded(torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.bool))
        )
