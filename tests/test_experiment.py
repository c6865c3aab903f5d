"""The language experiment: statistics on made-up counts, and a small real run to its finding."""

from __future__ import annotations

import dataclasses
import itertools
import json
import string
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import ROOT
from bench.analysis.experiment import seeds
from bench.analysis.experiment.analysis import conclude, log_odds, readings
from bench.analysis.experiment.budget import Budget
from bench.analysis.experiment.cloze import Cloze
from bench.analysis.experiment.counts import (
    CHARACTERS,
    CLOZE,
    COLUMNS,
    EDITS,
    HIDDEN_ONES,
    RESTORED,
    RIGHT,
    Counts,
    columns,
    place,
    shares_of,
)
from bench.analysis.experiment.design import GREEDY, ONE, Design, chosen, read_design
from bench.analysis.experiment.finding import DECLARED, SUMMARY, Finding, Read
from bench.analysis.experiment.ideal import NAME as IDEAL
from bench.analysis.experiment.run import build, by_cell
from bench.analysis.stats import Redrawn
from bench.core.errors import UserError
from bench.core.hashing import plain
from bench.core.metrics import normalise, score_line
from bench.core.types import Runtime
from bench.pipeline.plan import Registries
from bench.pipeline.store import RunStore
from bench.report import experiment
from bench.report.experiment_plots import draw
from bench.report.language import language
from datasets import DATASETS
from datasets.about import Blocks
from datasets.damage.visible import completed
from decoders.ctc.ngram import DenseLM, dense_lm
from decoders.language.arpa import write_arpa
from decoders.language.ngram import characters_of, estimate
from tests.japanese import english_in

WRITERS = tuple(f"w{i:02d}" for i in range(24))
DESIGN = dataclasses.replace(read_design(), readers=("mini",))
REFERENCE = ROOT / "results/reference/two-cores-language-ink"


def made(right_of, blocks: int = len(WRITERS)) -> Counts:
    """Counts with `right_of(level, condition, system)` of 1,000 characters right, with noise."""
    rng = np.random.default_rng(5)
    cells = {}
    for level in DESIGN.sets:
        for condition in DESIGN.treatments(level):
            for system in (*DESIGN.systems("mini", level, condition), CLOZE):
                sums = np.zeros((blocks, COLUMNS))
                sums[:, CHARACTERS] = 1000
                sums[:, RIGHT] = right_of(level, condition, system) + rng.normal(0, 4, blocks)
                sums[:, EDITS] = 1000 - sums[:, RIGHT] + 30
                sums[:, HIDDEN_ONES], sums[:, RESTORED] = 100, 25 if system == CLOZE else 10
                if condition != "clean" or system != CLOZE:
                    cells["mini", level, condition, system] = sums
    redrawn = Redrawn(WRITERS[:blocks], resamples=500)
    return Counts(dict.fromkeys(DESIGN.sets, redrawn), cells)


def helping(level: str, condition: str, system: str) -> int:
    """Language helps English, more where ink is lost, and most where the gap is known."""
    name = system.partition("@by-condition")[0]
    dose = {GREEDY: 0, "ctc-beam": 0, "ctc-beam+lm": 1, "ctc-ngram": 2}.get(name, 3)
    if "oracle" in system:
        dose += 1 if "place" in system else 2
    ink = {"clean": 10, "span-marked": 50}.get(condition, 30)
    return 700 + (dose * ink if level == "english" else 0)


def verdicts(right_of, blocks: int = len(WRITERS)) -> dict[str, str]:
    return {one.contrast.name: one.verdict for one in conclude(made(right_of, blocks), DESIGN)}


def test_an_effect_is_found_where_there_is_one():
    assert set(verdicts(helping).values()) == {"holds"}
    assert set(verdicts(lambda *cell: 1400 - helping(*cell)).values()) == {"the opposite holds"}
    assert set(verdicts(lambda *cell: 700).values()) == {"not shown"}
    assert len(verdicts(helping)) == len(DESIGN.contrasts)


