"""`bench dev perf`: comparisons with peers, the record, the table, the command."""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import ROOT
from bench.analysis.diagnostics import (
    Diagnosis,
    diagnose,
    line_findings,
)
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
from bench.analysis.trace import STAGES, trace
from bench.core.errors import UserError
from bench.core.hashing import plain
from bench.core.machine import environment
from bench.core.registry import Entry
from bench.core.types import Decoded, Encoded, EncoderInfo, Line, Needs, Runtime
from bench.pipeline.opening import opened
from bench.pipeline.plan import Registries, Selection
from bench.report import perf, render
from bench.report.diagnostics import tables
from decoders import DECODERS
from decoders.base import Decoder, DecoderSpec
from decoders.ctc.base import ctc_scores
from decoders.ctc.greedy import best_path
from models import ENCODERS
from tests import two_heads as doubles
from tests.ctc_doubles import encoded, every_labelling, info, random_matrix
from tests.harness_doubles import TEXTS, registries, track

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
    "run", sorted(folder.name for folder in (ROOT / "results/reference").glob("two-cores-perf*"))
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


# Traces of a system: what is in them, that no row comes of them, and TensorBoard's page


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """Three lines read in two batches by greedy CTC behind the shipped encoder."""
    images = [np.full((32, width), 255, np.uint8) for width in (80, 60, 200)]
    folder, runtime = tmp_path_factory.mktemp("traces"), Runtime(batch_size=2, threads=1)
    with opened("mini", Registries(), {}, runtime) as bench:
        decoder = bench.decoder(bench.spec("ctc-greedy"))
        return trace("mini-ctc-greedy", bench, decoder, images, folder)


def events(path: Path) -> list[dict[str, Any]]:
    return json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]


def test_a_trace_holds_the_stages_of_each_batch_and_their_operators(traced):
    assert (traced.lines, traced.batches) == (3, 2)
    spans = [one for one in events(traced.path) if one.get("ph") == "X"]
    named = {
        stage: [
            one for one in spans if one["name"] == stage and one.get("cat") == "user_annotation"
        ]
        for stage in STAGES
    }
    assert {stage: len(found) for stage, found in named.items()} == dict.fromkeys(STAGES, 2)
    begins = [one["ts"] for pair in zip(*named.values(), strict=True) for one in pair]
    assert begins == sorted(begins)  # prepare, encode, decode; prepare, encode, decode
    inside = {
        one["name"]
        for one in spans
        if named["encode"][0]["ts"]
        <= one["ts"]
        < named["encode"][0]["ts"] + named["encode"][0]["dur"]
    }
    assert any("conv" in name for name in inside)
    steps = {one["name"] for one in spans if one["name"].startswith("ProfilerStep")}
    assert len(steps) == 2


def test_what_is_counted_agrees_with_the_trace(traced):
    assert [one.name for one in traced.stages] == list(STAGES)
    assert all(one.calls == 2 and one.total_s > 0 for one in traced.stages)
    spans = [one for one in events(traced.path) if one.get("ph") == "X"]
    encode = sum(one["dur"] for one in spans if one["name"] == "encode") / 1e6
    assert traced.stages[1].total_s == pytest.approx(encode, rel=0.05)
    names = [one.name for one in traced.operators]
    assert not set(STAGES) & set(names) and not [n for n in names if n.startswith("Profiler")]
    seconds = [one.self_s for one in traced.operators]
    assert seconds == sorted(seconds, reverse=True)
    calls = sum(one["name"] == names[0] for one in spans if one.get("cat") == "cpu_op")
    assert traced.operators[0].calls == calls > 0


# The command


def test_the_command_writes_traces_and_no_row(call, tmp_path, monkeypatch):
    from bench.pipeline import runs

    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    code, out, err = call(
        *("dev", "trace", "mini:ctc-greedy", "--lines", "2", "--batch-size", "1"),
        *("--out", str(tmp_path / "t")),
    )
    text = " ".join(out.split())
    assert code == 0 and "aten::" in text and "not those of a run" in text and "tracing" in err
    files = sorted(path.name for path in (tmp_path / "t").rglob("*") if path.is_file())
    assert files == ["mini-ctc-greedy.pt.trace.json.gz"]
    assert not (tmp_path / "runs").exists()


