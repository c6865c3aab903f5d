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
from tests.harness_doubles import Eraser, ReaderSpec, registries

ASKED = Selection(encoders=("pixels",), decoders=("reader", "no-e"), datasets=("words",))


def conditions(selection: Selection) -> list[Condition]:
    return [block.condition for block in build_plan(selection, registries()).blocks]


def test_a_block_is_an_encoder_and_a_condition_with_all_decoders():
    plan = build_plan(replace(ASKED, datasets=("words", "more-words"), limit=3), registries())
    assert [block.condition for block in plan.blocks] == [
        Condition("words", limit=3),
        Condition("more-words", limit=3),
    ]
    assert [part.name for part in plan.blocks[0].decoders] == ["reader", "no-e"]
    assert plan.blocks[0].decoders[1].thing == ReaderSpec(drop="e")
    assert plan.cells == 4
    assert plan.skipped == ()
    assert plan.blocks[0].label == "pixels on words"


def test_damages_times_severities_with_the_clean_set_once_and_first():
    asked = replace(ASKED, damages=("eraser", "none"), severities=(3, 0, 1, 3), seed=7)
    assert conditions(asked) == [
        Condition("words"),
        Condition("words", damage="eraser", severity=1, seed=7),
        Condition("words", damage="eraser", severity=3, seed=7),
    ]
    assert conditions(replace(asked, damages=("eraser",), severities=(2,))) == [
        Condition("words", damage="eraser", severity=2, seed=7)
    ]
    assert conditions(replace(asked, damages=("none",), severities=(3,))) == [Condition("words")]


def test_a_seed_is_of_the_damage_so_the_clean_cell_does_not_change_with_it():
    assert conditions(replace(ASKED, seed=1)) == conditions(replace(ASKED, seed=2))


def test_sweeps_run_at_every_severity_and_only_some_sets_are_damaged():
    asked = replace(
        ASKED,
        datasets=("words", "more-words"),
        damages=("none", "eraser"),
        severities=(3,),
        swept=("eraser",),
        damaged=("words",),
    )
    found = conditions(asked)
    assert [c.severity for c in found if c.dataset == "words"] == [0, 1, 2, 3, 4, 5]
    assert [c.severity for c in found if c.dataset == "more-words"] == [0]


def test_rounds_are_for_the_clean_set():
    asked = replace(ASKED, damages=("none", "eraser"), rounds=Rounds(least=4))
    clean, damaged = build_plan(asked, registries()).blocks
    assert clean.rounds == Rounds(least=4)
    assert damaged.rounds == ONCE
    assert damaged.damage is not None and damaged.damage.thing == Eraser()
    assert damaged.label == "pixels on words, eraser 3"


@pytest.mark.parametrize(
    ("seconds", "again"),
    [
        ([1.0], True),
        ([1.0, 1.0], True),
        ([2.0, 2.0, 2.0], False),
        ([0.1, 0.1, 0.1], True),  # enough rounds, too short
        ([16.0], False),  # a second one would go past 30
        ([14.0, 10.0], False),
        ([8.0, 10.0], True),
    ],
)
def test_rounds_go_on_until_there_are_enough_or_they_take_too_long(seconds, again):
    assert Rounds(least=3, least_s=5.0, most_s=30.0).again(seconds) is again
    assert not ONCE.again(seconds)


