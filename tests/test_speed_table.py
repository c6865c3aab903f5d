"""The speed table of TrOCR: what is timed, what is counted, what is extrapolated and marked."""

from __future__ import annotations

import json
import math
from dataclasses import astuple, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bench.analysis.speed.job
import bench.analysis.speed.timing
from bench.analysis.speed.job import (
    REFERENCE,
    SENTENCES,
    SpeedJob,
    SpeedSystem,
    absences,
    speed_job,
)
from bench.analysis.speed.timing import Budget, check_memory, measure, spread_by_width
from bench.core import machine
from bench.core.errors import Unavailable
from bench.core.registry import Entry, Registry
from bench.core.stopwatch import Stopwatch
from bench.core.types import Condition, Runtime, Spread
from bench.pipeline import runs
from bench.pipeline.plan import Block, Part, Registries, Rounds, Selection
from bench.pipeline.store import RunStore
from bench.report.results import collect
from bench.report.speed import SpeedRow, speed_rows
from bench.report.speed_table import differences, ratio_table, size_ratios, speed_table
from decoders.ar.beam import AutoregressiveSpec
from tests import speed_doubles
from tests.harness_doubles import FakeMeter, Words
from tests.run_rows import Rows, row, timing

HERE = "tests.speed_doubles"


# ---- a run on a clock of its own ----


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeMeter:
    meter = FakeMeter()
    monkeypatch.setattr(speed_doubles, "METER", meter)
    monkeypatch.setattr(Stopwatch, "for_device", classmethod(lambda cls, device: cls(meter)))
    monkeypatch.setattr(bench.analysis.speed.timing, "free_memory_mib", lambda: math.inf)
    speed_doubles.RAISES.clear()
    speed_doubles.READ.clear()
    use(monkeypatch, speed_doubles.clockwork())
    return meter


def use(monkeypatch: pytest.MonkeyPatch, names: Registries) -> None:
    monkeypatch.setattr(bench.analysis.speed.job, "speed_registries", lambda: names)


def job(
    sizes: tuple[str, ...] = ("small",),
    batch_sizes: tuple[int, ...] = (1,),
    limit: int = 12,
    minutes: float = math.inf,
) -> SpeedJob:
    decoders = tuple(bench.analysis.speed.job.speed_registries().decoders.names())
    selection = Selection((), decoders, ("words",), limit=limit, runtime=Runtime(threads=1))
    return speed_job(sizes, selection, ("float32",), batch_sizes, 60.0 * minutes)


def rows_of(asked: SpeedJob, folder: Path) -> list[SpeedRow]:
    store = RunStore(folder)
    outcome = measure(asked.plan(), asked.seconds, store)
    missing = absences(asked.systems(), outcome.skipped)
    return speed_rows(collect(store), asked.systems(), missing)


def near(found: Spread | None, *wanted: float) -> bool:
    return found is not None and astuple(found) == pytest.approx(wanted)


def ours(rows: list[SpeedRow]) -> list[SpeedRow]:
    return [row for row in rows if row.origin != "reported"]


def test_the_clock_runs_around_encoder_and_search_alone(clock, tmp_path):
    beam, greedy = ours(rows_of(job(), tmp_path))
    assert beam.figures and greedy.figures
    # Preparing takes 100 s a line and text 1000 s a line; encoder 1 s, searches 3 s and 1 s.
    assert beam.figures.sentences_per_s == Spread(1 / 4, 1 / 4, 1 / 4, 2)
    assert (beam.figures.encoder_ms, beam.figures.decoder_ms) == (1000.0, 3000.0)
    assert greedy.figures.sentences_per_s.median == 1 / 2
    assert greedy.figures.ratio is not None and greedy.figures.ratio.median == 2.0
    # ... and the text is there all the same, made of the ids.
    store = RunStore(tmp_path)
    assert {line.text for r in store.rows() for line in store.lines(r.key)} == {"abc"}
    assert all(r.cer is not None for r in store.rows())


