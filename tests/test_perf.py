"""`bench perf`: duels, the bound, the record, the table, the command."""

import dataclasses
from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from bench.analysis.perf import machine
from bench.analysis.perf.bounds import least_seconds
from bench.analysis.perf.duels import Duel, Group, Side, all_duels, chosen
from bench.analysis.perf.fight import Verdict, fight, turns
from bench.analysis.perf.machine import Neighbours, Peaks, wait_for_quiet
from bench.analysis.perf.record import FILE, Record, read, write
from bench.core.errors import UserError
from bench.core.hashing import plain
from bench.core.machine import environment
from bench.core.types import ARModel, Decoded, Encoded, Runtime
from bench.report import perf, render
from decoders import DECODERS
from models import ENCODERS

PEAKS = Peaks(1e11, 1e10)
CPU = Runtime(threads=1)
GREEDY = Duel("search", "mini", Side("ar-greedy"), Side("ar-hf", {"beam": 1}), 3, 2, rounds=2)


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    torch.set_num_threads(1)
    return fight(GREEDY, PEAKS, CPU)


@pytest.fixture(scope="module")
def record(verdict: Verdict) -> Record:
    gone = dataclasses.replace(GREEDY, encoder="./not/there")
    made = plain(environment())
    return Record(made, CPU, PEAKS, (verdict, Verdict(gone, reason="it is not there; get it")))


def test_every_duel_is_of_things_that_can_be_made():
    duels = all_duels("mini")
    assert {duel.group for duel in duels} == set(get_args(Group))
    for duel in duels:
        ENCODERS.create(duel.encoder, duel.options)
        for side in (duel.ours, duel.peer):
            if duel.group != "encoder":
                DECODERS.create(side.decoder, side.options)
    assert len({duel.label for duel in duels}) == len(duels)


def test_duels_are_chosen_by_words_of_their_names():
    duels = all_duels("mini")
    assert chosen(duels, []) == duels
    assert {duel.encoder for duel in chosen(duels, ["search", "trocr-base"])} == {"trocr-base"}
    assert chosen(duels, ["no such duel"]) == []


def test_both_sides_say_the_same_and_take_turns(verdict):
    assert verdict.score_gap is not None and verdict.score_gap < 1e-4
    assert verdict.same == GREEDY.lines
    assert len(verdict.ours_s) == len(verdict.peer_s) == len(verdict.ratios) == GREEDY.rounds
    assert all(seconds > 0 for seconds in verdict.ours_s + verdict.peer_s)
    assert verdict.ours_cer == verdict.peer_cer is not None
    assert verdict.bound_s and 0 <= verdict.others <= 1 and not verdict.reason


def test_each_turn_is_told():
    heard: list[None] = []
    duel = Duel("encoder", "mini", Side(dtype="bfloat16"), Side(), 2, 2, rounds=1)
    verdict = fight(duel, PEAKS, CPU, lambda: heard.append(None))
    assert len(heard) == turns(duel)
    assert verdict.same is None and verdict.change is not None
    assert 0 < verdict.change < 0.2  # bfloat16 has 8 bits


def test_untrained_weights_get_no_cer():
    duel = dataclasses.replace(
        GREEDY, encoder="trocr-small", options={"untrained": True}, lines=1, batch=1, rounds=1
    )
    verdict = fight(duel, PEAKS, CPU)
    assert verdict.same == 1 and verdict.ours_cer is None and verdict.peer_cer is None


def test_what_is_missing_is_a_row_with_its_reason():
    assert "not" in fight(dataclasses.replace(GREEDY, encoder="./not/there"), PEAKS, CPU).reason
    no_head = dataclasses.replace(GREEDY, ours=Side("ctc-greedy"), encoder="trocr-small",
                                  options={"untrained": True}, lines=1, batch=1)  # fmt: skip
    assert "has no CTC head" in fight(no_head, PEAKS, CPU).reason


