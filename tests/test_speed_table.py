"""The speed table of TrOCR: what is timed, what is counted, what is extrapolated and marked."""

from __future__ import annotations

import json
import math
import re
from dataclasses import astuple, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bench.analysis.speed.job
import bench.analysis.speed.timing
import bench.cli.speed
import bench.pipeline.opening
from bench.analysis.speed.job import (
    REFERENCE,
    SENTENCES,
    SpeedJob,
    SpeedSystem,
    absences,
    speed_job,
)
from bench.analysis.speed.timing import Budget, check_memory, measure, spread_by_width
from bench.cli.speed import SpeedChoices, Timing
from bench.core import machine
from bench.core.errors import Unavailable
from bench.core.files import content_hash
from bench.core.registry import Entry, Registry
from bench.core.stopwatch import Stopwatch
from bench.core.types import Condition, Runtime, Spread
from bench.pipeline import runs
from bench.pipeline.plan import Block, Part, Registries, Rounds, Selection
from bench.pipeline.store import RunStore
from bench.report.results import collect
from bench.report.speed import SpeedRow, speed_rows
from bench.report.speed_table import differences, ratio_table, size_ratios, speed_table
from decoders.ar.specs import AutoregressiveSpec
from models.heads.files import save_head
from tests import speed_doubles
from tests.harness_doubles import FakeMeter, Words
from tests.run_rows import Rows, row, timing
from tests.test_ctc_heads import head_for, notes
from tests.tiny_trocr import save_checkpoint

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
    encoders: tuple[str, ...] = ("trocr-small",),
    batch_sizes: tuple[int, ...] = (1,),
    limit: int = 12,
    minutes: float = math.inf,
) -> SpeedJob:
    decoders = tuple(bench.analysis.speed.job.speed_registries().decoders.names())
    selection = Selection(encoders, decoders, ("words",), limit=limit, runtime=Runtime(threads=1))
    return speed_job(selection, ("float32",), batch_sizes, 60.0 * minutes)


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


def test_short_time_means_fewer_lines_and_no_totals_of_them(clock, tmp_path):
    # A line costs 100 s to prepare and 1 + 3 + 1 s; trying one twice has cost 210 s.
    (beam, greedy) = ours(rows_of(job(limit=12, minutes=(210 + 3 * 2 * 105) / 60), tmp_path))
    assert beam.figures and greedy.figures
    assert (beam.figures.measured_lines, beam.figures.passes) == (2, 3)
    assert beam.figures.measured_lines == greedy.figures.measured_lines
    table = speed_table([beam, greedy])
    cells = dict(zip((c.head for c in table.columns), table.rows[0], strict=True))
    for head in ("Total Sentences", "Total Tokens", "Total Time s"):
        assert cells[head].text == "—"
        assert cells[head].notes == ("no totals: fewer than 16 lines were read",)
    assert cells["Sentences/s"].text == "0.250" and cells["Tokens/s"].text == "1.00"
    assert "extrapolated" not in table.conditions
    assert beam.record()["seconds"] is beam.record()["tokens"] is None


def test_a_costly_first_call_is_not_taken_for_a_line(clock, monkeypatch, tmp_path):
    compiled = Entry(f"{HERE}:SearchSpec", "", {"first_s": 400.0})
    use(monkeypatch, speed_doubles.clockwork(compiled=compiled))
    minutes = (400 + 2 * 106 + 3 * 8 * 106) / 60
    rows = ours(rows_of(job(limit=12, minutes=minutes), tmp_path))
    assert [row.figures.measured_lines for row in rows if row.figures] == [8, 8, 8]


