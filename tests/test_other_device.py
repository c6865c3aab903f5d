"""Encoders and decoders on a device that is not the CPU: no mixed operands, few waits."""

from typing import Any

import numpy as np
import pytest
import torch

from bench.core import machine
from bench.core.errors import Unavailable, UserError
from bench.core.types import Runtime
from bench.pipeline.opening import check_runtime, open_decoder, open_encoder
from bench.training.files import export
from decoders import DECODERS
from models.mini_ar import MiniAR
from models.ppocr_net import PPOCRNet
from models.shipped import MiniSpec
from models.trocr import TrOCRSpec
from tests import other_device
from tests.other_device import counted
from tests.tiny_trocr import save_checkpoint

TOKENS = 4  # of a line at most
IMAGES = [
    np.random.default_rng(i).integers(0, 255, (32, width), dtype=np.uint8)
    for i, width in enumerate((40, 12, 70))
]


@pytest.fixture(scope="module")
def encodings(tmp_path_factory):
    """For each network: its facts, its encodings on the device and on the CPU, and the waits."""
    other_device.register()
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    net = PPOCRNet().state_dict()
    net["ctc.weight"] *= 40  # peaked as trained ones
    export(folder / "mini.safetensors", net, MiniAR(120).state_dict(), {})
    specs: dict[str, Any] = {"mini": MiniSpec(weights=str(folder / "mini.safetensors"))}
    for kind in ("base", "small"):
        save_checkpoint(folder / kind, kind)
        specs[kind] = TrOCRSpec(str(folder / kind))
    made = {}
    for name, spec in specs.items():
        here = spec.open(Runtime())
        with counted():
            there = spec.open(Runtime(device=other_device.NAME))
            images = there.prepare(IMAGES)
        with counted() as counts:
            encoded = there.encode(images)
        made[name] = here.info, encoded, here.encode(here.prepare(IMAGES)), counts["waits"]
    return made


@pytest.mark.parametrize("name", ["mini", "base", "small"])
def test_an_encoder_stays_on_its_device_and_never_waits(encodings, name):
    _, there, here, waits = encodings[name]
    assert waits == 0
    for got, want in (
        (there.states, here.states), (there.state_mask, here.state_mask),
        (there.log_probs, here.log_probs), (there.frames, here.frames),
    ):  # fmt: skip
        assert (got is None) == (want is None)
        if got is not None:
            assert got.device.type == other_device.NAME
    inside = here.state_mask[:, :, None]
    torch.testing.assert_close(there.states.cpu() * inside, here.states * inside, rtol=0, atol=1e-3)


SYSTEMS = [
    *(("mini", name) for name in DECODERS.names()),
    *((kind, name) for kind in ("base", "small") for name in ("ar-greedy", "ar-beam")),
]


@pytest.mark.parametrize(("encoder", "name"), SYSTEMS)
def test_a_decoder_reads_on_the_device_what_it_reads_on_the_cpu(encodings, encoder, name):
    info, there, here, _ = encodings[encoder]
    small = {"max_new_tokens": TOKENS, "beam": 2}
    free = DECODERS.options(name).keys() - DECODERS.entry(name).options.keys()
    options = {option: value for option, value in small.items() if option in free}
    try:
        decoder = open_decoder(DECODERS.create(name, options), info)
    except Unavailable as absent:
        pytest.skip(str(absent))
    with counted() as counts:
        read = decoder.decode(there)
    assert [line.text for line in read] == [line.text for line in decoder.decode(here)]
    if name in ("ar-hf", "ctc-lm"):  # transformers' own loop; a network's step whenever it is asked
        return
    # CTC: log-probabilities and frame counts, or a frame's best values and symbols and the counts;
    # a network's scores. AR: which lines are over, once a step; whether the mask is full; the end.
    steps = 0 if DECODERS.create(name).needs == "log_probs" else TOKENS
    # One more for the length of what mini's AR head reads, a state a character.
    assert 0 < counts["waits"] <= 5 + steps, counts


def test_the_device_refuses_operands_of_two_devices_and_counts_waits():
    other_device.register()
    there = torch.arange(4, device=other_device.NAME)
    with pytest.raises(RuntimeError, match="operands on other and cpu"):
        there + torch.ones(4)
    with pytest.raises((TypeError, RuntimeError), match="numpy"):
        there.numpy()
    with counted() as counts:
        doubled = there + there
        assert counts["waits"] == 0 and counts["operations"] == 1
        assert doubled.tolist() == [0, 2, 4, 6] and doubled[doubled > 2].shape == (2,)
        assert doubled[[1]].cpu().item() == 2
    assert counts["waits"] == 3


def test_an_encoder_opens_in_the_arithmetic_that_rows_of_a_card_record(monkeypatch):
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    monkeypatch.setattr(cudnn, "benchmark", True)
    open_encoder(MiniSpec(), "mini", Runtime())
    assert not cudnn.allow_tf32 and not cudnn.benchmark
    assert not torch.backends.cuda.matmul.allow_tf32
    monkeypatch.setattr(machine, "_gpu", lambda: [])
    assert "arithmetic" not in machine.machine()
    monkeypatch.setattr(machine, "_gpu", lambda: ["a card"])
    assert machine.machine()["arithmetic"] == machine.ARITHMETIC


@pytest.mark.parametrize("device", ["mps", "meta", "other:0"])
def test_a_device_whose_time_cannot_be_taken_is_refused(device):
    with pytest.raises(UserError, match=r"no time can be taken on .*; take cpu or cuda"):
        check_runtime(Runtime(device=device))
