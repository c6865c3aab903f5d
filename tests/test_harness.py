"""The harness over small working parts: rows, failures, progress, and its own cost."""

import dataclasses
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench import __version__
from bench.core.cache import cache_folder
from bench.core.errors import UserError
from bench.core.metrics import NORMALISER
from bench.core.registry import Entry
from bench.core.stopwatch import HostMeter
from bench.core.types import Row, Runtime
from bench.pipeline import bad_lines
from bench.pipeline.plan import Block, build_plan
from bench.pipeline.runner import run
from bench.pipeline.store import RunStore
from datasets.damage.base import SUITE
from tests.harness_doubles import (
    ASKED,
    EVENTS,
    HERE,
    TEXTS,
    Pixels,
    go,
    registries,
)


def by_decoder(folder: Path) -> dict[str, Row]:
    return {row.decoder: row for row in RunStore(folder).rows()}


def test_rows_hold_text_counts_times_and_conditions(tmp_path):
    outcome = go(tmp_path, replace(ASKED, options={"words": {"unreadable": 2}}))
    rows = by_decoder(tmp_path)
    assert outcome.done == [row.key for row in RunStore(tmp_path).rows()]
    assert (outcome.reused, outcome.failed, outcome.skipped) == ([], [], [])
    assert rows["reader"].cer == 0.0 and rows["reader"].wer == 0.0
    missed = sum(text.count("e") for text in TEXTS)
    row = rows["no-e"]
    assert row.counts is not None and row.timing is not None
    assert row.counts.deletions == row.counts.edits == missed
    assert row.cer == missed / sum(map(len, TEXTS))
    assert row.counts.lines == 12 and row.counts.tokens == sum(map(len, TEXTS)) - missed + 12
    assert row.unreadable == 2 and row.foreign == 0 and row.ink_lost is None
    assert row.weights == Pixels().weights and row.parameters == {"encoder": 5}
    assert row.options["drop"] == "e" and "calls" not in row.options
    assert row.dataset_options == {"unreadable": 2} and row.extras == {}
    assert row.environment in RunStore(tmp_path).environments()
    assert row.signature == (
        f"e:pixels@01234567|d:no-e[drop=e,busy_s=0.0,raises=,refuses=False,"
        f"breaks_open=False,fickle=False,table=,log=]|s:words-test[unreadable=2]@"
        f"{row.dataset_sha256[:8]}|dmg:none|n:{NORMALISER}|bs:5|fp32|cpu×1t|v{__version__}"  # noqa: RUF001
    )
    assert row.timing.decode_s.n == 2 and row.timing.scenario == "batch"
    assert row.timing.decode_s.low <= row.timing.decode_s.median <= row.timing.decode_s.high


def test_damage_is_read_and_its_lost_ink_averaged(tmp_path):
    asked = replace(ASKED, damages=("eraser",), severities=(2,), decoders=("reader",))
    go(tmp_path, asked)
    (row,) = RunStore(tmp_path).rows()
    lost = [min(2, len(text)) for text in TEXTS]
    assert row.counts is not None and row.counts.deletions == sum(lost)
    assert row.ink_lost == pytest.approx(
        sum(n / len(text) for n, text in zip(lost, TEXTS, strict=True)) / 12
    )
    assert f"|dmg:eraser-2[seed=0]@{SUITE}|" in row.signature
    assert row.timing is not None and row.timing.decode_s.n == 1


def test_untrained_weights_have_speed_and_no_error_rate(tmp_path):
    go(tmp_path, replace(ASKED, options={"pixels": {"weights": "untrained"}}))
    for row in RunStore(tmp_path).rows():
        assert row.status == "ok" and row.timing is not None
        assert row.cer is row.wer is row.cer_macro is row.cer_median is None


def test_a_text_that_changes_between_rounds_is_reported_and_the_first_one_kept(tmp_path):
    mine = registries(fickle=Entry(f"{HERE}:ReaderSpec", "", {"fickle": True}))
    one_batch = replace(ASKED, decoders=("fickle", "reader"), runtime=Runtime(batch_size=12))
    go(tmp_path, one_batch, mine)
    rows = by_decoder(tmp_path)
    assert rows["fickle"].extras == {"lines_changed_between_rounds": 12}
    assert rows["reader"].extras == {}
    # calls: warm-up (odd), first round (even: no mark), second round (odd)
    assert rows["fickle"].cer == 0.0


# ---- failures ----

TROUBLE = {
    "hungry": Entry(f"{HERE}:ReaderSpec", "", {"raises": "memory"}),
    "odd": Entry(f"{HERE}:ReaderSpec", "", {"raises": "value"}),
    "shut": Entry(f"{HERE}:ReaderSpec", "", {"breaks_open": True}),
}