def test_the_plugin_of_tensorboard_reads_the_trace(traced, tmp_path):
    plugin = pytest.importorskip("torch_tb_profiler.profiler.data").RunProfileData
    found = plugin.parse("mini", None, str(traced.path), str(tmp_path))
    calls = {one.name: one.calls for one in found.op_list_groupby_name}
    assert all(calls[one.name] == one.calls for one in traced.operators[:5])


# Search errors, model errors and oracle CER, on decoders whose faults are known


Call = Callable[..., tuple[object, str, str]]


@dataclass(frozen=True)
class FaultySpec(DecoderSpec):
    """Reads every fourth line rightly, and the others wrongly, each for a reason of its own.

    The second of four lines is a search error, the third a model error, the fourth has a
    reference that it can never write. It tells `nbest` texts, the last one the true one.
    """

    needs: ClassVar[Needs] = "log_probs"
    beam: int = 3
    nbest: int = 1
    mute: bool = False

    def open(self, encoder: EncoderInfo) -> Decoder:
        return Faulty(self)


class Faulty(Decoder):
    spec: FaultySpec

    def decode(self, encoded: Encoded) -> list[Decoded]:
        read, nbest = best_path(encoded), self.spec.nbest
        found = []
        for place, line in enumerate(read):
            text = line.text + "x" * (place % 4 > 0)
            listed = (*((text + "y" * k, -float(k)) for k in range(nbest - 1)), (line.text, -99))
            found.append(Decoded(text, len(text), 0.0, listed if nbest > 1 else ()))
        return found

    def score(
        self, encoded: Encoded, texts: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]] | None:
        if self.spec.mute:
            return None
        references = (0.0, 1.0, -1.0, -math.inf)
        return [np.array([-5.0, references[i % 4]]) for i, _ in enumerate(texts)]


def mine() -> Registries:
    return registries(faulty=Entry(f"{__name__}:FaultySpec", "errs"))


def diagnosed(**changes: object) -> Diagnosis:
    settings = {"decoders": ("faulty",), "runtime": Runtime(batch_size=4), **changes}
    asked = Selection(("pixels",), datasets=("words",), **settings)  # type: ignore[arg-type]
    return diagnose(asked, mine(), track)


def test_every_wrong_line_is_told_by_its_reason() -> None:
    (finding,) = diagnosed().findings
    assert len(finding.lines) == len(TEXTS) == 12
    for kind in ("right", "search", "model", "unreachable"):
        assert finding.count(kind) == 3
        assert finding.share(kind) == (0 if kind == "right" else pytest.approx(1 / 3))


def test_conditions_and_decoders_that_cannot_score_texts_have_tables_of_their_own() -> None:
    more = {"limit": 5, "options": {"faulty": {"mute": True}}}
    found = diagnosed(damages=("none", "eraser"), severities=(1, 3), **more)
    places = [(one.condition.damage, one.condition.severity) for one in found.findings]
    assert places == [("none", 0), ("eraser", 1), ("eraser", 3)]
    assert (found.findings[0].count("right"), found.findings[0].count("unknown")) == (2, 3)
    made = list(tables(found))
    assert len({table.slug for table in made}) == 3
    assert [cell.text for cell in made[0].rows[0][3:6]] == ["—"] * 3
    (table,) = tables(diagnosed())
    assert "3 [33 %]" in render.markdown(table) and "oracle @4" in render.markdown(table)


def test_the_oracle_is_the_best_of_the_first_texts() -> None:
    (finding,) = diagnosed().findings
    characters = sum(map(len, TEXTS))
    assert finding.options["nbest"] == 3 == finding.width
    assert finding.oracle(1) == finding.oracle(2) == pytest.approx(9 / characters)
    assert finding.oracle(3) == finding.oracle(64) == 0
    (finding,) = diagnosed(options={"faulty": {"nbest": 2}}).findings
    assert (finding.width, finding.oracle(2)) == (2, 0)