def test_totals_of_enough_lines_are_marked(clock, tmp_path):
    (beam, greedy) = ours(rows_of(job(limit=16), tmp_path))
    assert beam.figures and beam.figures.seconds
    assert beam.figures.tokens == 4 * SENTENCES and beam.figures.seconds.median == 4.0 * SENTENCES
    table = speed_table([beam, greedy])
    cells = dict(zip((c.head for c in table.columns), table.rows[0], strict=True))
    for head in ("Total Sentences", "Total Tokens", "Total Time s"):
        assert cells[head].text.startswith("~")
        assert "extrapolated from 16 lines" in cells[head].notes
    assert "~" not in cells["Sentences/s"].text + cells["Tokens/s"].text
    assert "extrapolated to 2,915 lines" in table.conditions
    assert any("totals are extrapolated" in sentence for sentence in differences([beam]))


def test_a_whole_set_is_not_extrapolated(clock, tmp_path):
    (beam, greedy) = ours(rows_of(job(limit=SENTENCES, batch_sizes=(500,)), tmp_path))
    assert beam.figures and not beam.figures.extrapolated
    table = speed_table([beam, greedy])
    assert "~" not in "".join(cell.text for line in table.rows for cell in line)
    assert "extrapolated" not in table.conditions + " ".join(table.notes)
    assert beam.figures.seconds and beam.figures.seconds.median == 4.0 * SENTENCES
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
    speed_doubles.RAISES.extend([MemoryError() for _ in range(3)])
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
        ["small (reported)", *stated, "62M", "2,915", "31,081", "348.4", "8.37", "89.22"],
        ["base (reported)", *stated, "334M", "2,915", "31,959", "633.7", "4.60", "50.43"],
        ["large (reported)", *stated, "558M", "2,915", "31,966", "666.8", "4.37", "47.94"],
    ]
    assert all(line[0].notes for line in table.rows)
    assert "arXiv:2109.10282, Table 5; not measured here" in table.notes[0]
    assert "evaluates with beam 10, batch 16 and fp16" in table.notes[0]


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
        (["--encoder", "trocr-smal"], "no encoder is called 'trocr-smal'; did you mean"),
        (["--batch-size", "0"], "a batch of 0 lines holds nothing"),
        (["--minutes", "nan"], "the time has to be more than 0 minutes"),
    ],
)
def test_mistakes_are_one_sentence(refused, monkeypatch, tmp_path, words, said):
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    assert said in refused("speed", "--limit", "2", *words) and not runs.RUNS.exists()