def test_a_decoder_that_fails_is_a_row_with_its_reason_and_the_run_goes_on(tmp_path):
    asked = replace(ASKED, decoders=("hungry", "odd", "shut", "reader"), damages=("none", "eraser"))
    outcome = go(tmp_path, asked, registries(**TROUBLE))
    rows = [row for row in RunStore(tmp_path).rows() if row.condition.severity == 0]
    assert {row.decoder: row.reason for row in rows} == {
        "hungry": "the decoder failed: out of memory on cpu at batch size 1; "
        "use a machine with more memory",
        "odd": "the decoder failed: ValueError: frames are odd",
        "shut": "the decoder did not open: line 3 of lm.arpa is not an n-gram",
        "reader": "",
    }
    assert [row.status for row in rows if row.decoder == "reader"] == ["ok"]
    assert {(row.counts, row.timing, row.cer) for row in rows if row.reason} == {(None,) * 3}
    assert len(outcome.failed) == 6 and len(outcome.done) == 2


def test_a_disk_too_full_for_the_reasons_of_bad_lines_ends_the_run(tmp_path, monkeypatch):
    def full(*_):
        raise UserError("no space left to write bad-lines.jsonl")

    monkeypatch.setattr(bad_lines, "note", full)
    with pytest.raises(UserError, match="no space left"):
        go(tmp_path)
    assert not RunStore(tmp_path).rows()  # and fails no cell


@pytest.mark.parametrize("place", ["/dev/null/none", "~nobody-here/cache"])
def test_a_cache_that_cannot_be_made_costs_no_cell(tmp_path, monkeypatch, place):
    monkeypatch.setenv("KAIDOKU_CACHE", place)
    with pytest.raises(UserError, match="cannot make the cache folder"):
        cache_folder("lm")
    assert len(go(tmp_path, replace(ASKED, damages=("none", "eraser"))).done) == 4


def test_a_batch_that_does_not_fit_into_memory_is_halved_for_that_decoder_alone(tmp_path):
    mine = registries(roomy=Entry(f"{HERE}:ReaderSpec", "", {"raises": "memory of two"}))
    runtime = Runtime(batch_size=10)
    outcome = go(tmp_path, replace(ASKED, decoders=("roomy", "reader"), runtime=runtime), mine)
    rows = by_decoder(tmp_path)
    assert rows["roomy"].extras == {"halved_batch": 2} and rows["reader"].extras == {}
    assert rows["roomy"].runtime == rows["reader"].runtime == runtime
    assert rows["roomy"].counts == rows["reader"].counts
    assert rows["roomy"].timing and len(rows["roomy"].timing.batches) == 6
    assert rows["reader"].timing and len(rows["reader"].timing.batches) == 2
    assert len(outcome.done) == 2 and not outcome.failed


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pixels": {"broken": True}}, "the encoder did not open: the weights do not fit: 3"),
        ({"pixels": {"fails_on": 38}}, "the encoder failed: out of memory on cpu at batch size 1"),
        ({"words": {"broken": True}}, "the data set did not load: words.parquet has no column"),
        ({"words": {"size": 0, "unreadable": 3}}, "none of its 3 lines can be read; bad-0: the im"),
        ({"words": {"size": 0}}, "words has no line in its split test"),
        ({"eraser": {"broken": True}}, "the damage failed: ValueError: no boxes"),
    ],
)
def test_what_fails_before_the_decoder_fails_all_its_cells_and_mends(tmp_path, options, sentence):
    asked = replace(ASKED, damages=("eraser",), severities=(1,))
    outcome = go(tmp_path, replace(asked, options=options))
    rows = RunStore(tmp_path).rows()
    assert len(rows) == len(outcome.failed) == 2 and not outcome.done
    assert all(sentence in row.reason for row in rows)
    mended = go(tmp_path, asked)
    assert len(mended.done) == 2


def test_decoders_that_do_not_fit_are_skipped_once_with_their_remedy(tmp_path):
    mine = registries(picky=Entry(f"{HERE}:ReaderSpec", "", {"refuses": True}))
    asked = replace(ASKED, decoders=("picky", "reader"), damages=("none", "eraser"))
    outcome = go(tmp_path, asked, mine)
    (skipped,) = outcome.skipped
    assert dataclasses.astuple(skipped) == (
        "decoder", "picky", "no language model", "python -m bench lm", "pixels", None,
    )  # fmt: skip
    assert {row.decoder for row in RunStore(tmp_path).rows()} == {"reader"}