@pytest.mark.parametrize(("blocks", "expected"), [(5, {"not shown"}), (8, {"holds", "not shown"})])
def test_few_writers_have_t_intervals_or_show_nothing(blocks, expected):
    counts = made(helping, blocks)
    judged = conclude(counts, DESIGN)
    assert {one.verdict for one in judged} <= expected
    assert all((one.interval is None) == (one.p is None) == (blocks < 6) for one in judged)
    text = experiment.page(finding(counts))
    assert ("too few blocks for a p" in text) == (blocks < 6) and "nan" not in text.lower()


def test_readings_and_contrasts_are_those_of_the_sums():
    counts = made(helping)
    found = {(r.level, r.condition, r.system): r for r in readings(counts, DESIGN)}
    sums = {key[1:]: own.sum(axis=0) for key, own in counts.cells.items()}
    gains: dict[tuple[str, ...], float] = {}
    for cell, own in found.items():
        total = sums[cell]
        assert own.restored.value == pytest.approx(total[RESTORED] / total[HIDDEN_ONES])
        if cell[2] != CLOZE:
            right, base = total[RIGHT], sums[(*cell[:2], "ctc-beam")][RIGHT]
            assert own.cer.value == pytest.approx(total[EDITS] / total[CHARACTERS])
            odds = [np.log((r + 0.5) / (total[CHARACTERS] - r + 0.5)) for r in (right, base)]
            assert own.gain.value == pytest.approx(odds[0] - odds[1])
            gains[cell] = own.gain.value or 0.0
    judged = {one.contrast.name: one for one in conclude(counts, DESIGN)}
    more = gains["english", "erased", "ctc-ngram"] - gains["english", "clean", "ctc-ngram"]
    assert judged["more where ink is lost"].value == pytest.approx(more)
    assert log_odds(np.array([10.0, 5.0, 0, 0, 0])) == 0.0


def test_a_matched_contrast_compares_gains_at_equal_baseline():
    """A gain that depends on the baseline alone, the same in both sets, is no effect of the set."""

    def right_of(level: str, condition: str, system: str) -> int:
        at = {"clean": 900, "erased": 700 if level == "english" else 600}.get(condition, 800)
        odds = at / (1000 - at) * np.exp(1.0 if at == 900 else 0.1 if at == 600 else middle)
        return at if system in (GREEDY, "ctc-beam") else round(1000 * odds / (1 + odds))

    # Between 0.1 and 1 as log-odds of 0.7 lie between those of 0.6 and of 0.9.
    low, at, high = (np.log(p / (1 - p)) for p in (0.6, 0.7, 0.9))
    middle = 0.1 + 0.9 * (at - low) / (high - low)
    judged = {one.contrast.name: one for one in conclude(made(right_of), DESIGN)}
    assert judged["language, not search"].value > 0.2
    matched = judged["language, not search, at equal baseline"]
    assert matched.value == pytest.approx(0.0, abs=0.02)
    assert matched.interval and matched.interval.low < 0 < matched.interval.high


@pytest.mark.parametrize(("lang", "name"), [("en", "finding.md"), ("ja", "finding.ja.md")])
def test_the_stored_pages_follow_from_the_stored_numbers(lang, name):
    own = msgspec.convert(json.loads((REFERENCE / SUMMARY).read_bytes()), Finding)
    with language(lang):
        written = experiment.page(own, draw(own))
    assert (REFERENCE / name).read_text(encoding="utf-8") == written


def test_the_stored_contrasts_follow_from_the_stored_lines(tmp_path):
    """Edits are attributed anew: those of all English and random lines that contrasts read."""
    design, store = read_design(), RunStore(REFERENCE)
    _, blocks = build(design, Registries())
    rows = by_cell(blocks, store.rows())
    cells, redrawn = {}, {}
    needed = {
        (level, condition, name)
        for contrast in design.contrasts
        for _, level, condition, *pair in contrast.compared
        for name in pair
    }
    for level in {level for level, *_ in needed}:
        clean = DATASETS.create(design.sets[level]).load(design.split, design.lines)
        names = [line.block for line in clean.lines]
        redrawn[level] = Redrawn(tuple(sorted(set(names))))
        for reader, condition in itertools.product(design.readers, design.conditions):
            systems = [n for n in needed if n[:2] == (level, condition)]
            if not systems:
                continue
            shares = shares_of(tmp_path, blocks[reader, level, condition], clean)
            for *_, name in systems:
                if row := rows.get((reader, level, condition, name)):
                    sums = columns(clean.lines, shares, store.lines(row.key))
                    cells[reader, level, condition, name] = redrawn[level].block_sums(sums, names)
    found = conclude(Counts(redrawn, cells), design)
    stored = json.loads((REFERENCE / SUMMARY).read_bytes())
    assert stored["design"]["sha256"] == design.sha256
    assert plain([dataclasses.asdict(one) for one in found]) == stored["judged"]