@pytest.mark.parametrize("seed", range(4))
def test_ctc_scores_are_those_of_all_paths_added_up(seed: int) -> None:
    long, short = random_matrix(seed, 5, 3), random_matrix(seed + 9, 2, 3)
    batch = encoded([long, short], ("", "a", "b"))
    for line, matrix in enumerate((long, short)):
        labellings = every_labelling(matrix)
        texts = ["".join("_ab"[symbol] for symbol in label) for label in labellings]
        found = ctc_scores(batch, [texts if other == line else [] for other in range(2)])[line]
        assert np.exp(found) == pytest.approx(list(labellings.values()), abs=1e-12)
    assert ctc_scores(batch, [["aaaa", "c"], ["aa"]])[0].tolist() == [-math.inf] * 2
    assert (
        ctc_scores(encoded([long], ("", "a", "b"), [0]), [["a", ""]])[0].tolist() == [-math.inf] * 2
    )


LETTERS = ("", " ", *"abcdefghijklmnopqrstuvwxyz")


@pytest.mark.parametrize("name", ["ctc-beam", "ctc-kenlm", "ctc-ngram", "ctc-ngram-word"])
def test_a_wide_beam_finds_nearly_all_of_the_objective(name: str) -> None:
    options = {"beam": 200, "beam_prune_logp": None, "token_min_logp": None}
    decoder = DECODERS.create(name, options).open(info(LETTERS))
    try:
        batch = encoded([random_matrix(seed, 9, len(LETTERS), 3.0) for seed in range(6)], LETTERS)
        read = decoder.decode(batch)
        found = decoder.score(batch, [[line.text] for line in read])
    finally:
        decoder.close()
    for line, (score,) in zip(read, found, strict=True):
        assert len(line.text) > 2
        assert line.score - 1e-4 <= score < line.score + 0.7


@pytest.mark.parametrize("boundary", [False, True])
def test_the_two_searches_with_a_word_model_think_the_same_of_a_text(boundary: bool) -> None:
    texts = ["the man", "the", "", " a  man was ", "zxqv man", "zx zxqv", "The", "of the year and"]
    batch = encoded([random_matrix(3, 24, len(LETTERS), 2.0)], LETTERS)
    scores = []
    for name in ("ctc-kenlm", "ctc-ngram-word"):
        spec = DECODERS.create(
            name, {"alpha": 0.7, "beta": 1.1, "unk_offset": -4.0, "score_boundary": boundary}
        )
        decoder = spec.open(info(LETTERS))
        try:
            scores.append(decoder.score(batch, [texts])[0])
        finally:
            decoder.close()
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)  # KenLM holds 32-bit numbers
    assert len(set(scores[0])) == len(texts)


def test_a_narrow_ar_beam_makes_search_errors_that_a_wide_one_mends() -> None:
    batch = doubles.encoded(doubles.model("base", 0), [9] * 24, 1)
    wide = DECODERS.create("ar-beam", {"beam": 10, "max_new_tokens": 20}).open(info()).decode(batch)
    lines = [
        Line(str(i), np.zeros((1, 1), np.uint8), one.text, "w", "test")
        for i, one in enumerate(wide)
    ]
    greedy = DECODERS.create("ar-greedy", {"max_new_tokens": 20}).open(info())
    kinds = [finding.kind for finding in line_findings(greedy, batch, lines)]
    assert "search" in kinds
    assert "unknown" not in kinds


def test_the_command(call: Call) -> None:
    words = ["--decoder", "ctc-greedy,ctc-beam", "--threads", "1", "--limit", "6"]
    code, out, _ = call("dev", "diagnose", *words, "--json")
    assert code == 0
    record = json.loads(out)
    for one in record["findings"]:
        kinds = [one[kind] for kind in ("right", "search", "model", "unreachable")]
        assert sum(kinds) == len(one["lines"]) == 6
        assert one["oracle_cer"] == sorted(one["oracle_cer"], reverse=True)
    for wrong, sentence in (
        (["--severity", "9"], "severity 9 is not one of 1 to 5"),
        (["--limit", "0"], "--limit must be >= 1, not 0"),
        (["--decoder", "ctc-gredy"], "did you mean ctc-greedy"),
    ):
        code, _, err = call("dev", "diagnose", *words[-2:], *wrong)
        assert code == 2 and sentence in err and "Traceback" not in err
