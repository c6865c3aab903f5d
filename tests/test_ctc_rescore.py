"""ctc-rescore: the first pass's texts, in the order of both passes' sums."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.errors import UserError
from bench.core.types import Decoded, Encoded
from decoders import DECODERS, tuned
from decoders.ar.score import score_texts
from decoders.ctc.rescore import CTCRescoreSpec
from tests import two_heads as doubles

MODEL = doubles.model("base", 1)
BATCH = doubles.encoded(MODEL, [6, 15, 9], 3)


def read(encoded: Encoded = BATCH, **options: Any) -> list[Decoded]:
    decoder = CTCRescoreSpec(**options).open(doubles.info())
    try:
        return decoder.decode(encoded)
    finally:
        decoder.close()


def first_pass(encoded: Encoded = BATCH, nbest: int = 8) -> list[Decoded]:
    decoder = DECODERS.create("ctc-beam", {"beam": 64, "nbest": nbest})
    decoder = decoder.open(doubles.info())
    found: list[Decoded] = decoder.decode(encoded)
    decoder.close()
    return found


def test_the_score_is_the_weighed_sum_of_both_passes() -> None:
    found = read(alpha=0.7, beta=0.3, beam=8, nbest=8)
    first = first_pass()
    assert BATCH.ar is not None
    judged = score_texts(BATCH.ar, BATCH, [[text for text, _ in line.nbest] for line in first])
    changed = 0
    for ours, theirs, scores in zip(found, first, judged, strict=True):
        expected = {
            text: score + 0.7 * of_head + 0.3 * len(text)
            for (text, score), of_head in zip(theirs.nbest, scores.tolist(), strict=True)
        }
        assert dict(ours.nbest) == pytest.approx(expected, abs=1e-6)
        assert (ours.text, ours.score) == max(ours.nbest, key=lambda pair: pair[1])
        assert ours.tokens == len(ours.text)
        changed += ours.text != theirs.text
    assert changed  # else this would show nothing


def test_texts_that_the_head_cannot_hold_keep_the_order_of_the_first_pass() -> None:
    short = replace(BATCH, ar=doubles.head(MODEL, max_new_tokens=3))
    found = read(short, alpha=1.0, beta=0.5, beam=8, nbest=8)
    assert [line.nbest for line in found] == [line.nbest for line in first_pass()]


def test_tuned_weights_are_used(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(tuned, "PATH", tmp_path / "tuned.json")
    tuned.freeze(
        tuned.Tuned(
            "ctc-rescore", "tiny", {"alpha": 0.9, "beta": -0.5}, "0" * 16, "ctc-beam", "", "lines",
            "val", "a" * 64, 9, ("clean",), {}, {}, 0.1, 0.2, (),
        )
    )  # fmt: skip
    decoder = CTCRescoreSpec(beta=0.25).open(doubles.info())
    extras = decoder.extras()
    assert (extras["alpha"], extras["beta"], extras["lm"]) == (0.9, 0.25, "ctc-beam")
    assert "first_workers" in json.loads(json.dumps(dict(extras)))
    before = decoder.decode(BATCH)
    decoder.reweight({"alpha": 0.0, "beta": 0.0})
    assert [line.score for line in decoder.decode(BATCH)] != [line.score for line in before]
    decoder.close()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"beam": 0}, "beam is the number of hypotheses"),
        ({"beam": 65}, "first_beam of 64 does not hold 65"),
        ({"nbest": 17}, "nbest lies between 1 and the beam"),
        ({"first": "ctc-greedy"}, "first is one of ctc-beam"),
        ({"first": "ctc-bean"}, "did you mean ctc-beam"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        CTCRescoreSpec(**options)


def test_bad_input() -> None:
    assert BATCH.log_probs is not None and BATCH.frames is not None
    with pytest.raises(UserError, match="no log-probability"):
        read(replace(BATCH, log_probs=BATCH.log_probs * torch.nan))
    with pytest.raises(UserError, match="no autoregressive head"):
        read(replace(BATCH, ar=None))
    silent = read(replace(BATCH, frames=torch.zeros_like(BATCH.frames)))
    assert [line.text for line in silent] == ["", "", ""]
    for changes, what in (({"alphabet": ()}, "no CTC head"), ({"has_ar": False}, "no autoreg")):
        absent = CTCRescoreSpec().missing(doubles.info(**changes))
        assert absent is not None and what in absent.reason and absent.remedy
    assert CTCRescoreSpec().missing(doubles.info()) is None