def test_a_cell_whose_baseline_failed_is_left_out():
    counts = made(helping)
    counts = dataclasses.replace(
        counts, cells={k: v for k, v in counts.cells.items() if k[2:] != ("clean", "ctc-beam")}
    )
    assert {r.condition for r in readings(counts, DESIGN)} == DESIGN.conditions.keys() - {"clean"}
    names = {one.contrast.name for one in conclude(counts, DESIGN)}
    assert "knowing the gap" in names and "language on clean lines" not in names


def test_a_choice_that_is_not_the_design_is_exploratory():
    assert chosen((), None, {}, Runtime(threads=2)).declared
    assert not chosen(("mini",), None, {}, Runtime()).declared
    assert not chosen((), 10, {}, Runtime()).declared
    with pytest.raises(UserError, match="no reader 'trocr-base'"):
        chosen(("trocr-base",), None, {}, Runtime())
    with pytest.raises(UserError, match="take 2 or more"):
        chosen((), 1, {}, Runtime())
    with pytest.raises(UserError, match="not part of this experiment"):
        chosen((), None, {"ctc-kenlm": {"alpha": 1}}, Runtime())


def test_the_design_names_what_it_has():
    design = read_design()
    for contrast in design.contrasts:
        for _, level, condition, *pair in contrast.terms:
            assert condition in design.treatments(level)
            assert set(pair) <= design.systems("mini", level, condition).keys()


def test_a_space_is_as_visible_as_the_better_seen_of_its_neighbours():
    nan = np.nan
    shares = np.array([nan, 0.1, nan, 0.9, nan, 0.1, nan, 0.0, nan], np.float32)
    found = completed("x" * len(shares), shares)
    assert found.tolist() == pytest.approx([0.1, 0.1, 0.9, 0.9, 0.9, 0.1, 0.1, 0.0, 0.0])
    assert completed("ab", np.array([nan, nan], np.float32)).tolist() == [1, 1]


def finding(counts: Counts, design: Design = DESIGN) -> Finding:
    return Finding(
        design=design,
        weights={"mini": "0123456789abcdef"},
        trained_on={"mini": ""},
        read={
            level: Read(name, "test", 24, 24_000, Blocks(24), "f" * 64)
            for level, name in design.sets.items()
        },
        language={"mini:ctc-ngram": {"alpha": 0.9, "lm_order": 6}},
        readings=tuple(readings(counts, design)),
        judged=tuple(conclude(counts, design)),
        budget=(Budget("mini", "erased", "ctc-gap", None, 3, 2, 100, 1, 32),),
        left_out={"ppocr": "its weights are missing"},
        environment={},
    )


def test_the_page_says_what_the_numbers_say():
    for right_of, words in (
        (helping, "Expected, and it holds: The 6-gram reads more"),
        (lambda *cell: 1400 - helping(*cell), "Expected, and the opposite holds: The 6-gram"),
        (lambda *cell: 700, "Expected, but not shown: The 6-gram reads more"),
    ):
        found = finding(made(right_of))
        assert words in " ".join(experiment.in_short(found))
        text = experiment.page(found)
        assert "Left out: ppocr (its weights are missing)" in text
        assert "the cloze ceiling is 25.0" in text and "Exploratory" in text


def test_readers_that_differ_are_not_summed_up():
    one = conclude(made(helping), DESIGN)[0]
    other = dataclasses.replace(one, reader="ppocr", verdict="not shown")
    found = dataclasses.replace(finding(made(helping)), judged=(one, other))
    assert "with different answers by reader: The 6-gram" in " ".join(experiment.in_short(found))


