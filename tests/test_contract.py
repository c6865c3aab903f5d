"""The contracts, over the registries: whatever is registered is tested by being registered."""

import dataclasses
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import Unavailable, UserError
from bench.core.types import Runtime
from bench.training.files import export
from datasets import DATASETS
from datasets.base import Dataset, fingerprint
from datasets.damage import DAMAGES
from datasets.damage.base import Damage
from decoders import DECODERS
from decoders.base import DecoderSpec
from decoders.correctors import CORRECTORS
from decoders.correctors.base import CorrectorSpec
from models import ENCODERS
from models.base import EncoderSpec
from models.mini_ar import MiniAR
from models.ppocr_net import PPOCRNet
from models.shipped import MiniSpec

KINDS = (
    (ENCODERS, EncoderSpec), (DECODERS, DecoderSpec), (DATASETS, Dataset), (DAMAGES, Damage),
    (CORRECTORS, CorrectorSpec),
)  # fmt: skip
EVERYTHING = [(r, base, name) for r, base in KINDS for name in r.names()]
IMAGES = [
    np.random.default_rng(i).integers(0, 255, (64, width), dtype=np.uint8)
    for i, width in enumerate((240, 12, 400, 96))
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "mini.safetensors"
    net = PPOCRNet().state_dict()
    net["ctc.weight"] *= 40  # peaked as trained ones: flat posteriors take pyctcdecode a minute
    export(path, net, MiniAR(120).state_dict(), {})
    return MiniSpec(weights=str(path)).open(Runtime())


@pytest.mark.parametrize(("registry", "base", "name"), EVERYTHING)
def test_every_entry_is_a_documented_frozen_dataclass_of_options(registry, base, name):
    thing = registry.create(name)
    assert isinstance(thing, base)
    assert registry.entry(name).summary
    assert type(thing).__doc__
    with pytest.raises(dataclasses.FrozenInstanceError):
        thing.changed = 1
    with pytest.raises(UserError, match="no option"):
        registry.create(name, {"no_such_option": 1})


# Weights, bonuses and log-probabilities; every other number counts or measures something.
SIGNED = {
    "alpha", "beta", "unk_offset", "weight", "length", "length_penalty", "token_min_logp",
    "beam_prune_logp",
}  # fmt: skip


def numbers(registry, name):
    """The options of a name that are numbers below 0 for none of its users."""
    fixed = SIGNED | registry.entry(name).options.keys()
    for option, (_, kind) in registry.options(name).items():
        kinds = {kind, *get_args(kind)} & {int, float}
        if kinds and option not in fixed:
            yield option, kinds.pop(), get_args(kind)[1:] == (Ellipsis,)


NUMBERS = [(r, name, *one) for r, _, name in EVERYTHING for one in numbers(r, name)]


@given(st.sampled_from(NUMBERS), st.integers(max_value=-1))
def test_no_option_that_counts_or_measures_takes_a_number_below_0(number, value):
    registry, name, option, kind, listed = number
    with pytest.raises(UserError):
        registry.create(name, {option: (kind(value),) if listed else kind(value)})


@pytest.mark.parametrize("name", ENCODERS.names())
def test_an_encoder_that_cannot_run_says_what_to_do(name):
    absent = ENCODERS.create(name).missing()
    assert absent is None or (isinstance(absent, Unavailable) and absent.reason and absent.remedy)


@pytest.mark.parametrize("name", DATASETS.names())
def test_a_data_set_keeps_its_contract_or_says_what_to_do(name):
    dataset = DATASETS.create(name)
    if absent := dataset.missing():
        assert absent.reason and absent.remedy
        pytest.skip(f"{name}: {absent.reason}")
    found = dataset.load("test", 3)
    assert (found.name, found.split, len(found.lines)) == (name, "test", 3)
    assert found.sha256 == fingerprint(found.lines)
    assert found.source and found.licence and found.references
    assert [line.id for line in dataset.load("test", 2).lines] == [x.id for x in found.lines[:2]]
    for line in found.lines:
        assert line.image.dtype == np.uint8 and line.image.ndim == 2
        assert line.text == line.text.strip() != ""
        assert line.block and line.split == "test"
        assert line.boxes is None or line.boxes.shape == (len(line.text), 2)
        assert bool(line.box_source) == (line.boxes is not None)
        assert np.median(line.image) > 100  # dark ink on light paper
    with pytest.raises(UserError):
        dataset.load("tset")


@pytest.mark.parametrize("name", DAMAGES.names())
def test_a_damage_leaves_the_clean_line_and_the_reference_alone(name):
    line = DATASETS.create("lines").load("test", 1).lines[0]
    before = line.image.copy()
    assert DAMAGES.target(name).name == name
    for severity in (0, 5):
        result = DAMAGES.create(name).apply(line, "lines", severity, 0)
        assert (line.image == before).all()
        assert (result.line.text, result.line.id) == (line.text, line.id)
        assert result.line.image.shape == before.shape
        assert (result.line.image == before).all() == (severity == 0)


def spec_of(name):
    """The decoder; lines of the random AR head are short, since it never ends one by itself."""
    short = {"max_new_tokens": 12}
    return DECODERS.create(name, short if short.keys() <= DECODERS.options(name).keys() else {})


@pytest.fixture(scope="module")
def opened(encoder):
    """Each decoder once, ready to decode; closed at the end."""
    decoders = {}
    for name in DECODERS.names():
        spec = spec_of(name)
        assert spec.missing(encoder.info) is None
        decoders[name] = spec.open(encoder.info)
    yield decoders
    for decoder in decoders.values():
        decoder.close()
        decoder.close()  # twice does no harm


@pytest.fixture(scope="module")
def encoded(encoder):
    return encoder.encode(encoder.prepare(IMAGES))


@pytest.fixture(scope="module")
def decoded(opened, encoded):
    """The input of each decoder."""
    return {name: decoder.decode(encoded) for name, decoder in opened.items()}


@pytest.mark.parametrize("name", DECODERS.names())
def test_a_spec_opens_to_independent_decoders_and_stays_as_it_is(
    opened, encoder, encoded, decoded, name
):
    spec, before = opened[name].spec, spec_of(name)
    other = spec.open(encoder.info)
    assert other is not opened[name] and other is not spec
    assert spec == before and hash(spec) == hash(before)
    assert vars(spec) == vars(before) == spec.settings()
    assert other.decode(encoded) == decoded[name]
    other.close()
    assert opened[name].decode(encoded) == decoded[name]  # closing one leaves the other open


@pytest.mark.parametrize("name", DECODERS.names())
def test_a_decoder_gives_one_honest_result_a_line(decoded, name):
    results = decoded[name]
    assert len(results) == len(IMAGES)
    for result in results:
        assert isinstance(result.text, str)
        assert result.tokens >= 0
        assert not result.nbest or result.nbest[0][0] == result.text
        scores = [score for _, score in result.nbest]
        assert all(a >= b for a, b in pairwise(scores))


@pytest.mark.parametrize("name", DECODERS.names())
def test_a_line_decodes_the_same_in_any_batch(opened, encoder, decoded, name):
    texts = [d.text for d in decoded[name]]
    backwards = encoder.encode(encoder.prepare(IMAGES[::-1]))
    assert [d.text for d in opened[name].decode(backwards)] == texts[::-1]
    alone = [opened[name].decode(encoder.encode(encoder.prepare([x])))[0].text for x in IMAGES]
    assert alone == texts