def test_each_batch_size_is_a_row_and_is_filled(clock, tmp_path):
    rows = ours(rows_of(job(batch_sizes=(1, 5), limit=3), tmp_path))
    assert [row.batches for row in rows] == [(1,), (1,), (5,), (5,)]
    assert [row.figures.measured_lines for row in rows if row.figures] == [3, 3, 5, 5]
    assert set(speed_doubles.READ) == {1, 5}
    repeated = rows[-1].figures
    assert repeated and repeated.distinct_lines == 3
    assert "3 lines of the set, repeated" in speed_table(rows).notes


def test_short_time_means_fewer_lines_and_they_are_marked(clock, tmp_path):
    # A line costs 100 s to prepare and 1 + 3 + 1 s; trying one has cost 105 s.
    (beam, greedy) = ours(rows_of(job(limit=12, minutes=(105 + 3 * 2 * 105) / 60), tmp_path))
    assert beam.figures and greedy.figures
    assert (beam.figures.measured_lines, beam.figures.passes) == (2, 3)
    assert beam.figures.measured_lines == greedy.figures.measured_lines
    assert beam.figures.tokens == 4 * SENTENCES and beam.figures.seconds.median == 4.0 * SENTENCES
    table = speed_table([beam, greedy])
    cells = dict(zip((c.head for c in table.columns), table.rows[0], strict=True))
    for head in ("Total Sentences", "Total Tokens", "Total Time"):
        assert cells[head].text.startswith("~")
        assert any(note.startswith("extrapolated from 2 line") for note in cells[head].notes)
    assert "~" not in cells["Sentences/s"].text + cells["Tokens/s"].text
    assert "extrapolated to 2,915 lines" in table.conditions
    assert any("totals are extrapolated" in sentence for sentence in differences([beam]))


def test_a_whole_set_is_not_extrapolated(clock, tmp_path):
    (beam, greedy) = ours(rows_of(job(limit=SENTENCES, batch_sizes=(500,)), tmp_path))
    assert beam.figures and not beam.figures.extrapolated
    table = speed_table([beam, greedy])
    assert "~" not in "".join(cell.text for line in table.rows for cell in line)
    assert "extrapolated" not in table.conditions + " ".join(table.notes)
    assert beam.figures.seconds.median == 4.0 * SENTENCES
    # One pass is enough where it is long, and its range is that of its parts.
    assert beam.figures.passes == 1 and beam.figures.seconds.n == 5
    assert any(note.startswith("one pass; the range is that of 5 parts") for note in table.notes)


def test_what_does_not_fit_into_the_time_is_a_row_with_a_reason(clock, tmp_path):
    rows = ours(rows_of(job(batch_sizes=(64,), limit=64, minutes=1.0), tmp_path))
    assert [row.origin for row in rows] == ["not run", "not run"]
    assert "a batch of 64 would take about 6720 s" in rows[0].reason
    assert rows[0].remedy == "give it more than --minutes 1"
    table = speed_table(rows)
    assert "not run" in {cell.text for cell in table.rows[0]}
    assert "Nothing was measured" in table.conditions


def test_failures_are_cells_and_the_table_goes_on(clock, monkeypatch, tmp_path):
    hungry = Entry(f"{HERE}:SearchSpec", "", {"on_call": "raise"})
    use(monkeypatch, speed_doubles.clockwork(hungry=hungry))
    speed_doubles.RAISES.extend([MemoryError(), MemoryError()])
    rows = ours(rows_of(job(), tmp_path))
    assert [row.origin for row in rows] == ["measured", "measured", "failed"]
    cells = speed_table(rows).rows[2]
    assert any(cell.text.startswith("failed: out of memory") for cell in cells)


def test_finished_rows_are_not_measured_again(clock, tmp_path):
    first = rows_of(job(), tmp_path)
    speed_doubles.READ.clear()
    again = rows_of(job(), tmp_path)
    assert speed_doubles.READ == []
    assert [row.record() for row in again] == [row.record() for row in first]
    rows_of(job(minutes=50.0), tmp_path)  # more or less time is another measurement
    assert speed_doubles.READ


