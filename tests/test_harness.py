"""The harness over small working parts: rows, failures, resume, measuring, and its own cost."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import bench.cells
import bench.harness
from bench import ROOT, __version__
from bench.errors import UserError
from bench.harness import Outcome, run
from bench.measure import BlockMeasure, reason, sorted_batches
from bench.metrics import NORMALISER
from bench.plan import ONCE, Block, Plan, Registries, Rounds, Selection, build_plan
from bench.provenance import code_version, digest, environment, plain
from bench.registry import Entry
from bench.stopwatch import HostMeter, Stopwatch
from bench.store import RunStore
from bench.types import Decoded, Row, Runtime, Spread
from datasets.damage.base import SUITE
from tests.harness_doubles import (
    EVENTS,
    STALL_AT,
    TEXTS,
    Eraser,
    FakeMeter,
    Pixels,
    drawn,
    registries,
)

HERE = "tests.harness_doubles"
QUICK = Rounds(least=2, least_s=0.0, most_s=10.0)
ASKED = Selection(
    encoders=("pixels",),
    decoders=("reader", "no-e"),
    datasets=("words",),
    runtime=Runtime(batch_size=5),
    rounds=QUICK,
)


def go(folder: Path, selection: Selection = ASKED, mine: Registries | None = None) -> Outcome:
    return run(build_plan(selection, mine or registries()), RunStore(folder))


def by_decoder(folder: Path) -> dict[str, Row]:
    return {row.decoder: row for row in RunStore(folder).rows()}


def timeless(row: Row) -> Row:
    return replace(row, timing=None, started="")


# ---- rows ----


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
    assert row.extras == {"dataset_options": {"unreadable": 2}}
    assert row.environment in RunStore(tmp_path).environments()
    assert row.signature == (
        f"e:pixels@01234567|d:no-e[drop=e,busy_s=0.0,raises=,refuses=False,"
        f"breaks_open=False,fickle=False,table=,log=]|s:words-test[unreadable=2]@"
        f"{row.dataset_sha256[:8]}|dmg:none|n:{NORMALISER}|bs:5|fp32|cpu×1t|v{__version__}"  # noqa: RUF001
    )
    assert row.timing.decode_s.n == 2 and row.timing.scenario == "batch"
    assert row.timing.decode_s.low <= row.timing.decode_s.median <= row.timing.decode_s.high


def test_line_results_are_raw_and_in_the_order_of_the_set(tmp_path):
    go(tmp_path)
    store = RunStore(tmp_path)
    for row in store.rows():
        lines = store.lines(row.key)
        assert [line.id for line in lines] == [f"test-{i}" for i in range(12)]
        assert [line.reference for line in lines] == list(TEXTS)
        dropped = row.options["drop"]
        assert [line.text for line in lines] == [
            "".join(c for c in text if c not in dropped) for text in TEXTS
        ]
        assert {line.score for line in lines} == {None}  # minus infinity is no JSON number


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


def test_characters_outside_the_alphabet_are_counted_and_stay_errors(tmp_path):
    asked = replace(ASKED, decoders=("reader",), options={"words": {"prefix": "£"}})
    go(tmp_path, asked)
    (row,) = RunStore(tmp_path).rows()
    assert row.counts is not None
    assert row.foreign == row.counts.deletions == 12


def test_a_text_that_changes_between_rounds_is_reported_and_the_first_one_kept(tmp_path):
    mine = registries(fickle=Entry(f"{HERE}:Reader", "", {"fickle": True}))
    one_batch = replace(ASKED, decoders=("fickle", "reader"), runtime=Runtime(batch_size=12))
    go(tmp_path, one_batch, mine)
    rows = by_decoder(tmp_path)
    assert rows["fickle"].extras == {"lines_changed_between_rounds": 12}
    assert rows["reader"].extras == {}
    # calls: warm-up (odd), first round (even: no mark), second round (odd)
    assert rows["fickle"].cer == 0.0


def test_torch_has_the_threads_of_the_runtime_and_gets_its_own_back(tmp_path):
    before = torch.get_num_threads()
    seen = []

    class Watcher:
        def started(self, block: Block) -> None:
            seen.append(torch.get_num_threads())

        def note(self, doing: str) -> None: ...
        def advanced(self, cells: float) -> None: ...
        def finished(self, block: Block, rows: object) -> None: ...

    asked = replace(ASKED, runtime=Runtime(batch_size=5, threads=3))
    run(build_plan(asked, registries()), RunStore(tmp_path), Watcher())
    assert seen == [3] and torch.get_num_threads() == before


# ---- failures ----

TROUBLE = {
    "hungry": Entry(f"{HERE}:Reader", "", {"raises": "memory"}),
    "odd": Entry(f"{HERE}:Reader", "", {"raises": "value"}),
    "shut": Entry(f"{HERE}:Reader", "", {"breaks_open": True}),
}


def test_a_decoder_that_fails_is_a_row_with_its_reason_and_the_run_goes_on(tmp_path):
    asked = replace(ASKED, decoders=("hungry", "odd", "shut", "reader"), damages=("none", "eraser"))
    outcome = go(tmp_path, asked, registries(**TROUBLE))
    rows = [row for row in RunStore(tmp_path).rows() if row.condition.severity == 0]
    assert {row.decoder: row.reason for row in rows} == {
        "hungry": "the decoder failed: out of memory on cpu at batch size 5; try a smaller one",
        "odd": "the decoder failed: ValueError: frames are odd",
        "shut": "the decoder did not open: line 3 of lm.arpa is not an n-gram",
        "reader": "",
    }
    assert [row.status for row in rows if row.decoder == "reader"] == ["ok"]
    assert {(row.counts, row.timing, row.cer) for row in rows if row.reason} == {(None,) * 3}
    assert len(outcome.failed) == 6 and len(outcome.done) == 2


def test_failed_cells_are_tried_again_and_good_ones_are_not(tmp_path):
    asked = replace(ASKED, decoders=("odd", "reader"))
    first = go(tmp_path, asked, registries(**TROUBLE))
    second = go(tmp_path, asked, registries(**TROUBLE))
    assert second.failed == first.failed and second.reused == first.done and not second.done


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pixels": {"broken": True}}, "the encoder did not open: the weights do not fit: 3"),
        ({"pixels": {"fails_on": 38}}, "the encoder failed: out of memory on cpu at batch size 5"),
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


def test_a_failed_load_is_replaced_by_the_good_row_of_the_same_cell(tmp_path, monkeypatch):
    """The key of a set that did not load knows no data hash; the row must not stay for ever."""
    with monkeypatch.context() as broken:
        broken.setattr(f"{HERE}.Words.load", lambda *_: 1 / 0)
        go(tmp_path)
    assert {row.status for row in RunStore(tmp_path).rows()} == {"failed"}
    go(tmp_path)
    assert [row.status for row in RunStore(tmp_path).rows()] == ["ok", "ok"]


def test_decoders_that_do_not_fit_are_skipped_once_with_their_remedy(tmp_path):
    mine = registries(picky=Entry(f"{HERE}:Reader", "", {"refuses": True}))
    asked = replace(ASKED, decoders=("picky", "reader"), damages=("none", "eraser"))
    outcome = go(tmp_path, asked, mine)
    (skipped,) = outcome.skipped
    assert dataclasses.astuple(skipped) == (
        "decoder", "picky on pixels", "no language model", "python -m bench lm",
    )  # fmt: skip
    assert {row.decoder for row in RunStore(tmp_path).rows()} == {"reader"}


def test_a_ctc_decoder_is_skipped_where_there_is_no_ctc_head(tmp_path):
    outcome = go(tmp_path, replace(ASKED, options={"pixels": {"head": False}}))
    assert [s.reason for s in outcome.skipped] == ["pixels has no CTC head"] * 2
    assert RunStore(tmp_path).rows() == []


def test_ctrl_c_keeps_what_is_finished_and_closes_what_is_open(tmp_path):
    mine = registries(ctrl_c=Entry(f"{HERE}:Reader", "", {"raises": "ctrl-c"}))
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
        (Runtime(device="gpu"), "torch has no device 'gpu' here; take cpu"),
        (Runtime(device="cuda:99"), "torch has no device 'cuda:99' here; take cpu"),
    ],
)
def test_a_device_or_precision_that_is_not_here_is_one_sentence(tmp_path, runtime, sentence):
    with pytest.raises(UserError, match=sentence):
        go(tmp_path, replace(ASKED, runtime=runtime))
    assert not any(tmp_path.iterdir())


def test_an_exception_is_one_sentence():
    runtime = Runtime(device="cuda", batch_size=8)
    assert reason(KeyError("a\n  b"), runtime) == "KeyError: 'a\\n b'"
    assert reason(RuntimeError(), runtime) == "RuntimeError"
    assert reason(UserError("do this"), runtime) == "do this"
    out = "out of memory on cuda at batch size 8; try a smaller one"
    assert reason(torch.OutOfMemoryError("CUDA out of memory. Tried ..."), runtime) == out


# ---- keys and resume ----


def test_finished_cells_are_not_run_again_and_things_are_opened_once(tmp_path):
    asked = replace(ASKED, damages=("none", "eraser"))
    first = go(tmp_path, asked)
    before = (tmp_path / "rows.jsonl").read_bytes()
    EVENTS.clear()
    plan = build_plan(asked, registries())
    second = run(plan, RunStore(tmp_path))
    assert second.reused == first.done and not second.done
    assert (tmp_path / "rows.jsonl").read_bytes() == before
    assert [part.thing.calls for part in plan.blocks[0].decoders] == [[], []]
    assert EVENTS == [
        "open pixels", "open reader ", "open reader e", "load words",
        "close reader e", "close reader ",
    ]  # fmt: skip


def test_only_the_new_decoder_of_a_finished_block_is_run(tmp_path):
    go(tmp_path)
    outcome = go(tmp_path, replace(ASKED, decoders=("reader", "no-vowel", "no-e")))
    assert len(outcome.reused) == 2 and len(outcome.done) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"pixels": {"weights": "other"}}},
        {"options": {"pixels": {"busy_s": 1e-6}}},
        {"options": {"reader": {"table": "5e7"}}},
        {"options": {"words": {"size": 11}}},
        {"limit": 11},
        {"split": "val"},
        {"rounds": replace(QUICK, least=1)},
        {"runtime": Runtime(batch_size=6)},
        {"runtime": Runtime(batch_size=5, threads=2)},
    ],
)
def test_what_can_change_text_or_time_changes_the_key(tmp_path, change):
    asked = replace(ASKED, decoders=("reader",))
    first = go(tmp_path, asked)
    second = go(tmp_path, replace(asked, **change))
    assert second.done and not second.reused and first.done != second.done


def test_another_machine_measures_anew_and_another_commit_does_not(tmp_path, monkeypatch):
    first = go(tmp_path)
    record = environment()
    commit = {**record, "git": {"commit": "5e7", "dirty": False}}
    monkeypatch.setattr(bench.harness, "environment", lambda: commit)
    assert go(tmp_path).reused == first.done
    machine = {**record, "machine": {**record["machine"], "gpu": ["a new one"]}}
    monkeypatch.setattr(bench.harness, "environment", lambda: machine)
    second = go(tmp_path)
    assert len(second.done) == 2 and not second.reused
    assert len(RunStore(tmp_path).rows()) == 2
    assert len(RunStore(tmp_path).environments()) == 3


def test_a_changed_file_runs_only_the_cells_that_use_it(tmp_path, monkeypatch):
    asked = replace(ASKED, damages=("none", "eraser"))
    go(tmp_path, asked)
    kept = code_version
    bench.cells._version.cache_clear()
    monkeypatch.setattr(Eraser, "__module__", "tests.harness_doubles_2")
    monkeypatch.setattr(
        bench.cells,
        "code_version",
        lambda modules: "new" if modules == ("tests.harness_doubles_2",) else kept(modules),
    )
    outcome = go(tmp_path, asked)
    bench.cells._version.cache_clear()
    assert len(outcome.reused) == 2 and len(outcome.done) == 2  # the damaged ones


def test_code_version_follows_imports_of_the_own_package_only(tmp_path, monkeypatch):
    package = tmp_path / "shelf"
    (package / "parts").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "one.py": "from shelf.parts import wheel\nimport json\n",
        "two.py": "import shelf.three\n",
        "three.py": "def f():\n    from shelf.parts.axle import AXLE\n",
        "parts/__init__.py": "",
        "parts/wheel.py": "from shelf import two\n",
        "parts/axle.py": "AXLE = 1\n",
        "alone.py": "",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))

    def versions() -> tuple[str, str]:
        return code_version(["shelf.one"]), code_version(["shelf.alone"])

    one, alone = versions()
    for name in ("parts/axle.py", "three.py", "two.py", "parts/wheel.py", "one.py"):
        (package / name).write_text(files[name] + "# changed\n")
        changed = versions()
        assert changed[0] != one and changed[1] == alone, name
        one = changed[0]
    for name in ("__init__.py", "parts/__init__.py", "alone.py"):
        (package / name).write_text("# changed\n")
    assert versions()[0] == one and versions()[1] != alone


def test_plain_values_are_what_json_gives_back():
    value = {1: (Path("a/b"), {3, 2}), "x": [float("inf"), True, None]}
    assert plain(value) == {"1": ["a/b", [2, 3]], "x": [None, True, None]}
    assert json.loads(json.dumps(plain(value))) == plain(value)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1})


CALLS_CLEAN = 2 * 3 * QUICK.least + 2  # decoders * batches * rounds, and the warm-up
CALLS_DAMAGED = 2 * 3 + 2
STALL = CALLS_CLEAN + CALLS_DAMAGED + 5  # in the middle of the third block


def logged_selection(log: Path) -> Selection:
    options = {name: {"log": str(log)} for name in ASKED.decoders}
    return replace(ASKED, damages=("none", "eraser"), swept=("eraser",), options=options)


def stalled_job(folder: str, log: str) -> None:
    """What the process runs that is killed."""
    STALL_AT.append(STALL)
    go(Path(folder), logged_selection(Path(log)))


def calls(log: Path) -> int:
    """How often decoders were called since the log was last looked at."""
    count = len(log.read_text().splitlines()) if log.exists() else 0
    log.unlink(missing_ok=True)
    return count


def test_a_killed_run_goes_on_where_it_was_and_ends_as_an_uninterrupted_one(tmp_path):
    log = tmp_path / "calls.log"
    job = "import sys; from tests.test_harness import stalled_job; stalled_job(*sys.argv[1:])"
    child = subprocess.Popen([sys.executable, "-c", job, str(tmp_path / "a"), str(log)], cwd=ROOT)
    try:
        begin = time.monotonic()
        while not log.exists() or len(log.read_text().splitlines()) < STALL:
            assert child.poll() is None and time.monotonic() - begin < 120
            time.sleep(0.02)
    finally:
        child.kill()
    assert child.wait() == -signal.SIGKILL
    assert calls(log) == STALL
    rows = tmp_path / "a" / "rows.jsonl"
    kept = rows.read_bytes()
    finished = [json.loads(line)["key"] for line in kept.splitlines()]
    assert len(finished) == 4
    rows.write_bytes(kept + kept[:50])  # as if it had been killed while it wrote the next row

    outcome = go(tmp_path / "a", logged_selection(log))
    assert outcome.reused == finished and len(outcome.done) == 12 - 4
    assert rows.read_bytes().startswith(kept)  # their times too are those of the killed run
    assert calls(log) == 4 * CALLS_DAMAGED

    go(tmp_path / "b", logged_selection(log))
    assert calls(log) == CALLS_CLEAN + 5 * CALLS_DAMAGED
    interrupted, whole = RunStore(tmp_path / "a"), RunStore(tmp_path / "b")
    assert [timeless(row) for row in interrupted.rows()] == [timeless(row) for row in whole.rows()]
    for row in whole.rows():
        assert interrupted.lines(row.key) == whole.lines(row.key)


# ---- measuring ----


def fake_block(
    meter: FakeMeter, paces: dict[str, list[float]], texts: tuple[str, ...], size: int
) -> BlockMeasure:
    """A block on a fake clock: encoding takes 1 s a line, decoders as scripted, call by call."""
    encoder = Pixels().open(Runtime())
    encode = encoder.encode

    def timed_encode(batch):
        meter.work(
            wall_s=0.5 * len(batch[1]), cpu_s=2.0 * len(batch[1]), device_s=0.5 * len(batch[1])
        )
        return encode(batch)

    def timed_prepare(images, prepare=encoder.prepare):
        meter.work(wall_s=0.25)
        return prepare(images)

    encoder.encode, encoder.prepare = timed_encode, timed_prepare  # type: ignore[method-assign]
    order: list[str] = []

    class Timed:
        def __init__(self, name: str) -> None:
            self.name, self.calls = name, iter(paces[name])

        def decode(self, encoded):
            order.append(self.name)
            pace = next(self.calls)
            meter.work(wall_s=pace * len(encoded.states), cpu_s=0.5)
            return [Decoded("x", 1)] * len(encoded.states)

    block = BlockMeasure(
        encoder,
        {name: Timed(name) for name in paces},  # type: ignore[misc]
        [drawn(text) for text in texts],
        Runtime(batch_size=size),
        Stopwatch(meter),
    )
    block.order = order  # type: ignore[attr-defined]
    return block


def test_batches_are_sorted_by_width():
    assert sorted_batches([5, 1, 3, 1, 9], 2) == [(1, 3), (2, 0), (4,)]
    assert sorted_batches([2], 8) == [(0,)]


def test_times_of_several_rounds_are_medians_over_rounds():
    # widths 2, 4, 6 -> batches of 2 and 1; warm-up, then 3 rounds of 2 batches
    block = fake_block(FakeMeter(), {"d": [99, 1, 1, 3, 3, 2, 2]}, ("abc", "a", "ab"), size=2)
    shares: list[float] = []
    block.run(Rounds(least=3, least_s=0, most_s=1e9), shares.append)
    timing = block.timing("d")
    assert timing.host_s == 0.5
    assert timing.encode_s == 3.0  # the device's half is waited for
    assert timing.decode_s == Spread(median=6.0, low=3.0, high=9.0, n=3)
    assert timing.lines_per_s == Spread(3 / 9, 3 / 12, 3 / 6, 3)
    assert timing.decode_lines_per_s == Spread(0.5, 3 / 9, 1.0, 3)
    assert timing.cpu_s == 2.0 * 3 + 0.5 * 2
    assert timing.latency_p50_s == 3.0 and timing.latency_p95_s == 4.0
    assert timing.peak_mib == 7.0
    assert shares == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    # the loop holds everything but the warm-up, and nothing was left unmeasured here
    assert block.loop_s == block.measured_s == 3 * (0.5 + 3.0) + 3 + 9 + 6


def test_times_of_one_round_have_the_range_of_their_batches():
    block = fake_block(FakeMeter(), {"d": [99, 1, 4]}, ("abc", "a", "ab"), size=2)
    block.run(ONCE, lambda share: None)
    timing = block.timing("d")
    assert timing.decode_s == Spread(median=6.0, low=3.0, high=12.0, n=1)
    assert timing.lines_per_s == Spread(3 / 9, low=1 / 5, high=1 / 2, n=1)
    assert timing.decode_lines_per_s == Spread(0.5, low=0.25, high=1.0, n=1)


def test_slow_systems_have_fewer_rounds_and_the_warm_up_is_the_widest_batch():
    paces = {"slow": [0.0] + [10.0] * 20, "fast": [0.0] + [1.0] * 20}
    block = fake_block(FakeMeter(), paces, ("abc", "a", "ab"), size=1)
    block.run(Rounds(least=3, least_s=0, most_s=70), lambda share: None)
    # a slow round is 3 * (1 + 10) = 33 s: two fit into 70 s
    assert block.timing("slow").decode_s.n == 2
    assert block.timing("fast").decode_s.n == 3
    assert block.timing("fast").encode_s == block.timing("slow").encode_s == 3.0
    assert block.timing("fast").scenario == "single"
    assert block.batches == [(1,), (2,), (0,)]


def test_decoders_are_interleaved_in_a_seeded_order():
    names = {name: [0.1] * 200 for name in "abcd"}
    texts = tuple("x" * n for n in range(1, 13))

    def order() -> list[str]:
        block = fake_block(FakeMeter(), names, texts, size=1)
        block.run(ONCE, lambda share: None)
        return block.order[4:]  # type: ignore[attr-defined,no-any-return]

    first = order()
    turns = [tuple(first[i : i + 4]) for i in range(0, 48, 4)]
    assert all(sorted(turn) == list("abcd") for turn in turns)
    assert len(set(turns)) > 6
    assert order() == first


def test_too_few_texts_are_a_failure_and_not_a_shift_of_lines():
    block = fake_block(FakeMeter(), {"d": [0.1] * 9}, ("ab", "c"), size=2)
    block._decoders["d"].decode = lambda encoded: [Decoded("x", 1)]  # type: ignore[method-assign]
    block.run(ONCE, lambda share: None)
    assert block.readings["d"].failure == "the decoder failed: ValueError: 1 texts for 2 lines"


# ---- progress and cost ----


def test_progress_sums_up_to_the_cells_whatever_happens_to_them(tmp_path):
    told: list[tuple[str, object]] = []

    class Listener:
        def started(self, block: Block) -> None:
            told.append(("started", block.label))

        def note(self, doing: str) -> None:
            told.append(("note", doing))

        def advanced(self, cells: float) -> None:
            told.append(("advanced", cells))

        def finished(self, block: Block, rows: object) -> None:
            told.append(("finished", len(rows)))  # type: ignore[arg-type]

    mine = registries(**TROUBLE, picky=Entry(f"{HERE}:Reader", "", {"refuses": True}))
    asked = replace(
        ASKED, decoders=("reader", "odd", "shut", "picky", "no-e"), damages=("none", "eraser")
    )
    go(tmp_path, replace(asked, decoders=("reader",), damages=("none",)), mine)
    plan = build_plan(asked, mine)
    run(plan, RunStore(tmp_path), Listener())
    steps = [cells for what, cells in told if what == "advanced"]
    assert all(isinstance(step, float | int) and step >= 0 for step in steps)
    assert sum(steps) == pytest.approx(plan.cells)  # type: ignore[arg-type]
    assert len(steps) > 8  # it moves within a block
    assert [x for x in told if x[0] in ("started", "finished")] == [
        ("started", "pixels on words"), ("finished", 4),
        ("started", "pixels on words, eraser 3"), ("finished", 4),
    ]  # fmt: skip
    assert ("note", "loading words") in told and ("note", "damaging words") in told
    told.clear()
    hopeless = build_plan(replace(ASKED, decoders=("odd",)), mine)  # fails before the first round
    run(hopeless, RunStore(tmp_path / "hopeless"), Listener())
    assert sum(cells for what, cells in told if what == "advanced") == 1  # type: ignore[misc]


def test_the_harness_costs_under_two_per_cent_of_the_measured_work(tmp_path, monkeypatch):
    """Against stages of 30 ms, in CPU time, so that a busy machine does not count as harness."""
    monkeypatch.setattr(HostMeter, "wall", lambda meter: time.process_time())
    options = {"pixels": {"busy_s": 0.03}}
    options |= {name: {"busy_s": 0.03} for name in ("reader", "no-e", "no-vowel")}
    asked = replace(ASKED, decoders=("reader", "no-e", "no-vowel"), options=options)
    outcome = go(tmp_path, asked)
    assert outcome.measured_s >= 2 * 3 * 4 * 0.03
    assert 0 < outcome.overhead < 0.02


def test_a_plan_without_blocks_is_an_outcome_without_rows(tmp_path):
    plan = Plan((), (), Runtime())
    outcome = run(plan, RunStore(tmp_path))
    assert outcome.overhead == 0.0 and not outcome.done
