"""The language experiment: statistics on made-up counts, and a small real run to its finding."""

from __future__ import annotations

import dataclasses
import itertools
import json
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.experiment.analysis import (
    ALL,
    Estimate,
    conclude,
    gains,
    recalls,
    slopes,
)
from bench.analysis.experiment.cloze import Cloze
from bench.analysis.experiment.counts import (
    CHARACTERS,
    CLASSES,
    CLOZE,
    COLUMNS,
    EDITS,
    INKED,
    RIGHT,
    WRONG,
    Counts,
    classes,
    place,
)
from bench.analysis.experiment.design import (
    BASELINE,
    DAMAGES,
    LEVELS,
    NO_SLOPE,
    PRIMARY,
    Design,
    contrasts,
)
from bench.analysis.experiment.finding import DECLARED, SUMMARY, Finding, Read
from bench.analysis.stats import Redrawn
from bench.core.errors import UserError
from bench.core.metrics import normalise, score_line
from bench.report import experiment
from datasets.about import Blocks
from datasets.damage.base import SEVERITIES
from datasets.damage.visible import completed
from decoders.ctc.ngram import DenseLM, dense_lm
from decoders.language.arpa import write_arpa
from decoders.language.ngram import characters_of, estimate
from tests.japanese import english_in

WRITERS = tuple(f"w{i:02d}" for i in range(24))


def made(gain_of) -> Counts:
    """Counts in which the gain of `PRIMARY` is `gain_of(level, damage, severity)`, with noise."""
    rng = np.random.default_rng(5)
    redrawn = Redrawn(WRITERS, resamples=500)
    cells = {}
    for level in LEVELS:
        for damage in DAMAGES:
            for severity in SEVERITIES:
                base = np.zeros((len(WRITERS), COLUMNS))
                base[:, CHARACTERS] = (200, 100, 700)
                base[:, EDITS] = 100 * severity * np.array([0.6, 0.3, 0.1]) + 5
                own = base.copy()
                noise = rng.normal(0, 4, len(WRITERS))
                own[:, 2] -= 1000 * gain_of(level, damage, severity) + noise
                base[:, INKED] = own[:, INKED] = 150 if severity else 0
                own[:, RIGHT], own[:, WRONG] = 30, 60
                cloze = np.zeros_like(base)
                cloze[:, INKED], cloze[:, RIGHT] = base[:, INKED], 75
                for name, sums in ((BASELINE, base), (PRIMARY, own), (CLOZE, cloze)):
                    cells[level, damage, severity, name] = sums
    return Counts(redrawn, cells)


def rising(level: str, damage: str, severity: int) -> float:
    """Language helps more with damage on English alone, most with erased characters."""
    steepness = {"char_erase": 0.03, "stroke_breaks": 0.01}.get(damage, 0.02)
    if damage == "span_erase":
        return 0.02 * min(severity, 2) if level == "english" else 0.0
    return steepness * severity if level == "english" else 0.0