# ---- tokens, lines, time, memory ----


def test_tokens_are_counted_as_fairseq_counts_them(monkeypatch):
    # sum(len(h[0]["tokens"]) for h in hypos): up to and including EOS (2), no start token, the
    # best hypothesis only; the third line was cut off before its EOS, 1 is padding.
    best = [[5, 7, 2, 1, 1], [2, 1, 1, 1, 1], [9, 9, 9, 9, 9]]
    found = [ids for line in best for ids in (line, [4, 4, 4, 2, 1])]
    encoder = speed_doubles.ClockworkEncoder("")
    decoder = AutoregressiveSpec(beam=2, nbest=2).open(encoder.info)
    monkeypatch.setattr(decoder, "_search", lambda ar, encoded: (found, [-1.0] * 6))
    decoded = decoder.decode(encoder.encode(torch.zeros(3, 1)))
    assert [line.tokens for line in decoded] == [3, 1, 5]
    assert [line.truncated for line in decoded] == [False, False, True]


def test_lines_are_spread_from_narrow_to_wide():
    lines = Words().load().lines
    widths = [line.image.shape[1] for line in spread_by_width(lines, 4)]
    assert widths == sorted(widths) and len(set(widths)) == 4
    (middle,) = spread_by_width(lines, 1)
    assert sum(line.image.shape[1] < middle.image.shape[1] for line in lines) == 6
    repeated = [line.id for line in spread_by_width(lines, 2 * len(lines))]
    assert all(repeated.count(line.id) == 2 for line in lines)


def blocks_of(count: int, size: int, rounds: Rounds) -> list[Block]:
    part = Part("x", None, {})
    runtime = Runtime(batch_size=size)
    return [
        Block(part, (), part, None, Condition(str(place)), rounds, runtime)
        for place in range(count)
    ]


@settings(deadline=None)
@given(
    line_s=st.floats(0, 100),
    size=st.integers(1, 64),
    extra=st.integers(0, 3000),
    seconds=st.floats(0.1, 1e6),
    blocks=st.integers(1, 8),
)
def test_what_is_afforded_fits_or_is_the_least(line_s, size, extra, seconds, blocks):
    asked, plan = size + extra, blocks_of(blocks, size, Rounds(3, 1.0, seconds))
    budget = Budget(seconds, plan, lambda: 0.0)
    try:
        count, taken = budget.affordable(plan[0], line_s, asked)
    except Unavailable:
        assert size * line_s > seconds
        return
    assert size <= count <= asked and 1 <= taken.least <= 3
    assert count * line_s <= seconds * (1 + 1e-9)
    if count > size:  # more than the least: all passes fit into the share
        assert taken.least == 3 or count == asked
    if taken.least > 1:
        assert taken.least * count * line_s <= seconds / blocks * (1 + 1e-9)


def test_a_batch_that_would_fill_the_memory_is_refused():
    check_memory(16, line_mib=600.0, free_mib=9_000.0)
    with pytest.raises(Unavailable, match="about 9 GiB more memory, and 8 GiB are free"):
        check_memory(16, line_mib=600.0, free_mib=8_200.0)


# ---- the table ----


def test_the_papers_rows_are_the_papers():
    table = speed_table(speed_rows([], [], {}))
    stated = ["AR beam 10", "not stated", "not stated"]
    assert [[cell.text for cell in line][:10] for line in table.rows[:3]] == [
        ["small (reported)", *stated, "62M", "2,915", "31,081", "348.4s", "8.37", "89.22"],
        ["base (reported)", *stated, "334M", "2,915", "31,959", "633.7s", "4.60", "50.43"],
        ["large (reported)", *stated, "558M", "2,915", "31,966", "666.8s", "4.37", "47.94"],
    ]
    assert all(line[0].notes for line in table.rows)
    assert "arXiv:2109.10282, Table 5; not measured here" in table.notes[0]