def test_ctrl_c_keeps_what_is_finished(clock, call, monkeypatch, tmp_path):
    stopping = Entry(f"{HERE}:SearchSpec", "", {"on_call": "raise"})
    use(monkeypatch, speed_doubles.clockwork(stopping=stopping))
    asked = (
        *("speed", "--dataset", "words", "--encoder", "trocr-small", "--limit", "3"),
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


def test_a_table_without_a_measured_row_is_no_success(clock, call, monkeypatch, tmp_path):
    use(monkeypatch, speed_doubles.clockwork())
    words = ("--encoder", "trocr-small", "--batch-size", "2", "--minutes", "0.0001")
    code, out, err = call("speed", "--dataset", "words", *words, "--out", f"{tmp_path}/a")
    assert code == 1 and "Nothing was measured." in " ".join(out.split())
    assert "cells done" not in err


def test_a_real_run_from_end_to_end(call, tiny, tmp_path):
    words = ("speed", "--encoder", "trocr-small", "--batch-size", "2", "--threads", "1")
    chosen = ("--decoder", "ar-beam-10", "ar-greedy", "ctc-greedy", "ctc-kenlm", "--limit", "2")
    code, out, err = call(*words, *chosen, "--minutes", "30", "--out", f"{tmp_path}/real")
    assert code == 1, err  # ctc-kenlm was asked for and cannot run
    for text in ("trocr-small", "untrained", "CTC greedy", "AR beam 10", "8.37"):
        assert text in out
    folder = tmp_path / "real"
    found = json.loads((folder / "speed.json").read_text())
    by_system = {r["decoder"]: r for r in found if r["origin"] == "measured"}
    assert len(by_system) == 3
    for decoder, record in by_system.items():
        assert record["weights"] == "untrained" and record["cer"] is None
        assert record["sentences"] is record["seconds"] is None  # two lines are no total
        assert record["peak_mib"] > 0 and record["encoder_ms"] > 0
        line_ms = record["encoder_ms"] + record["decoder_ms"]
        assert line_ms == pytest.approx(1000 / record["sentences_per_s"]["median"])
        assert (record["tokens_per_s"] is None) == (decoder == "ctc-greedy")
    # Forced lengths are the same for all searches, so that they do the same work.
    beam, greedy = by_system["ar-beam-10"], by_system["ar-greedy"]
    tokens = [r["tokens_per_s"]["median"] / r["sentences_per_s"]["median"] for r in (beam, greedy)]
    assert tokens[0] == pytest.approx(tokens[1])
    (kenlm,) = (r for r in found if r["decoder"] == "ctc-kenlm")
    assert kenlm["origin"] == "not run" and kenlm["batches"] == [2]
    assert "has no trained CTC head" in kenlm["reason"]
    assert "python -m bench train ctc --encoder trocr-small" in kenlm["remedy"]
    assert "## What differs from the paper" in (folder / "speed.md").read_text()


@pytest.mark.parametrize(
    ("device", "sizes", "dtypes", "lines"),
    [("cpu", (1, 16), ("float32",), 16), ("cuda", (16,), ("float16",), 2915)],
)
def test_a_gpu_measures_as_the_authors_evaluate(monkeypatch, device, sizes, dtypes, lines):
    monkeypatch.setattr(bench.pipeline.opening, "check_runtime", lambda runtime: None)
    asked = bench.cli.speed._job(SpeedChoices(encoder=("mini",)), Timing(device=device))
    assert (asked.batch_sizes, asked.dtypes, asked.selection.limit) == (sizes, dtypes, lines)


def test_a_head_that_is_given_is_never_exchanged_for_random_weights(tiny):
    options = {"trocr-small": {"head": "head.safetensors"}}
    selection = Selection(("trocr-small",), ("ctc-greedy",), ("lines",), options=options)
    asked = speed_job(selection, ("float32",), (1,), 60.0)
    assert "untrained" not in asked.selection.options["trocr-small"]


def test_an_own_checkpoint_with_a_head_of_its_own(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    vision = save_checkpoint(tmp_path / "mine", "base").config.encoder
    sha256 = content_hash(tmp_path / "mine" / "model.safetensors")
    save_head(tmp_path / "head.safetensors", head_for("grid-linear", vision).state_dict(),
              notes("grid-linear", sha256))  # fmt: skip
    words = ("speed", "--encoder", "./mine", "-o", "./mine.head=head.safetensors", "--threads", "1")
    lines = ("--dataset", "lines", "--batch-size", "8", "--limit", "16", "--minutes", "30")
    chosen = ("--decoder", "ar-beam-10", "ctc-greedy", "--out", f"{tmp_path}/own")
    code, out, err = call(*words, *lines, *chosen)
    assert code == 0, err
    assert max(map(len, out.split("files in ")[0].splitlines())) <= 100
    heads, *_ = [line.split() for line in out.splitlines() if line.startswith("Model")]
    assert heads[:4] == ["Model", "Decoder", "Batch", "Sentences/s"]
    ar, ctc = ([c.strip() for c in re.split("  +", line)] for line in out.splitlines()
               if line.startswith("./mine"))  # fmt: skip
    assert [ar[5], len(ar), len(ctc)] == ["1", 9, 9]
    assert float(ctc[5].replace(",", "")) > 1  # greedy CTC against the search with beam 10
    records = json.loads((tmp_path / "own" / "speed.json").read_text())
    ours = [record for record in records if record["origin"] == "measured"]
    assert [record["model"] for record in ours] == ["./mine", "./mine"]
    assert all(record["extrapolated"] and record["tokens"] and record["cer"] for record in ours)