def number(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


@pytest.mark.parametrize(
    ("gain_of", "expected"),
    [
        (rising, dict.fromkeys((c.name for c in contrasts(DAMAGES)), "holds")),
        (
            lambda *cell: 0.01,
            {
                **dict.fromkeys((c.name for c in contrasts(DAMAGES)), "not shown"),
                "slope on random": "holds",
            },
        ),
        (
            lambda level, damage, severity: 2 * NO_SLOPE * severity,
            {
                "slope on english": "holds",
                "slope on random": "does not hold",
                "english over random": "not shown",
            },
        ),
    ],
)
def test_an_effect_is_found_where_there_is_one(gain_of, expected):
    judged = conclude(made(gain_of), contrasts(DAMAGES), PRIMARY)
    found = {one.contrast.name: one.verdict for one in judged}
    assert expected.items() <= found.items()


@pytest.mark.parametrize(("blocks", "verdict"), [(5, "not shown"), (8, "holds")])
def test_few_writers_have_t_intervals_or_show_nothing(blocks, verdict):
    whole = made(rising)
    cells = {place: sums[:blocks] for place, sums in whole.cells.items()}
    few = Counts(Redrawn(whole.redrawn.blocks[:blocks]), cells)
    judged = conclude(few, contrasts(DAMAGES), PRIMARY)
    assert judged[0].verdict == verdict
    assert all((one.interval is None) == (one.p is None) == (blocks < 6) for one in judged)
    text = experiment.page(finding(few))
    assert ("too few blocks for a p" in text) == (blocks < 6) and "nan" not in text.lower()


def test_gains_recalls_and_slopes_are_those_of_the_sums():
    counts = made(rising)
    english = {damage: list[float]() for damage in DAMAGES}
    for gain in gains(counts, [PRIMARY], DAMAGES):
        parts = [number(gain.hidden), number(gain.partial), number(gain.visible)]
        assert gain.gain.value == pytest.approx(sum(parts))
        baseline = number(gain.cer) + number(gain.gain)
        assert gain.gain.value == pytest.approx(number(gain.relative) * baseline)
        if gain.level == "english":
            english[gain.damage].append(number(gain.gain))
    found = {(s.level, s.damage): s.slope.value for s in slopes(counts, [PRIMARY], DAMAGES)}
    lines = [np.polyfit(SEVERITIES, own, 1)[0] for own in english.values()]
    assert [found["english", damage] for damage in DAMAGES] == pytest.approx(lines)
    assert found["english", ALL] == pytest.approx(np.mean(lines))
    at_five = {r.system: r for r in recalls(counts, [PRIMARY], ["char_erase"]) if r.severity == 5}
    own, ceiling = at_five[PRIMARY], at_five[CLOZE]
    assert (own.right.value, own.wrong.value, ceiling.right.value) == (0.2, 0.4, 0.5)
    assert own.share == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"decoders": ("ctc-kenlm",)}, "no decoder 'ctc-kenlm'"),
        ({"damages": ()}, "no damage was chosen"),
        ({"lines": 1}, "2 or more"),
        ({"seeds": (-1,)}, "seed"),
    ],
)
def test_a_design_that_makes_no_sense_is_refused(options, words):
    with pytest.raises(UserError, match=words):
        Design(**options)


def test_a_space_is_as_visible_as_the_better_seen_of_its_neighbours():
    nan = np.nan
    shares = np.array([nan, 0.1, nan, 0.9, nan, 0.1, nan, 0.0, nan], np.float32)
    found = completed("x" * len(shares), shares)
    assert found.tolist() == pytest.approx([0.1, 0.1, 0.9, 0.9, 0.9, 0.1, 0.1, 0.0, 0.0])
    kinds = [CLASSES[place] for place in classes(np.array([0.0, 0.19, 0.2, 0.79, 0.8, 1.0]))]
    assert kinds == ["hidden"] * 2 + ["partial"] * 2 + ["visible"] * 2
    assert completed("ab", np.array([nan, nan], np.float32)).tolist() == [1, 1]


def finding(counts: Counts) -> Finding:
    systems = (PRIMARY,)
    return Finding(
        design=Design(decoders=(PRIMARY,)),
        weights="0123456789abcdef",
        trained_on="",
        read={
            level: Read(name, "test", 24, 24_000, Blocks(24), "f" * 64)
            for level, name in LEVELS.items()
        },
        systems=systems,
        language={"alpha": 0.9, "lm_order": 6},
        lost=dict.fromkeys(DAMAGES, (0.05, 0.1, 0.2, 0.35, 0.5)),
        gains=tuple(gains(with_doses(counts), (BASELINE, *dose_names()), DAMAGES)),
        recalls=tuple(recalls(counts, (BASELINE, *systems), DAMAGES)),
        slopes=tuple(slopes(counts, systems, DAMAGES)),
        judged=tuple(conclude(counts, contrasts(DAMAGES), PRIMARY)),
        left_out={"ar-beam": "mini has no autoregressive head"},
        environment={},
    )


def dose_names() -> list[str]:
    return [
        system.name for system in Design(decoders=(PRIMARY,)).systems if system.dose is not None
    ]