def system_row(size: str, decoder: str, rate: float, **more):
    passes = [[24 / (rate * factor)] for factor in (1.0, 0.8, 1.25)]
    values = {
        "encoder": f"trocr-{size}",
        "timing": timing(rate),
        "extras": {"passes": passes, "parts": [24], "distinct_lines": 24},
        "runtime": Runtime(batch_size=1),
        **more,
    }
    return row(decoder, **values)


def table_rows(*stored) -> list[SpeedRow]:
    systems = [
        bench.analysis.speed.job.SpeedSystem(
            r.encoder, r.decoder, r.runtime.dtype, r.runtime.batch_size
        )
        for r in stored
    ]
    return speed_rows(collect(Rows(*stored)), systems, {})


def test_ratios_are_paired_by_pass():
    beam = system_row("small", REFERENCE, 2.0)
    fast = system_row("small", "ar-greedy", 6.0)
    alone = system_row("large", "ar-greedy", 1.0)
    *_, first, second, third = table_rows(beam, fast, alone)
    assert first.figures and second.figures and third.figures
    assert near(second.figures.ratio, 3.0, 3.0, 3.0, 3)  # both slowed down in the same pass
    assert third.figures.ratio is None
    assert near(first.figures.sentences_per_s, 2.0, 1.6, 2.5, 3)
    table = speed_table([first, second, third])
    column = [c.head for c in table.columns].index("Ratio to AR beam 10")
    assert [line[column].text for line in table.rows] == ["1", "3.00", "—"]


def test_the_sizes_against_each_other():
    rows = table_rows(
        system_row("small", REFERENCE, 4.0),
        system_row("large", REFERENCE, 2.0),
        system_row("large", "ar-greedy", 5.0),
    )
    ((key, found),) = size_ratios(rows).items()
    assert key == (REFERENCE, 1, "float32")
    assert near(found["small"], 2.0, 3.2 / 2.5, 5.0 / 1.6, 3)
    table = ratio_table(rows)
    assert table is not None
    assert [[cell.text for cell in line] for line in table.rows] == [
        ["reported", "AR beam 10", "not stated", "not stated", "1.91", "1.05", "1.00"],
        ["measured", "AR beam 10", "1", "fp32", "2.00", "—", "1.00"],
    ]
    assert ratio_table(rows[:3]) is None


def test_gpu_rows_name_the_card_its_driver_and_its_clocks(monkeypatch):
    clocks = "GPU-b, 550.54, 1980, 2619, 700.00\nGPU-a, 550.54, 1410, 1593, 400.00\n"
    monkeypatch.setattr(machine, "_output", lambda *command: clocks)
    monkeypatch.setattr(machine, "_gpu", lambda: ["A100", "Test GPU"])
    monkeypatch.setattr(machine, "_gpu_uuid", lambda index: ("GPU-a", "GPU-b")[index])
    first, gpu = machine.environment()["gpus"]
    assert (first["name"], first["max_sm_mhz"]) == ("A100", "1410")
    environment = {**Rows().environments()["envhash012345678"], "gpus": [gpu]}
    stored = system_row("small", REFERENCE, 2.0, runtime=Runtime("cuda", "float16", 1))
    stored = replace(stored, extras={**stored.extras, "gpu_clocks": {"sm_mhz": "1755"}})
    store = Rows(stored, environments={"envhash012345678": environment})
    system = SpeedSystem("trocr-small", REFERENCE, "float16", 1)
    table = speed_table(speed_rows(collect(store), [system], {}))
    assert "Test GPU, driver 550.54, SM clock up to 1980 MHz, 700.00 W, host" in table.conditions
    assert "SM clock just after measuring: 1755 MHz" in table.conditions
    assert (table.rows[-1][-1].text, table.rows[-1][3].text) == ("Test GPU", "fp16")
    monkeypatch.setattr(machine, "_output", lambda *command: None)  # no such program
    assert machine.environment()["gpus"] == [{"name": "A100"}, {"name": "Test GPU"}]


