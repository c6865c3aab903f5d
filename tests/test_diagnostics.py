"""Search errors, model errors and oracle CER, on decoders whose faults are known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.analysis.diagnostics import (
    Diagnosis,
    diagnose,
    line_findings,
)
from bench.core.registry import Entry
from bench.core.types import Decoded, Encoded, EncoderInfo, Line, Needs, Runtime
from bench.pipeline.plan import Registries, Selection
from bench.report import render
from bench.report.diagnostics import tables
from decoders import DECODERS
from decoders.base import Decoder, DecoderSpec
from decoders.ctc.base import ctc_scores
from decoders.ctc.greedy import best_path
from tests import two_heads as doubles
from tests.ctc_doubles import encoded, every_labelling, info, random_matrix
from tests.harness_doubles import TEXTS, registries, track

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