@pytest.fixture(scope="module")
def small_lm(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "small.arpa"
    text = ["the small model of the test", "it is there to be read soon", string.ascii_letters]
    write_arpa(estimate(map(characters_of, text), 3).model, path)
    return path


@pytest.fixture
def small(monkeypatch, small_lm) -> Design:
    """A design of few cells with a small model."""
    whole = read_design()
    doses = {
        name: dataclasses.replace(
            whole.doses[name], options={**whole.doses[name].options, "lm": str(small_lm)}
        )
        for name in ("ctc-ngram", "ctc-gap", "ctc-gap@oracle-place", "ctc-gap@oracle-count")
    }
    design = dataclasses.replace(
        whole,
        lines=2,
        readers=("mini",),
        sets={name: whole.sets[name] for name in ("english", "random")},
        conditions={name: whole.conditions[name] for name in ("clean", "erased", ONE)},
        doses=doses,
        contrasts=whole.contrasts[:6],
    )
    monkeypatch.setattr("bench.analysis.experiment.design.read_design", lambda: design)
    return design


def test_the_command_runs_goes_on_and_ends_in_a_finding(call, small, tmp_path):
    words = ("experiment", "language", "--out", f"{tmp_path}/mine", "--threads", "1")
    code, out, _ = call(*words)
    assert code == 0 and out.count("\n- ") > 3  # a point a line
    folder = tmp_path / "mine"
    declared = json.loads((folder / DECLARED).read_text())
    assert declared["declared"] and declared["sha256"] == small.sha256
    assert [c["name"] for c in declared["contrasts"]] == [c.name for c in small.contrasts]
    summary = json.loads((folder / SUMMARY).read_text())
    own = [r for r in summary["readings"] if r["reader"] == "mini"]
    rates = {(r["level"], r["condition"], r["system"]): r for r in own}
    assert rates["english", ONE, "ctc-gap"]["hidden"] == rates["english", ONE, CLOZE]["hidden"] > 0
    assert rates["random", "clean", "ctc-beam"]["gain"]["value"] == 0
    ideal = {r["system"]: r for r in summary["readings"] if r["reader"] == IDEAL}
    assert ideal.keys() == {"ctc-beam", *small.doses}
    assert ideal["ctc-beam"]["cer"]["value"] > 0 == ideal["ctc-beam"]["restored"]["value"]
    budgets = {(one["condition"], one["system"]): one for one in summary["budget"]}
    assert budgets.keys() == set(
        itertools.product(("clean", "erased"), ("ctc-beam", "ctc-ngram", "ctc-gap"))
    )
    for (condition, system), one in budgets.items():
        edits = (one["search"] or 0) + one["ink"] + one["model"]
        cer = rates["english", condition, system]["cer"]["value"]
        assert edits == pytest.approx(cer * one["characters"]) and one["best"] <= edits
        assert (one["search"] is None) == (system == "ctc-gap" and cer > 0)
        assert condition != "clean" or one["ink"] == 0
    assert ("random", ONE, "ctc-beam") not in rates
    assert (folder / "finding.md").read_text().startswith("# What does language give")
    assert (folder / "plots/gain.svg").is_file()
    before = (folder / "rows.jsonl").read_bytes()
    (shares := sorted((folder / "visible").iterdir()))[0].unlink()
    code, japanese, _ = call(*words, "--lang", "ja")
    page = (folder / "finding.md").read_text("utf-8")
    assert (code, english_in(japanese), english_in(page)) == (0, [], [])
    assert (folder / "rows.jsonl").read_bytes() == before  # nothing was measured twice
    assert sorted((folder / "visible").iterdir()) == shares
    assert json.loads((folder / SUMMARY).read_text()) == summary


# ---- where edits fall: as many as metrics counts, and never to the credit of what is hidden ----

WORDS = st.text("ab c", min_size=1, max_size=9).map(normalise).filter(bool)


@settings(deadline=None)  # the first example compiles
@given(WORDS, st.text("ab c", max_size=9), st.integers(0, 2**32 - 1))
def test_the_edits_are_those_of_metrics(reference, text, seed):
    visible = np.random.default_rng(seed).random(len(reference)).astype(np.float32)
    placed = place(reference, text, visible)
    assert placed.edits.sum() == score_line(reference, text).edits
    assert not (placed.right & placed.wrong).any()


def test_what_is_visible_is_right_before_what_is_hidden():
    visible = np.array([1, 1, 1, 0, 1], np.float32)
    assert place("hello", "helo", visible).right.tolist() == [True, True, True, False, True]
    visible = np.array([1, 1, 0, 1, 1], np.float32)
    assert place("hello", "helo", visible).right.tolist() == [True, True, False, True, True]


def test_a_wrong_character_an_added_one_and_none():
    placed = place("cat", "cot", np.ones(3, np.float32))
    assert placed.wrong.tolist() == [False, True, False]
    placed = place("cat", "caxt", np.array([1, 0.1, 1], np.float32))
    assert placed.added.tolist() == [0, 1, 0]
    assert placed.right.all()
    with pytest.raises(ValueError, match="normaliser"):
        place("two  spaces", "x", np.ones(11, np.float32))
    with pytest.raises(ValueError, match="visible share"):
        place("cat", "cat", np.array([1, np.nan, 1], np.float32))


# ---- the cloze ceiling, against brute force over all fillings ----

ALPHABET = ("", " ", "a", "b", "c")
TEXT = ["abc cab", "ab ab ab c", "cab cab", "a b c", "bca abc", "cc ba ab"]


def dense(order: int = 3) -> DenseLM:
    return dense_lm(estimate(map(characters_of, TEXT), order).model, ALPHABET, "tiny")


def likelihood(lm: DenseLM, text: str) -> float:
    state, total = lm.between, 0.0
    for character in text:
        symbol = ALPHABET.index(character)
        total += float(lm.log_prob[state, symbol])
        state = int(lm.following[state, symbol])
    return float(np.exp(total))


def brute_force(lm: DenseLM, text: str, hidden: list[bool]) -> list[str]:
    """The likeliest character at each blank, every filling of the others tried."""
    blanks = [i for i, is_hidden in enumerate(hidden) if is_hidden]
    mass = {i: dict.fromkeys(ALPHABET[1:], 0.0) for i in blanks}
    for filling in itertools.product(ALPHABET[1:], repeat=len(blanks)):
        letters = list(text)
        for blank, letter in zip(blanks, filling, strict=True):
            letters[blank] = letter
        weight = likelihood(lm, "".join(letters))
        for blank, letter in zip(blanks, filling, strict=True):
            mass[blank][letter] += weight
    return [max(mass[i], key=mass[i].__getitem__) for i in blanks]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_guesses_are_those_of_all_fillings(data):
    text = data.draw(st.text("abc ", min_size=1, max_size=5))
    hidden = data.draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text)))
    lm = dense()
    right = Cloze.of(lm, ALPHABET).right(text, np.array(hidden))
    guesses = brute_force(lm, text, hidden)
    blanks = np.flatnonzero(hidden)
    assert right[blanks].tolist() == [g == text[i] for g, i in zip(guesses, blanks, strict=True)]
    assert not right[~np.array(hidden)].any()


@pytest.mark.slow
def test_heads_of_other_seeds_are_compared_by_the_contrasts_of_the_design(monkeypatch):
    monkeypatch.setattr(seeds, "SEEDS", (1,))
    record = seeds.measure(None, batches=1, lines=2, steps=2)
    effects = {(one["contrast"]["name"], one["reader"]): one["value"] for one in record["judged"]}
    names = ("language on clean lines", "more where ink is lost", "knowing the gap")
    assert effects.keys() == set(itertools.product(names, ("mini", "seed 1")))
    sums = {tuple(cell): np.sum(own, axis=0) for *cell, own in record["cells"]}
    odds = [log_odds(sums["mini", "english", "erased", name]) for name in ("ctc-gap", "ctc-ngram")]
    assert effects["knowing the gap", "mini"] == pytest.approx(odds[0] - odds[1])