# ---- the command ----


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "smal"], "no size is called 'smal'; did you mean small"),
        (["--batch-size", "0"], "a batch of 0 lines holds nothing"),
        (["--minutes", "nan"], "the time has to be more than 0 minutes"),
    ],
)
def test_mistakes_are_one_sentence(call, monkeypatch, tmp_path, words, said):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    code, out, err = call("speed", "--limit", "2", *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and said in err and err.count("\n") == 1
    assert not runs.RUNS.exists()


def test_ctrl_c_keeps_what_is_finished(clock, call, monkeypatch, tmp_path):
    stopping = Entry(f"{HERE}:SearchSpec", "", {"on_call": "raise"})
    use(monkeypatch, speed_doubles.clockwork(stopping=stopping))
    asked = (
        *("speed", "--dataset", "words", "--size", "small", "--limit", "3"),
        *("--batch-size", "1", "2", "--minutes", "1000", "--out", f"{tmp_path}/a"),
    )
    assert call(*asked, "--decoder", REFERENCE, "--json")[0] == 0
    speed_doubles.RAISES.append(KeyboardInterrupt())
    code, out, err = call(*asked)
    assert code == 130 and out == ""
    assert "2 finished rows are in" in err and "goes on from there" in err
    finished = json.loads((tmp_path / "a" / "speed.json").read_text())
    assert [r["origin"] for r in finished].count("measured") == 2


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TrOCR with random weights that a CPU runs in milliseconds, under the name of small."""
    spec = Entry("models.trocr:TrOCRSpec", "tiny", {"repo": "nobody/nothing", "shape": "tiny"})
    real = bench.analysis.speed.job.speed_registries()
    use(monkeypatch, replace(real, encoders=Registry("encoder", {"trocr-small": spec})))


def test_a_real_run_from_end_to_end(call, tiny, tmp_path):
    words = ("speed", "--size", "small", "--batch-size", "2", "--limit", "2", "--threads", "1")
    chosen = ("--decoder", "ar-beam-10", "ar-greedy", "ctc-greedy", "ctc-kenlm")
    code, out, err = call(*words, *chosen, "--minutes", "30", "--out", f"{tmp_path}/real")
    assert code == 1, err  # ctc-kenlm was asked for and cannot run
    for text in ("small (untrained)", "CTC greedy", "AR beam 10", "348.4s"):
        assert text in out
    folder = tmp_path / "real"
    found = json.loads((folder / "speed.json").read_text())
    by_system = {r["decoder"]: r for r in found if r["origin"] == "measured"}
    assert len(by_system) == 3
    for decoder, record in by_system.items():
        assert record["weights"] == "untrained" and record["extrapolated"] and record["cer"] is None
        assert record["sentences"] == SENTENCES and record["sentences_per_s"]["median"] > 0
        assert record["peak_mib"] > 0 and record["encoder_ms"] > 0
        assert (record["tokens"] is None) == (decoder == "ctc-greedy")
    # Forced lengths are the same for all searches, so that they do the same work.
    assert len({r["tokens"] for r in by_system.values()} - {None}) == 1
    (kenlm,) = (r for r in found if r["decoder"] == "ctc-kenlm")
    assert kenlm["origin"] == "not run" and kenlm["batches"] == [2]
    assert "has no trained CTC head" in kenlm["reason"]
    assert "python -m bench train ctc --encoder trocr-small" in kenlm["remedy"]
    assert "## What differs from the paper" in (folder / "speed.md").read_text()
    assert (folder / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_a_head_that_is_given_is_never_exchanged_for_random_weights(tiny):
    selection = Selection(
        (), ("ctc-greedy",), ("lines",), options={"trocr-small": {"head": "head.safetensors"}}
    )
    asked = speed_job(("small",), selection, ("float32",), (1,), 60.0)
    assert "untrained" not in asked.selection.options["trocr-small"]
