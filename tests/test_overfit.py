"""The check for over-fitting: what is read, what follows from it, and the command."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from bench.analysis.overfit import OverfitCheck, SplitScore, check
from bench.core.errors import Unavailable, UserError
from bench.core.registry import Entry
from bench.core.types import Decoded, Encoded, EncoderInfo, LineSet, Needs
from bench.pipeline.plan import Registries, Selection
from bench.report.overfit import table, verdict
from datasets.about import Blocks
from decoders.base import Decoder, DecoderSpec
from decoders.ctc.greedy import best_path
from tests.harness_doubles import Words, registries, track


@dataclass(frozen=True)
class ByHeartSpec(DecoderSpec):
    """Knows lines that begin with "train" and drops the last character of others."""

    needs: ClassVar[Needs] = "log_probs"

    def open(self, encoder: EncoderInfo) -> Decoder:
        return ByHeart(self)


class ByHeart(Decoder):
    def decode(self, encoded: Encoded) -> list[Decoded]:
        lines = best_path(encoded)
        return [x if x.text.startswith("train") else replace(x, text=x.text[:-1]) for x in lines]


@dataclass(frozen=True)
class Spelled(Words):
    """Words that tell their split."""

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        return Words(prefix=f"{split} ").load(split, limit)


@dataclass(frozen=True)
class Large(Spelled):
    """The same words in six hands."""

    def load(self, split: str = "test", limit: int | None = None) -> LineSet:
        found = super().load(split)
        lines = tuple(
            replace(line, id=f"{line.id}-{hand}", writer=f"w{hand}", block=f"w{hand}")
            for hand in range(6)
            for line in found.lines
        )
        return replace(found, lines=lines[:limit])


@dataclass(frozen=True)
class NoTest(Words):
    """A set without a test split."""

    splits: ClassVar[tuple[str, ...]] = ("train", "val")


def mine() -> Registries:
    plain = registries(**{"by-heart": Entry(f"{__name__}:ByHeartSpec", "learned by heart")})
    sets = {
        "spelled": Entry(f"{__name__}:Spelled", "spells its split"),
        "large": Entry(f"{__name__}:Large", "spells its split, 72 lines"),
        "no-test": Entry(f"{__name__}:NoTest", "no test"),
    }
    return dataclasses.replace(
        plain,
        datasets=type(plain.datasets)("data set", {**plain.datasets.entries, **sets}),
    )


def asked(dataset: str, **more: Any) -> Selection:
    return Selection(("pixels",), ("by-heart",), (dataset,), **more)


def test_a_system_that_knows_its_training_lines_is_over_fitted():
    found = check(asked("large"), mine(), track)
    assert [score.split for score in found.scores] == ["train", "val", "test"]
    assert found.score("train").cer == 0
    # A character a line; of "test a" the space goes too, which would stand at the end.
    assert sorted(found.score("test").edits) == [1] * 66 + [2] * 6
    assert found.verdict == "over-fitted"
    assert "infinitely many times the error rate" in verdict(found)


def test_every_split_gives_the_same_number_of_lines_spread_over_it():
    found = check(asked("spelled", limit=6), mine(), track)
    assert [len(score.edits) for score in found.scores] == [6, 6, 6]
    whole = check(asked("spelled"), mine(), track)
    # Every second line, so the length of all of them differs from that of the first six.
    assert sum(found.score("test").characters) != sum(sorted(whole.score("test").characters)[:6])


@pytest.mark.parametrize(
    ("selection", "kind", "words"),
    [
        (asked("no-test"), UserError, "no split train and test"),
        (asked("spelled", options={"pixels": {"weights": "untrained"}}), UserError, "untrained"),
        (asked("spelled", options={"spelled": {"absent": True}}), Unavailable, "not here"),
    ],
)
def test_what_cannot_be_checked_is_said(selection, kind, words):
    with pytest.raises(kind, match=words):
        check(selection, mine(), track)


def scored(split: str, edits: float, writers: int = 20, lines: int = 200) -> SplitScore:
    draws = np.random.default_rng(7)
    return SplitScore(
        split,
        "0" * 64,
        tuple(int(e) for e in draws.poisson(edits, lines)),
        (40,) * lines,
        tuple(f"w{i % writers}" for i in range(lines)),
    )


@pytest.mark.parametrize(
    ("train", "test", "word"),
    [
        (1.0, 5.0, "over-fitted"),
        (2.0, 3.0, "better on training lines"),
        (2.0, 2.0, "no sign of over-fitting"),
        (0.0, 2.0, "over-fitted"),
        (1.0, 30.0, "over-fitted"),
    ],
)
def test_the_verdict_follows_the_interval(train, test, word):
    found = OverfitCheck(
        "e", "w" * 16, "d", "iam", "IAM train", (scored("train", train), scored("test", test))
    )
    assert found.verdict == word
    assert word.split()[0].lower() in verdict(found).lower()


@pytest.mark.parametrize(
    ("train", "test", "why"),
    [
        (scored("train", 1), scored("test", 9, writers=5), "test has 5 writers, fewer than 6"),
        (scored("train", 1, lines=49), scored("test", 9), "train has 49 lines, fewer than 50"),
        (scored("train", 18), scored("test", 26), "more than 60 % of test is read wrongly"),
    ],
)
def test_what_tells_nothing_gives_no_verdict(train, test, why):
    found = OverfitCheck("e", "w" * 16, "d", "iam", "", (train, test))
    assert found.verdict == "cannot tell"
    assert verdict(found).startswith(f"Cannot tell: {why}")
    assert len(table(found).rows) == 2


def test_the_blocks_of_one_hand_are_called_what_they_are():
    scores = tuple(
        replace(scored(split, 2, writers=17), counted=Blocks(17, "letter", 1))
        for split in ("train", "test")
    )
    shown = table(OverfitCheck("e", "w" * 16, "d", "hooker", "", scores))
    assert shown.columns[2].head == "letters" and "intervals over letters" in shown.conditions
    assert shown.conditions.endswith("All lines are of 1 hand.")


@pytest.mark.parametrize(
    ("dataset", "trained_on", "known"),
    [
        ("iam", "684 M printed lines, IAM train (Aachen split)", True),
        ("hooker", "rendered lines, hooker_lines.parquet (train splits)", True),
        ("cvl", "684 M printed lines, IAM train (Aachen split)", False),
    ],
)
def test_weights_that_name_the_set_are_known(dataset, trained_on, known):
    scores = (scored("train", 1), scored("test", 1))
    found = OverfitCheck("e", "w" * 16, "d", dataset, trained_on, scores)
    assert found.known is known


def test_the_command_reads_three_splits_and_judges(call):
    words = ("check", "overfit", "--limit", "6", "-o", "lines.size=20", "--json", "--system")
    code, out, _ = call(*words, "mini:ctc-greedy")
    record = json.loads(out)
    assert code == (1 if record["verdict"] in ("over-fitted", "cannot tell") else 0)
    assert [split["lines"] for split in record["splits"].values()] == [6, 6, 6]
    code, _, err = call(*words, "mini")
    assert code == 2 and "ENCODER:DECODER" in err
