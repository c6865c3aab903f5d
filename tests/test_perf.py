"""`bench dev perf`: comparisons with peers, the record, the table, the command."""

import dataclasses
from typing import get_args

import pytest

from bench import ROOT
from bench.analysis.perf import (
    FILE,
    Group,
    PeerComparison,
    PeerRecord,
    PeerResult,
    PeerSide,
    compare,
    comparisons,
    read,
    write,
)
from bench.core.errors import UserError
from bench.core.hashing import plain
from bench.core.machine import environment
from bench.core.types import Runtime
from bench.report import perf, render
from decoders import DECODERS
from models import ENCODERS

CPU = Runtime(threads=1)
GREEDY = PeerComparison(
    "search", "mini", PeerSide("ar-greedy"), PeerSide("ar-hf", {"beam": 1}), 3, 2, rounds=2
)


@pytest.fixture(scope="module")
def heard() -> list[float]:
    return []


@pytest.fixture(scope="module")
def result(heard: list[float]) -> PeerResult:
    return compare(GREEDY, CPU, heard.append)


@pytest.fixture(scope="module")
def record(result: PeerResult) -> PeerRecord:
    gone = dataclasses.replace(GREEDY, encoder="./not/there")
    made = plain(environment())
    return PeerRecord(made, CPU, (result, PeerResult(gone, reason="it is not there; get it")))


def test_every_comparison_can_be_made_and_has_a_peer_of_the_same_model():
    every = comparisons("mini")
    assert {one.group for one in every} == set(get_args(Group))
    for one in every:
        ENCODERS.create(one.encoder, one.options)
        for side in (one.ours, one.peer):
            DECODERS.create(side.decoder, side.options)
        models = {"ctc-ngram-word": "word", "ctc-kenlm": "word"}
        assert models.get(one.ours.decoder) == models.get(one.peer.decoder)
    assert len({one.label for one in every}) == len(every)
    chosen = comparisons("mini", words=["search", "trocr-base"])
    assert {(one.group, one.encoder) for one in chosen} == {("search", "trocr-base")}


def test_both_sides_read_the_same_and_alternate(result, heard):
    assert result.score_gap is not None and result.score_gap < 1e-4
    assert result.same == GREEDY.lines
    assert len(result.ours_s) == len(result.peer_s) == len(result.ratios) == GREEDY.rounds
    assert all(seconds > 0 for seconds in result.ours_s + result.peer_s)
    assert result.ours_cer == result.peer_cer is not None and not result.reason
    assert sum(heard) == pytest.approx(2)


def test_what_is_missing_is_a_row_with_its_reason():
    assert "not" in compare(dataclasses.replace(GREEDY, encoder="./not/there"), CPU).reason
    no_head = dataclasses.replace(GREEDY, ours=PeerSide("ctc-greedy"), encoder="trocr-small",
                                  options={"untrained": True}, lines=1, batch=1)  # fmt: skip
    assert "has no CTC head" in compare(no_head, CPU).reason


def test_a_record_is_read_as_it_was_written(tmp_path, record):
    write(tmp_path, record)
    assert read(tmp_path) == record
    (tmp_path / FILE).write_text('{"results": 3}')
    with pytest.raises(UserError, match="delete it"):
        read(tmp_path)


@pytest.mark.parametrize(
    "run", ["two-cores-perf", "two-cores-perf-ngram-wide", "two-cores-perf-base"]
)
def test_the_reference_is_the_table_of_its_record(run):
    folder = ROOT / "results" / "reference" / run
    text = (folder / "perf.md").read_text(encoding="utf-8")
    assert text == render.markdown(perf.table(read(folder)))


def test_the_table_has_the_ratio_its_spread_and_what_was_not_run(record):
    text = render.markdown(perf.table(record))
    assert "ar-greedy" in text and "3 of 3" in text and "not run" in text
    assert "it is not there; get it" in text and "the lowest and the highest round" in text


def test_the_command_prints_the_table_and_writes_it(tmp_path, monkeypatch, call):
    monkeypatch.setattr("bench.analysis.perf.comparisons", lambda name, options, words: [GREEDY])
    words = ("dev", "perf", "--threads", "1", "--out", f"{tmp_path}/out")
    code, out, _ = call(*words)
    assert code == 0 and "3 of 3" in out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        FILE, "perf.md", "perf.csv", "perf.tex"
    }  # fmt: skip
    code, out, _ = call("dev", "perf", "--list")
    assert code == 0 and out == f"{GREEDY.label}\n"
    monkeypatch.undo()
    assert call("dev", "perf", "nothing", "like", "it")[0] == 2