def test_the_bound_is_that_of_the_arithmetic_worked_by_hand():
    """One layer of width 2: 8 weights of cross-attention, 10 others, an output of 6."""
    layer = torch.nn.Module()
    layer.encoder_attn = torch.nn.Module()
    layer.encoder_attn.k_proj = torch.nn.Linear(2, 2, bias=False)
    layer.encoder_attn.v_proj = torch.nn.Linear(2, 2, bias=False)
    layer.rest = torch.nn.Linear(5, 2, bias=False)
    layers = torch.nn.ModuleList([layer])
    decoder = SimpleNamespace(
        model=SimpleNamespace(decoder=SimpleNamespace(layers=layers)),
        config=SimpleNamespace(d_model=2),
        get_output_embeddings=lambda: torch.nn.Linear(2, 3, bias=False),
    )
    ar = ARModel(decoder, None, str, 0, 2, 1, 9)
    states = torch.zeros(2, 7, 2)
    encoded = Encoded(states, torch.ones(2, 7, dtype=torch.bool), ar=ar)
    said = [Decoded("", 2), Decoded("", 1)]
    cross = 2 * 7 * 2  # keys and values of a line
    flops = [2 * 2 * 7 * 8, 2 * 2 * (16 + cross), 2 * 1 * 3 * (16 + cross)]
    read = [4 * 8, 4 * (16 + 2 * cross), 4 * (16 + cross)]
    quick_memory, quick_arithmetic = Peaks(1.0, 1e9), Peaks(1e9, 1.0)
    assert least_seconds(encoded, said, 3, quick_memory) == pytest.approx(sum(flops), rel=1e-6)
    assert least_seconds(encoded, said, 3, quick_arithmetic) == pytest.approx(sum(read), rel=1e-6)
    with pytest.raises(ValueError, match="no AR head"):
        least_seconds(dataclasses.replace(encoded, ar=None), said, 3, PEAKS)


def test_our_own_work_is_not_that_of_neighbours():
    neighbours = Neighbours()
    neighbours.look()
    product = torch.rand(600, 600)
    for _ in range(60):
        product = (product @ product).tanh()
    assert 0 <= neighbours.share() <= 1


def test_it_waits_for_quiet_but_not_for_ever(monkeypatch):
    shares = iter([0.9, 0.5, 0.02])
    monkeypatch.setattr(machine, "pause", lambda seconds: None)
    monkeypatch.setattr(Neighbours, "share", lambda self: next(shares))
    heard: list[float] = []
    assert wait_for_quiet(60, heard.append) == 0.02 and heard == [0.9, 0.5]
    monkeypatch.setattr(Neighbours, "share", lambda self: 0.7)
    assert wait_for_quiet(0, heard.append) == 0.7


def test_a_record_is_read_as_it_was_written(tmp_path, record):
    assert read(tmp_path) is None
    write(tmp_path, record)
    again = read(tmp_path)
    assert again is not None and again == record
    assert again.of(GREEDY) == record.verdicts[0]
    assert again.of(record.verdicts[1].duel) is None  # what could not be fought is tried again
    assert again.goes_on(record.environment, CPU)
    assert not again.goes_on(record.environment, Runtime(threads=2))
    assert not again.goes_on({**record.environment, "git": None}, CPU)
    (tmp_path / FILE).write_text('{"verdicts": 3}')
    with pytest.raises(UserError, match="--fresh"):
        read(tmp_path)


def test_the_table_tells_the_ratio_its_spread_and_what_was_not_fought(record):
    text = render.markdown(perf.table(record))
    assert "ar-greedy" in text and "3 of 3" in text and "not run" in text
    assert "it is not there; get it" in text and "the lowest and the highest round" in text
    noisy = dataclasses.replace(record.verdicts[0], others=0.5, score_gap=0.25)
    told = render.markdown(perf.table(dataclasses.replace(record, verdicts=(noisy,))))
    assert "used 50 % of the machine" in told and "differ by up to 0.25" in told


def test_the_command_goes_on_where_it_was_stopped(tmp_path, monkeypatch, call):
    monkeypatch.setattr("bench.analysis.perf.duels.all_duels", lambda name, options: [GREEDY])
    monkeypatch.setattr("bench.analysis.perf.machine.peaks", lambda watch: PEAKS)
    words = ("perf", "--wait", "0", "--threads", "1", "--out", f"{tmp_path}/out")
    code, out, _ = call(*words)
    assert code == 0 and "3 of 3" in out
    first = (tmp_path / "out" / FILE).read_bytes()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        FILE, "perf.md", "perf.csv", "perf.tex"
    }  # fmt: skip
    assert call(*words)[0] == 0
    assert (tmp_path / "out" / FILE).read_bytes() == first
    assert call(*words, "--fresh")[0] == 0
    assert (tmp_path / "out" / FILE).read_bytes() != first
    code, out, _ = call("perf", "--list")
    assert code == 0 and out == f"{GREEDY.label}\n"
    assert call("perf", "nothing", "like", "it")[0] == 2