def test_the_main_job_is_everything_on_the_main_sets_with_damage_on_the_embedded_one():
    asked = Selection.all()
    names = Registries()
    assert asked.encoders == ("mini", "trocr-small", "trocr-base", "trocr-large")
    peers = {"ar-hf", "ctc-flashlight"}
    assert list(asked.decoders) == [n for n in names.decoders.names() if n not in peers]
    assert asked.datasets == ("lines", "unipen", "hooker")
    doubles = registries()
    mine = Registries(
        doubles.encoders,
        doubles.decoders,
        Registry("data set", {name: doubles.datasets.entry("words") for name in asked.datasets}),
        Registry("damage", {n: doubles.damages.entry("eraser") for n in MAIN_DAMAGES}),
    )
    selection = replace(Selection.all(mine), options={})
    found = [block.condition for block in build_plan(selection, mine).blocks]
    assert len(found) == len(set(found)) == 3 + (len(MAIN_DAMAGES) - 1) + 5
    assert {(c.dataset, c.severity) for c in found if c.damage == "none"} == {
        ("lines", 0),
        ("unipen", 0),
        ("hooker", 0),
    }
    hurt = [c for c in found if c.damage != "none"]
    assert {c.dataset for c in hurt} == {"lines"} and {c.seed for c in hurt} == {0}
    assert sorted(c.severity for c in hurt if c.damage == "char_erase") == [1, 2, 3, 4, 5]
    assert {c.severity for c in hurt if c.damage != "char_erase"} == {3}
    assert {c.damage for c in hurt} == set(MAIN_DAMAGES)


def with_encoders(**entries):
    doubles = registries()
    pixels = doubles.encoders.entry("pixels")
    everything = {"pixels": pixels, **{k: replace(pixels, **v) for k, v in entries.items()}}
    return replace(doubles, encoders=Registry("encoder", everything))


SLOW = {"sample": 2, "stand_in": {"absent": False}}


def test_a_slow_encoder_has_a_look_at_the_first_set_in_the_main_job():
    mine = with_encoders(slow={"sample": 2}, other={"sample": 0})
    asked = replace(
        ASKED,
        encoders=("pixels", "slow"),
        datasets=("words", "more-words"),
        damages=("none", "eraser"),
        samples={"slow": 2},
    )
    blocks = [b for b in build_plan(asked, mine).blocks if b.encoder.name == "slow"]
    assert [(b.condition, b.rounds) for b in blocks] == [(Condition("words", limit=2), ONCE)]
    for limit, expected in ((1, 1), (9, 2)):
        plan = build_plan(replace(asked, limit=limit), mine)
        assert plan.blocks[-1].condition == Condition("words", limit=expected)
    damaged = build_plan(replace(asked, damages=("eraser",)), mine)
    assert {block.encoder.name for block in damaged.blocks} == {"pixels"}


def test_what_the_registry_says_of_slow_encoders_reaches_the_main_job():
    doubles = with_encoders(slow=SLOW, other={"sample": 0})
    sets = {name: doubles.datasets.entry("words") for name in ("lines", "unipen", "hooker")}
    asked = Selection.all(replace(doubles, datasets=Registry("data set", sets)))
    assert asked.encoders == ("pixels", "slow")
    assert asked.samples == {"slow": 2}
    assert asked.stand_ins == {"slow": {"absent": False}}


def test_a_stand_in_runs_and_what_is_missing_is_told():
    mine = with_encoders(slow={**SLOW, "options": {}})
    asked = replace(ASKED, encoders=("slow",), options={"slow": {"absent": True}})
    assert build_plan(asked, mine).blocks == ()
    plan = build_plan(replace(asked, stand_ins={"slow": {"absent": False}}), mine)
    (block,) = plan.blocks
    assert block.encoder.options == {"absent": False}
    assert plan.skipped == (
        Skipped(
            "encoder",
            "slow",
            "no weights; it runs with absent=False instead",
            "python -m bench get pixels",
        ),
    )
    here = replace(asked, options={}, stand_ins={"slow": {"absent": True}})
    assert build_plan(here, mine).blocks[0].encoder.options == {}, "it is here, so nothing does"


def test_the_names_of_the_main_job_are_registered():
    names = Registries()
    asked = Selection.all()
    for name in asked.datasets:
        names.datasets.entry(name)
    for name in (*MAIN_DAMAGES, *asked.swept):
        names.damages.entry(name)