def test_a_decoder_has_the_options_of_its_own_block(tmp_path):
    plan = build_plan(replace(ASKED, damages=("none", "eraser")), registries())
    blocks = []
    for block, letter in zip(plan.blocks, "ao", strict=True):
        spec = registries().decoders.create("reader", {"drop": letter})
        part = replace(block.decoders[0], name="some", thing=spec)
        blocks.append(replace(block, decoders=(part,)))
    run(replace(plan, blocks=tuple(blocks)), RunStore(tmp_path))
    store = RunStore(tmp_path)
    for row in store.rows():
        dropped, kept = ("a", "o") if row.condition.damage == "none" else ("o", "a")
        read = "".join(line.text for line in store.lines(row.key))
        assert row.options["drop"] == dropped and dropped not in read and kept in read


def test_ctrl_c_keeps_what_is_finished_and_closes_what_is_open(tmp_path):
    mine = registries(ctrl_c=Entry(f"{HERE}:ReaderSpec", "", {"raises": "ctrl-c"}))
    go(tmp_path, replace(ASKED, decoders=("reader",)), mine)
    EVENTS.clear()
    outcome = go(tmp_path, replace(ASKED, decoders=("reader", "ctrl_c", "no-e")), mine)
    assert outcome.interrupted and len(outcome.reused) == 1 and not outcome.done
    assert sum(event.startswith("close") for event in EVENTS) == 3
    assert [row.decoder for row in RunStore(tmp_path).rows()] == ["reader"]


@pytest.mark.parametrize(
    ("runtime", "sentence"),
    [
        (Runtime(dtype="float3"), "no precision is called 'float3'; take float32"),
        (Runtime(dtype="nn"), "no precision is called 'nn'"),
        (Runtime(device="gpu"), "no time can be taken on 'gpu'; take cpu or cuda"),
        (Runtime(device="cuda:99"), "torch has no device 'cuda:99' here; take cpu"),
    ],
)
def test_a_device_or_precision_that_is_not_here_is_one_sentence(tmp_path, runtime, sentence):
    with pytest.raises(UserError, match=sentence):
        go(tmp_path, replace(ASKED, runtime=runtime))
    assert not any(tmp_path.iterdir())


def test_progress_sums_up_to_the_cells_whatever_happens_to_them(tmp_path):
    events: list[tuple[str, object]] = []

    class Listener:
        def started(self, block: Block) -> None:
            events.append(("started", block.label))

        def note(self, doing: str) -> None:
            events.append(("note", doing))

        def advanced(self, cells: float) -> None:
            events.append(("advanced", cells))

        def finished(self, block: Block, rows: object) -> None:
            events.append(("finished", len(rows)))  # type: ignore[arg-type]

    mine = registries(**TROUBLE, picky=Entry(f"{HERE}:ReaderSpec", "", {"refuses": True}))
    asked = replace(
        ASKED, decoders=("reader", "odd", "shut", "picky", "no-e"), damages=("none", "eraser")
    )
    go(tmp_path, replace(asked, decoders=("reader",), damages=("none",)), mine)
    plan = build_plan(asked, mine)
    run(plan, RunStore(tmp_path), Listener())
    steps = [cells for what, cells in events if what == "advanced"]
    assert all(isinstance(step, float | int) and step >= 0 for step in steps)
    assert sum(steps) == pytest.approx(plan.cells)  # type: ignore[arg-type]
    assert len(steps) > 8  # it moves within a block
    assert [x for x in events if x[0] in ("started", "finished")] == [
        ("started", "pixels on words"), ("finished", 4),
        ("started", "pixels on words, eraser 3"), ("finished", 4),
    ]  # fmt: skip
    assert ("note", "loading words") in events and ("note", "damaging words") in events
    events.clear()
    hopeless = build_plan(replace(ASKED, decoders=("odd",)), mine)  # fails before the first round
    run(hopeless, RunStore(tmp_path / "hopeless"), Listener())
    assert sum(cells for what, cells in events if what == "advanced") == 1  # type: ignore[misc]


def test_the_harness_costs_under_two_per_cent_of_the_measured_work(tmp_path, monkeypatch):
    """Against stages of 60 ms, in CPU time, so that a busy machine does not count as harness."""
    monkeypatch.setattr(HostMeter, "wall", lambda meter: time.process_time())
    options = {"pixels": {"busy_s": 0.06}}
    options |= {name: {"busy_s": 0.06} for name in ("reader", "no-e", "no-vowel")}
    asked = replace(ASKED, decoders=("reader", "no-e", "no-vowel"), options=options)
    outcome = go(tmp_path, asked)
    assert outcome.measured_s >= 2 * 3 * 4 * 0.06
    assert 0 < outcome.overhead < 0.02
