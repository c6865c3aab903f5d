"""The matrix of cells, what is left out of it, and what is refused."""

from dataclasses import replace

import pytest

from bench.core.errors import UserError
from bench.core.registry import Entry, Registry
from bench.core.types import Condition, Runtime
from bench.pipeline.plan import (
    MAIN_DAMAGES,
    ONCE,
    Registries,
    Rounds,
    Selection,
    Skipped,
    build_plan,
)
from tests.harness_doubles import ReaderSpec, registries

ASKED = Selection(encoders=("pixels",), decoders=("reader", "no-e"), datasets=("words",))
GONE = Entry("tests.harness_doubles:Pixels", "", {"absent": True})


def conditions(**changes: object) -> list[Condition]:
    plan = build_plan(replace(ASKED, **changes), registries())  # type: ignore[arg-type]
    return [block.condition for block in plan.blocks]


def with_encoders(**entries: Entry) -> Registries:
    doubles = registries()
    return replace(doubles, encoders=Registry("encoder", {**doubles.encoders.entries, **entries}))


PIXELS = registries().encoders.entry("pixels")


def test_a_block_is_an_encoder_and_a_condition_with_all_decoders():
    names = with_encoders(twin=PIXELS)
    asked = replace(
        ASKED,
        encoders=("pixels", "twin", "pixels"),
        datasets=("words", "more-words"),
        limit=3,
        runtime=Runtime(batch_size=7),
        options={"reader": {"drop": "x"}, "words": {"size": 2}},
    )
    plan = build_plan(asked, names)
    assert [(block.encoder.name, block.condition) for block in plan.blocks] == [
        (encoder, Condition(words, limit=3))
        for encoder in ("pixels", "twin")
        for words in ("words", "more-words")
    ]
    block = plan.blocks[0]
    assert [part.name for part in block.decoders] == ["reader", "no-e"]
    assert [part.thing for part in block.decoders] == [ReaderSpec(drop="x"), ReaderSpec(drop="e")]
    assert [part.options for part in block.decoders] == [{"drop": "x"}, {}]
    assert block.dataset.thing.size == 2 and block.runtime.batch_size == 7
    assert (plan.cells, plan.skipped, block.label) == (8, (), "pixels on words")


def test_damages_times_severities_with_the_clean_set_once_and_first():
    asked = {"damages": ("eraser", "none"), "severities": (3, 0, 1, 3)}
    hurt = [Condition("words", damage="eraser", severity=step, seed=7) for step in (1, 3)]
    assert conditions(**asked, seed=7) == [Condition("words"), *hurt]
    assert conditions(damages=("eraser",), severities=(3,), seed=7) == hurt[1:]
    assert conditions(damages=("none",), severities=(3,), seed=7) == [Condition("words")]


def test_sweeps_run_at_every_severity_and_only_some_sets_are_damaged():
    found = conditions(
        datasets=("words", "more-words"),
        damages=("none", "eraser"),
        swept=("eraser",),
        damaged=("words",),
    )
    assert [c.severity for c in found if c.dataset == "words"] == [0, 1, 2, 3, 4, 5]
    assert [c.severity for c in found if c.dataset == "more-words"] == [0]


@pytest.mark.parametrize(
    ("seconds", "again"),
    [
        ([1.0], True),
        ([2.0, 2.0, 2.0], False),
        ([0.1, 0.1, 0.1], True),  # enough rounds, too short
        ([16.0], False),  # a second one would go past 30
    ],
)
def test_rounds_go_on_until_there_are_enough_or_they_take_too_long(seconds, again):
    assert Rounds(least=3, least_s=5.0, most_s=30.0).again(seconds) is again
    assert not ONCE.again(seconds)