def test_what_cannot_run_here_is_named_once_with_its_remedy():
    mine = registries(lost=Entry("no_such_package.decoder:Lost", "", requires=("no_such_package",)))
    mine = replace(
        mine,
        encoders=Registry(
            "encoder",
            {
                "pixels": mine.encoders.entry("pixels"),
                "twin": mine.encoders.entry("pixels"),
                "gone": Entry("tests.harness_doubles:Pixels", "", {"absent": True}),
            },
        ),
    )
    asked = replace(
        ASKED,
        encoders=("pixels", "twin", "gone"),
        decoders=("reader", "lost"),
        datasets=("words", "more-words"),
        options={"more-words": {"absent": True}},
    )
    plan = build_plan(asked, mine)
    assert [(b.encoder.name, b.dataset.name) for b in plan.blocks] == [
        ("pixels", "words"),
        ("twin", "words"),
    ]
    assert set(plan.skipped) == {
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
    }
    assert len(plan.skipped) == 3


def test_a_decoder_whose_module_does_not_import_disables_only_itself():
    mine = registries(odd=Entry("tests.no_such_module:Odd", ""))
    plan = build_plan(replace(ASKED, decoders=("odd", "reader")), mine)
    assert [part.name for part in plan.blocks[0].decoders] == ["reader"]
    assert plan.skipped[0].name == "odd" and "no_such_module" in plan.skipped[0].reason


def test_names_given_twice_are_taken_once():
    mine = registries()
    mine = replace(
        mine,
        encoders=Registry(
            "encoder", {n: mine.encoders.entry("pixels") for n in ("pixels", "twin")}
        ),
    )
    plan = build_plan(replace(ASKED, encoders=("pixels", "twin"), decoders=("no-e",) * 2), mine)
    assert [len(block.decoders) for block in plan.blocks] == [1, 1]


def test_options_reach_their_thing_and_are_kept_apart_from_fixed_ones():
    asked = replace(
        ASKED,
        damages=("eraser",),
        options={"reader": {"drop": "x"}, "words": {"size": 2}, "eraser": {"broken": True}},
    )
    block = build_plan(asked, registries()).blocks[0]
    assert block.decoders[0].thing.drop == "x"
    assert block.decoders[0].options == {"drop": "x"}
    assert block.decoders[1].options == {}
    assert block.dataset.thing.size == 2
    assert block.damage is not None and block.damage.thing.broken


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"encoders": ()}, "no encoder was chosen; there are: pixels"),
        ({"datasets": ()}, "no data set was chosen"),
        ({"damages": ()}, "no damage was chosen; there are: none, eraser"),
        ({"encoders": ("pixel",)}, "no encoder is called 'pixel'; did you mean pixels"),
        ({"decoders": ("read",)}, "no decoder is called 'read'; did you mean reader"),
        ({"datasets": ("word",)}, "no data set is called 'word'"),
        ({"damages": ("erasor",)}, "no damage is called 'erasor'; did you mean eraser"),
        ({"damaged": ("wordz",)}, "no data set is called 'wordz'"),
        ({"severities": (6,)}, "severity 6 is not one of 0 to 5"),
        ({"split": "tset"}, "words has no split 'tset'; did you mean test"),
        ({"limit": 0}, "a limit of 0 lines"),
        ({"runtime": Runtime(batch_size=0)}, "batch size has to be 1 or more"),
        ({"runtime": Runtime(threads=0)}, "threads has to be 1 or more"),
        ({"options": {"readr": {"drop": "x"}}}, "'readr', which is not part .*did you mean reader"),
        ({"options": {"no-vowel": {}}}, "'no-vowel', which is not part of this run"),
        ({"options": {"reader": {"drip": "x"}}}, "reader has no option 'drip'; did you mean drop"),
        ({"options": {"no-e": {"drop": "x"}}}, "no-e fixes drop"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(change, sentence):
    with pytest.raises(UserError, match=sentence):
        build_plan(replace(ASKED, **change), registries())