def with_doses(counts: Counts) -> Counts:
    cells = dict(counts.cells)
    for (level, damage, severity, name), sums in counts.cells.items():
        if name == PRIMARY:
            cells.update({(level, damage, severity, dose): sums for dose in dose_names()})
    return dataclasses.replace(counts, cells=cells)


@pytest.mark.parametrize(
    ("gain_of", "first"),
    [
        (rising, "In points of CER, on average"),
        (lambda *cell: -rising(*cell), "In points of CER it is the other way round"),
        (lambda *cell: 0.01, "No effect was shown"),
    ],
)
def test_the_page_says_what_the_numbers_say(gain_of, first):
    found = finding(made(gain_of))
    assert experiment.in_short(found).startswith(first)
    text = experiment.page(found)
    assert "Left out: ar-beam (mini has no autoregressive head)" in text
    for one in found.judged:
        assert one.verdict in text


@pytest.fixture(scope="module")
def small_lm(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "small.arpa"
    text = ["the small model of the test", "it is there to be read soon", string.ascii_letters]
    write_arpa(estimate(map(characters_of, text), 3).model, path)
    return path


def test_the_command_runs_goes_on_and_ends_in_a_finding(call, small_lm, tmp_path):
    words = (
        "experiment", "language", "--damage", "char_erase", "--lines", "2", "--seeds", "0",
        "--decoder", "ctc-ngram,ctc-beam", "-o", f"ctc-ngram.lm={small_lm}", "--out",
        f"{tmp_path}/mine", "--threads", "1",
    )  # fmt: skip
    code, out, _ = call(*words)
    assert code == 0
    folder = tmp_path / "mine"
    declared = json.loads((folder / DECLARED).read_text())
    assert [c["name"] for c in declared["contrasts"]] == [
        c.name for c in contrasts(("char_erase",))
    ]
    summary = json.loads((folder / SUMMARY).read_text())
    assert {g["system"] for g in summary["gains"]} == {
        "ctc-greedy", "ctc-beam", "ctc-ngram", "ctc-ngram@0", "ctc-ngram@0.25", "ctc-ngram@0.5",
    }  # fmt: skip
    rates = {
        (g["level"], g["damage"], g["severity"], g["system"]): g["cer"] for g in summary["gains"]
    }
    for cell, cer in rates.items():  # no language is no language, number for number
        if cell[3] == "ctc-ngram@0":
            assert cer == rates[cell[0], cell[1], cell[2], "ctc-beam"]
    hidden = [r for r in summary["recalls"] if r["severity"] == 5 and r["system"] == CLOZE]
    assert all(r["characters"] > 0 for r in hidden)
    assert (folder / "finding.md").read_text().startswith("# Does language help more")
    assert (folder / "plots/gain.svg").is_file()
    before = (folder / "rows.jsonl").read_bytes()
    (shares := sorted((folder / "visible").iterdir()))[0].unlink()
    code, again, _ = call(*words)
    assert (code, again) == (0, out)
    assert (folder / "rows.jsonl").read_bytes() == before  # nothing was measured twice
    assert sorted((folder / "visible").iterdir()) == shares
    assert json.loads((folder / SUMMARY).read_text()) == summary
    code, japanese, _ = call(*words, "--lang", "ja")
    page = (folder / "finding.md").read_text("utf-8")
    assert (code, english_in(japanese), english_in(page)) == (0, [], [])
    assert json.loads((folder / SUMMARY).read_text()) == summary


def test_untrained_weights_have_no_gain(call, tmp_path):
    code, _, error = call(
        "experiment", "language", "--encoder", "trocr-small", "-o", "trocr-small.untrained=true",
        "--decoder", "ctc-beam", "--lines", "2", "--seeds", "0", "--damage", "char_erase",
        "--out", f"{tmp_path}/x",
    )  # fmt: skip
    assert code == 2
    assert "untrained" in error
    code, _, error = call(
        "experiment", "language", "-o", "ctc-kenlm.alpha=1", "--out", f"{tmp_path}/x"
    )
    assert (code, "not part of this experiment" in error) == (2, True)


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
