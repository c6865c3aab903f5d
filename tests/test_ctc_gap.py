"""Filling of gaps: against a slow search that is right by construction, ctc-ngram, and real ink."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.core.errors import UserError
from bench.core.types import BLANK, Lost, Runtime
from bench.training.widths import learn, measured
from datasets import DATASETS
from datasets.damage import DAMAGES
from decoders.ctc.gap import WIDTHS, CTCGapSpec
from decoders.ctc.ngram import CTCNGramSpec
from decoders.language.arpa import write_arpa
from decoders.language.ngram import characters_of, estimate
from models import ENCODERS
from tests.ctc_doubles import ALPHABET, encoded, info, logs, random_matrix, written

pytestmark = pytest.mark.usefixtures("untuned")

TEXT = ("the cat sat on the mat", "that man had a hat", "a red hen ran to ten men", "tea time")


@pytest.fixture(scope="module")
def lm(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("lm") / "5.arpa"
    texts = (*TEXT * 3, "jackdaws love my big sphinx of quartz", "pack my box")
    write_arpa(estimate(map(characters_of, texts), 5).model, path)
    return str(path)


def opened(lm: str, alphabet=ALPHABET, **options: Any):
    return CTCGapSpec(lm=lm, **options).open(info(alphabet))


def line(text: str, seen: str = "", sure: float = 0.97) -> NDArray[np.float32]:
    """Log-probabilities of a text in an average hand; where `seen` has `_`, the ink is lost."""
    widths, rows = json.loads(WIDTHS.read_text("utf-8"))["widths"], []
    for character, shown in zip(text, seen or text, strict=True):
        symbol, width = "" if shown == "_" else character, round(6 * widths[character])
        for place in range(width):
            row = [(1 - sure) / (len(ALPHABET) - 1)] * len(ALPHABET)
            row[ALPHABET.index(symbol if place == width // 2 else "")] = sure
            rows.append(row)
    return logs(rows)


# ---- the search ----


def log_mass(matrix, text: tuple[int, ...], decoder) -> float:
    """Log of the mass of one text: all paths, and all choices of gaps that it fills."""
    from decoders.ctc.gaps import density, find, place

    model, language = decoder._gaps, decoder._language
    gaps = room(len(matrix))
    if known := len(model.known):
        found = place(matrix, len(matrix), model.known[0], model, gaps)
    else:
        found = find(matrix, len(matrix), model, gaps)
    factors, state = [], language.start
    for symbol in text:
        factor, state = language.steps[state, symbol].item()
        factors.append(factor)
    final = float(language.final[state])
    n, space = len(text), model.space_symbol
    blank, symbols = np.zeros(n + 1), np.zeros(n + 1)
    blank[0], gap, before, unwritten = 1.0, 0, blank, 1.0
    for t, row in enumerate(np.exp(matrix.astype(np.float64))):
        if gap < found and gaps.end[gap] == t:
            added = np.zeros(n + 1)
            for i in range(n + 1):
                for j in range(i + 1, n + 1):
                    inside = text[i:j]
                    spaces = inside.count(space)
                    letters = len(inside) - spaces
                    joined = text[max(i - 1, 0) : j]
                    if not 1 <= letters <= model.letters or spaces > model.spaces:
                        continue
                    if any(a == b == space for a, b in itertools.pairwise(joined)):
                        continue
                    if gaps.characters[gap] not in (0, -1, len(inside)):
                        continue
                    width = sum(model.widths[s] for s in inside)
                    likelihood = density(model, gaps.excess[gap], width, letters, spaces)
                    price = math.exp(-model.cost * (not known) - len(inside) * model.bonus)
                    price *= math.prod(factors[i:j]) * likelihood / gaps.likelihood[gap]
                    added[j] += before[i] * unwritten * price
            blank = added if known else blank + added
            symbols = symbols * (not known)
            gap += 1
        if gap < found and gaps.begin[gap] == t:
            before, unwritten = blank + symbols, 1.0
        unwritten *= row[BLANK] + row[space]
        both = blank + symbols
        grown = symbols.copy()
        for i in range(1, n + 1):
            new = blank[i - 1] if i > 1 and text[i - 1] == text[i - 2] else both[i - 1]
            grown[i] = (symbols[i] + new * factors[i - 1]) * row[text[i - 1]]
        blank, symbols = both * row[BLANK], grown
        symbols[0] = 0.0
    return math.log((blank[n] + symbols[n]) * final)


def room(steps: int):
    from decoders.ctc.gaps import MOST_GAPS, Gaps

    arrays: list[Any] = [np.zeros(MOST_GAPS, np.int32) for _ in range(2)]
    arrays += [np.zeros(MOST_GAPS) for _ in range(2)]
    arrays += [np.zeros(MOST_GAPS, np.int32), *(np.zeros(steps, np.int32) for _ in range(3))]
    arrays += [np.zeros(steps)]
    return Gaps(*arrays)


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_those_of_all_paths_and_fillings(lm: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = line("ten men ran to"[seed:], "ten m_n r_n to"[seed:], sure=0.8)
    matrix = matrix + rng.normal(0, 0.3, matrix.shape).astype(np.float32)
    matrix = matrix - np.log(np.exp(matrix).sum(1, keepdims=True))
    wide = {"beam": 3000, "nbest": 20, "token_min_logp": None, "beam_prune_logp": None}
    decoder = opened(lm, alpha=0.8, beta=1.5, gap_cost=1.0, gap_letters=2, **wide)
    (read,) = decoder.decode(encoded([matrix], ALPHABET))
    for text, score in read.nbest:
        symbols = tuple(map(ALPHABET.index, text))
        exact = log_mass(matrix, symbols, decoder)
        assert exact - 0.03 < score < exact + 1e-6  # the beam loses a little mass


@pytest.mark.parametrize("oracle", ["place", "count"])
def test_scores_of_an_oracle_are_those_of_all_fillings(lm: str, oracle: str) -> None:
    matrix = line("a red hen ran", "a re_ h__ ran", sure=0.8)
    matrix = matrix + np.random.default_rng(3).normal(0, 0.3, matrix.shape).astype(np.float32)
    matrix = matrix - np.log(np.exp(matrix).sum(1, keepdims=True))
    widths = json.loads(WIDTHS.read_text("utf-8"))["widths"]
    ends = np.cumsum([round(6 * widths[c]) for c in "a red hen ran"]) / len(matrix)
    lost = (Lost(ends[3], ends[4], 2), Lost(ends[6], ends[8], 3))  # a space counts
    wide = {"beam": 3000, "nbest": 20, "token_min_logp": None, "beam_prune_logp": None}
    decoder = opened(lm, alpha=0.8, beta=1.5, oracle=oracle, **wide)
    batch = dataclasses.replace(encoded([matrix], ALPHABET), lost=(lost,))
    (read,) = decoder.decode(batch)
    assert read.text == "a red hen ran"
    for text, score in read.nbest:
        exact = log_mass(matrix, tuple(map(ALPHABET.index, text)), decoder)
        assert exact - 0.03 < score < exact + 1e-6
    with pytest.raises(UserError, match="bench experiment"):
        decoder.decode(encoded([matrix], ALPHABET))


@given(seed=st.integers(0, 10_000), steps=st.integers(1, 40), peaked=st.floats(1.0, 6.0))
@settings(max_examples=60, deadline=None)
def test_without_gaps_it_is_the_n_gram_search_number_for_number(
    lm: str, seed: int, steps: int, peaked: float
) -> None:
    batch = encoded([random_matrix(seed, steps, len(ALPHABET), peaked)], ALPHABET)
    weights: dict[str, Any] = {"lm": lm, "alpha": 0.9, "beta": 1.0}
    plain = CTCNGramSpec(**weights).open(info()).decode(batch)
    assert CTCGapSpec(**weights, gap_cost=1e9).open(info()).decode(batch) == plain


@pytest.mark.parametrize("text", TEXT)
def test_a_line_without_gaps_is_read_as_by_the_n_gram(lm: str, text: str) -> None:
    batch = encoded([line(text), logs(written(text))], ALPHABET)
    weights: dict[str, Any] = {"lm": lm, "alpha": 0.9, "beta": 1.0}
    plain = CTCNGramSpec(**weights).open(info()).decode(batch)
    filled = opened(**weights, gap_cost=6.0).decode(batch)
    assert [one.text for one in filled] == [one.text for one in plain]


@pytest.mark.parametrize(
    ("seen", "whole"),
    [
        ("the c_t sat on the mat", "the cat sat on the mat"),
        ("the cat s__ on the mat", "the cat sat on the mat"),
        ("a red he_ ran to ten men", "a red hen ran to ten men"),
    ],
)
def test_what_is_lost_is_filled_in(lm: str, seen: str, whole: str) -> None:
    batch = encoded([line(whole, seen)], ALPHABET)
    weights: dict[str, Any] = {"lm": lm, "alpha": 0.9, "beta": 1.0}
    assert CTCNGramSpec(**weights).open(info()).decode(batch)[0].text != whole
    assert opened(**weights, gap_cost=2.0).decode(batch)[0].text == whole


def test_real_ink_comes_back_and_clean_lines_stay() -> None:
    encoder = ENCODERS.create("mini").open(Runtime(batch_size=8, threads=1))
    lines = DATASETS.create("ink").load("val", 8).lines
    damaged = [DAMAGES.create("char_erase").apply(one, "ink", 3, 0).line for one in lines]
    weights: dict[str, Any] = {"alpha": 0.9, "beta": 1.5}
    decoders = [
        CTCNGramSpec(**weights).open(encoder.info),
        CTCGapSpec(**weights, gap_cost=4.0).open(encoder.info),
    ]

    def edits(images) -> list[int]:
        from bench.core.metrics import score_line

        read = encoder.encode(encoder.prepare(images))
        return [
            sum(
                score_line(line.text, one.text).edits
                for line, one in zip(lines, decoder.decode(read), strict=True)
            )
            for decoder in decoders
        ]

    plain, filled = edits([one.image for one in damaged])
    assert filled < 0.9 * plain
    plain, filled = edits([one.image for one in lines])
    assert filled <= plain + 2


@pytest.mark.slow
def test_the_widths_are_those_that_the_command_learns() -> None:
    lines = DATASETS.create("ink").load("val").lines
    record = json.loads(WIDTHS.read_text("utf-8"))
    learned = learn(measured(lines)[1])
    for name in ("variance", "letter_variance", "space_variance"):
        assert learned[name] == pytest.approx(record[name], abs=0.01)
    assert learned["widths"] == pytest.approx(record["widths"], abs=0.05)


def test_widths_come_back_from_distances_without_noise() -> None:
    true = {"a": 1.2, "b": 0.8, "c": 1.0, "i": 0.5}
    rng = np.random.default_rng(0)

    def of_line(unit: float) -> list[tuple[str, float]]:
        text = "".join(rng.choice(list("abci"), 40))
        pairs = [text[i : i + n] for n in (2, 3) for i in range(40 - n)]
        inner = [sum(true[c] for c in one[1:-1]) for one in pairs]
        halves = [0.5 * (true[one[0]] + true[one[-1]]) for one in pairs]
        spaced = [f"{one[0]} {one[1]}" for one in pairs if len(one) == 2]
        apart = [0.5 * (true[one[0]] + true[one[2]]) + 0.9 for one in spaced]
        widths = [*map(sum, zip(halves, inner, strict=True)), *apart]
        return [(one, unit * w) for one, w in zip([*pairs, *spaced], widths, strict=True)]

    found: Any = learn([of_line(unit) for unit in (5.0, 7.0, 11.0)])
    mean = np.mean([found["widths"][c] / true[c] for c in "abci"])
    for symbol, width in true.items():
        assert found["widths"][symbol] / mean == pytest.approx(width, rel=0.1)
    assert found["variance"] < 0.01 and found["letter_variance"] < 0.01


def test_an_alphabet_without_a_space_is_refused(lm: str) -> None:
    absent = CTCGapSpec(lm=lm).missing(info(("", *"abc")))
    assert absent is not None and "no space" in str(absent)