def test_the_main_job_is_everything_on_the_main_sets_with_damage_on_the_embedded_one():
    asked, names = Selection.all(), Registries()
    assert asked.encoders == ("mini", "trocr-small", "trocr-base", "trocr-large")
    other = {"ar-hf", "ctc-flashlight", "ar-draft", "ctc-ngram-word", "ctc-lm"}
    assert list(asked.decoders) == [n for n in names.decoders.names() if n not in other]
    assert asked.datasets == ("ink", "unipen", "hooker")
    assert set(asked.datasets) <= set(names.datasets.names())
    assert {*MAIN_DAMAGES, *asked.swept} <= set(names.damages.names())

    doubles = with_encoders(slow=replace(PIXELS, sample=2), other=replace(PIXELS, sample=0))
    mine = replace(
        doubles,
        datasets=Registry("data set", {n: doubles.datasets.entry("words") for n in asked.datasets}),
        damages=Registry("damage", {n: doubles.damages.entry("eraser") for n in MAIN_DAMAGES}),
    )
    blocks = build_plan(Selection.all(mine), mine).blocks
    found = [block.condition for block in blocks if block.encoder.name == "pixels"]
    assert len(found) == len(set(found)) == 3 + (len(MAIN_DAMAGES) - 1) + 5
    assert {c.dataset for c in found if c.damage == "none"} == set(asked.datasets)
    hurt = [c for c in found if c.damage != "none"]
    assert {c.dataset for c in hurt} == {"ink"} and {c.seed for c in hurt} == {0}
    assert sorted(c.severity for c in hurt if c.damage == "char_erase") == [1, 2, 3, 4, 5]
    assert {c.severity for c in hurt if c.damage != "char_erase"} == {3}
    # A slow encoder reads a few lines of the first set.
    assert {block.encoder.name for block in blocks} == {"pixels", "slow"}
    assert [(b.condition, b.rounds) for b in blocks if b.encoder.name == "slow"] == [
        (Condition("ink", limit=2), ONCE)
    ]


def test_a_stand_in_runs_and_what_is_missing_is_listed():
    mine = with_encoders(slow=replace(PIXELS, stand_in={"absent": False}))
    asked = replace(ASKED, encoders=("slow",), options={"slow": {"absent": True}})
    assert build_plan(asked, mine).blocks == ()
    plan = build_plan(replace(asked, stand_ins={"slow": {"absent": False}}), mine)
    assert plan.blocks[0].encoder.options == {"absent": False}
    why = "no weights; it runs with absent=False instead"
    assert plan.skipped == (Skipped("encoder", "slow", why, "python -m bench get pixels"),)
    here = replace(asked, options={}, stand_ins={"slow": {"absent": True}})
    assert build_plan(here, mine).blocks[0].encoder.options == {}, "it is here, so nothing does"


def test_what_cannot_run_here_is_named_once_with_its_remedy():
    lost = {
        "lost": Entry("no_such_package.decoder:Lost", "", requires=("no_such_package",)),
        "odd": Entry("tests.no_such_module:Odd", ""),
    }
    mine = replace(registries(**lost), encoders=with_encoders(gone=GONE).encoders)
    asked = replace(
        ASKED,
        encoders=("pixels", "gone"),
        decoders=("reader", "lost", "odd"),
        datasets=("words", "more-words"),
        options={"more-words": {"absent": True}},
    )
    plan = build_plan(asked, mine)
    assert [(b.encoder.name, b.dataset.name, b.decoders[0].name, len(b.decoders))
            for b in plan.blocks] == [("pixels", "words", "reader", 1)]  # fmt: skip
    *known, odd = sorted(plan.skipped, key=lambda item: item.name == "odd")
    assert "no_such_module" in odd.reason
    assert known == [
        Skipped("encoder", "gone", "no weights", "python -m bench get pixels"),
        Skipped(
            "data set", "more-words", "the words are not here", "python -m bench data get words"
        ),
        Skipped(
            "decoder",
            "lost",
            "decoder lost needs the package no_such_package",
            "pip install no_such_package",
        ),
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"encoders": ()}, "no encoder was chosen; there are: pixels"),
        ({"damages": ()}, "no damage was chosen; there are: none, eraser"),
        ({"encoders": ("pixel",)}, "no encoder is called 'pixel'; did you mean pixels"),
        ({"decoders": ("read",)}, "no decoder is called 'read'; did you mean reader"),
        ({"damaged": ("wordz",)}, "no data set is called 'wordz'"),
        ({"severities": (6,)}, "severity 6 is not one of 0 to 5"),
        ({"split": "tset"}, "words has no split 'tset'; did you mean test"),
        ({"options": {"readr": {"drop": "x"}}}, "'readr', which is not part .*did you mean reader"),
        ({"options": {"reader": {"drip": "x"}}}, "reader has no option 'drip'; did you mean drop"),
        ({"options": {"no-e": {"drop": "x"}}}, "no-e fixes drop"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(change, sentence):
    with pytest.raises(UserError, match=sentence):
        build_plan(replace(ASKED, **change), registries())
